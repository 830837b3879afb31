"""An evaluation over several cities: every figure with its interval over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.detectors import DETECTORS
from analytics.facts.meters import MeterBoundsTable
from anju.evaluation import score
from anju.evaluation.judging import judge_city, last_day
from anju.evaluation.score import Ranked, RankingSummary, ScoreTally
from domain.proportions import Proportion, rate
from simulators.world.city import WorldCity

_DAYS_A_YEAR = 365.0
#: A start counts as found within so many days.
_START_DAYS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorScore:
    """How good one detector is over all cities."""

    detector: str
    leads: int
    precision: Proportion
    truths: int
    recall: Proportion
    start_within_2: float | None
    """The share of truths found whose start is off by at most two days."""
    delay: float | None
    """The median of days from the start of a truth to its lead."""
    abstained: int
    """Homes that could not be judged on the last day."""
    false_per_1000_year: float
    false_per_10000_month: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRanking:
    """The ranking of subletting in one city."""

    seed: int
    visits: int
    hits: int
    sublets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """What the detectors got right over several cities, beside simple rules."""

    cities: Sequence[WorldCity]
    detectors: Sequence[DetectorScore]
    subletting: RankingSummary
    threshold: DetectorScore
    """Vacancy by a fixed threshold."""
    seeds: Sequence[SeedRanking]


def evaluate_cities(
    cities: Sequence[WorldCity],
    meter_bounds: MeterBoundsTable,
    progress: Callable[[int], None],
    processes: int,
) -> EvaluationReport:
    """Judge cities one after the other and put the counts together."""
    tallies = {detector.key: ScoreTally() for detector in DETECTORS}
    threshold = ScoreTally()
    rankings: list[Ranked] = []
    unit_years = 0.0
    for city in cities:
        judgement = judge_city(city, meter_bounds, progress, processes)
        first = city.first
        last = last_day(city)
        for key, total in tallies.items():
            total.add(score.tally(judgement, key, first, last))
        threshold.add(score.vacancy_by_threshold(judgement, first, last))
        rankings.append(score.ranked(judgement, last))
        unit_years += judgement.units * city.days / _DAYS_A_YEAR
    return EvaluationReport(
        cities=cities,
        detectors=[score_of(key, total, unit_years) for key, total in tallies.items()],
        subletting=score.summarise(rankings),
        threshold=score_of("threshold", threshold, unit_years),
        seeds=[
            SeedRanking(
                seed=city.seed, visits=ranking.visits, hits=ranking.hits, sublets=ranking.sublets
            )
            for city, ranking in zip(cities, rankings, strict=True)
        ],
    )


def score_of(detector: str, counts: ScoreTally, unit_years: float) -> DetectorScore:
    """Return the figures of counts that were made over so many units times years."""
    wrong = counts.leads - counts.right
    errors = counts.start_errors
    return DetectorScore(
        detector=detector,
        leads=counts.leads,
        precision=rate(counts.right, counts.leads),
        truths=counts.truths,
        recall=rate(counts.found, counts.truths),
        start_within_2=score.share_within(errors, _START_DAYS) if errors else None,
        delay=float(np.median(counts.delays)) if counts.delays else None,
        abstained=counts.abstained,
        false_per_1000_year=1000 * wrong / unit_years,
        false_per_10000_month=10_000 * wrong / unit_years / 12,
    )
