"""Findings compared with the truth: per detector, and at the number of visits that can be made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from analytics.calibration.scores import bins_as_json, compare_scores
from anju.evaluation.judging import (
    CityJudgement,
    ReportedFinding,
    TruthSpan,
    period_of_days,
)
from domain.periods import Period, overlapping
from domain.proportions import Proportion, rate

#: Share of homes that can be visited: the base rate of subletting.
BUDGET = 0.0035
#: Days of evidence after which a violation ought to be known.
EVIDENCE_DAYS = 56
#: Days of a fixed threshold's quiet after which it reports a home.
THRESHOLD_DAYS = 30
#: Truths shorter than so many days are not asked for, by kind.
LEAST_DAYS = {
    "unoccupied": 30,
    "unauthorised": 21,
    "tenancy_ended": 21,
    "continuous_flow": 4,
    "change_of_use": 56,
    "over_occupancy": 56,
    "meter_stuck": 14,
    "meter_reversed": 21,
    "meter_tampered": 42,
    "meter_swapped": 3,
}


@dataclass(slots=True, kw_only=True)
class ScoreTally:
    """Counts of one kind over a city: how many leads were right, and how many truths were found."""

    leads: int = 0
    right: int = 0
    truths: int = 0
    found: int = 0
    start_errors: list[int] = field(default_factory=list)
    """Days between the start of each truth found and that of its lead."""
    delays: list[int] = field(default_factory=list)
    """Days from the start of each truth found to its lead."""
    abstained: int = 0

    def add(self, other: ScoreTally) -> None:
        """Add the counts of another city."""
        self.leads += other.leads
        self.right += other.right
        self.truths += other.truths
        self.found += other.found
        self.start_errors += other.start_errors
        self.delays += other.delays
        self.abstained += other.abstained


@dataclass(frozen=True, slots=True, kw_only=True)
class _CutTruth:
    """A truth as far as the days of the city show it, both included."""

    first: date
    last: date

    @property
    def period(self) -> Period:
        return period_of_days(self.first, self.last)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


def tally(judgement: CityJudgement, kind: str, first: date, last: date) -> ScoreTally:
    """Compare the leads of a kind with its truths, from a city's first day to its last.

    A lead is right where it overlaps a truth of its kind about the same home. A truth is asked for
    where the city shows it for long enough.
    """
    counts = ScoreTally(abstained=_count_abstained(judgement, kind))
    leads: defaultdict[str, list[ReportedFinding]] = defaultdict(list)
    for report in judgement.findings:
        if report.detector == kind and report.shown:
            leads[report.unit].append(report)
    truths = _cut_truths(judgement.truth, kind, first, last)
    for unit, reports in leads.items():
        counts.leads += len(reports)
        counts.right += sum(
            bool(overlapping(report.period, truths.get(unit, ()))) for report in reports
        )
    for unit, spans in truths.items():
        for truth in spans:
            if truth.days >= LEAST_DAYS.get(kind, 1):
                _count_truth(counts, truth, overlapping(truth.period, leads.get(unit, ())))
    return counts


def _count_abstained(judgement: CityJudgement, kind: str) -> int:
    """Count the homes that the detector of a kind could not judge."""
    homes: set[str] = set()
    for key, units in judgement.abstained.items():
        if key.startswith(f"{kind}:"):
            homes |= units
    return len(homes)


def _cut_truths(
    truth: Sequence[TruthSpan], kind: str, first: date, last: date
) -> Mapping[str, Sequence[_CutTruth]]:
    """Return the truths of a kind by home, cut off at the city's first and last day."""
    truths: defaultdict[str, list[_CutTruth]] = defaultdict(list)
    for span in truth:
        cut = _CutTruth(first=max(first, span.start_day), last=min(last, span.end_day))
        if span.kind == kind and cut.first <= cut.last:
            truths[span.unit].append(cut)
    return truths


