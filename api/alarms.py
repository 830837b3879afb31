"""How alarms are managed: figures per ISA-18.2, what is held back, announced work and drills, and who asked to be looked after."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi import Request as HttpRequest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api.access import AlertReader, WelfareKeeper, WindowPlanner
from api.estates import find_estate, find_unit
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import Principal
from domain.ids import ID_PATTERN
from store.alerts import suppressions, welfare
from store.alerts.figures import FigureLimits, FigureScope, count_seats, read_figures
from store.alerts.suppressions import NewAlarmWindow
from store.alerts.welfare import NewWelfareWatch
from store.database.connection import DuplicateKey

router = APIRouter(prefix="/api/v1", tags=["alarms"], route_class=IdempotentRoute)
EstateFilter = Annotated[str | None, Query(pattern=ID_PATTERN)]
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
#: The longest window of announced work: longer work is announced anew, so that it is not forgotten.
LONGEST_WINDOW = timedelta(days=31)


def figures_of(
    request: HttpRequest,
    connection: Any,
    principal: Principal,
    estates: tuple[int, ...],
    hours: int,
) -> dict[str, Any]:
    """Read the figures of the last hours and judge them by the policy's limits."""
    alarms, now = request.app.state.policy.alarms, datetime.now(UTC)
    scope = FigureScope(
        estates=estates, classes=principal.classes, since=now - timedelta(hours=hours), now=now
    )
    limits = FigureLimits(
        flood_per_10_min=alarms.flood_per_10_min,
        chatter_count=alarms.chatter_count,
        chatter_s=alarms.chatter_s,
        stale_h=alarms.stale_h,
    )
    found = read_figures(connection, scope, limits)
    seats = count_seats(connection, estates)
    rate = found.counts.raised / hours / seats
    flood_now = bool(found.floods) and now - found.floods[0].at <= timedelta(minutes=10)
    return {
        "hours": hours,
        "seats": seats,
        "per_seat_hour": round(rate, 2),
        "per_seat_hour_limit": alarms.per_seat_hour,
        "too_many": rate > alarms.per_seat_hour,
        "flood_now": flood_now,
        **asdict(found.counts),
        "floods": [asdict(flood) for flood in found.floods],
        "severities": dict(found.severities),
        "chattering": [asdict(alarm) for alarm in found.chattering],
        "stale": [asdict(alarm) for alarm in found.stale],
        "worst": [asdict(alarm) for alarm in found.worst],
    }


@router.get("/alarms/figures", operation_id="getAlarmFigures")
def get_figures(
    context: AlertReader,
    estate: EstateFilter = None,
    hours: Annotated[int, Query(ge=1, le=24 * 92)] = 24,
) -> dict[str, Any]:
    """Say how many alarms each seat had, in floods or not, which chatter, stand too long or come most, and how fast people saw them."""
    estates = (
        context.principal.estate_ids
        if estate is None
        else (find_estate(context.connection, context.principal, estate).id,)
    )
    return figures_of(context.request, context.connection, context.principal, estates, hours)


@router.get("/suppressions", operation_id="listSuppressions")
def held(context: AlertReader) -> dict[str, Any]:
    """List what is shelved or out of service within your reach, with who did it, why and until when."""
    return {
        "items": [
            asdict(suppression)
            for suppression in suppressions.list_suppressions(
                context.connection, context.principal.estate_ids, context.principal.classes
            )
        ]
    }


class Window(BaseModel):
    """Work or a drill that is announced: of a whole estate, or one gateway or device of it."""

    model_config = ConfigDict(extra="forbid")
    estate: str = Field(pattern=ID_PATTERN)
    gateway: str | None = Field(None, pattern=ID_PATTERN)
    device: str | None = Field(None, pattern=ID_PATTERN)
    kind: Literal["maintenance", "drill"]
    from_at: AwareDatetime
    to_at: AwareDatetime
    reason: str = Field(min_length=1, max_length=300, pattern=r"^[^\x00]*$")

    @model_validator(mode="after")
    def _span(self) -> Window:
        if not timedelta(0) < self.to_at - self.from_at <= LONGEST_WINDOW:
            raise ValueError(f"to_at lies after from_at, by {LONGEST_WINDOW.days} days at most")
        return self


