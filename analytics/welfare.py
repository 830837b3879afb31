"""No sign of life where a person lives alone and asked to be looked after, in stages.

Quiet time counts only while the person is usually awake, and nobody is called at night. It pauses
while the person is out. A home whose sensors do not report is not a quiet home: it cannot be
judged, and the alert says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from analytics import transitions
from analytics.policy import Policy
from analytics.transitions import ConditionTransition
from analytics.watch import WatchedSubject, observed_alert
from domain.alerting import AlertCondition, AlertKey, Severity, SubjectKind
from store.alerts import alerts, welfare
from store.alerts.raising import NewAlert
from store.alerts.welfare import SignsOfLife
from store.database.connection import Connection

DETECTOR = "no_sign_of_life"
#: A water meter that has not reported for so long cannot tell that nobody drew water.
SENSOR_SILENT_AFTER = timedelta(hours=26)


class WelfareStage(StrEnum):
    """What is to be done for a person who gives no sign of life."""

    CANNOT_JUDGE = "cannot_judge"
    CALL = "call"
    NEIGHBOUR = "neighbour"
    VISIT = "visit"

    @property
    def severity(self) -> Severity:
        """How severe the alert of this stage is."""
        return _SEVERITIES[self]


_SEVERITIES = {
    WelfareStage.CANNOT_JUDGE: Severity.LOW,
    WelfareStage.CALL: Severity.MEDIUM,
    WelfareStage.NEIGHBOUR: Severity.HIGH,
    WelfareStage.VISIT: Severity.CRITICAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedHome:
    """What is known of one person's home at an instant."""

    last_sign_at: datetime
    sensor_at: datetime | None
    """When any sensor last reported."""
    is_out: bool
    quiet: timedelta
    """Waking time without a sign after which somebody calls."""
    awake: tuple[time, time]
    """The person's waking hours, local."""
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDelays:
    """How long after the call the next stages are due."""

    neighbour: timedelta
    visit: timedelta


def judge(home: WatchedHome, delays: StageDelays, now: datetime) -> WelfareStage | None:
    """Decide what is to be done; None while all is well, or the person is out or asleep."""
    if home.is_out or not is_awake(home, now):
        return None
    if home.sensor_at is None or now - home.sensor_at > SENSOR_SILENT_AFTER:
        return WelfareStage.CANNOT_JUDGE
    overdue = awake_time(home.last_sign_at, now, home) - home.quiet
    if overdue < timedelta(0):
        return None
    if overdue >= delays.visit:
        return WelfareStage.VISIT
    if overdue >= delays.neighbour:
        return WelfareStage.NEIGHBOUR
    return WelfareStage.CALL


def is_awake(home: WatchedHome, now: datetime) -> bool:
    """Whether an instant lies within the person's waking hours."""
    begin, end = home.awake
    return begin <= now.astimezone(home.zone).time() < end


def awake_time(since: datetime, now: datetime, home: WatchedHome) -> timedelta:
    """Sum the time between two instants that lies within the person's waking hours."""
    total = timedelta(0)
    day = since.astimezone(home.zone).date()
    last_day = now.astimezone(home.zone).date()
    while day <= last_day:
        begin, end = (datetime.combine(day, hour, tzinfo=home.zone) for hour in home.awake)
        total += max(timedelta(0), min(end, now) - max(begin, since))
        day += timedelta(days=1)
    return total


def check(connection: Connection, policy: Policy, now: datetime) -> int:
    """Bring the welfare alerts up to date; returns how many changed."""
    active = alerts.read_active_severities(connection, [DETECTOR])
    delays = StageDelays(
        neighbour=timedelta(minutes=policy.welfare.neighbour_after_min),
        visit=timedelta(minutes=policy.welfare.visit_after_min),
    )
    found = []
    for signs in welfare.list_signs(connection, now):
        home = read_home(signs)
        stage = judge(home, delays, now)
        transition = _transition(signs, home, stage, active, policy, now)
        if transition is not None:
            found.append(transition)
    with connection.transaction():
        return transitions.apply(connection, found, now)


def read_home(signs: SignsOfLife) -> WatchedHome:
    """Make what is known of a home from its last signs.

    A person is out who was last seen leaving and has drawn no water since, or whose absence is
    declared.
    """
    last_signs = [signs.water_at, signs.passed_at, signs.visited_at, signs.consented_at]
    sensors = [signs.sensor_at, signs.passed_at]
    return WatchedHome(
        last_sign_at=max(at for at in last_signs if at is not None),
        sensor_at=max((at for at in sensors if at is not None), default=None),
        is_out=signs.away or _has_left(signs),
        quiet=timedelta(hours=signs.quiet_hours),
        awake=(signs.awake_from, signs.awake_to),
        zone=ZoneInfo(signs.timezone),
    )


def _has_left(signs: SignsOfLife) -> bool:
    if signs.passed_direction != "out" or signs.passed_at is None:
        return False
    return signs.water_at is None or signs.water_at <= signs.passed_at


def _transition(
    signs: SignsOfLife,
    home: WatchedHome,
    stage: WelfareStage | None,
    active: dict[AlertKey, Severity],
    policy: Policy,
    now: datetime,
) -> ConditionTransition | None:
    """Make the transition that a stage means; None where it changes nothing.

    An alert that stands is not ended because the person is asleep: it stands until a sign of life.
    """
    key = AlertKey(detector=DETECTOR, subject_kind=SubjectKind.UNIT, subject_id=signs.unit_id)
    rule = policy.for_watch(DETECTOR)
    source = {"stage": stage, "last_sign": home.last_sign_at.isoformat()}
    if stage is None:
        is_asleep = not is_awake(home, now) and not home.is_out
        if key not in active or is_asleep:
            return None
        return ConditionTransition(key=key, at=now, rule=rule, source=source)
    if active.get(key) is stage.severity:
        return None
    alert = _welfare_alert(signs, home, stage, key, policy, now)
    return ConditionTransition(key=key, at=now, rule=rule, source=source, alert=alert)


def _welfare_alert(
    signs: SignsOfLife,
    home: WatchedHome,
    stage: WelfareStage,
    key: AlertKey,
    policy: Policy,
    now: datetime,
) -> NewAlert:
    quiet_for = now - home.last_sign_at
    alert = observed_alert(
        policy,
        policy.for_watch(DETECTOR),
        WatchedSubject(key=key, estate_id=signs.estate_id, name=signs.unit),
        home.last_sign_at,
        reasons=(str(stage),),
        evidence={
            "hours": round(quiet_for / timedelta(hours=1), 1),
            "quiet_hours": signs.quiet_hours,
        },
    )
    condition = AlertCondition.ACTIVE
    if stage is WelfareStage.CANNOT_JUDGE:
        condition = AlertCondition.NOT_EVALUABLE
    return replace(alert, severity=stage.severity, condition=condition)
