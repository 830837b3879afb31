"""A backtest: what a detector would have raised on past days, and how often visits say that it was
right.

It reads facts as they are known now, not as they were known on each day, and stores nothing; `anju
nightly --from` is the exact re-run, this is the quick look before a version or a parameter goes
live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from analytics.detectors.contract import Detector, Finding
from analytics.frame import UnitDayFrame
from analytics.history import FIRST_WINDOW, History
from analytics.nightly.estate import divide_into_blocks
from analytics.parameters import P, build_params, numbers_of
from analytics.policy import Policy
from analytics.unit_frames import cut_after
from domain.calendar import DAY_MS, day_of, from_ms
from domain.proportions import Proportion, rate
from store.analytics import nights
from store.analytics.findings import DetectorRun
from store.casework import visits
from store.casework.visits import VisitOutcome
from store.database.connection import Connection
from store.register import places

#: Findings of one unit that begin within so many ms of each other are one lead.
_SAME_LEAD_MS = 14 * DAY_MS
#: A visit within so many days after a lead was raised put it to the test.
_TESTED_WITHIN_DAYS = 183


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestWindow:
    """The days on which a detector is run: every so many from the first to the last."""

    first: date
    last: date
    every_days: int

    @property
    def days(self) -> int:
        """How many days the window spans."""
        return (self.last - self.first).days + 1

    def __iter__(self) -> Iterator[date]:
        day = self.first
        while day <= self.last:
            yield day
            day += timedelta(days=self.every_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestLead:
    """A lead that would have been raised; days are the estate's own."""

    unit_id: int
    unit: str
    estate: str
    raised_day: date
    score: float
    start_day: date
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestReport:
    """What a detector would have raised over a window, with its parameters; leads in the order of
    their days.

    `confirmed` is the share of leads, of those that a visit put to the test, that it confirmed.
    """

    detector: str
    version: str
    params_digest: str
    params: Mapping[str, float]
    window: BacktestWindow
    units: int
    leads: tuple[BacktestLead, ...]
    confirmed: Proportion

    @property
    def leads_per_day(self) -> float:
        """Leads raised on an average day."""
        return len(self.leads) / self.window.days

    @property
    def leads_per_1000_units_year(self) -> float:
        """Leads raised by a thousand units in a year."""
        return 1000 * 365 * len(self.leads) / max(1, self.units) / self.window.days


def backtest_detector(
    connection: Connection,
    policy: Policy,
    detector: Detector[P],
    changed: Mapping[str, float],
    estates: Sequence[int],
    window: BacktestWindow,
) -> BacktestReport:
    """Run a detector with changed parameters on the days of a window.

    One lead is one stretch, however often it is found. Raises: BadParameter.
    """
    numbers = {**numbers_of(policy.params(detector)), **changed}
    params = build_params(detector.params_type, numbers)
    leads: list[BacktestLead] = []
    units_seen = 0
    for estate in nights.list_estates(connection):
        if estate.id not in estates:
            continue
        zone = ZoneInfo(estate.timezone)
        units = nights.list_units(connection, estate.id)
        units_seen += len(units)
        for block in divide_into_blocks(units):
            history = History(units=block, zone=zone, window=FIRST_WINDOW)
            if not history.read(connection, window.last):
                continue
            codes = places.unit_codes(connection, block)
            raised = _raise_leads(history.frame(connection), policy, detector, params, window)
            leads += [
                BacktestLead(
                    unit_id=finding.unit,
                    unit=codes[finding.unit],
                    estate=estate.code,
                    raised_day=day,
                    score=finding.score,
                    start_day=day_of(from_ms(finding.since_ms), zone),
                    reasons=finding.reasons,
                )
                for day, finding in raised
            ]
    run = DetectorRun(
        detector=detector.key,
        version=detector.version,
        params=numbers_of(params),
        window_from=window.first,
        window_to=window.last,
    )
    return BacktestReport(
        detector=detector.key,
        version=detector.version,
        params_digest=run.params_digest,
        params=run.params,
        window=window,
        units=units_seen,
        leads=tuple(sorted(leads, key=lambda lead: (lead.raised_day, lead.unit))),
        confirmed=_share_confirmed(
            leads, visits.list_outcomes(connection, estates), kind=detector.key
        ),
    )


def report_as_json(report: BacktestReport) -> dict[str, Any]:
    """Return a report as JSON values, days as dates."""
    confirmed = report.confirmed
    return {
        "detector": report.detector,
        "version": report.version,
        "params_digest": report.params_digest,
        "params": report.params,
        "from": report.window.first,
        "to": report.window.last,
        "units": report.units,
        "raised": len(report.leads),
        "per_day": report.leads_per_day,
        "per_1000_units_year": report.leads_per_1000_units_year,
        "known": {
            "hits": confirmed.hits,
            "visits": confirmed.of,
            "low": confirmed.low,
            "high": confirmed.high,
        },
        "leads": [
            {
                "unit_id": lead.unit_id,
                "unit": lead.unit,
                "estate": lead.estate,
                "raised_day": lead.raised_day,
                "score": lead.score,
                "start_day": lead.start_day,
                "reasons": list(lead.reasons),
            }
            for lead in report.leads
        ],
    }


def _raise_leads(
    frame: UnitDayFrame, policy: Policy, detector: Detector[P], params: P, window: BacktestWindow
) -> list[tuple[date, Finding]]:
    """Return each lead of a frame's units with the day that raised it, unit by unit."""
    raised: defaultdict[int, list[tuple[date, Finding]]] = defaultdict(list)
    for day in window:
        known = cut_after(frame, day)
        if known is None:
            continue
        for finding in detector.detect(known, params).findings:
            if finding.until_ms is not None or not policy.tells(detector.key, finding.score):
                continue
            leads = raised[finding.unit]
            if not any(_is_same_lead(earlier, finding) for _, earlier in leads):
                leads.append((day, finding))
    return [lead for leads in raised.values() for lead in leads]


def _is_same_lead(one: Finding, other: Finding) -> bool:
    return abs(one.since_ms - other.since_ms) < _SAME_LEAD_MS


def _share_confirmed(
    leads: Sequence[BacktestLead], outcomes: Sequence[VisitOutcome], *, kind: str
) -> Proportion:
    """Return the share of leads that were confirmed, of those that a visit within half a year put
    to the test.
    """
    outcomes_of: defaultdict[int, list[VisitOutcome]] = defaultdict(list)
    for outcome in outcomes:
        outcomes_of[outcome.unit_id].append(outcome)
    hits = 0
    tested = 0
    for lead in leads:
        after = [
            outcome
            for outcome in outcomes_of[lead.unit_id]
            if 0 <= (outcome.visited_on - lead.raised_day).days <= _TESTED_WITHIN_DAYS
        ]
        if after:
            tested += 1
        if any(outcome.outcome == "confirmed" and outcome.kind == kind for outcome in after):
            hits += 1
    return rate(hits, tested)
