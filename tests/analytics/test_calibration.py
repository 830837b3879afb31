"""Rates have Wilson's intervals, controls tell what is missed, and a calibration is proposed only
where it is better.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from analytics.calibration.hit_rates import hit_rates, miss_rate
from analytics.calibration.scores import (
    ScoreCalibration,
    compare_scores,
    propose_calibration,
)
from analytics.leads import Lead
from analytics.visit_list import controls_of, make_visit_list
from domain.alerting import Severity
from store.casework.visits import ControlVisit, FindingOutcome, LetHome, VisitResult


def finding(
    outcome: VisitResult, kind: str | None = None, month: str = "2026-01"
) -> FindingOutcome:
    return FindingOutcome(
        detector="subletting",
        version="1",
        params_digest="",
        raised_at=None,
        visited_on=date(2026, 1, 5),
        estate="es",
        month=month,
        outcome=outcome,
        kind=kind,
        score=0.5,
    )


def control(outcome: VisitResult, kind: str | None = None) -> ControlVisit:
    return ControlVisit(visited_on=date(2026, 1, 5), outcome=outcome, kind=kind)


def test_a_hit_is_what_the_detector_said_and_inconclusive_visits_count_beside_it() -> None:
    rows = [
        finding("confirmed", "subletting"),
        finding("confirmed", "unoccupied"),
        finding("unfounded"),
        finding("inconclusive"),
        finding("confirmed", "subletting", "2026-02"),
    ]
    january, february = hit_rates(rows)
    assert (january.hits, january.visits, january.inconclusive) == (1, 3, 1)
    assert (february.hits, february.visits) == (1, 1)
    controls = [control("unfounded")] * 9 + [control("confirmed", "subletting")]
    assert miss_rate(controls).miss_rate == 0.1


def test_an_overconfident_score_is_proposed_to_be_lowered_and_a_right_one_is_left() -> None:
    rng = np.random.default_rng(7)
    true = rng.uniform(0.05, 0.95, 600)
    hits = (rng.random(600) < true).tolist()
    odds = np.log(true / (1 - true))
    loud = 1 / (1 + np.exp(-(odds * 2.0 + 1.0)))
    found = propose_calibration(loud.tolist(), hits)
    assert found is not None and found.error_after < 0.5 * found.error_before
    assert found.shift < 0 and found.stretch < 0.8 and found.apply(0.9) < 0.9
    assert propose_calibration([0.5] * 10, [True] * 5 + [False] * 5) is None
    assert compare_scores([], []) == ScoreCalibration(error=0.0, bins=())


def lead(unit: int, score: float) -> Lead:
    day = date(2026, 1, 5)
    return Lead(
        unit=f"u-{unit}",
        unit_id=unit,
        estate="es",
        kind="subletting",
        score=score,
        start_day=day,
        start_low=day,
        start_high=day,
        raised_day=day,
        frozen=False,
        reasons=(),
        evidence={},
        why={},
        severity=Severity.LOW,
        version="1",
        params_digest="",
        window=(day, day),
    )


def test_the_list_ranks_homes_once_each_and_draws_controls_among_the_others() -> None:
    homes = [LetHome(unit_id=n, unit=f"u-{n}", estate="es") for n in range(100)]
    leads = [
        lead(1, 0.9),
        lead(1, 0.4),
        lead(2, 0.95),
        *[lead(n, 0.5 - n / 1000) for n in range(3, 40)],
    ]
    made = make_visit_list(leads, homes, visits=20, base_rate=0.0035, seed=5)
    assert (
        len(made.visits) == 20 and made.controls == controls_of(20) == 2 and made.drawn_from == 61
    )
    assert [v.unit_id for v in made.visits[:2]] == [2, 1] and len(made.visits[1].leads) == 2
    assert all(v.unit_id >= 40 or v.unit_id == 0 for v in made.visits if v.control)
    assert made == make_visit_list(leads, homes, visits=20, base_rate=0.0035, seed=5)
    few = make_visit_list(leads[:3], homes, visits=6, base_rate=0.0035, seed=5)
    assert [v.control for v in few.visits] == [False, False, True, True, True, True]
