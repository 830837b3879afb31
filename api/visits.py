"""Leads as homes to visit, visits and their outcomes, what they say of the detectors, and what
cannot be judged.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from analytics import leads, remedies
from analytics.calibration.report import report_as_json, report_calibration
from analytics.nightly.clock import last_whole_day, night_clock
from analytics.visit_list import plan_week
from api.access import LeadReader, VisitRecorder
from api.estates import Code, find_estate, find_unit
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.ids import ID_PATTERN
from store.analytics import findings
from store.casework import visits
from store.casework.visits import VisitReason, VisitResult

router = APIRouter(prefix="/api/v1", tags=["visits"], route_class=IdempotentRoute)
EstateCode = Annotated[str, Query(pattern=ID_PATTERN, description="the estate's code")]
#: A text in each language.
Translations = dict[str, str]


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True, populate_by_name=True)


# The visit list --------------------------------------------------------------------------------


class LeadItem(_Answer):
    """A lead: a reason to ask, never a verdict. Days are the estate's own."""

    kind: str = Field(description="the detector's key", examples=["subletting"])
    score: float = Field(description="how likely it is true, 0 to 1", examples=[0.82])
    start_day: date = Field(description="likeliest first day", examples=["2026-03-01"])
    start_low: date = Field(description="earliest first day, nine in ten", examples=["2026-02-26"])
    start_high: date = Field(description="latest first day, nine in ten", examples=["2026-03-08"])
    raised_day: date = Field(
        description="last whole day that was known when it was first reported",
        examples=["2026-03-29"],
    )
    frozen: bool = Field(description="the data ended before it did", examples=[False])
    reasons: list[str] = Field(description="reason codes", examples=[["residents_not_seen"]])
    evidence: dict[str, Any] = Field(
        description="the numbers behind it by name, with their unit in the name",
        examples=[{"days_known": 56, "days_seen": 1}],
    )
    why: Translations = Field(
        description="one sentence in each language", examples=[{"zh": "…", "en": "…"}]
    )
    version: str = Field(description="the detector's version", examples=["3"])
    params_digest: str = Field(
        description="digest of the detector's parameters", examples=["5f0c2a9be1d47c03"]
    )
    window: list[date] = Field(
        description="first and last day that the detector saw",
        examples=[["2025-02-25", "2026-03-31"]],
    )


class PlannedVisitItem(_Answer):
    """A home to visit."""

    unit: str = Field(description="the unit's code", examples=["3-1-502"])
    chance: float = Field(description="how likely anything is found, 0 to 1", examples=[0.82])
    control: bool = Field(description="drawn at random", examples=[False])
    leads: list[LeadItem] = Field(description="leads about the home, likeliest first")


class VisitListAnswer(_Answer):
    """The homes to visit this week."""

    estate: str = Field(description="the estate's code", examples=["lakeside"])
    expected_hits: float = Field(description="sum of the chances", examples=[6.4])
    controls: int = Field(description="visits that are drawn at random", examples=[2])
    controls_drawn_from: int = Field(
        description="homes without a lead that they are drawn from", examples=[1874]
    )
    items: list[PlannedVisitItem] = Field(description="visits, likeliest first, then the random")


@router.get("/visit-list", operation_id="getVisitList")
def visit_list(
    context: LeadReader,
    estate: EstateCode,
    visits: Annotated[
        int, Query(ge=1, le=500, description="visits that can be made", examples=[20])
    ] = 20,
    as_of: Annotated[
        date | None, Query(description="as it stood after the night of this day")
    ] = None,
) -> VisitListAnswer:
    """Return the homes to visit this week, likeliest first, some of them at random."""
    found = find_estate(context.connection, context.principal, estate)
    time = leads.LeadTime(now=datetime.now(UTC), zone=ZoneInfo(found.timezone), as_of=as_of)
    week = plan_week(context.connection, context.policy, (found.id,), time, visits_wanted=visits)
    return VisitListAnswer(
        estate=estate,
        expected_hits=week.expected_hits,
        controls=week.controls,
        controls_drawn_from=week.drawn_from,
        items=[
            PlannedVisitItem(
                unit=visit.unit,
                chance=round(visit.chance, 3),
                control=visit.control,
                leads=[LeadItem.model_validate(lead) for lead in visit.leads],
            )
            for visit in week.visits
        ],
    )


# What cannot be judged -------------------------------------------------------------------------


class AbstentionItem(_Answer):
    """How many units a detector could not judge for one reason."""

    detector: str = Field(description="the detector's key", examples=["subletting"])
    reason: str = Field(description="why it could not judge", examples=["no_door"])
    units: int = Field(description="units", examples=[41])


