"""Estates and units, their gateways, and what is known of a unit: readings and unit-day facts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.access import DeviceReader, PlaceReader, UnitReader
from api.context import AuditFacts, RequestContext
from api.estate_answers import (
    EstateItem,
    EstateListAnswer,
    GatewayDeviceItem,
    GatewayDevicePage,
    GatewayItem,
    GatewayListAnswer,
    LatestValueItem,
    LatestValuesAnswer,
    ReadingPage,
    ReadingValueItem,
    UnitAbstentionItem,
    UnitAnswer,
    UnitDayItem,
    UnitDaysAnswer,
    UnitItem,
    UnitPage,
)
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import Action, Principal
from domain.ids import ID_PATTERN, POINT_PATTERN
from domain.measures import MEASURES
from store.analytics import findings
from store.database.connection import Connection
from store.ingest import latest
from store.register import places
from store.register.places import RegisteredEstate, RegisteredUnit
from store.series import unit_days

router = APIRouter(prefix="/api/v1/estates", tags=["estates"], route_class=IdempotentRoute)
Code = Annotated[str, Path(pattern=ID_PATTERN, examples=["qingnian"])]
AfterCode = Annotated[str | None, Query(pattern=ID_PATTERN, description="list what comes after")]
Limit = Annotated[int, Query(ge=1, le=500)]
#: The longest span of readings that one answer holds.
MAX_READING_DAYS = 92
#: The longest span of unit-day facts that one answer holds.
MAX_FACT_DAYS = 800
#: The span of readings that is answered where none is asked for.
_READING_SPAN = timedelta(days=7)
#: The span of unit-day facts that is answered where none is asked for.
_FACT_SPAN = timedelta(days=30)


class ReadingQuery(BaseModel):
    """Which readings are asked for: one point's, over a span, and at most so many."""

    point: str = Field(pattern=POINT_PATTERN, description="the point's name", examples=["water_m3"])
    since: datetime | None = Field(
        None, description="with an offset; a week before `until` if not given"
    )
    until: datetime | None = Field(None, description="with an offset; now if not given")
    limit: int = Field(1000, ge=1, le=10_000, description="values in an answer")


def find_estate(connection: Connection, principal: Principal, code: str) -> RegisteredEstate:
    """Find an estate that the principal may see.

    Raises: Problem 404.
    """
    estate = places.find_estate(connection, principal.estate_ids, code)
    if estate is None:
        raise Problem(404, "unknown_estate", f"no estate {code!r} within your reach")
    return estate


def find_unit(
    connection: Connection, principal: Principal, estate: str, code: str
) -> RegisteredUnit:
    """Find a unit that the principal may see.

    Raises: Problem 404.
    """
    unit = places.find_unit(connection, principal.estate_ids, estate, code)
    if unit is None:
        raise Problem(
            404, "unknown_unit", f"no unit {code!r} at an estate {estate!r} within your reach"
        )
    return unit


def open_unit(context: RequestContext, estate: str, code: str) -> RegisteredUnit:
    """Find a unit to show what is used in it, and enter that in the audit record.

    Such a look tells when a home is empty.

    Raises: Problem 404.
    """
    unit = find_unit(context.connection, context.principal, estate, code)
    context.audit.describe_read(
        AuditFacts(subject=f"unit:{estate}/{code}", estate_id=unit.estate_id)
    )
    return unit


@router.get("", operation_id="listEstates")
def list_estates(context: PlaceReader) -> EstateListAnswer:
    """List the estates within your reach."""
    estates = places.list_estates(context.connection, context.principal.estate_ids)
    return EstateListAnswer(items=[EstateItem.model_validate(estate) for estate in estates])


@router.get("/{estate}/gateways", operation_id="listGateways")
def list_gateways(context: DeviceReader, estate: Code) -> GatewayListAnswer:
    """List an estate's gateways with their last reported state, open gaps and certificate."""
    find_estate(context.connection, context.principal, estate)
    gateways = places.list_gateways(context.connection, context.principal.estate_ids, estate)
    return GatewayListAnswer(items=[GatewayItem.model_validate(gateway) for gateway in gateways])


@router.get("/{estate}/gateways/{gateway}/devices", operation_id="listGatewayDevices")
def list_gateway_devices(
    context: DeviceReader,
    estate: Code,
    gateway: Code,
    after: AfterCode = None,
    limit: Limit = 100,
) -> GatewayDevicePage:
    """List a gateway's devices by code, and when each last sent a value."""
    find_estate(context.connection, context.principal, estate)
    devices = latest.list_heard(
        context.connection,
        context.principal.estate_ids,
        estate,
        gateway,
        after=after,
        limit=limit,
    )
    return GatewayDevicePage(
        items=[GatewayDeviceItem.model_validate(device) for device in devices],
        next=devices[-1].device if len(devices) == limit else None,
    )


