"""Alarm management: figures (ISA-18.2), suppressions, announced windows, and welfare watches."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from analytics.policy import AlarmSettings
from api.access import AlertReader, WelfareKeeper, WindowPlanner
from api.answers import Answer, example
from api.estates import find_estate, find_unit
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.alerting import AlertClass, Severity
from domain.ids import ID_PATTERN
from store.alerts import suppressions, welfare
from store.alerts.figures import FigureLimits, FigureScope, count_seats, read_figures
from store.alerts.suppressions import NewAlarmWindow
from store.alerts.welfare import NewWelfareWatch
from store.database.connection import Connection, DuplicateKey

#: A time of day without a zone; JSON Schema's own format `time` demands one (RFC 3339).
LocalTime = Annotated[time, WithJsonSchema({"type": "string", "pattern": r"^\d{2}:\d{2}:\d{2}$"})]
router = APIRouter(prefix="/api/v1", tags=["alarms"], route_class=IdempotentRoute)
EstateFilter = Annotated[str | None, Query(pattern=ID_PATTERN, description="code of an estate")]
Id = Annotated[int, Path(ge=1, le=2**31 - 1, description="its number")]
#: The longest window: longer work is announced anew, so that it is not forgotten.
LONGEST_WINDOW = timedelta(days=31)
#: A flood is under way where the last one began within this time.
FLOOD_SPAN = timedelta(minutes=10)


# Figures ------------------------------------------------------------------------------------------

_FREQUENT_ALARM = {
    "estate": "qingnian",
    "detector": "device:held_open",
    "subject": "3-1 · door-31",
    "alert": 4711,
    "times": 12,
}
_FIGURES = {
    "hours": 24,
    "seats": 2,
    "per_seat_hour": 1.4,
    "per_seat_hour_limit": 6.0,
    "too_many": False,
    "flood_now": False,
    "raised": 67,
    "held_back": 3,
    "waiting": 5,
    "acknowledged_p50_s": 41.0,
    "acknowledged_p95_s": 380.0,
    "floods": [{"at": "2026-11-30T02:10:00Z", "raised": 14}],
    "severities": {"critical": 1, "high": 20, "low": 46},
    "chattering": [_FREQUENT_ALARM],
    "stale": [],
    "worst": [_FREQUENT_ALARM],
}


class AlarmFloodAnswer(Answer):
    """Ten minutes in which a flood of alarms was raised."""

    model_config = example({"at": "2026-11-30T02:10:00Z", "raised": 14})
    at: datetime = Field(description="when the ten minutes began")
    raised: int = Field(description="alarms raised in them")


class FrequentAlarmAnswer(Answer):
    """An alarm that came often."""

    model_config = example(_FREQUENT_ALARM)
    estate: str = Field(description="code of the estate")
    detector: str = Field(description="what found it")
    subject: str = Field(description="name of what it is about")
    alert: int = Field(description="number of its newest alert")
    times: int = Field(description="how often it came")


class StaleAlarmAnswer(Answer):
    """An alarm that has stood for too long."""

    model_config = example(
        {
            "estate": "qingnian",
            "detector": "device:fault",
            "subject": "3-1-502 · wm-12",
            "alert": 4700,
            "raised_at": "2026-11-28T02:10:00Z",
        }
    )
    estate: str = Field(description="code of the estate")
    detector: str = Field(description="what found it")
    subject: str = Field(description="name of what it is about")
    alert: int = Field(description="number of the alert")
    raised_at: datetime = Field(description="when it was raised")


class AlarmFiguresAnswer(Answer):
    """How alarms were managed (ISA-18.2 clause 16, EEMUA 191), without leads and drills."""

    model_config = example(_FIGURES)
    hours: int = Field(description="length of the span, in hours")
    seats: int = Field(description="guards and managers who are logged in; at least 1")
    per_seat_hour: float = Field(description="alarms an hour and seat")
    per_seat_hour_limit: float = Field(description="the policy's limit of alarms an hour and seat")
    too_many: bool = Field(description="whether the rate is over the limit")
    flood_now: bool = Field(description="whether a flood began within the last ten minutes")
    raised: int = Field(description="alarms raised in the span")
    held_back: int = Field(description="alarms of them that are suppressed")
    waiting: int = Field(description="alarms of them that wait to be acknowledged")
    acknowledged_p50_s: float | None = Field(description="median time to acknowledge, in seconds")
    acknowledged_p95_s: float | None = Field(description="95th percentile of it, in seconds")
    floods: list[AlarmFloodAnswer] = Field(description="floods, the newest first")
    severities: dict[Severity, int] = Field(description="alarms raised, by severity")
    chattering: list[FrequentAlarmAnswer] = Field(description="alarms that chatter, ten at most")
    stale: list[StaleAlarmAnswer] = Field(description="alarms that stand too long, ten at most")
    worst: list[FrequentAlarmAnswer] = Field(description="the most frequent alarms, ten at most")


@router.get("/alarms/figures", operation_id="getAlarmFigures")
def get_figures(
    context: AlertReader,
    estate: EstateFilter = None,
    hours: Annotated[int, Query(ge=1, le=24 * 92, description="length of the span")] = 24,
) -> AlarmFiguresAnswer:
    """Read how many alarms each seat had, which were too many, and how fast people saw them."""
    principal = context.principal
    estates = principal.estate_ids
    if estate is not None:
        estates = (find_estate(context.connection, principal, estate).id,)
    now = datetime.now(UTC)
    scope = FigureScope(
        estates=estates, classes=principal.classes, since=now - timedelta(hours=hours), now=now
    )
    return judge_figures(context.connection, scope, context.policy.alarms)


def judge_figures(
    connection: Connection, scope: FigureScope, limits: AlarmSettings
) -> AlarmFiguresAnswer:
    """Read the figures of a scope and judge them by the policy's limits."""
    figures = read_figures(
        connection,
        scope,
        FigureLimits(
            flood_per_10_min=limits.flood_per_10_min,
            chatter_count=limits.chatter_count,
            chatter_s=limits.chatter_s,
            stale_h=limits.stale_h,
        ),
    )
    seats = count_seats(connection, scope.estates)
    hours = round((scope.now - scope.since) / timedelta(hours=1))
    rate = figures.counts.raised / hours / seats
    flood_now = bool(figures.floods) and scope.now - figures.floods[0].at <= FLOOD_SPAN
    return AlarmFiguresAnswer(
        hours=hours,
        seats=seats,
        per_seat_hour=round(rate, 2),
        per_seat_hour_limit=limits.per_seat_hour,
        too_many=rate > limits.per_seat_hour,
        flood_now=flood_now,
        **asdict(figures.counts),
        floods=[AlarmFloodAnswer.model_validate(flood) for flood in figures.floods],
        severities={Severity(name): raised for name, raised in figures.severities.items()},
        chattering=[FrequentAlarmAnswer.model_validate(alarm) for alarm in figures.chattering],
        stale=[StaleAlarmAnswer.model_validate(alarm) for alarm in figures.stale],
        worst=[FrequentAlarmAnswer.model_validate(alarm) for alarm in figures.worst],
    )