class RemedyItem(_Answer):
    """What to fit or mend, and how many units at most it would let be judged."""

    reason: str = Field(description="the abstentions' reason", examples=["no_door"])
    units: int = Field(description="units", examples=[41])
    remedy: Translations = Field(
        description="what to do, in each language",
        examples=[
            {
                "zh": "加装单元门禁或入户智能门锁",
                "en": "fit an entrance terminal or a door lock",
            }
        ],
    )


class AbstentionsAnswer(_Answer):
    """What could not be judged in an estate on a day, and what would remedy it."""

    estate: str = Field(description="the estate's code", examples=["lakeside"])
    day: date = Field(description="the last whole day", examples=["2026-03-31"])
    items: list[AbstentionItem] = Field(description="by detector and reason, most units first")
    remedies: list[RemedyItem] = Field(description="by reason, most units first")


@router.get("/estates/{estate}/abstentions", operation_id="listAbstentions")
def list_abstentions(context: LeadReader, estate: Code) -> AbstentionsAnswer:
    """Count the units that could not be judged on the last whole day, and what device would remedy
    it.
    """
    found = find_estate(context.connection, context.principal, estate)
    day = last_whole_day(datetime.now(UTC), ZoneInfo(found.timezone))
    counts = findings.count_abstentions(context.connection, found.id, day)
    return AbstentionsAnswer(
        estate=estate,
        day=day,
        items=[AbstentionItem.model_validate(count) for count in counts],
        remedies=[RemedyItem.model_validate(needed) for needed in remedies.needed_remedies(counts)],
    )


# Visits ----------------------------------------------------------------------------------------


class VisitOutcomeRequest(BaseModel):
    """A visit and what was found. `kind` names what was confirmed, and stands with no other
    outcome.
    """

    model_config = ConfigDict(extra="forbid")
    code: str = Field(
        min_length=2, max_length=80, pattern=r"^[^\x00-\x1f]*$", examples=["2026-w47-03"]
    )
    estate: str = Field(pattern=ID_PATTERN)
    unit: str = Field(pattern=ID_PATTERN)
    visited_on: date
    reason: VisitReason = "lead"
    outcome: VisitResult
    kind: str | None = None
    began_on: date | None = None
    note: str | None = Field(
        None, max_length=500, pattern=r"^[^\x00]*$", description="no names, no numbers of people"
    )

    @model_validator(mode="after")
    def _kind_belongs(self) -> VisitOutcomeRequest:
        leads.check_kind(self.outcome, self.kind)
        return self


class VisitRecorded(_Answer):
    """A visit was recorded, now or before."""

    id: int = Field(description="the visit's number", examples=[812])
    code: str = Field(description="the visit's own code", examples=["2026-w47-03"])


class VisitItem(_Answer):
    """A visit and what was found."""

    id: int = Field(description="the visit's number", examples=[812])
    code: str = Field(description="the visit's own code", examples=["2026-w47-03"])
    estate: str = Field(description="the estate's code", examples=["lakeside"])
    unit: str = Field(description="the unit's code", examples=["3-1-502"])
    reason: VisitReason = Field(description="why it was made", examples=["lead"])
    visited_on: date = Field(description="the estate's own day", examples=["2026-11-18"])
    outcome: VisitResult = Field(description="what came of it", examples=["confirmed"])
    kind: str | None = Field(description="what was confirmed", examples=["subletting"])
    began_on: date | None = Field(
        description="day on which it began, where that was learnt", examples=["2026-09-01"]
    )
    note: str | None = Field(description="no names, no numbers of people", examples=[None])
    recorded_by: str = Field(description="the log-in that recorded it", examples=["li"])
    recorded_at: datetime = Field(description="UTC", examples=["2026-11-18T08:12:00Z"])
    tested: list[str] = Field(
        description="detectors whose findings it put to the test", examples=[["subletting"]]
    )


class VisitPage(_Answer):
    """Visits, newest first."""

    items: list[VisitItem] = Field(description="visits")
    next: int | None = Field(
        description="`before` of the following page; null on the last", examples=[712]
    )


@router.post("/visits", operation_id="recordVisit", status_code=201)
def record_visit(context: VisitRecorder, body: VisitOutcomeRequest) -> VisitRecorded:
    """Record a visit. The same code with the same content changes nothing; with other content it is
    refused.
    """
    unit = find_unit(context.connection, context.principal, body.estate, body.unit)
    zone = ZoneInfo(unit.timezone)
    if body.visited_on > datetime.now(zone).date():
        raise Problem(422, "future", f"visited_on {body.visited_on} is still to come")
    visit = visits.NewVisit(
        code=body.code,
        unit_id=unit.id,
        visited_on=body.visited_on,
        reason=body.reason,
        outcome=body.outcome,
        kind=body.kind,
        began_on=body.began_on,
        note=body.note,
    )
    try:
        visit_id = visits.record_visit(
            context.connection,
            visit,
            actor=context.principal.name,
            known_at=night_clock(body.visited_on, zone),
            kinds=leads.KINDS,
        )
    except visits.BadVisit as error:
        raise Problem(409, "known_visit", str(error)) from None
    return VisitRecorded(id=visit_id, code=body.code)


