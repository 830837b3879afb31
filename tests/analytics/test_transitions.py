"""Delays as a law: whatever a device says and however it arrives, an alert stands exactly while its
condition has lasted.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics import transitions
from analytics.display_rules import DisplayRule
from analytics.transitions import ConditionTransition
from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind
from store.analytics import delay_timers
from store.database.connection import Connection
from tests.store.alerts.test_alerts import estate, wanted

pytestmark = pytest.mark.real
START = datetime(2026, 3, 1, tzinfo=UTC)


def expected(said: list[tuple[int, bool]], on_delay: int, off_delay: int, now: int) -> bool:
    """The condition by its definition: on since it was on for on_delay, until it was off for
    off_delay.
    """
    stands, since, over = False, None, None
    for at, on in [*said, (now, None)]:
        if not stands and since is not None and at - since >= on_delay:
            stands = True
        if stands and over is not None and at - over >= off_delay:
            stands, since, over = False, None, None
        if on is True:
            over = None
            since = at if since is None else since
        elif on is False:
            over = at if stands and over is None else over
            since = since if stands else None
    return stands


@pytest.mark.parametrize("seed", range(12))
def test_an_alert_stands_exactly_while_its_condition_has_lasted(
    connection: Connection, seed: int
) -> None:
    rng = random.Random(seed)
    estate_id = estate(connection)
    on_delay, off_delay = rng.choice([0, 60]), rng.choice([0, 30])
    shown = DisplayRule(
        alert_class=AlertClass.DATA,
        severity=Severity.LOW,
        on_delay=timedelta(seconds=on_delay),
        off_delay=timedelta(seconds=off_delay),
    )
    key = AlertKey(detector="hazard:smoke", subject_kind=SubjectKind.DEVICE, subject_id=7)
    said: list[tuple[int, bool]] = []
    clock = 0
    for _ in range(60):
        clock += rng.choice([1, 5, 20, 45, 90])
        batch = []
        for _ in range(rng.choice([1, 1, 1, 3])):
            on = rng.random() < 0.5
            # Within a batch times rise; a device's own clock may be a little behind ours.
            said.append((clock, on))
            batch.append((clock, on))
            clock += rng.choice([1, 10, 70])
        now = START + timedelta(seconds=clock)
        with connection.transaction():
            transitions.apply(
                connection, [turn(key, at, on, shown, estate_id) for at, on in batch], now
            )
        with connection.transaction():
            due = delay_timers.take_due_timers(connection, now, [])
            transitions.expire_timers(connection, due, now)
        row = connection.execute(
            "SELECT count(*) AS n FROM alerts WHERE ended_at IS NULL"
        ).fetchone()
        assert row is not None and bool(row["n"]) == expected(said, on_delay, off_delay, clock), (
            said,
            clock,
        )


def turn(
    key: AlertKey, at: int, on: bool, shown: DisplayRule, estate_id: int
) -> ConditionTransition:
    when = START + timedelta(seconds=at)
    values: dict[str, Any] = {
        "alert_class": AlertClass.DATA,
        "severity": Severity.LOW,
        "since_at": when,
    }
    alert = wanted(estate_id, **values) if on else None
    return ConditionTransition(key=key, at=when, rule=shown, source={}, alert=alert)
