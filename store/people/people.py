"""Persons as the database knows them: sealed fields, their keys, who asked to look, what must not be erased, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from store.database.connection import Connection

_PERSON = (
    "SELECT p.*, k.wrapped, k.wrapped_by, e.code AS estate, (SELECT u.code FROM residents r JOIN tenancies t ON t.household_id = r.household_id "
    "JOIN units u ON u.id = t.unit_id WHERE r.id = p.resident_id ORDER BY t.valid_from DESC LIMIT 1) AS unit "
    "FROM people.persons p JOIN estates e ON e.id = p.estate_id LEFT JOIN people.data_keys k ON k.person_id = p.id "
)
_LIST = _PERSON + (
    "WHERE p.estate_id = %(estate)s AND (%(after)s::text IS NULL OR p.code > %(after)s) ORDER BY p.code LIMIT %(limit)s"
)
_ONE = _PERSON + "WHERE p.code = %s AND p.estate_id = ANY(%s)"
_BY_INDEX = _PERSON + (
    "WHERE p.estate_id = ANY(%(estates)s) AND (p.name_index = %(index)s OR p.id_number_index = %(index)s OR p.phone_index = %(index)s) "
    "ORDER BY p.code LIMIT 50"
)


def save_person(
    connection: Connection,
    code: str,
    *,
    sealed: Mapping[str, bytes | None],
    indexes: Mapping[str, bytes | None],
    wrapped: bytes,
    wrapped_by: str,
    collected_for: str,
) -> bool:
    """Keep a resident's sealed fields and the wrapped key, in place of those before; False where no such resident lives at an estate."""
    row = connection.execute(
        "INSERT INTO people.persons AS p (resident_id, estate_id, code, name, id_number, phone, name_index, id_number_index, phone_index, "
        "collected_for) SELECT r.id, u.estate_id, r.code, %(name)s, %(id_number)s, %(phone)s, %(xname)s, %(xid_number)s, %(xphone)s, %(why)s "
        "FROM residents r JOIN tenancies t ON t.household_id = r.household_id JOIN units u ON u.id = t.unit_id WHERE r.code = %(code)s "
        "ORDER BY t.valid_from DESC LIMIT 1 ON CONFLICT (resident_id) DO UPDATE SET estate_id = excluded.estate_id, name = excluded.name, "
        "id_number = excluded.id_number, phone = excluded.phone, name_index = excluded.name_index, id_number_index = excluded.id_number_index, "
        "phone_index = excluded.phone_index, collected_for = excluded.collected_for RETURNING id",
        {
            **sealed,
            **{f"x{name}": index for name, index in indexes.items()},
            "code": code,
            "why": collected_for,
        },
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "INSERT INTO people.data_keys (person_id, wrapped, wrapped_by) VALUES (%s, %s, %s) ON CONFLICT (person_id) DO UPDATE "
        "SET wrapped = excluded.wrapped, wrapped_by = excluded.wrapped_by, made_at = now()",
        [row["id"], wrapped, wrapped_by],
    )
    return True


def list_persons(
    connection: Connection, estate_id: int, after: str | None, limit: int
) -> list[dict[str, Any]]:
    """List an estate's persons by code, sealed."""
    return connection.execute(
        _LIST, {"estate": estate_id, "after": after, "limit": limit}
    ).fetchall()


def find_person(connection: Connection, estates: Sequence[int], code: str) -> dict[str, Any] | None:
    """Read one person within a scope, sealed."""
    return connection.execute(_ONE, [code, list(estates)]).fetchone()


def find_by_index(
    connection: Connection, estates: Sequence[int], index: bytes
) -> list[dict[str, Any]]:
    """Find persons one of whose fields has an index: that field is equal to what was asked for."""
    return connection.execute(_BY_INDEX, {"estates": list(estates), "index": index}).fetchall()


def list_codes(connection: Connection) -> list[dict[str, Any]]:
    """List the codes of all who can be read."""
    return connection.execute(
        "SELECT p.id, p.code FROM people.persons p JOIN people.data_keys k ON k.person_id = p.id ORDER BY p.id"
    ).fetchall()


# Erasing --------------------------------------------------------------------------------------------------------------


