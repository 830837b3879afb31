"""Files: for their owner, for an hour; homes counted by building."""

from __future__ import annotations

import pytest

from domain.access import Role
from store.access import exports, users
from store.access.exports import BuildingOccupancy, ExportFile
from store.database.connection import Connection
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def test_a_file_is_its_owners_for_an_hour(connection: Connection) -> None:
    owner = users.add_user(connection, "wang", "x", Role.COMPLIANCE)
    other = users.add_user(connection, "li", "x", Role.COMPLIANCE)
    file = ExportFile(kind="alerts", name="a.csv", secret=b"s", content=b"content")
    export_id = exports.save_export(connection, owner, file, rows=3)
    assert exports.find_export(connection, export_id, owner) == file
    assert exports.find_export(connection, export_id, other) is None
    connection.execute("UPDATE exports SET expires_at = now()")
    assert exports.find_export(connection, export_id, owner) is None


def test_occupancy_counts_each_building(connection: Connection) -> None:
    register(connection)
    ids = [row["id"] for row in connection.execute("SELECT id FROM estates")]
    assert exports.count_occupancy(connection, ids) == [
        BuildingOccupancy(estate="es", building="none", homes=1, let=1, unoccupied_leads=0)
    ]
    assert exports.count_occupancy(connection, []) == []