# Suppressions -------------------------------------------------------------------------------------

_SUPPRESSION = {
    "id": 31,
    "kind": "shelved",
    "reason": "the lock is being changed",
    "until_at": "2026-11-30T10:00:00Z",
    "made_at": "2026-11-30T02:00:00Z",
    "made_by": "wang",
    "detector": "device:forced",
    "subject": "3-1 · door-31",
    "alert_class": "hazard",
    "estate": "qingnian",
    "alert": 4711,
}


class SuppressionAnswer(Answer):
    """A shelf or an out-of-service in force; it holds for every alert of its key."""

    model_config = example(_SUPPRESSION)
    id: int = Field(description="number of the suppression")
    kind: Literal["shelved", "out_of_service"] = Field(description="what kind it is")
    reason: str = Field(description="the reason that was given")
    until_at: datetime | None = Field(description="when it ends; null until it is taken back")
    made_at: datetime = Field(description="when it began")
    made_by: str = Field(description="who did it")
    detector: str = Field(description="what finds the alerts of its key")
    subject: str = Field(description="name of what they are about")
    alert_class: AlertClass = Field(description="kind of duty")
    estate: str = Field(description="code of the estate")
    alert: int = Field(description="number of the newest alert of its key")


class SuppressionList(Answer):
    """The suppressions within reach."""

    model_config = example({"items": [_SUPPRESSION]})
    items: list[SuppressionAnswer] = Field(description="suppressions, the newest first")