@router.get("/{estate}/units", operation_id="listUnits", response_model_exclude_unset=True)
def list_units(
    context: PlaceReader, estate: Code, after: AfterCode = None, limit: Limit = 100
) -> UnitPage:
    """List an estate's units by code; `next` is the `after` of the following page."""
    find_estate(context.connection, context.principal, estate)
    units = places.list_units(
        context.connection, context.principal.estate_ids, estate, after=after, limit=limit
    )
    shows_let = context.principal.may(Action.SEE_UNITS)
    return UnitPage(
        items=[UnitItem.of(unit, shows_let=shows_let) for unit in units],
        next=units[-1].code if len(units) == limit else None,
    )


@router.get("/{estate}/units/{unit}", operation_id="getUnit")
def get_unit(context: UnitReader, estate: Code, unit: Code) -> UnitAnswer:
    """Read a unit, with what could not be judged of it and why."""
    found = open_unit(context, estate, unit)
    abstentions = findings.list_abstentions(context.connection, found.id)
    return UnitAnswer(
        code=found.code,
        estate=found.estate,
        floor=found.floor,
        area_m2=found.area_m2,
        abstentions=[UnitAbstentionItem.model_validate(item) for item in abstentions],
    )


@router.get("/{estate}/units/{unit}/readings", operation_id="listReadings")
def list_readings(
    context: UnitReader,
    estate: Code,
    unit: Code,
    query: Annotated[ReadingQuery, Query()],
) -> ReadingPage:
    """Read a unit's values of one point, oldest first; the last week if no time is given."""
    found = open_unit(context, estate, unit)
    from_at, to_at = _reading_span(query.since, query.until)
    readings = places.list_unit_readings(
        context.connection, found.id, query.point, from_at=from_at, to_at=to_at, limit=query.limit
    )
    measure = MEASURES.get(query.point)
    is_full = len(readings) == query.limit
    return ReadingPage(
        point=query.point,
        uom=measure.uom if measure else None,
        items=[ReadingValueItem.model_validate(reading) for reading in readings],
        next_since=readings[-1].at + timedelta(milliseconds=1) if is_full else None,
    )


def _reading_span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Return the span of readings to answer.

    Raises: Problem 422 for a time without an offset, and for a span that is empty or too long.
    """
    to_at = until or datetime.now(UTC)
    from_at = since or to_at - _READING_SPAN
    for name, at in (("since", from_at), ("until", to_at)):
        if at.tzinfo is None:
            raise Problem(
                422, "no_offset", f"{name}: give an offset, as in 2026-03-31T00:00:00+08:00"
            )
    if not timedelta(0) < to_at - from_at <= timedelta(days=MAX_READING_DAYS):
        raise Problem(
            422, "bad_span", f"until must lie after since, at most {MAX_READING_DAYS} days"
        )
    return from_at, to_at


@router.get("/{estate}/units/{unit}/latest", operation_id="listLatest")
def list_latest(context: UnitReader, estate: Code, unit: Code) -> LatestValuesAnswer:
    """Read the newest value of every point of a unit's devices.

    Data that come late or again never replace a newer value.
    """
    found = open_unit(context, estate, unit)
    values = latest.list_of_unit(context.connection, found.id)
    return LatestValuesAnswer(items=[LatestValueItem.model_validate(value) for value in values])


@router.get("/{estate}/units/{unit}/days", operation_id="listUnitDays")
def list_days(
    context: UnitReader,
    estate: Code,
    unit: Code,
    first: date | None = None,
    last: date | None = None,
) -> UnitDaysAnswer:
    """Read a unit's facts by local day; the last 30 days if none are given.

    null is "not known", never zero.
    """
    found = open_unit(context, estate, unit)
    end = last or datetime.now(ZoneInfo(found.timezone)).date()
    start = first or end - _FACT_SPAN
    if not 0 <= (end - start).days <= MAX_FACT_DAYS:
        raise Problem(
            422, "bad_span", f"last must not lie before first, at most {MAX_FACT_DAYS} days"
        )
    days = unit_days.list_unit_days(context.connection, found.id, start, end)
    return UnitDaysAnswer(items=[UnitDayItem.model_validate(day) for day in days])
