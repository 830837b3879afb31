"""Leads as homes to visit, visits and what they teach, and what could not be judged for want of a device."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from analytics import calibration_report, leads, remedies
from analytics.nightly.clock import last_whole_day, night_clock
from api.access import LeadReader, VisitRecorder
from api.estates import Code, find_estate, find_unit
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.ids import ID_PATTERN
from store.analytics import findings
from store.casework import visits

router = APIRouter(prefix="/api/v1", tags=["visits"], route_class=IdempotentRoute)
EstateCode = Annotated[str, Query(pattern=ID_PATTERN)]


@router.get("/visit-list", operation_id="getVisitList")
def visit_list(
    context: LeadReader,
    estate: EstateCode,
    visits: Annotated[int, Query(ge=1, le=500)] = 20,
    as_of: date | None = None,
) -> dict[str, Any]:
    """Return the homes to visit this week, likeliest first, some of them at random; each with its why in both languages."""
    found = find_estate(context.connection, context.principal, estate)
    made = leads.week(
        context.connection,
        context.policy,
        (found["id"],),
        visits,
        as_of,
        datetime.now(UTC),
        ZoneInfo(found["timezone"]),
    )
    return {
        "estate": estate,
        "expected_hits": made.expected_hits,
        "controls": made.controls,
        "controls_drawn_from": made.drawn_from,
        "items": [
            {
                "unit": v.unit,
                "chance": round(v.chance, 3),
                "control": v.control,
                "leads": [{k: lead[k] for k in _LEAD} for lead in v.leads],
            }
            for v in made.visits
        ],
    }


_LEAD = (
    "kind",
    "score",
    "start_day",
    "start_low",
    "start_high",
    "raised_day",
    "frozen",
    "reasons",
    "evidence",
    "why",
    "version",
    "params_digest",
    "window",
)


@router.get("/estates/{estate}/abstentions", operation_id="listAbstentions")
def list_abstentions(context: LeadReader, estate: Code) -> dict[str, Any]:
    """Count the units that could not be judged on the last whole day, by detector and reason, and what device would cure it."""
    found = find_estate(context.connection, context.principal, estate)
    on = last_whole_day(datetime.now(UTC), ZoneInfo(found["timezone"]))
    counts = [
        asdict(count) for count in findings.count_abstentions(context.connection, found["id"], on)
    ]
    return {"estate": estate, "day": on, "items": counts, "cures": remedies.shopping_list(counts)}


class VisitOutcomeRequest(BaseModel):
    """A visit and what was found. `kind` names what was confirmed, and stands with no other outcome."""

    model_config = ConfigDict(extra="forbid")
    code: str = Field(
        min_length=2, max_length=80, pattern=r"^[^\x00-\x1f]*$", examples=["2026-w47-03"]
    )
    estate: str = Field(pattern=ID_PATTERN)
    unit: str = Field(pattern=ID_PATTERN)
    visited_on: date
    reason: Literal["lead", "control", "tip_off", "other"] = "lead"
    outcome: Literal["confirmed", "unfounded", "inconclusive"]
    kind: str | None = None
    began_on: date | None = None
    note: str | None = Field(
        None, max_length=500, pattern=r"^[^\x00]*$", description="no names, no numbers of people"
    )

    @model_validator(mode="after")
    def _kind_belongs(self) -> VisitOutcomeRequest:
        if (self.outcome == "confirmed") != (self.kind is not None):
            raise ValueError("a confirmed visit, and no other, names its kind")
        if self.kind is not None and self.kind not in leads.KINDS:
            raise ValueError(f"kind must be one of {', '.join(leads.KINDS)}")
        return self


@router.post("/visits", operation_id="recordVisit", status_code=201)
def record_visit(context: VisitRecorder, body: VisitOutcomeRequest) -> dict[str, Any]:
    """Record a visit. The same code with the same content changes nothing; with other content it is refused."""
    unit = find_unit(context.connection, context.principal, body.estate, body.unit)
    if body.visited_on > datetime.now(ZoneInfo(unit["timezone"])).date():
        raise Problem(422, "future", f"visited_on {body.visited_on} is still to come")
    clock = night_clock(body.visited_on, ZoneInfo(unit["timezone"]))
    row = visits.VisitRow(
        code=body.code,
        unit_id=unit["id"],
        visited_on=body.visited_on,
        reason=body.reason,
        outcome=body.outcome,
        kind=body.kind,
        began_on=body.began_on,
        note=body.note,
    )
    try:
        made = visits.record_visit(
            context.connection, row, actor=context.principal.name, known_at=clock, kinds=leads.KINDS
        )
    except visits.BadVisit as error:
        raise Problem(409, "known_visit", str(error)) from None
    return {"id": made, "code": body.code}


@router.get("/visits", operation_id="listVisits")
def list_visits(
    context: LeadReader,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """List visits within your reach, newest first; `next` is the `before` of the following page."""
    rows = visits.list_visits(
        context.connection, context.principal.estate_ids, before_id=before, limit=limit
    )
    return {"items": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


@router.get("/lessons", operation_id="getLessons")
def get_lessons(
    context: LeadReader, estate: Annotated[str | None, Query(pattern=ID_PATTERN)] = None
) -> dict[str, Any]:
    """Return hit rates by detector version, estate and month, the controls' miss rate, and calibrations that are proposed."""
    scope = (
        context.principal.estate_ids
        if estate is None
        else (find_estate(context.connection, context.principal, estate)["id"],)
    )
    return calibration_report.lessons(context.connection, scope)