def was_erased(connection: Connection, code_index: bytes) -> bool:
    """Tell whether somebody with this code was erased."""
    row = connection.execute(
        "SELECT 1 FROM people.erasures WHERE code_index = %s", [code_index]
    ).fetchone()
    return row is not None


def erase(connection: Connection, code: str, code_index: bytes, *, actor: str, reason: str) -> bool:
    """Delete a person's key, fields and indexes, and note that; False where nobody has that code."""
    row = connection.execute(
        "UPDATE people.persons SET name = NULL, id_number = NULL, phone = NULL, name_index = NULL, id_number_index = NULL, "
        "phone_index = NULL, keep_until = NULL WHERE code = %s RETURNING id",
        [code],
    ).fetchone()
    if row is None:
        return False
    connection.execute("DELETE FROM people.data_keys WHERE person_id = %s", [row["id"]])
    connection.execute(
        "INSERT INTO people.erasures (code_index, erased_by, reason) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [code_index, actor, reason],
    )
    return True


def holds_on(connection: Connection, code: str) -> list[dict[str, Any]]:
    """List what keeps a person from being erased: holds that people put, and compliance leads and hazards that stand about the home."""
    return connection.execute(
        "SELECT h.id, h.reason, h.made_at, h.made_by FROM people.holds h JOIN people.persons p ON p.id = h.person_id "
        "WHERE p.code = %s AND h.released_at IS NULL ORDER BY h.id",
        [code],
    ).fetchall()


