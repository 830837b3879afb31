"""Conditions that turn on and off: the delays, the latch and the counting that every watched thing shares.

A turn is what a device or a check says of one subject. On-delay: it must have lasted before anyone is told; off-delay: it must be
over for a while before the alert ends. Both count by the time of the turn, so that a backlog is judged as it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from analytics.policy import DisplayRule
from domain.alerting import AlertClass, AlertCondition, Severity, returned
from store.alerts import alerts
from store.alerts.alerts import NewAlert
from store.analytics import watch
from store.analytics.watch import Key, Timer
from store.database.connection import Connection

ACTOR = "watch"
#: A hazard that was over this long ago does not latch: nobody could still act on it.
LATE = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionTransition:
    """Something turned on (with the alert that is wanted) or off (None) at an instant; `source` is who said so."""

    key: Key
    at: datetime
    shown: DisplayRule
    source: dict[str, Any]
    wanted: NewAlert | None = None


def apply(connection: Connection, turns: Iterable[ConditionTransition], now: datetime) -> int:
    """Act on turns in their order, inside one transaction; returns how many alerts changed."""
    todo = list(turns)
    if not todo:
        return 0
    keys = sorted({turn.key for turn in todo})
    state = _Standing(
        connection,
        {**alerts.find_standing(connection, keys)},
        watch.find_timers(connection, keys),
        now,
    )
    changed = sum(state.on(turn) if turn.wanted is not None else state.off(turn) for turn in todo)
    state.keep()
    return changed


def ring(connection: Connection, timers: Sequence[Timer], now: datetime) -> int:
    """Act on timers that are due and were taken off their table; returns how many alerts changed."""
    changed = 0
    for timer in timers:
        if timer.turns == "on":
            changed += _open(
                connection,
                _from_json(timer.source["wanted"]),
                timer.source["source"],
                now,
                until=timer.due_at,
            )
        else:
            row = alerts.find_open(connection, *timer.key)
            if row is not None:
                changed += _return(connection, row, timer.at, timer.source["source"], now)
    return changed


class _Standing:
    """What stands and what waits under some keys, while a batch of turns is worked through."""

    def __init__(
        self,
        connection: Connection,
        rows: dict[Key, dict[str, Any] | None],
        timers: dict[Key, Timer],
        now: datetime,
    ) -> None:
        self._connection, self._rows, self._timers, self._now = connection, rows, timers, now
        self._before = dict(timers)

    def on(self, turn: ConditionTransition) -> int:
        assert turn.wanted is not None
        changed, timer = 0, self._timers.get(turn.key)
        if timer is not None and timer.turns == "off":
            del self._timers[turn.key]
            if turn.at >= timer.due_at:
                # It had been over for long enough before it came again.
                changed = self._end(turn.key, timer)
            timer = None
        if turn.shown.on_delay and not self._stands(turn.key):
            if timer is None:
                self._wait(
                    turn,
                    "on",
                    turn.shown.on_delay,
                    {"wanted": _to_json(turn.wanted), "source": turn.source},
                )
            elif turn.at >= timer.due_at:
                # It has lasted: nothing came between.
                del self._timers[turn.key]
                changed += self._begin(turn.key, timer, turn.at)
            return changed
        self._rows[turn.key] = None
        return changed + _open(self._connection, turn.wanted, turn.source, self._now)

    def off(self, turn: ConditionTransition) -> int:
        timer, changed = self._timers.get(turn.key), 0
        if timer is not None and timer.turns == "on":
            del self._timers[turn.key]
            if turn.at < timer.due_at:
                return 0
            changed = self._begin(turn.key, timer, turn.at)
        row = self._read(turn.key)
        if row is None or row["since_at"] > turn.at or row["condition"] == AlertCondition.RETURNED:
            return changed
        if turn.shown.off_delay:
            if timer is not None and timer.turns == "off":
                return changed
            self._wait(turn, "off", turn.shown.off_delay, {"source": turn.source})
            return changed
        self._rows[turn.key] = None
        return changed + _return(self._connection, row, turn.at, turn.source, self._now)

    def _stands(self, key: Key) -> bool:
        row = self._read(key)
        return row is not None and row["condition"] != AlertCondition.RETURNED

    def _begin(self, key: Key, timer: Timer, until: datetime) -> int:
        """Raise what has waited for its on-delay."""
        self._rows[key] = None
        return _open(
            self._connection,
            _from_json(timer.source["wanted"]),
            timer.source["source"],
            self._now,
            until=until,
        )

    def _end(self, key: Key, timer: Timer) -> int:
        """End what has waited for its off-delay."""
        row = self._read(key)
        self._rows[key] = None
        return (
            0
            if row is None
            else _return(self._connection, row, timer.at, timer.source["source"], self._now)
        )

    def keep(self) -> None:
        """Store the timers that have changed."""
        gone = [key for key in self._before if key not in self._timers]
        watch.set_timers(
            self._connection,
            [t for key, t in self._timers.items() if self._before.get(key) is not t],
            gone,
        )

    def _wait(
        self, turn: ConditionTransition, turns: str, delay: timedelta, source: dict[str, Any]
    ) -> None:
        at = min(turn.at, self._now)
        self._timers[turn.key] = Timer(
            key=turn.key, turns=turns, at=at, due_at=at + delay, source=source
        )

    def _read(self, key: Key) -> dict[str, Any] | None:
        """Read the row of a key that stands; one that this batch has changed is read anew."""
        if key in self._rows and self._rows[key] is None:
            self._rows[key] = alerts.find_open(self._connection, *key)
        return self._rows.get(key)


def _open(
    connection: Connection,
    wanted: NewAlert,
    source: dict[str, Any],
    now: datetime,
    *,
    until: datetime | None = None,
) -> int:
    """Raise an alert, unless its end before `until` is known; where its end is known it has returned."""
    over_at = _over(connection, wanted) if until is not None else None
    if until is not None and over_at is not None and over_at < until:
        return 0
    _, new = alerts.raise_alert(connection, wanted, actor=ACTOR, source=source)
    if new:
        over_at = over_at or _over(connection, wanted)
        row = over_at and alerts.find_open(
            connection, wanted.detector, wanted.subject_kind, wanted.subject_id
        )
        if over_at and row:
            # It stays on screen until somebody has seen it, where it latches.
            _return(connection, row, over_at, {**source, "at": over_at.isoformat()}, now)
    return 1


def _over(connection: Connection, wanted: NewAlert) -> datetime | None:
    """Return when what an event began was over, where that is stored already: a gateway sends its newest first."""
    family, _, word = wanted.detector.partition(":")
    if family not in ("hazard", "device"):
        return None
    return watch.ended_since(connection, wanted.subject_id, family, word, wanted.since_at)


def _return(
    connection: Connection, row: dict[str, Any], at: datetime, source: dict[str, Any], now: datetime
) -> int:
    """Note that an alert's condition is over."""
    alerts.note_occurrence(connection, row["id"], at, "off", source)
    state = returned(alerts.state_of(row))
    if now - at > LATE:
        # A gateway's backlog: the danger passed before anyone could be told, so it goes on record without a siren.
        state = replace(state, ended=True)
    alerts.set_state(connection, row["id"], state, actor=ACTOR, step="returned")
    return 1


def _to_json(wanted: NewAlert) -> dict[str, Any]:
    return {**asdict(wanted), "since_at": wanted.since_at.isoformat(), "until_at": None}


def _from_json(kept: dict[str, Any]) -> NewAlert:
    return NewAlert(
        **{
            **kept,
            "reasons": tuple(kept["reasons"]),
            "since_at": datetime.fromisoformat(kept["since_at"]),
            "alert_class": AlertClass(kept["alert_class"]),
            "severity": Severity(kept["severity"]),
            "condition": AlertCondition(kept["condition"]),
        }
    )
