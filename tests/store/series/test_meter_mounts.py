"""The registers behind a unit are listed with the time for which each was mounted there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.calendar import to_ms
from store.database.connection import Connection
from store.series.meter_mounts import list_meter_mounts, list_meters
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
CHANGED = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_changed_meter_is_two_mounts(connection: Connection) -> None:
    register(connection)
    connection.execute("UPDATE mounts SET valid_to = %s WHERE code = 'm-1'", [CHANGED])
    connection.execute(
        """
        INSERT INTO devices (estate_id, code, kind, profile)
        SELECT id, 'wm-new', 'water_meter', 'x' FROM estates WHERE code = 'es'
        """
    )
    connection.execute(
        """
        INSERT INTO mounts (code, device_id, unit_id, valid_from)
        SELECT 'm-new', d.id, u.id, %s
        FROM devices d, units u
        WHERE d.code = 'wm-new' AND u.code = 'u-1'
        """,
        [CHANGED],
    )
    connection.execute(
        """
        INSERT INTO points (device_id, name)
        SELECT id, 'water_m3' FROM devices WHERE code IN ('wm-1', 'wm-new')
        """
    )
    row = connection.execute("SELECT id FROM units WHERE code = 'u-1'").fetchone()
    assert row is not None
    mounts = list_meter_mounts(connection, [row["id"]], ["water_m3"])
    old, new = sorted(mounts, key=lambda mount: mount.from_ms)
    assert old.to_ms == new.from_ms == to_ms(CHANGED) and new.to_ms is None
    assert new.profile == "x" and {old.point, new.point} == {"water_m3"}
    assert list_meter_mounts(connection, [row["id"]], ["energy_kwh"]) == []
    meters = [meter for meter in list_meters(connection, [row["id"]]) if meter.point == "water_m3"]
    assert {meter.device_id for meter in meters} == {old.device_id, new.device_id}