def add_hold(connection: Connection, person_id: int, reason: str, *, actor: str) -> int:
    """Keep a person from being erased; returns the hold's id."""
    row = connection.execute(
        "INSERT INTO people.holds (person_id, reason, made_by) VALUES (%s, %s, %s) RETURNING id",
        [person_id, reason, actor],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def release_hold(
    connection: Connection, hold_id: int, estates: Sequence[int], *, actor: str
) -> bool:
    """End a hold; False where there is none within reach."""
    done = connection.execute(
        "UPDATE people.holds h SET released_at = now(), released_by = %s FROM people.persons p WHERE h.id = %s AND p.id = h.person_id "
        "AND p.estate_id = ANY(%s) AND h.released_at IS NULL",
        [actor, hold_id, list(estates)],
    )
    return done.rowcount == 1


def due(connection: Connection, today: date, keep_days: int) -> list[str]:
    """List the codes of persons whose last tenancy ended longer ago than they are kept, and on whom no hold stands."""
    rows = connection.execute(
        "SELECT p.code FROM people.persons p JOIN people.data_keys k ON k.person_id = p.id JOIN residents r ON r.id = p.resident_id "
        "WHERE NOT EXISTS (SELECT FROM people.holds h WHERE h.person_id = p.id AND h.released_at IS NULL) AND coalesce(p.keep_until, "
        "(SELECT max(least(coalesce(t.valid_to, 'infinity'), coalesce(r.valid_to, 'infinity'))) FROM tenancies t "
        "WHERE t.household_id = r.household_id) + CASE WHEN p.keep_until IS NULL THEN %s ELSE 0 END) < %s ORDER BY p.id LIMIT 1000",
        [keep_days, today],
    )
    return [row["code"] for row in rows]


# Keys -----------------------------------------------------------------------------------------------------------------


def wrapped_by_others(connection: Connection, current: str, limit: int) -> list[dict[str, Any]]:
    """Take persons' keys that another than the current one wrapped."""
    return connection.execute(
        "SELECT k.person_id, k.wrapped, k.wrapped_by, p.code FROM people.data_keys k JOIN people.persons p ON p.id = k.person_id "
        "WHERE k.wrapped_by <> %s ORDER BY k.person_id LIMIT %s FOR UPDATE OF k",
        [current, limit],
    ).fetchall()


def save_wrapped(connection: Connection, person_id: int, wrapped_by: str, wrapped: bytes) -> None:
    """Keep a person's key as another key wrapped it."""
    connection.execute(
        "UPDATE people.data_keys SET wrapped = %s, wrapped_by = %s WHERE person_id = %s",
        [wrapped, wrapped_by, person_id],
    )


def keys_in_use(connection: Connection) -> dict[str, int]:
    """Count what each of the site's keys wraps."""
    rows = connection.execute(
        "SELECT name, count(*) AS n FROM (SELECT wrapped_by AS name FROM people.data_keys UNION ALL "
        "SELECT split_part(encode(totp_sealed, 'escape'), '\\000', 1) FROM users WHERE totp_sealed IS NOT NULL) k GROUP BY name ORDER BY name"
    )
    return {row["name"]: row["n"] for row in rows}


def sealed_second_factors(connection: Connection) -> list[dict[str, Any]]:
    """List the sealed second factors."""
    return connection.execute(
        "SELECT id, totp_sealed FROM users WHERE totp_sealed IS NOT NULL ORDER BY id FOR UPDATE"
    ).fetchall()


def save_second_factor(connection: Connection, user_id: int, sealed: bytes) -> None:
    """Keep a second factor as another key sealed it."""
    connection.execute("UPDATE users SET totp_sealed = %s WHERE id = %s", [sealed, user_id])


def vacuum(connection: Connection) -> None:
    """Have the database overwrite what was erased; the connection must be in autocommit."""
    connection.execute("VACUUM (FREEZE) people.persons")
    connection.execute("VACUUM (FREEZE) people.data_keys")


# Looking --------------------------------------------------------------------------------------------------------------


def add_lookup(
    connection: Connection,
    *,
    person_id: int,
    estate_id: int,
    user_id: int,
    asked_by: str,
    role: str,
    purpose: str,
    reference: str,
    fields: Sequence[str],
    granted: bool,
    expires_at: datetime,
) -> int:
    """Note that somebody asks to look at a person; returns its id."""
    row = connection.execute(
        "INSERT INTO people.lookups (person_id, estate_id, user_id, asked_by, role, purpose, reference, fields, state, decided_at, expires_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END, %s) RETURNING id",
        [
            person_id,
            estate_id,
            user_id,
            asked_by,
            role,
            purpose,
            reference,
            list(fields),
            "granted" if granted else "asked",
            granted,
            expires_at,
        ],
    ).fetchone()
    assert row is not None
    return int(row["id"])


_LOOKUP = (
    "SELECT l.id, l.person_id, p.code, e.code AS estate, l.estate_id, l.user_id, l.asked_by, l.role, l.asked_at, l.purpose, l.reference, "
    "l.fields, l.state, l.decided_by, l.decided_at, l.shown_at, l.expires_at, l.expires_at <= now() AS over FROM people.lookups l "
    "JOIN estates e ON e.id = l.estate_id LEFT JOIN people.persons p ON p.id = l.person_id "
)
_FIND_LOOKUP = _LOOKUP + "WHERE l.id = %s AND l.estate_id = ANY(%s) FOR UPDATE OF l"
_LIST_LOOKUPS = _LOOKUP + (
    "WHERE l.estate_id = ANY(%(estates)s) AND (%(all)s OR l.user_id = %(me)s) AND (NOT %(open)s OR l.state = 'asked' AND l.expires_at > now()) "
    "AND (%(before)s::bigint IS NULL OR l.id < %(before)s) ORDER BY l.id DESC LIMIT %(limit)s"
)


def find_lookup(
    connection: Connection, lookup_id: int, estates: Sequence[int]
) -> dict[str, Any] | None:
    """Read and lock a look-up within a scope."""
    return connection.execute(_FIND_LOOKUP, [lookup_id, list(estates)]).fetchone()


def list_lookups(
    connection: Connection,
    estates: Sequence[int],
    *,
    me: int,
    everybody: bool,
    open_only: bool,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """List look-ups within a scope, newest first: one's own, or everybody's for those who decide."""
    values = {
        "estates": list(estates),
        "all": everybody,
        "me": me,
        "open": open_only,
        "before": before,
        "limit": limit,
    }
    return connection.execute(_LIST_LOOKUPS, values).fetchall()


def decide_lookup(
    connection: Connection,
    lookup_id: int,
    *,
    granted: bool,
    decider: tuple[int, str],
    expires_at: datetime,
) -> bool:
    """Grant or refuse what somebody else asked for; False where it is decided or over already."""
    done = connection.execute(
        "UPDATE people.lookups SET state = %s, decider_id = %s, decided_by = %s, decided_at = now(), expires_at = %s WHERE id = %s "
        "AND state = 'asked' AND expires_at > now() AND user_id <> %s",
        ["granted" if granted else "refused", *decider, expires_at, lookup_id, decider[0]],
    )
    return done.rowcount == 1


def note_shown(connection: Connection, lookup_id: int) -> None:
    """Note that a look-up was used."""
    connection.execute(
        "UPDATE people.lookups SET shown_at = coalesce(shown_at, now()) WHERE id = %s", [lookup_id]
    )


def persons_looked_at(connection: Connection, user_id: int, since: datetime) -> set[int]:
    """Return the persons that a log-in asked for since an instant."""
    rows = connection.execute(
        "SELECT DISTINCT person_id FROM people.lookups WHERE user_id = %s AND asked_at > %s AND person_id IS NOT NULL",
        [user_id, since],
    )
    return {row["person_id"] for row in rows}


def looks(connection: Connection, since: datetime) -> list[dict[str, Any]]:
    """List looks since an instant: who, at whom, where, when, and the estate's time zone."""
    return connection.execute(
        "SELECT l.user_id, l.asked_by AS name, l.person_id, l.estate_id, e.code AS estate, e.timezone, l.asked_at FROM people.lookups l "
        "JOIN estates e ON e.id = l.estate_id WHERE l.asked_at > %s ORDER BY l.asked_at",
        [since],
    ).fetchall()


def homes_looked_at(connection: Connection, since: datetime, at_least: int) -> list[dict[str, Any]]:
    """List who looked at what is used in many homes of an estate since an instant, from the audit record."""
    return connection.execute(
        "SELECT a.actor AS name, a.estate_id, e.code AS estate, count(DISTINCT a.subject) AS homes FROM audit_log a "
        "JOIN estates e ON e.id = a.estate_id WHERE a.at > %s AND a.subject LIKE 'unit:%%' GROUP BY 1, 2, 3 HAVING count(DISTINCT a.subject) >= %s",
        [since, at_least],
    ).fetchall()


def held_about(connection: Connection, person_id: int) -> dict[str, list[dict[str, Any]]]:
    """Read what else is held about a person, for a report to that person: register rows, watches, and who looked and why."""
    ask = connection.execute
    return {
        "residences": ask(
            "SELECT e.code AS estate, u.code AS unit, r.role, greatest(t.valid_from, r.valid_from) AS from_day, "
            "least(t.valid_to, r.valid_to) AS to_day FROM people.persons p JOIN residents r ON r.id = p.resident_id "
            "JOIN tenancies t ON t.household_id = r.household_id JOIN units u ON u.id = t.unit_id JOIN estates e ON e.id = u.estate_id "
            "WHERE p.id = %s ORDER BY 4",
            [person_id],
        ).fetchall(),
        "looked_at": ask(
            "SELECT l.asked_at, l.role, l.purpose, l.reference, l.fields, l.state, l.shown_at FROM people.lookups l "
            "WHERE l.person_id = %s ORDER BY l.id",
            [person_id],
        ).fetchall(),
        "holds": ask(
            "SELECT reason, made_at, released_at FROM people.holds WHERE person_id = %s ORDER BY id",
            [person_id],
        ).fetchall(),
    }


def export_erasures(connection: Connection) -> list[dict[str, str]]:
    """List who was erased, as codes under the site's key, for a restore of an older backup."""
    return connection.execute(
        "SELECT encode(code_index, 'hex') AS code_index, erased_at::text AS erased_at, erased_by, reason FROM people.erasures ORDER BY erased_at"
    ).fetchall()


def import_erasures(connection: Connection, rows: Sequence[Mapping[str, str]]) -> None:
    """Take over a list of who was erased; those known already stay as they are."""
    for row in rows:
        connection.execute(
            "INSERT INTO people.erasures (code_index, erased_at, erased_by, reason) VALUES (decode(%(code_index)s, 'hex'), "
            "%(erased_at)s::timestamptz, %(erased_by)s, %(reason)s) ON CONFLICT DO NOTHING",
            row,
        )
