"""Condition transitions, in the words of ISA-18.2: on-delay, off-delay, latch and return to normal.

A transition says that a condition of one subject became active or returned to normal. With an
on-delay the condition must last before its alert is raised; with an off-delay it must stay normal
for a while before its alert returns. Delays count by the times of the transitions, so a backlog is
judged as it happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from analytics.display_rules import DisplayRule
from domain.alerting import AlertCondition, AlertKey, DetectorFamily, DetectorName, returned
from store.alerts import alerts, changes
from store.alerts.alerts import Alert
from store.alerts.changes import AlertStep
from store.alerts.raising import NewAlert, raise_alert
from store.analytics import delay_timers, watch
from store.analytics.delay_timers import DelayKind, DelayTimer
from store.database.connection import Connection

ACTOR = "watch"
#: A condition that returned to normal this long ago does not latch: nobody can still act on it.
TOO_LATE_TO_ACT = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionTransition:
    """A condition that became active at an instant, or returned to normal."""

    key: AlertKey
    at: datetime
    rule: DisplayRule
    source: Mapping[str, Any]
    """What reported it."""
    alert: NewAlert | None = None
    """The alert to raise where the condition became active; None for a return to normal."""


def apply(connection: Connection, transitions: Iterable[ConditionTransition], now: datetime) -> int:
    """Act on transitions in their order, inside one transaction.

    Returns how many alerts changed.
    """
    pending = list(transitions)
    if not pending:
        return 0
    batch = _TransitionBatch(connection, {transition.key for transition in pending}, now)
    for transition in pending:
        if transition.alert is None:
            batch.return_to_normal(transition)
        else:
            batch.activate(transition, transition.alert)
    batch.save_timers()
    return batch.changed


def expire_timers(connection: Connection, timers: Sequence[DelayTimer], now: datetime) -> int:
    """Act on timers that were taken because they are due; returns how many alerts changed."""
    changed = 0
    for timer in timers:
        if timer.kind is DelayKind.ON_DELAY:
            changed += _raise_delayed(connection, timer, now, until=timer.due_at)
            continue
        alert = alerts.lock_open_alert(connection, timer.key)
        if alert is not None:
            _return_to_normal(connection, alert, timer.at, timer.source, now)
            changed += 1
    return changed


class _TransitionBatch:
    """The open alerts and the timers of some keys, while a batch of transitions is applied."""

    def __init__(self, connection: Connection, keys: Collection[AlertKey], now: datetime) -> None:
        self.changed = 0
        self._connection = connection
        self._now = now
        self._alerts = alerts.lock_open_alerts(connection, keys)
        self._timers = delay_timers.find_timers(connection, keys)
        self._stored_timers = dict(self._timers)
        #: Keys whose alerts this batch has changed: they are read again when they are needed.
        self._outdated: set[AlertKey] = set()

    def activate(self, transition: ConditionTransition, alert: NewAlert) -> None:
        """Act on a condition that became active."""
        self._stop_off_delay(transition)
        if transition.rule.on_delay and not self._is_active(transition.key):
            self._run_on_delay(transition)
            return
        _raise(self._connection, alert, transition.source, self._now)
        self._note_changed(transition.key)

    def return_to_normal(self, transition: ConditionTransition) -> None:
        """Act on a condition that returned to normal."""
        timer = self._timers.get(transition.key)
        if timer is not None and timer.kind is DelayKind.ON_DELAY:
            del self._timers[transition.key]
            if transition.at < timer.due_at:
                return
            self._expire_on_delay(timer, until=transition.at)
        alert = self._open_alert(transition.key)
        if alert is None or alert.since_at > transition.at:
            return
        if alert.condition is AlertCondition.RETURNED:
            return
        if not transition.rule.off_delay:
            self._return(alert, transition.at, transition.source)
        elif transition.key not in self._timers:
            self._start_timer(DelayKind.OFF_DELAY, transition, transition.rule.off_delay)

    def save_timers(self) -> None:
        """Store the timers that have changed."""
        stopped = [key for key in self._stored_timers if key not in self._timers]
        started = [
            timer
            for key, timer in self._timers.items()
            if self._stored_timers.get(key) is not timer
        ]
        delay_timers.drop_timers(self._connection, stopped)
        delay_timers.set_timers(self._connection, started)

    def _stop_off_delay(self, transition: ConditionTransition) -> None:
        """Stop the off-delay of a condition that is active again."""
        timer = self._timers.get(transition.key)
        if timer is None or timer.kind is not DelayKind.OFF_DELAY:
            return
        del self._timers[transition.key]
        if transition.at < timer.due_at:
            return
        alert = self._open_alert(transition.key)
        if alert is not None:
            self._return(alert, timer.at, timer.source)

    def _run_on_delay(self, transition: ConditionTransition) -> None:
        """Start the on-delay of a condition, or raise its alert where it has run out."""
        timer = self._timers.get(transition.key)
        if timer is None:
            self._start_timer(DelayKind.ON_DELAY, transition, transition.rule.on_delay)
        elif transition.at >= timer.due_at:
            del self._timers[transition.key]
            self._expire_on_delay(timer, until=transition.at)

    def _expire_on_delay(self, timer: DelayTimer, *, until: datetime) -> None:
        self.changed += _raise_delayed(self._connection, timer, self._now, until=until)
        self._outdated.add(timer.key)

    def _return(self, alert: Alert, at: datetime, source: Mapping[str, Any]) -> None:
        _return_to_normal(self._connection, alert, at, source, self._now)
        self._note_changed(alert.key)

    def _start_timer(
        self, kind: DelayKind, transition: ConditionTransition, delay: timedelta
    ) -> None:
        # A device's clock may be ahead of ours: a delay begins now at the latest.
        at = min(transition.at, self._now)
        self._timers[transition.key] = DelayTimer(
            key=transition.key,
            kind=kind,
            at=at,
            due_at=at + delay,
            source=transition.source,
            alert=transition.alert,
        )

    def _is_active(self, key: AlertKey) -> bool:
        alert = self._open_alert(key)
        return alert is not None and alert.condition is not AlertCondition.RETURNED

    def _open_alert(self, key: AlertKey) -> Alert | None:
        if key in self._outdated:
            self._outdated.remove(key)
            self._alerts.pop(key, None)
            alert = alerts.lock_open_alert(self._connection, key)
            if alert is not None:
                self._alerts[key] = alert
        return self._alerts.get(key)

    def _note_changed(self, key: AlertKey) -> None:
        self.changed += 1
        self._outdated.add(key)


def _raise_delayed(
    connection: Connection, timer: DelayTimer, now: datetime, *, until: datetime
) -> int:
    """Raise the alert of an on-delay that has run out; returns how many alerts changed.

    Nothing is raised where the stored events say that the condition ended before `until`.
    """
    assert timer.alert is not None
    ended_at = _find_end(connection, timer.alert)
    if ended_at is not None and ended_at < until:
        return 0
    _raise(connection, timer.alert, timer.source, now)
    return 1


def _raise(connection: Connection, new: NewAlert, source: Mapping[str, Any], now: datetime) -> None:
    """Raise an alert; where the end of its condition is stored already, it returns at once."""
    raised = raise_alert(connection, new, actor=ACTOR, source=source)
    if not raised.is_new:
        return
    ended_at = _find_end(connection, new)
    if ended_at is None:
        return
    alert = alerts.lock_open_alert(connection, new.key)
    if alert is not None:
        end_source = {**source, "at": ended_at.isoformat()}
        _return_to_normal(connection, alert, ended_at, end_source, now)


def _find_end(connection: Connection, new: NewAlert) -> datetime | None:
    """Return when the condition of an alert ended, where an event that says so is stored."""
    detector = DetectorName.parse(new.key.detector)
    if detector.family not in (DetectorFamily.HAZARD, DetectorFamily.DEVICE):
        return None
    return watch.find_condition_end(connection, new.key.subject_id, detector, new.since_at)


def _return_to_normal(
    connection: Connection,
    alert: Alert,
    at: datetime,
    source: Mapping[str, Any],
    now: datetime,
) -> None:
    """Note that an alert's condition returned to normal."""
    changes.note_occurrence(connection, alert.id, at, "off", source)
    state = returned(alert.state)
    if now - at > TOO_LATE_TO_ACT:
        # A gateway's backlog: the danger passed before anyone could act, so the alert does not
        # latch.
        state = replace(state, ended=True)
    changes.set_state(connection, alert.id, state, AlertStep(actor=ACTOR, name="returned"))
