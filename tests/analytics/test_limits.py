"""Limits on what is measured: over and well under, a spike that passes, a meter that is silent,
water that runs away.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics import limits, watch
from analytics.policy import load_policy
from store.database.connection import Connection
from tests.ingest.conftest import register
from tests.store.alerts.test_alerts import list_all

pytestmark = pytest.mark.real
POLICY = load_policy()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def value(connection: Connection, device: str, point: str, at: datetime, number: float) -> None:
    connection.execute(
        "WITH p AS (INSERT INTO points (device_id, name) SELECT id, %s FROM devices WHERE "
        "code = %s ON CONFLICT (device_id, name) "
        "DO UPDATE SET name = excluded.name RETURNING id) INSERT INTO latest_values "
        "SELECT id, %s, %s FROM p "
        "ON CONFLICT (point_id) DO UPDATE SET at = excluded.at, value = excluded.value",
        [point, device, at, number],
    )
    connection.commit()


def standing(connection: Connection) -> list[dict[str, Any]]:
    return connection.execute("SELECT * FROM alerts WHERE ended_at IS NULL ORDER BY id").fetchall()


def gauge(connection: Connection, seconds: float, number: float, point: str = "residual_ma") -> int:
    now = NOW + timedelta(seconds=seconds)
    value(connection, "smoke-1", point, now, number)
    changed = limits.check_gauges(connection, POLICY, now)
    return changed + watch.tick(connection, POLICY, now)


def test_residual_current_over_its_limit_is_told_after_a_minute_and_stays_until_seen(
    connection: Connection,
) -> None:
    register(connection)
    assert gauge(connection, 0, 290) == 0 and gauge(connection, 10, 350) == 0
    assert gauge(connection, 30, 250) == 0 and gauge(connection, 95, 350) == 0, (
        "a spike that passes is not told"
    )
    assert gauge(connection, 160, 320) == 1
    (row,) = standing(connection)
    assert (row["detector"], row["alert_class"], row["evidence"]["value"]) == (
        "limit:residual_current",
        "life_safety",
        350,
    )
    (alert,) = list_all(connection)
    assert "350" in POLICY.sentence(alert, "zh")
    assert gauge(connection, 170, 260) == 0, "under the limit, not yet well under it"
    assert gauge(connection, 180, 100) == 1
    (row,) = standing(connection)
    assert row["condition"] == "returned", "it stays until a person has seen it"


def test_an_old_value_neither_raises_nor_ends_anything(connection: Connection) -> None:
    register(connection)
    value(connection, "smoke-1", "temperature_c", NOW - timedelta(hours=25), 120)
    assert limits.check_gauges(connection, POLICY, NOW) == 0 and standing(connection) == []
    assert (
        gauge(connection, 0, 95, "temperature_c") == 0
        and gauge(connection, 40, 96, "temperature_c") == 1
    )
    value(connection, "smoke-1", "temperature_c", NOW, 20)
    assert (
        limits.check_gauges(connection, POLICY, NOW + timedelta(days=2)) == 0
        and len(standing(connection)) == 1
    )


def flow(connection: Connection, flows: limits.WaterFlows, minutes: float, m3: float) -> int:
    now = NOW + timedelta(minutes=minutes)
    value(connection, "wm-1", "water_m3", now, m3)
    changed = flows.check(connection, POLICY, now)
    return changed + watch.tick(connection, POLICY, now)


def test_water_that_runs_away_is_told_and_a_bath_is_not(connection: Connection) -> None:
    register(connection)
    flows = limits.WaterFlows()
    # A meter read every ten minutes: a bath of a quarter of an hour, then a pipe that bursts.
    m3, told = 100.0, []
    for minute, litres in enumerate([0, 200, 100, 0, 0, *[250] * 6, 0]):
        m3 += litres / 1000
        told.append(flow(connection, flows, 10 * minute, m3))
    assert told == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1], told
    row = connection.execute("SELECT * FROM alerts").fetchone()
    assert row is not None and row["detector"] == "burst_pipe" and row["ended_at"] is not None
    assert row["since_at"] == NOW + timedelta(minutes=40)


def test_a_meter_read_by_the_hour_tells_it_an_hour_later_and_one_read_by_the_day_cannot(
    connection: Connection,
) -> None:
    register(connection)
    hourly, daily = limits.WaterFlows(), limits.WaterFlows()
    assert flow(connection, hourly, 0, 100.0) == 0 and flow(connection, hourly, 60, 100.8) == 0
    assert flow(connection, hourly, 120, 102.2) == 1
    connection.execute("UPDATE alerts SET ended_at = now()")
    assert flow(connection, daily, 0, 200.0) == 0 and flow(connection, daily, 1440, 240.0) == 0
    assert flow(connection, daily, 1500, 3.0) == 0, "a register that falls is no flow"
