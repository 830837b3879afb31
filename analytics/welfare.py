"""No sign of life where a person lives alone and asked for it: by their own hours, paused while they are out, in stages.

Quiet time counts only while the person is usually awake, and nobody is called at night. Sensors that say nothing are no quiet
home: then nothing can be judged, and that is what is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from analytics import transitions
from analytics.policy import Policy
from analytics.transitions import ConditionTransition
from analytics.watch import wish
from domain.alerting import AlertCondition, Severity
from store.alerts import alerts, welfare
from store.database.connection import Connection

DETECTOR = "no_sign_of_life"
#: A water meter that has said nothing for so long cannot tell that nobody drew water.
DEAF = timedelta(hours=26)
SEVERITY_OF = {
    "cannot_judge": Severity.LOW,
    "call": Severity.MEDIUM,
    "neighbour": Severity.HIGH,
    "visit": Severity.CRITICAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedHome:
    """What is known of one person's home at an instant; `awake` are local times, `heard_at` the last word of any sensor."""

    since: datetime
    heard_at: datetime | None
    out: bool
    quiet: timedelta
    awake: tuple[time, time]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """When the next step is due after the call."""

    neighbour: timedelta
    visit: timedelta


def judge(home: WatchedHome, stages: Stages, now: datetime) -> str | None:
    """Say what is to be done: call, neighbour, visit, cannot_judge; None while all is well, the person is out, or asleep."""
    begin, end = home.awake
    if home.out or not begin <= now.astimezone(home.zone).time() < end:
        return None
    if home.heard_at is None or now - home.heard_at > DEAF:
        return "cannot_judge"
    over = awake_time(home.since, now, home) - home.quiet
    if over < timedelta(0):
        return None
    return "visit" if over >= stages.visit else "neighbour" if over >= stages.neighbour else "call"


def awake_time(since: datetime, now: datetime, home: WatchedHome) -> timedelta:
    """Sum the time between two instants that lies within the person's waking hours."""
    total = timedelta(0)
    day = since.astimezone(home.zone).date()
    while day <= now.astimezone(home.zone).date():
        begin, end = (datetime.combine(day, hour, tzinfo=home.zone) for hour in home.awake)
        total += max(timedelta(0), min(end, now) - max(begin, since))
        day += timedelta(days=1)
    return total


def check(connection: Connection, policy: Policy, now: datetime) -> int:
    """Bring the welfare alerts up to date; returns how many changed."""
    standing = alerts.standing_of(connection, [DETECTOR])
    stages = Stages(
        neighbour=timedelta(minutes=policy.number(DETECTOR, "neighbour_after_min")),
        visit=timedelta(minutes=policy.number(DETECTOR, "visit_after_min")),
    )
    said = []
    for row in welfare.list_signs(connection, now):
        key, home = (DETECTOR, "unit", row["unit_id"]), _home(row)
        todo = judge(home, stages, now)
        held = standing.get(key)
        source = {"stage": todo, "last_sign": home.since.isoformat()}
        shown = policy.for_watch(DETECTOR)
        if todo is None:
            asleep = not home.awake[0] <= now.astimezone(home.zone).time() < home.awake[1]
            if held is not None and not (asleep and not home.out):
                said.append(ConditionTransition(key=key, at=now, shown=shown, source=source))
            continue
        severity = SEVERITY_OF[todo]
        if held == severity:
            continue
        evidence = {
            "hours": round((now - home.since) / timedelta(hours=1), 1),
            "quiet_hours": row["quiet_hours"],
        }
        wanted = wish(
            policy,
            shown,
            row["estate_id"],
            key,
            row["unit"],
            home.since,
            reasons=(todo,),
            evidence=evidence,
        )
        condition = (
            AlertCondition.NOT_EVALUABLE if todo == "cannot_judge" else AlertCondition.ACTIVE
        )
        said.append(
            ConditionTransition(
                key=key,
                at=now,
                shown=shown,
                source=source,
                wanted=replace(wanted, severity=severity, condition=condition),
            )
        )
    with connection.transaction():
        return transitions.apply(connection, said, now)


def _home(row: dict[str, Any]) -> WatchedHome:
    signs = [
        row[name]
        for name in ("water_at", "seen_at", "visited_at", "consented_at")
        if row[name] is not None
    ]
    left = row["direction"] == "out" and (
        row["water_at"] is None or row["water_at"] <= row["seen_at"]
    )
    heard = [row[name] for name in ("heard_at", "seen_at") if row[name] is not None]
    return WatchedHome(
        since=max(signs),
        heard_at=max(heard, default=None),
        out=bool(row["away"] or left),
        quiet=timedelta(hours=row["quiet_hours"]),
        awake=(row["awake_from"], row["awake_to"]),
        zone=ZoneInfo(row["timezone"]),
    )
