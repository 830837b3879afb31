"""Timers: kept as they were set, one for each key, taken once they are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from store.analytics import delay_timers
from store.analytics.delay_timers import DelayKind, DelayTimer
from store.database.connection import Connection
from tests.store.alerts.test_alerts import estate, wanted

pytestmark = pytest.mark.real
AT = datetime(2026, 3, 1, tzinfo=UTC)


def make_timer(connection: Connection) -> DelayTimer:
    alert = wanted(estate(connection), reasons=("forced",), evidence={"place": "3-1"})
    return DelayTimer(
        key=alert.key,
        kind=DelayKind.ON_DELAY,
        at=AT,
        due_at=AT + timedelta(seconds=60),
        source={"device": "door-1"},
        alert=alert,
    )


def test_a_timer_is_read_as_it_was_set_with_its_alert(connection: Connection) -> None:
    timer = make_timer(connection)
    delay_timers.set_timers(connection, [timer])
    assert delay_timers.find_timers(connection, [timer.key]) == {timer.key: timer}
    assert delay_timers.list_delayed_keys(connection, [timer.key.detector]) == {timer.key}


def test_a_key_has_one_timer_and_an_off_delay_is_no_delayed_alert(connection: Connection) -> None:
    timer = make_timer(connection)
    later = replace(timer, kind=DelayKind.OFF_DELAY, alert=None, due_at=AT + timedelta(hours=1))
    delay_timers.set_timers(connection, [timer])
    delay_timers.set_timers(connection, [later])
    assert delay_timers.find_timers(connection, [timer.key]) == {timer.key: later}
    assert delay_timers.list_delayed_keys(connection, [timer.key.detector]) == set()
    delay_timers.drop_timers(connection, [timer.key])
    assert delay_timers.find_timers(connection, [timer.key]) == {}


def test_a_timer_is_taken_once_and_not_before_it_is_due(connection: Connection) -> None:
    timer = make_timer(connection)
    delay_timers.set_timers(connection, [timer])
    early = timer.due_at - timedelta(seconds=1)
    assert delay_timers.take_due_timers(connection, early, []) == []
    assert delay_timers.take_due_timers(connection, timer.due_at, []) == [timer]
    assert delay_timers.take_due_timers(connection, timer.due_at, []) == []