@router.get("/windows", operation_id="listWindows")
def windows(context: AlertReader) -> dict[str, Any]:
    """List announced work and drills that are not over."""
    return {
        "items": [
            asdict(window)
            for window in suppressions.list_windows(
                context.connection, context.principal.estate_ids
            )
        ]
    }


@router.post("/windows", operation_id="announceWindow", status_code=201)
def announce(context: WindowPlanner, body: Window) -> dict[str, Any]:
    """Announce work (what it covers is held back, life safety never is) or a drill (its alerts are marked and told to nobody outside)."""
    found = find_estate(context.connection, context.principal, body.estate)
    made = suppressions.add_window(
        context.connection,
        NewAlarmWindow(
            estate_id=found.id,
            kind=body.kind,
            from_at=body.from_at,
            to_at=body.to_at,
            reason=body.reason,
            gateway=body.gateway,
            device=body.device,
        ),
        actor=context.principal.name,
    )
    if made is None:
        raise Problem(404, "unknown_subject", f"no such gateway or device at {body.estate!r}")
    return {"id": made}


@router.delete("/windows/{window_id}", operation_id="endWindow", status_code=204)
def end_window(context: WindowPlanner, window_id: Id) -> None:
    """End announced work or a drill before its time."""
    if not suppressions.end_window(
        context.connection, window_id, context.principal.estate_ids, actor=context.principal.name
    ):
        raise Problem(404, "unknown_window", "no such window within your reach")


class WelfareWatchRequest(BaseModel):
    """What a resident has asked for: to be looked after when nothing stirs for so many waking hours of theirs."""

    model_config = ConfigDict(extra="forbid")
    estate: str = Field(pattern=ID_PATTERN)
    unit: str = Field(pattern=ID_PATTERN)
    resident: str = Field(
        min_length=1,
        max_length=60,
        pattern=r"^[^\x00]*$",
        description="the resident's code in the register",
    )
    quiet_hours: float = Field(ge=4, le=72, examples=[10])
    awake_from: time = Field(examples=["07:00"])
    awake_to: time = Field(examples=["22:00"])
    consented_at: AwareDatetime

    @model_validator(mode="after")
    def _hours(self) -> WelfareWatchRequest:
        if self.awake_from >= self.awake_to or self.awake_from.tzinfo or self.awake_to.tzinfo:
            raise ValueError("awake_from lies before awake_to, both local times")
        if self.consented_at > datetime.now(UTC):
            raise ValueError("consented_at lies ahead; a watch begins with the person's consent")
        return self


@router.get("/welfare-watches", operation_id="listWelfareWatches")
def list_welfare(context: WelfareKeeper) -> dict[str, Any]:
    """List the homes that are looked after, with the agreed hours."""
    return {
        "items": [
            asdict(watch)
            for watch in welfare.list_watches(context.connection, context.principal.estate_ids)
        ]
    }


@router.post("/welfare-watches", operation_id="addWelfareWatch", status_code=201)
def add_welfare(context: WelfareKeeper, body: WelfareWatchRequest) -> dict[str, Any]:
    """Look after a person who lives alone and has asked for it."""
    found = find_unit(context.connection, context.principal, body.estate, body.unit)
    try:
        made = welfare.add_watch(
            context.connection,
            NewWelfareWatch(
                unit_id=found.id,
                resident=body.resident,
                quiet_hours=body.quiet_hours,
                awake_from=body.awake_from,
                awake_to=body.awake_to,
                consented_at=body.consented_at,
            ),
            actor=context.principal.name,
        )
    except DuplicateKey:
        raise Problem(
            409, "already_watched", "this home is looked after already; end that first"
        ) from None
    if made is None:
        raise Problem(404, "unknown_resident", "no such resident lives in this unit today")
    return {"id": made}


@router.delete("/welfare-watches/{watch_id}", operation_id="endWelfareWatch", status_code=204)
def end_welfare(context: WelfareKeeper, watch_id: Id) -> None:
    """Stop looking after a home; the person may ask for it at any time, for no reason."""
    if not welfare.end_watch(
        context.connection, watch_id, context.principal.estate_ids, actor=context.principal.name
    ):
        raise Problem(404, "unknown_watch", "no such watch within your reach")