@router.get("/visits", operation_id="listVisits")
def list_visits(
    context: LeadReader,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> VisitPage:
    """List visits within your reach, newest first; `next` is the `before` of the following page."""
    rows = visits.list_visits(
        context.connection, context.principal.estate_ids, before_id=before, limit=limit
    )
    return VisitPage(
        items=[VisitItem.model_validate(row) for row in rows],
        next=rows[-1].id if len(rows) == limit else None,
    )


# Calibration -----------------------------------------------------------------------------------


class HitRateItem(_Answer):
    """The share of visits that confirmed a detector, by version, estate and month."""

    detector: str = Field(description="the detector's key", examples=["subletting"])
    version: str = Field(description="the detector's version", examples=["3"])
    estate: str = Field(description="the estate's code", examples=["lakeside"])
    month: str = Field(description="the visits' month", examples=["2026-03"])
    inconclusive: int = Field(description="visits that do not count", examples=[1])
    hits: int = Field(description="visits that confirmed it", examples=[7])
    visits: int = Field(description="conclusive visits", examples=[9])
    hit_rate: float | None = Field(description="hits of visits, 0 to 1", examples=[0.7778])
    low: float = Field(description="lower bound, 95 %", examples=[0.4526])
    high: float = Field(description="upper bound, 95 %", examples=[0.9368])


class MissRateItem(_Answer):
    """The share of random control visits that found something without a lead."""

    hits: int = Field(description="visits that found something", examples=[0])
    visits: int = Field(description="conclusive visits", examples=[24])
    miss_rate: float | None = Field(description="hits of visits, 0 to 1", examples=[0.0])
    low: float = Field(description="lower bound, 95 %", examples=[0.0])
    high: float = Field(description="upper bound, 95 %", examples=[0.138])


class ScoreBinItem(_Answer):
    """Visits whose score lies within bounds: their mean score, and the share that came true."""

    from_score: float = Field(alias="from", description="least score", examples=[0.7])
    to_score: float = Field(alias="to", description="scores lie below it", examples=[0.8])
    visits: int = Field(description="visits", examples=[12])
    score: float = Field(description="mean score, 0 to 1", examples=[0.761])
    came_true: float = Field(description="share that came true, 0 to 1", examples=[0.75])


class CalibrationProposalItem(_Answer):
    """A calibration that a person may adopt: new log odds = shift + stretch × old."""

    shift: float = Field(description="term of the log odds", examples=[-0.21])
    stretch: float = Field(description="factor of the log odds", examples=[0.84])
    labels: int = Field(description="visits that it was made of", examples=[112])
    error_before: float = Field(description="mean gap, 0 to 1", examples=[0.094])
    error_after: float = Field(
        description="mean gap on visits that it was not made of, 0 to 1", examples=[0.041]
    )


class DetectorCalibrationItem(_Answer):
    """How far a detector version's scores are off, and what would better them."""

    detector: str = Field(description="the detector's key", examples=["subletting"])
    version: str = Field(description="the detector's version", examples=["3"])
    visits: int = Field(description="conclusive visits", examples=[112])
    error: float = Field(description="mean gap between score and outcome, 0 to 1", examples=[0.094])
    bins: list[ScoreBinItem] = Field(description="visits by score")
    proposal: CalibrationProposalItem | None = Field(
        description="null where there are too few visits, or nothing better"
    )


class CalibrationAnswer(_Answer):
    """What visits say of the detectors."""

    hit_rates: list[HitRateItem] = Field(description="by detector version, estate and month")
    control_visits: MissRateItem = Field(description="what random visits found")
    calibration: list[DetectorCalibrationItem] = Field(description="by detector version")


@router.get("/calibration", operation_id="getCalibration")
def get_calibration(
    context: LeadReader, estate: Annotated[str | None, Query(pattern=ID_PATTERN)] = None
) -> CalibrationAnswer:
    """Return hit rates, the miss rate of random visits, and calibrations that are proposed."""
    scope = context.principal.estate_ids
    if estate is not None:
        scope = (find_estate(context.connection, context.principal, estate).id,)
    report = report_calibration(context.connection, scope)
    return CalibrationAnswer.model_validate(report_as_json(report))
