"""No sign of life: the person's own hours, out is out, deaf is not quiet, stages, and a visit that
found them well.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import welfare
from analytics.policy import load_policy
from analytics.welfare import StageDelays, WatchedHome, awake_time, judge
from casework import alert_steps
from domain.access import Principal, Role
from store.alerts import welfare as store_welfare
from store.database.connection import Connection
from tests.ingest.conftest import register
from tests.store.alerts.test_alerts import list_all

ZONE = ZoneInfo("Asia/Shanghai")
STAGES = StageDelays(neighbour=timedelta(minutes=30), visit=timedelta(minutes=60))


def local(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+08:00")


def home(since: str, **values: Any) -> WatchedHome:
    return WatchedHome(
        **{
            "last_sign_at": local(since),
            "sensor_at": local("2026-03-05 06:00"),
            "is_out": False,
            "quiet": timedelta(hours=10),
            "awake": (time(7), time(22)),
            "zone": ZONE,
            **values,
        }
    )


@pytest.mark.parametrize(
    ("since", "now", "todo"),
    [
        ("2026-03-04 18:00", "2026-03-05 12:59", None),
        ("2026-03-04 18:00", "2026-03-05 13:00", "call"),
        ("2026-03-04 18:00", "2026-03-05 13:31", "neighbour"),
        ("2026-03-04 18:00", "2026-03-05 14:00", "visit"),
        ("2026-03-04 08:00", "2026-03-05 02:00", None),
        ("2026-03-04 08:00", "2026-03-04 22:00", None),
        ("2026-03-04 08:00", "2026-03-05 07:00", "visit"),
    ],
)
def test_quiet_hours_count_while_the_person_is_awake_and_nobody_is_called_at_night(
    since: str, now: str, todo: str | None
) -> None:
    assert judge(home(since), STAGES, local(now)) == todo


def test_who_is_out_is_not_looked_for_and_a_deaf_home_is_not_quiet() -> None:
    now = local("2026-03-05 20:00")
    assert judge(home("2026-03-04 08:00", is_out=True), STAGES, now) is None
    assert judge(home("2026-03-04 08:00", sensor_at=None), STAGES, now) == "cannot_judge"
    assert (
        judge(home("2026-03-05 19:00", sensor_at=local("2026-03-04 08:00")), STAGES, now)
        == "cannot_judge"
    )


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)),
    st.integers(0, 5_000),
    st.integers(0, 5_000),
)
def test_awake_time_adds_up(begin: datetime, first: int, second: int) -> None:
    since = begin.replace(tzinfo=UTC)
    middle, end = since + timedelta(minutes=first), since + timedelta(minutes=first + second)
    one = home("2026-03-04 08:00")
    assert awake_time(since, middle, one) + awake_time(middle, end, one) == awake_time(
        since, end, one
    )
    assert timedelta(0) <= awake_time(since, end, one) <= end - since


@pytest.mark.real
def test_the_stages_call_again_and_a_visit_that_found_them_well_ends_it(
    connection: Connection,
) -> None:
    register(connection)
    unit = connection.execute("SELECT id, estate_id FROM units WHERE code = 'u-1'").fetchone()
    assert unit is not None
    connection.execute(
        "INSERT INTO residents (code, household_id, valid_from) SELECT 'p-1', id, "
        "'2020-01-01' FROM households"
    )
    made = store_welfare.add_watch(
        connection,
        store_welfare.NewWelfareWatch(
            unit_id=unit["id"],
            resident="p-1",
            quiet_hours=10,
            awake_from=time(7),
            awake_to=time(22),
            consented_at=local("2026-03-04 18:00"),
        ),
        actor="wang",
    )
    assert made is not None
    policy = load_policy()

    def check(text: str, heard: bool = True) -> list[tuple[str, str, str]]:
        now = local(text)
        if heard:
            connection.execute(
                "WITH p AS (INSERT INTO points (device_id, name) SELECT id, 'water_m3' "
                "FROM devices WHERE code = 'wm-1' ON CONFLICT "
                "(device_id, name) DO UPDATE SET name = excluded.name RETURNING id) "
                "INSERT INTO latest_values SELECT id, %s, 1 FROM p "
                "ON CONFLICT (point_id) DO UPDATE SET at = excluded.at",
                [now],
            )
        welfare.check(connection, policy, now)
        connection.commit()
        rows = connection.execute(
            "SELECT severity, acknowledgement, reasons FROM alerts WHERE ended_at IS NULL"
        ).fetchall()
        return [(r["severity"], r["acknowledgement"], r["reasons"][0]) for r in rows]

    assert check("2026-03-05 12:50") == []
    assert check("2026-03-05 13:05") == [("medium", "unacknowledged", "call")]
    alert = connection.execute("SELECT id FROM alerts").fetchone()
    assert alert is not None
    who = Principal(
        user_id=1, name="wang", role=Role.PROPERTY_MANAGER, estate_ids=(unit["estate_id"],)
    )
    target = alert_steps.StepTarget(alert_id=alert["id"])
    alert_steps.acknowledge(connection, who, target)
    assert check("2026-03-05 13:20") == [("medium", "acknowledged", "call")]
    assert check("2026-03-05 13:35") == [("high", "unacknowledged", "neighbour")], (
        "it calls again when the next step is due"
    )
    assert check("2026-03-05 14:10") == [("critical", "unacknowledged", "visit")]
    connection.execute("UPDATE alerts SET raised_at = %s", [local("2026-03-05 13:05")])
    alert_steps.dismiss(connection, who, target, note="she is well, was at her sister's")
    connection.execute("UPDATE alerts SET ended_at = %s", [local("2026-03-05 14:30")])
    assert check("2026-03-05 15:00") == [] and check("2026-03-05 21:59") == []
    assert check("2026-03-06 09:40") == [("medium", "unacknowledged", "call")], (
        "ten waking hours after the visit"
    )
    newest = list_all(connection)[-1]
    assert "打电话" in policy.sentence(newest, "zh") and "p-1" not in str(newest.evidence)
    assert store_welfare.end_watch(connection, made, (unit["estate_id"],), actor="wang")
    assert store_welfare.list_watches(connection, (unit["estate_id"],)) == []
