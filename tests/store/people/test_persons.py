"""Persons as the database knows them."""

from __future__ import annotations

from datetime import date

import pytest

from store.database.connection import Connection
from store.people import erasures, persons, wrapped_keys
from store.people.persons import NewPerson
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def test_a_resident_without_a_home_is_nobody_here(connection: Connection) -> None:
    register(connection)
    connection.execute("INSERT INTO households (code) VALUES ('h-9')")
    connection.execute(
        "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-9', id, '2020-01-01' "
        "FROM households WHERE code = 'h-9'"
    )
    nothing: dict[str, bytes | None] = dict.fromkeys(("name", "id_number", "phone"))
    assert not persons.save_person(
        connection,
        NewPerson(
            code="r-9",
            sealed=nothing,
            indexes=nothing,
            wrapped=b"w",
            wrapped_by="k",
            collected_for="x",
        ),
    )
    assert (
        erasures.list_due(connection, date(2026, 1, 1), 0) == []
        and wrapped_keys.count_wrapped(connection) == {}
    )
