"""A lock is held for a block, let go of in any case, and nothing half done is kept."""

from __future__ import annotations

import pytest

from store.database.connection import advisory_lock, connect

pytestmark = pytest.mark.real


def free(dsn: str, number: int) -> bool:
    """Whether another connection could have the lock."""
    with connect(dsn) as connection:
        row = connection.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended('anju test', %s)) AS got", [number]
        ).fetchone()
    return bool(row and row["got"])


def test_it_is_held_for_the_block_and_what_fails_is_undone(dsn: str) -> None:
    with connect(dsn) as connection:
        connection.execute("CREATE TABLE half_done (n integer)")
        with advisory_lock(connection, "anju test", 7):
            assert not free(dsn, 7) and free(dsn, 8)
            connection.execute("INSERT INTO half_done VALUES (1)")
        assert free(dsn, 7)
        with pytest.raises(ZeroDivisionError), advisory_lock(connection, "anju test", 7):
            connection.execute("INSERT INTO half_done VALUES (2)")
            raise ZeroDivisionError
        assert free(dsn, 7)
        with pytest.raises(Exception, match="nowhere"), advisory_lock(connection, "anju test", 7):
            connection.execute("SELECT * FROM nowhere")
        assert free(dsn, 7)
        assert [row["n"] for row in connection.execute("SELECT n FROM half_done")] == [1]