@router.get("/suppressions", operation_id="listSuppressions")
def list_suppressions(context: AlertReader) -> SuppressionList:
    """List what is shelved or out of service within your reach: who did it, why, until when."""
    principal = context.principal
    found = suppressions.list_suppressions(
        context.connection, principal.estate_ids, principal.classes
    )
    return SuppressionList(items=[SuppressionAnswer.model_validate(row) for row in found])


# Windows ------------------------------------------------------------------------------------------

_WINDOW = {
    "id": 12,
    "estate": "qingnian",
    "gateway": None,
    "device": "door-31",
    "kind": "maintenance",
    "from_at": "2026-12-01T00:00:00Z",
    "to_at": "2026-12-01T04:00:00Z",
    "reason": "new locks",
    "made_by": "li",
    "made_at": "2026-11-30T02:00:00Z",
}


class WindowRequest(BaseModel):
    """Maintenance or a drill: of a whole estate, or of one gateway or device of it."""

    model_config = ConfigDict(extra="forbid")
    estate: str = Field(pattern=ID_PATTERN, description="code of the estate")
    gateway: str | None = Field(None, pattern=ID_PATTERN, description="code of a gateway of it")
    device: str | None = Field(None, pattern=ID_PATTERN, description="code of a device of it")
    kind: Literal["maintenance", "drill"] = Field(description="what is announced")
    from_at: AwareDatetime = Field(description="when it begins")
    to_at: AwareDatetime = Field(description="when it ends, 31 days later at most")
    reason: str = Field(
        min_length=1,
        max_length=300,
        pattern=r"^[^\x00]*$",
        description="what is done",
        examples=["new locks"],
    )

    @model_validator(mode="after")
    def _check_span(self) -> WindowRequest:
        if not timedelta(0) < self.to_at - self.from_at <= LONGEST_WINDOW:
            raise ValueError(f"to_at lies after from_at, by {LONGEST_WINDOW.days} days at most")
        return self


class AlarmWindowAnswer(Answer):
    """An announced window that is not over."""

    model_config = example(_WINDOW)
    id: int = Field(description="number of the window")
    estate: str = Field(description="code of the estate")
    gateway: str | None = Field(description="code of the one gateway; null for all")
    device: str | None = Field(description="code of the one device; null for all")
    kind: Literal["maintenance", "drill"] = Field(description="what is announced")
    from_at: datetime = Field(description="when it begins")
    to_at: datetime = Field(description="when it ends")
    reason: str = Field(description="what is done")
    made_by: str = Field(description="who announced it")
    made_at: datetime = Field(description="when it was announced")


class AlarmWindowList(Answer):
    """The windows within reach."""

    model_config = example({"items": [_WINDOW]})
    items: list[AlarmWindowAnswer] = Field(description="windows, the next first")


class AlarmWindowReference(Answer):
    """A window that was announced."""

    model_config = example({"id": 12})
    id: int = Field(description="number of the window")


@router.get("/windows", operation_id="listWindows")
def list_windows(context: AlertReader) -> AlarmWindowList:
    """List announced maintenance and drills that are not over."""
    windows = suppressions.list_windows(context.connection, context.principal.estate_ids)
    return AlarmWindowList(items=[AlarmWindowAnswer.model_validate(row) for row in windows])


@router.post("/windows", operation_id="announceWindow", status_code=201)
def announce_window(context: WindowPlanner, body: WindowRequest) -> AlarmWindowReference:
    """Announce maintenance or a drill.

    Maintenance holds back what it covers, but never life safety. Alerts of a drill are marked, and
    nobody outside is notified of them.
    """
    estate = find_estate(context.connection, context.principal, body.estate)
    window = NewAlarmWindow(
        estate_id=estate.id,
        kind=body.kind,
        from_at=body.from_at,
        to_at=body.to_at,
        reason=body.reason,
        gateway=body.gateway,
        device=body.device,
    )
    window_id = suppressions.add_window(context.connection, window, actor=context.principal.name)
    if window_id is None:
        raise Problem(404, "unknown_subject", f"no such gateway or device at {body.estate!r}")
    return AlarmWindowReference(id=window_id)


@router.delete("/windows/{window_id}", operation_id="endWindow", status_code=204)
def end_window(context: WindowPlanner, window_id: Id) -> None:
    """End announced maintenance or a drill before its time."""
    principal = context.principal
    ended = suppressions.end_window(
        context.connection, window_id, principal.estate_ids, actor=principal.name
    )
    if not ended:
        raise Problem(404, "unknown_window", "no such window within your reach")


# Welfare watches ----------------------------------------------------------------------------------

