"""What the database says of itself."""

from __future__ import annotations

import os

import pytest

from anju.demo.embedded import Postgres, make_database
from store.database import health
from store.database.connection import Connection, connect
from store.database.migration import list_migrations

pytestmark = pytest.mark.real


def test_a_database_without_its_tables(postgres: Postgres) -> None:
    with connect(make_database(postgres, "health_empty"), autocommit=True) as connection:
        found = health.examine(connection)
    # The tests' own server is started without fsync, for speed.
    assert (
        found.pending == len({migration.version for migration in list_migrations()})
        and found.level == "none"
        and found.unsafe == {"fsync": "off"}
        and not found.read_only
    )


def test_one_that_is_up_to_date(any_connection: Connection) -> None:
    found = health.examine(any_connection)
    assert (
        found.pending == 0
        and found.level in ("plain", "timescale")
        and found.gaps == found.quarantined == 0
    )
    assert found.version >= 150000 and {m.flavour for m in list_migrations()} >= {
        "plain",
        "timescale",
    }
    any_connection.execute("SET default_transaction_read_only = on")
    assert health.examine(any_connection).read_only


def test_counts_for_who_measures(connection: Connection) -> None:
    assert health.count_stored(connection) == health.count_rows(connection) == 0
    assert os.getpid() not in health.backend_pids(connection)
