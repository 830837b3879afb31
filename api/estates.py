"""Estates, units, and what is known of a unit: readings and unit-day facts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query

from api.access import DeviceReader, PlaceReader, UnitReader
from api.context import AuditFacts, RequestContext
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import Action
from domain.ids import ID_PATTERN, POINT_PATTERN
from domain.measures import MEASURES
from store.analytics import findings
from store.ingest import latest
from store.register import places
from store.series import unit_days

router = APIRouter(prefix="/api/v1/estates", tags=["estates"], route_class=IdempotentRoute)
Code = Annotated[str, Path(pattern=ID_PATTERN, examples=["qingnian"])]
Limit = Annotated[int, Query(ge=1, le=500)]
#: The longest span of readings and of facts that one answer holds.
MAX_READING_DAYS, MAX_FACT_DAYS = 92, 800
_HIDDEN = frozenset({"unit_id", "computed_at"})


def find_estate(connection: Any, principal: Any, code: str) -> dict[str, Any]:
    """Find an estate within reach.

    Raises: Problem.
    """
    found = places.find_estate(connection, principal.estate_ids, code)
    if found is None:
        raise Problem(404, "unknown_estate", f"no estate {code!r} within your reach")
    return found


def find_unit(connection: Any, principal: Any, estate: str, unit: str) -> dict[str, Any]:
    """Find a unit within reach.

    Raises: Problem.
    """
    found = places.find_unit(connection, principal.estate_ids, estate, unit)
    if found is None:
        raise Problem(
            404, "unknown_unit", f"no unit {unit!r} at an estate {estate!r} within your reach"
        )
    return found


def look_at_unit(context: RequestContext, estate: str, unit: str) -> dict[str, Any]:
    """Find a unit within reach to look at what is used in it, and put that look on record: it tells when a home is empty.

    Raises: Problem.
    """
    found = find_unit(context.connection, context.principal, estate, unit)
    context.audit.describe_read(
        AuditFacts(subject=f"unit:{estate}/{unit}", estate_id=found["estate_id"])
    )
    return found


@router.get("", operation_id="listEstates")
def list_estates(context: PlaceReader) -> dict[str, Any]:
    """List the estates within your reach."""
    return {"items": places.list_estates(context.connection, context.principal.estate_ids)}


@router.get("/{estate}/gateways", operation_id="listGateways")
def list_gateways(context: DeviceReader, estate: Code) -> dict[str, Any]:
    """List an estate's gateways: online or not, clock, what waits in the outbox, what its cap has cost, open gaps, certificate."""
    find_estate(context.connection, context.principal, estate)
    return {"items": places.list_gateways(context.connection, context.principal.estate_ids, estate)}


@router.get("/{estate}/gateways/{gateway}/devices", operation_id="listGatewayDevices")
def list_gateway_devices(
    context: DeviceReader,
    estate: Code,
    gateway: Code,
    after: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """List a gateway's devices by code, and when each was heard last, by its own clock; null where it never was."""
    find_estate(context.connection, context.principal, estate)
    items = latest.list_heard(
        context.connection,
        context.principal.estate_ids,
        estate,
        gateway,
        after=after,
        limit=limit,
    )
    return {"items": items, "next": items[-1].device if len(items) == limit else None}


@router.get("/{estate}/units", operation_id="listUnits")
def list_units(
    context: PlaceReader,
    estate: Code,
    after: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """List an estate's units by code; `next` is the `after` of the following page."""
    find_estate(context.connection, context.principal, estate)
    items = places.list_units(
        context.connection, context.principal.estate_ids, estate, after, limit
    )
    if not context.principal.may(Action.SEE_UNITS):
        # Whether a home is let is about people.
        items = [{k: v for k, v in item.items() if k != "let"} for item in items]
    return {"items": items, "next": items[-1]["code"] if len(items) == limit else None}


@router.get("/{estate}/units/{unit}", operation_id="getUnit")
def get_unit(context: UnitReader, estate: Code, unit: Code) -> dict[str, Any]:
    """Read a unit, with what could not be judged of it and why."""
    row = look_at_unit(context, estate, unit)
    return {
        "code": row["code"],
        "estate": row["estate"],
        "floor": row["floor"],
        "area_m2": row["area_m2"],
        "abstentions": findings.list_abstentions(context.connection, row["id"]),
    }


@router.get("/{estate}/units/{unit}/readings", operation_id="listReadings")
def list_readings(
    context: UnitReader,
    estate: Code,
    unit: Code,
    point: Annotated[str, Query(pattern=POINT_PATTERN, examples=["water_m3"])],
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """Read a unit's values of one point, oldest first; the last week if no time is given."""
    row = look_at_unit(context, estate, unit)
    high = until or datetime.now(UTC)
    low = since or high - timedelta(days=7)
    for name, at in (("since", low), ("until", high)):
        if at.tzinfo is None:
            raise Problem(
                422, "no_offset", f"{name}: give an offset, as in 2026-03-31T00:00:00+08:00"
            )
    if not timedelta(0) < high - low <= timedelta(days=MAX_READING_DAYS):
        raise Problem(
            422, "bad_span", f"until must lie after since, at most {MAX_READING_DAYS} days"
        )
    items = places.unit_readings(context.connection, row["id"], point, low, high, limit)
    measure = MEASURES.get(point)
    return {
        "point": point,
        "uom": measure.uom if measure else None,
        "items": items,
        "next_since": items[-1]["at"] + timedelta(milliseconds=1) if len(items) == limit else None,
    }


@router.get("/{estate}/units/{unit}/latest", operation_id="listLatest")
def list_latest(context: UnitReader, estate: Code, unit: Code) -> dict[str, Any]:
    """Read the newest value of every point of a unit's devices; what came late or again never replaces a newer one."""
    row = look_at_unit(context, estate, unit)
    return {"items": latest.list_of_unit(context.connection, row["id"])}


@router.get("/{estate}/units/{unit}/days", operation_id="listUnitDays")
def list_days(
    context: UnitReader,
    estate: Code,
    unit: Code,
    first: date | None = None,
    last: date | None = None,
) -> dict[str, Any]:
    """Read a unit's facts by local day; the last 30 days if none are given. null is "not known", never zero."""
    row = look_at_unit(context, estate, unit)
    end = last or datetime.now(ZoneInfo(row["timezone"])).date()
    start = first or end - timedelta(days=30)
    if not 0 <= (end - start).days <= MAX_FACT_DAYS:
        raise Problem(
            422, "bad_span", f"last must not lie before first, at most {MAX_FACT_DAYS} days"
        )
    days = unit_days.list_unit_days(context.connection, row["id"], start, end)
    return {"items": [{k: v for k, v in day.items() if k not in _HIDDEN} for day in days]}
