"""An evaluation over several cities as one table: every figure with its interval over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from analytics.detectors import DETECTORS
from analytics.facts import BoundsOf
from anju.evaluation import score
from anju.evaluation.chain import judge_city, last_day
from anju.evaluation.score import ScoreTally
from domain.proportions import Proportion, rate
from simulators.world.city import WorldCity


def evaluate_cities(
    cities: Sequence[WorldCity], bounds: BoundsOf, progress: Callable[[int], None], processes: int
) -> dict[str, Any]:
    """Judge cities one after the other and put the counts together."""
    totals: dict[str, ScoreTally] = {d.key: ScoreTally() for d in DETECTORS}
    threshold, rankings = ScoreTally(), []
    years = 0.0
    for city in cities:
        judged = judge_city(city, bounds, progress, processes)
        last = last_day(city)
        for key, total in totals.items():
            _add(total, score.tally(judged, key, city.first, last))
        _add(threshold, score.vacancy_by_threshold(judged, city.first, last))
        rankings.append(score.ranked(judged, last))
        years += judged.units * city.days / 365.0
    ranked = score.summary(rankings)
    return {
        "cities": [asdict(city) for city in cities],
        "detectors": [_row(key, total, years) for key, total in totals.items()],
        "subletting": {k: asdict(v) if isinstance(v, Proportion) else v for k, v in ranked.items()},
        "threshold": _row("threshold", threshold, years),
        "seeds": [
            {"seed": c.seed, "visits": r.visits, "hits": r.hits, "sublets": r.sublets}
            for c, r in zip(cities, rankings, strict=True)
        ],
    }


def _add(total: ScoreTally, more: ScoreTally) -> None:
    total.leads += more.leads
    total.right += more.right
    total.truths += more.truths
    total.found += more.found
    total.start_errors += more.start_errors
    total.delays += more.delays
    total.abstained += more.abstained


def _row(key: str, t: ScoreTally, years: float) -> dict[str, Any]:
    wrong = t.leads - t.right
    return {
        "detector": key,
        "leads": t.leads,
        "precision": asdict(rate(t.right, t.leads)),
        "truths": t.truths,
        "recall": asdict(rate(t.found, t.truths)),
        "start_within_2": score.within(t.start_errors, 2) if t.start_errors else None,
        "delay": float(np.median(t.delays)) if t.delays else None,
        "abstained": t.abstained,
        "false_per_1000_year": 1000 * wrong / years,
        "false_per_10000_month": 10_000 * wrong / years / 12,
    }
