"""Limits on what meters and detectors measure, watched within seconds: residual current, temperature, water that runs away.

The last value of a point is looked at, not every one: a value that lies over a limit between two looks and is back below it at the
next is not told. A value that is older than a day says nothing about now, so it neither raises nor ends anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from analytics import transitions
from analytics.policy import Limit, Policy
from analytics.transitions import ConditionTransition
from analytics.watch import wish
from store.alerts import alerts
from store.analytics import watch
from store.analytics.watch import Key
from store.database.connection import Connection

FRESH = timedelta(days=1)


def check_gauges(connection: Connection, policy: Policy, now: datetime) -> int:
    """Raise an alert where a gauge's last value lies over its limit, and end it where it lies well under it."""
    rows = watch.last_values(
        connection, sorted({limit.point for limit in policy.limits}), now - FRESH
    )
    known = _Known(connection, [f"limit:{limit.key}" for limit in policy.limits])
    said = [
        turn
        for limit in policy.limits
        for row in rows
        if (turn := _gauge(limit, row, policy, known)) is not None
    ]
    with connection.transaction():
        return transitions.apply(connection, said, now)


def _gauge(
    limit: Limit, row: dict[str, Any], policy: Policy, known: _Known
) -> ConditionTransition | None:
    if row["point"] != limit.point or (limit.kinds and row["kind"] not in limit.kinds):
        return None
    key = (f"limit:{limit.key}", "device", row["device_id"])
    evidence = {"value": row["value"], "limit": limit.above}
    over, under = row["value"] > limit.above, row["value"] < limit.below
    return _turn(
        policy,
        limit,
        row,
        key,
        known,
        over=over,
        under=under,
        since_at=row["at"],
        evidence=evidence,
    )


@dataclass(slots=True)
class Flows:
    """What each water meter showed last, so that two readings tell a flow; lost at a restart, and there again a reading later."""

    last: dict[int, tuple[datetime, float]] = field(default_factory=dict)

    def check(self, connection: Connection, policy: Policy, now: datetime) -> int:
        """Raise an alert where water runs as no household draws it for longer than any bath takes to fill."""
        above, below = (policy.number("burst_pipe", name) for name in ("above_l_h", "below_l_h"))
        longest = timedelta(seconds=policy.number("burst_pipe", "step_s"))
        limit = Limit(
            key="burst_pipe",
            point="water_m3",
            kinds=(),
            above=above,
            below=below,
            shown=policy.for_watch("burst_pipe"),
        )
        known = _Known(connection, ["burst_pipe"])
        said = []
        for row in watch.last_values(connection, ["water_m3"], now - FRESH):
            before = self.last.get(row["point_id"])
            if before is not None and before[0] >= row["at"]:
                continue
            self.last[row["point_id"]] = (row["at"], row["value"])
            if before is None or row["at"] - before[0] > longest or row["value"] < before[1]:
                continue
            litres_an_hour = (
                (row["value"] - before[1]) * 3.6e6 / (row["at"] - before[0]).total_seconds()
            )
            key = ("burst_pipe", "device", row["device_id"])
            turn = _turn(
                policy,
                limit,
                row,
                key,
                known,
                over=litres_an_hour > above,
                under=litres_an_hour < below,
                since_at=before[0],
                evidence={"value": round(litres_an_hour), "limit": above},
            )
            said += [turn] if turn is not None else []
        with connection.transaction():
            return transitions.apply(connection, said, now)


class _Known:
    """What of some detectors stands and what waits."""

    def __init__(self, connection: Connection, detectors: list[str]) -> None:
        self.standing = alerts.standing_of(connection, detectors)
        self.waiting = watch.waiting_keys(connection, detectors)


def _turn(
    policy: Policy,
    limit: Limit,
    row: dict[str, Any],
    key: Key,
    known: _Known,
    *,
    over: bool,
    under: bool,
    since_at: datetime,
    evidence: dict[str, Any],
) -> ConditionTransition | None:
    """Say what a value means for its key; None where it changes nothing. What waits is off below the limit, what stands well below."""
    stands = key in known.standing
    place = row["place"] or "?"
    source = {"device": row["device"], **evidence}
    if over and not stands:
        wanted = wish(
            policy,
            limit.shown,
            row["estate_id"],
            key,
            f"{place} · {row['device']}",
            since_at,
            reasons=(limit.key,),
            evidence={"device": row["device"], "place": place, **evidence},
        )
        return ConditionTransition(
            key=key, at=since_at, shown=limit.shown, source=source, wanted=wanted
        )
    if (under and stands) or (not over and key in known.waiting):
        return ConditionTransition(key=key, at=row["at"], shown=limit.shown, source=source)
    return None