def _count_truth(counts: ScoreTally, truth: _CutTruth, leads: Sequence[ReportedFinding]) -> None:
    """Count a truth, and the earliest of the leads that overlap it."""
    counts.truths += 1
    if not leads:
        return
    earliest = min(leads, key=lambda lead: lead.raised_day)
    counts.found += 1
    counts.start_errors.append(abs((earliest.start_day - truth.first).days))
    counts.delays.append((earliest.raised_day - truth.first).days)


# At the budget of visits -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Subletting at the budget of visits."""

    visits: int
    hits: int
    sublets: int
    """Homes that have been sublet for long enough to be known."""
    baseline_hits: int
    scores: tuple[float, ...]
    came_true: tuple[bool, ...]
    """Whether each score's home is sublet."""


def ranked(judgement: CityJudgement, last: date) -> Ranked:
    """Rank homes by the score of subletting on the last day, and count hits within the budget.

    Any sublet home that is visited is a hit. Those that began within the last eight weeks are not
    asked for.
    """
    started = {
        span.unit: span.start_day
        for span in judgement.truth
        if span.kind == "subletting" and span.end_day >= last
    }
    known = [unit for unit, start in started.items() if (last - start).days >= EVIDENCE_DAYS]
    standing = [
        report
        for report in judgement.findings
        if report.detector == "subletting" and report.end_day is None
    ]
    best: dict[str, float] = {}
    for report in sorted(standing, key=lambda report: -report.score):
        best.setdefault(report.unit, report.score)
    budget = round(BUDGET * judgement.units)
    by_consumption = sorted(judgement.consumption, key=lambda unit: -judgement.consumption[unit])
    return Ranked(
        visits=budget,
        hits=sum(unit in started for unit in list(best)[:budget]),
        sublets=len(known),
        baseline_hits=sum(unit in started for unit in by_consumption[:budget]),
        scores=tuple(best.values()),
        came_true=tuple(unit in started for unit in best),
    )


def vacancy_by_threshold(judgement: CityJudgement, first: date, last: date) -> ScoreTally:
    """Count the fixed threshold's leads against the truth of unoccupied homes."""
    reports = [
        ReportedFinding(
            unit=unit,
            detector="unoccupied",
            score=1.0,
            start_day=begin,
            end_day=end,
            raised_day=begin + timedelta(days=THRESHOLD_DAYS),
            shown=True,
        )
        for unit, spans in judgement.threshold.items()
        for begin, end in spans
    ]
    by_threshold = CityJudgement(findings=reports, truth=judgement.truth, units=judgement.units)
    return tally(by_threshold, "unoccupied", first, last)


def share_within(errors: Sequence[int], days: int) -> float:
    """Return the share of errors of at most so many days; NaN where there are none."""
    return float(np.mean(np.array(errors) <= days)) if errors else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingSummary:
    """The rankings of several cities together, with intervals over all visits."""

    precision: Proportion
    recall: Proportion
    baseline: Proportion
    """The precision of consumption alone."""
    calibration_error: float
    bins: Sequence[object]
    """Scores beside what came true of them (see analytics/calibration/scores.py)."""


def summarise(rankings: Sequence[Ranked]) -> RankingSummary:
    """Put the rankings of several cities together."""
    hits = sum(ranking.hits for ranking in rankings)
    visits = sum(ranking.visits for ranking in rankings)
    sublets = sum(ranking.sublets for ranking in rankings)
    baseline_hits = sum(ranking.baseline_hits for ranking in rankings)
    scores = [score for ranking in rankings for score in ranking.scores]
    came_true = [outcome for ranking in rankings for outcome in ranking.came_true]
    compared = compare_scores(scores, came_true)
    return RankingSummary(
        precision=rate(hits, visits),
        recall=rate(min(hits, sublets), sublets),
        baseline=rate(baseline_hits, visits),
        calibration_error=compared.error,
        bins=bins_as_json(compared.bins),
    )