_WELFARE_WATCH = {
    "id": 3,
    "estate": "qingnian",
    "unit": "3-1-502",
    "quiet_hours": 10.0,
    "awake_from": "07:00:00",
    "awake_to": "22:00:00",
    "consented_at": "2026-11-01T02:00:00Z",
    "consented_by": "li",
}


class WelfareWatchRequest(BaseModel):
    """What a resident has asked for: a call when nothing stirs for so many waking hours."""

    model_config = ConfigDict(extra="forbid")
    estate: str = Field(pattern=ID_PATTERN, description="code of the estate")
    unit: str = Field(pattern=ID_PATTERN, description="code of the home")
    resident: str = Field(
        min_length=1,
        max_length=60,
        pattern=r"^[^\x00]*$",
        description="the resident's code in the register",
    )
    quiet_hours: float = Field(
        ge=4,
        le=72,
        description="waking hours without a sign of life after which somebody calls",
        examples=[10],
    )
    awake_from: time = Field(description="local time of waking up", examples=["07:00"])
    awake_to: time = Field(description="local time of going to bed", examples=["22:00"])
    consented_at: AwareDatetime = Field(description="when the resident agreed")

    @model_validator(mode="after")
    def _check_times(self) -> WelfareWatchRequest:
        if self.awake_from >= self.awake_to or self.awake_from.tzinfo or self.awake_to.tzinfo:
            raise ValueError("awake_from lies before awake_to, both local times")
        if self.consented_at > datetime.now(UTC):
            raise ValueError("consented_at lies ahead; a watch begins with the person's consent")
        return self


class WelfareWatchAnswer(Answer):
    """A home that is looked after: the agreed hours, not the person."""

    model_config = example(_WELFARE_WATCH)
    id: int = Field(description="number of the watch")
    estate: str = Field(description="code of the estate")
    unit: str = Field(description="code of the home")
    quiet_hours: float = Field(description="waking hours without a sign until somebody calls")
    awake_from: LocalTime = Field(description="local time of waking up")
    awake_to: LocalTime = Field(description="local time of going to bed")
    consented_at: datetime = Field(description="when the resident agreed")
    consented_by: str = Field(description="who recorded the consent")


class WelfareWatchList(Answer):
    """The watches within reach."""

    model_config = example({"items": [_WELFARE_WATCH]})
    items: list[WelfareWatchAnswer] = Field(description="watches, the oldest first")


class WelfareWatchReference(Answer):
    """A watch that was begun."""

    model_config = example({"id": 3})
    id: int = Field(description="number of the watch")


@router.get("/welfare-watches", operation_id="listWelfareWatches")
def list_welfare_watches(context: WelfareKeeper) -> WelfareWatchList:
    """List the homes that are looked after, with the agreed hours."""
    watches = welfare.list_watches(context.connection, context.principal.estate_ids)
    return WelfareWatchList(items=[WelfareWatchAnswer.model_validate(row) for row in watches])


@router.post("/welfare-watches", operation_id="addWelfareWatch", status_code=201)
def add_welfare_watch(context: WelfareKeeper, body: WelfareWatchRequest) -> WelfareWatchReference:
    """Look after a person who lives alone and has asked for it."""
    unit = find_unit(context.connection, context.principal, body.estate, body.unit)
    watch = NewWelfareWatch(
        unit_id=unit.id,
        resident=body.resident,
        quiet_hours=body.quiet_hours,
        awake_from=body.awake_from,
        awake_to=body.awake_to,
        consented_at=body.consented_at,
    )
    try:
        watch_id = welfare.add_watch(context.connection, watch, actor=context.principal.name)
    except DuplicateKey:
        raise Problem(
            409, "already_watched", "this home is looked after already; end that first"
        ) from None
    if watch_id is None:
        raise Problem(404, "unknown_resident", "no such resident lives in this unit today")
    return WelfareWatchReference(id=watch_id)


@router.delete("/welfare-watches/{watch_id}", operation_id="endWelfareWatch", status_code=204)
def end_welfare_watch(context: WelfareKeeper, watch_id: Id) -> None:
    """Stop looking after a home; the person may ask for it at any time, for no reason."""
    principal = context.principal
    ended = welfare.end_watch(
        context.connection, watch_id, principal.estate_ids, actor=principal.name
    )
    if not ended:
        raise Problem(404, "unknown_watch", "no such watch within your reach")
