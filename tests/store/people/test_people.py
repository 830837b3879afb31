"""People, files and kept answers as the store has them, within a scope and for their time only."""

from __future__ import annotations

from datetime import date

import pytest

from domain.access import Role
from store.access import exports, idempotency, sessions, users
from store.database.connection import Connection
from store.people import people
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def user(connection: Connection, name: str = "wang") -> int:
    return users.add_user(connection, name, "x", Role.COMPLIANCE)


def test_a_file_is_its_owners_for_an_hour(connection: Connection) -> None:
    mine, other = user(connection), user(connection, "li")
    made = exports.save_export(connection, mine, "alerts", "a.csv", b"s", b"content", 3)
    found = exports.find_export(connection, made, mine)
    assert found is not None and bytes(found["content"]) == b"content"
    assert exports.find_export(connection, made, other) is None
    connection.execute("UPDATE exports SET expires_at = now()")
    assert exports.find_export(connection, made, mine) is None


def test_occupancy_counts_each_building(connection: Connection) -> None:
    register(connection)
    ids = [row["id"] for row in connection.execute("SELECT id FROM estates")]
    assert exports.occupancy(connection, ids) == [
        {"estate": "es", "building": "none", "homes": 1, "let": 1, "unoccupied_leads": 0}
    ]
    assert exports.occupancy(connection, []) == []


def test_an_answer_is_kept_for_a_day(connection: Connection) -> None:
    mine = user(connection)
    assert idempotency.claim(connection, mine, "k", b"d") == idempotency.StoredAnswer(
        status=None, answer=None
    )
    idempotency.keep(connection, mine, "k", 201, {"id": 1})
    assert idempotency.claim(connection, mine, "k", b"d") == idempotency.StoredAnswer(
        status=201, answer={"id": 1}
    )
    assert idempotency.claim(connection, mine, "k", b"other") is None
    connection.execute("UPDATE idempotency_keys SET made_at = now() - interval '25 hours'")
    assert idempotency.claim(connection, mine, "k", b"other") == idempotency.StoredAnswer(
        status=None, answer=None
    )


def test_a_resident_without_a_home_is_nobody_here(connection: Connection) -> None:
    register(connection)
    connection.execute("INSERT INTO households (code) VALUES ('h-9')")
    connection.execute(
        "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-9', id, '2020-01-01' FROM households WHERE code = 'h-9'"
    )
    nothing: dict[str, bytes | None] = dict.fromkeys(("name", "id_number", "phone"))
    assert not people.save_person(
        connection,
        "r-9",
        sealed=nothing,
        indexes=nothing,
        wrapped=b"w",
        wrapped_by="k",
        collected_for="x",
    )
    assert (
        people.due(connection, date(2026, 1, 1), 0) == [] and people.keys_in_use(connection) == {}
    )


def test_reaches_begin_and_end(connection: Connection) -> None:
    register(connection)
    mine = user(connection)
    assert users.find_principal(connection, "wang").estate_ids == ()  # type: ignore[union-attr]
    assert users.grant(connection, mine, by="t", estate="es") and not users.grant(
        connection, mine, by="t", estate="nowhere"
    )
    found = users.find_principal(connection, "wang")
    assert found is not None and len(found.estate_ids) == 1 and not found.everywhere
    connection.commit()
    row = connection.execute("SELECT id FROM grants").fetchone()
    assert (
        row is not None
        and users.withdraw(connection, row["id"], mine)
        and not users.withdraw(connection, row["id"], mine)
    )
    assert users.find_principal(connection, "wang").estate_ids == ()  # type: ignore[union-attr]
    assert users.grant(connection, mine, by="t")
    assert users.find_principal(connection, "wang").everywhere and sessions.IDLE_HOURS  # type: ignore[union-attr]
