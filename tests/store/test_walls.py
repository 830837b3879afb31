"""The second wall as the catalogue has it: each way round it that leaked when it was measured
without is shut, and stays shut.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from domain.access import Principal, Role
from store.access import scope
from store.database.connection import API_ROLE, Connection, connect, open_pool, set_api_password
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
#: Tables without a wall that the API may touch, each with its reason.
OPEN = {
    "notice_queue": "INSERT only, numbers only",
    "people.erasures": "INSERT only, HMACs only",
    "channel_states": "how channels do, nobody's data",
    "site_secrets": "the site's own",
}
#: What the API must never reach but through a function that looks at the reader's scope.
SERIES = {
    "readings",
    "events",
    "points",
    "latest_values",
    "watch_queue",
    "dirty_spans",
    "quarantine",
    "register_history",
    "households",
    "credentials",
}


def rights(connection: Connection) -> list[dict[str, Any]]:
    return connection.execute(
        "SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS "
        "name, c.relkind::text AS kind, c.relrowsecurity, "
        "c.relforcerowsecurity, has_table_privilege(%s, c.oid, 'SELECT, INSERT, UPDATE, DELETE, "
        "TRUNCATE') AS any, "
        "has_table_privilege(%s, c.oid, 'SELECT') AS read, has_table_privilege(%s, c.oid, "
        "'TRUNCATE') AS truncate, "
        "coalesce(array_to_string(c.reloptions, ','), '') AS options FROM pg_class c JOIN "
        "pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('public', 'people') AND c.relkind IN ('r', 'p', 'v', 'm')",
        [API_ROLE] * 3,
    ).fetchall()


def test_every_table_is_behind_the_wall_or_out_of_reach(any_connection: Connection) -> None:
    found = rights(any_connection)
    assert len(found) > 40
    for table in found:
        if table["kind"] in ("v", "m"):
            assert not table["any"] or "security_invoker=true" in table["options"], (
                f"{table['name']}: a view that sees as its owner"
            )
        elif table["any"] and table["name"] not in OPEN:
            assert table["relrowsecurity"] and table["relforcerowsecurity"], (
                f"{table['name']}: within the API's reach and no wall"
            )
        assert not table["truncate"], table["name"]
        assert not (table["any"] and table["name"] in SERIES), (
            f"{table['name']}: series have no right of their own"
        )
    assert not next(t for t in found if t["name"] == "people.erasures")["read"]


def test_the_apis_log_in_can_do_nothing_about_it(any_connection: Connection) -> None:
    row = any_connection.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit, (SELECT count(*) "
        "FROM pg_auth_members WHERE member = r.oid) AS member, "
        "(SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owns FROM pg_roles r WHERE "
        "rolname = %s",
        [API_ROLE],
    ).fetchone()
    assert row == {
        "rolsuper": False,
        "rolbypassrls": False,
        "rolcreaterole": False,
        "rolcreatedb": False,
        "rolinherit": False,
        "member": 0,
        "owns": 0,
    }


def test_each_function_that_sees_more_looks_at_the_scope_and_has_a_path(
    any_connection: Connection,
) -> None:
    rows = any_connection.execute(
        "SELECT proname, prosrc, proconfig FROM pg_proc p JOIN pg_namespace n ON n.oid = "
        "p.pronamespace WHERE prosecdef AND n.nspname = 'public'"
    ).fetchall()
    harmless = {
        "granted_estates",
        "granted_all_estates",
        "append_audit",
        "estates_of_grant",
        "all_estates",
        "raise_register_version",
    }
    assert {r["proname"] for r in rows} >= harmless | {
        "readings_of_unit",
        "latest_of_unit",
        "unit_is_visible",
    }
    for row in rows:
        assert any(
            one.startswith("search_path=public, pg_temp") for one in row["proconfig"] or ()
        ), row["proname"]
        assert (
            row["proname"] in harmless
            or "anju_scope()" in row["prosrc"]
            or "unit_is_visible" in row["prosrc"]
            or "anju_all_estates()" in row["prosrc"]
        ), row["proname"]


def test_nothing_said_is_nothing_seen_and_nothing_stays_on_the_connection(dsn: str) -> None:
    with connect(dsn) as owner:
        register(owner)
        ids = tuple(r["id"] for r in owner.execute("SELECT id FROM estates WHERE code = 'es'"))
    who = Principal(user_id=1, name="x", role=Role.COMPLIANCE, estate_ids=ids)
    count = lambda c: [r["code"] for r in c.execute("SELECT code FROM estates")]  # noqa: E731
    with open_pool(dsn, size=1) as pool:
        with pool.connection() as connection:
            assert count(connection) == []
            scope.enter(connection, who)
            assert count(connection) == ["es"]
            assert connection.execute("SELECT count(*) AS n FROM units").fetchone() == {"n": 1}
            connection.commit()
            assert count(connection) == [], "what was said ended with the transaction"
        with pool.connection() as connection:
            assert count(connection) == [], "the next one on this connection begins with nothing"
            for forbidden in (
                "SET ROLE postgres",
                "ALTER TABLE estates DISABLE ROW LEVEL SECURITY",
                "SELECT * FROM readings",
                "SELECT * FROM quarantine",
                "DELETE FROM alerts",
                "UPDATE audit_log SET entry = '{}'",
                "INSERT INTO audit_log (seq, at, entry, prev, hash) VALUES (9, now(), '{}', '', "
                "'')",
                "TRUNCATE alerts",
                "COPY estates FROM STDIN",
                "CREATE TABLE public.x ()",
            ):
                with pytest.raises(psycopg.Error) as refused, connection.transaction():
                    connection.execute(forbidden)  # type: ignore[call-overload]
                assert refused.value.sqlstate in ("42501", "0A000"), forbidden


def test_a_view_or_an_owner_who_is_no_superuser_sees_no_more(dsn: str) -> None:
    """FORCE: also for an owner that is an ordinary role, and for a plain view of such an owner's
    that somebody lets the API read.
    """
    with connect(dsn, autocommit=True) as owner:
        register(owner)
        owner.execute("CREATE ROLE plain_owner NOSUPERUSER NOBYPASSRLS")
        try:
            owner.execute("GRANT USAGE, CREATE ON SCHEMA public TO plain_owner")
            owner.execute("ALTER TABLE estates OWNER TO plain_owner")
            owner.execute("CREATE VIEW leaky AS SELECT code FROM estates")
            owner.execute("ALTER VIEW leaky OWNER TO plain_owner")
            owner.execute(f"GRANT SELECT ON leaky TO {API_ROLE}")
            with open_pool(dsn, size=1) as pool, pool.connection() as connection:
                assert connection.execute("SELECT * FROM leaky").fetchall() == []
        finally:
            owner.execute("REASSIGN OWNED BY plain_owner TO postgres")
            owner.execute("DROP OWNED BY plain_owner")
            owner.execute("DROP ROLE plain_owner")


def test_series_come_through_functions_that_look_at_the_scope(dsn: str) -> None:
    with connect(dsn) as owner:
        register(owner)
        (es,) = (r["id"] for r in owner.execute("SELECT id FROM estates WHERE code = 'es'"))
        (unit,) = (r["id"] for r in owner.execute("SELECT id FROM units WHERE code = 'u-1'"))
        owner.execute(
            "INSERT INTO points (device_id, name) SELECT id, 'water_m3' FROM devices WHERE code "
            "= 'wm-1'"
        )
        owner.execute("INSERT INTO latest_values SELECT id, now(), 4.2 FROM points")
    ask = "SELECT count(*) AS n FROM latest_of_unit(%s)"
    sees = {"compliance": 1, "guard": 0, "device_engineer": 0}
    with open_pool(dsn, size=1) as pool:
        for role, expected in sees.items():
            for estates, factor in (((es,), 1), ((), 0), ((es + 99,), 0)):
                with pool.connection() as connection:
                    scope.enter(
                        connection,
                        Principal(user_id=1, name="x", role=Role(role), estate_ids=estates),
                    )
                    assert connection.execute(ask, [unit]).fetchone() == {"n": expected * factor}, (
                        role,
                        estates,
                    )


def test_the_api_is_given_its_password_as_a_verifier(dsn: str) -> None:
    with connect(dsn, autocommit=True) as owner:
        try:
            set_api_password(owner, "it's a secret \\ with signs")
            row = owner.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [API_ROLE]
            ).fetchone()
            assert (
                row is not None
                and row["rolpassword"].startswith("SCRAM-SHA-256$")
                and "secret" not in row["rolpassword"]
            )
        finally:
            owner.execute(f"ALTER ROLE {API_ROLE} PASSWORD NULL")
