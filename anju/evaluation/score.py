"""What was said against what is true: per detector, at the budget of visits, in time, and whether scores mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from analytics.calibration.scores import bins_as_json, compare_scores
from anju.evaluation.chain import Judged, ReportedFinding
from domain.proportions import rate

#: Share of homes that can be visited: the base rate of subletting.
BUDGET = 0.0035
#: Days of evidence after which a violation ought to be known.
EVIDENCE_DAYS = 56
#: A truth shorter than this is not asked for, by kind.
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
    """Counts of one kind over a city: how many leads were right, how many truths were found, and how late."""

    leads: int = 0
    right: int = 0
    truths: int = 0
    found: int = 0
    start_errors: list[int] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    abstained: int = 0


def tally(judged: Judged, kind: str, first: date, last: date) -> ScoreTally:
    """Compare the leads of a kind with its truths.

    A lead is right where it overlaps a truth of its kind about the same home; a truth is asked for where the city shows it for long enough.
    """
    out = ScoreTally(
        abstained=len(
            set().union(*(u for k, u in judged.abstained.items() if k.startswith(f"{kind}:")))
        )
    )
    said: dict[str, list[ReportedFinding]] = {}
    for s in judged.said:
        if s.kind == kind and s.told:
            said.setdefault(s.unit, []).append(s)
    truths: dict[str, list[tuple[date, date, str]]] = {}
    for row in judged.truth:
        if row["kind"] == kind:
            begin, end = (
                max(first, date.fromisoformat(row["start_day"])),
                min(last, date.fromisoformat(row["end_day"])),
            )
            if begin <= end:
                truths.setdefault(row["unit"], []).append((begin, end, row["fitting"]))
    for unit, rows in said.items():
        for s in rows:
            out.leads += 1
            out.right += any(_overlap(s, t, last) for t in truths.get(unit, []))
    for unit, spans in truths.items():
        for span in spans:
            if (span[1] - span[0]).days + 1 < LEAST_DAYS.get(kind, 1):
                continue
            hits = [s for s in said.get(unit, []) if _overlap(s, span, last)]
            out.truths += 1
            if hits:
                out.found += 1
                best = min(hits, key=lambda s: s.raised_day)
                out.start_errors.append(abs((best.start_day - span[0]).days))
                out.delays.append((best.raised_day - span[0]).days)
    return out


def _overlap(said: ReportedFinding, truth: tuple[date, date, str], last: date) -> bool:
    return said.start_day <= truth[1] and (said.end_day or last) >= truth[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Subletting at the budget: visits, hits, hits of the baseline, how many could be found, and the scores with what came true."""

    visits: int
    hits: int
    sublets: int
    baseline_hits: int
    scores: tuple[float, ...]
    came_true: tuple[bool, ...]


def ranked(judged: Judged, last: date) -> Ranked:
    """Rank homes by the score of subletting on the last day and count the hits within the budget.

    Any sublet home that is visited is a hit; those that began within the last eight weeks are not asked for.
    """
    now = {
        row["unit"]: date.fromisoformat(row["start_day"])
        for row in judged.truth
        if row["kind"] == "subletting" and date.fromisoformat(row["end_day"]) >= last
    }
    ripe = {unit for unit, start in now.items() if (last - start).days >= EVIDENCE_DAYS}
    budget = round(BUDGET * judged.units)
    standing = sorted(
        (s for s in judged.said if s.kind == "subletting" and s.end_day is None),
        key=lambda s: -s.score,
    )
    best: dict[str, float] = {}
    for s in standing:
        best.setdefault(s.unit, s.score)
    chosen = list(best)[:budget]
    by_use = sorted(judged.consumption, key=lambda unit: -judged.consumption[unit])[:budget]
    return Ranked(
        visits=budget,
        hits=sum(unit in now for unit in chosen),
        sublets=len(ripe),
        baseline_hits=sum(unit in now for unit in by_use),
        scores=tuple(best.values()),
        came_true=tuple(unit in now for unit in best),
    )


def vacancy_by_threshold(judged: Judged, first: date, last: date) -> ScoreTally:
    """Count the fixed threshold's leads against the truth of unoccupied homes."""
    said = [
        ReportedFinding(
            unit=unit,
            kind="unoccupied",
            score=1.0,
            start_day=a,
            end_day=b,
            raised_day=a + timedelta(days=30),
            told=True,
        )
        for unit, spans in judged.threshold.items()
        for a, b in spans
    ]
    return tally(
        Judged(said=said, truth=judged.truth, units=judged.units), "unoccupied", first, last
    )


def within(errors: Sequence[int], days: int) -> float:
    """Return the share of errors of at most so many days."""
    return float(np.mean(np.array(errors) <= days)) if errors else float("nan")


def summary(seeds: Sequence[Ranked]) -> dict[str, Any]:
    """Put the rankings of several cities together, with intervals over all visits."""
    hits, visits = sum(r.hits for r in seeds), sum(r.visits for r in seeds)
    sublets, base = sum(r.sublets for r in seeds), sum(r.baseline_hits for r in seeds)
    scores = [s for r in seeds for s in r.scores]
    compared = compare_scores(scores, [t for r in seeds for t in r.came_true])
    return {
        "precision": rate(hits, visits),
        "recall": rate(min(hits, sublets), sublets),
        "baseline": rate(base, visits),
        "calibration_error": compared.error,
        "bins": bins_as_json(compared.bins),
    }
