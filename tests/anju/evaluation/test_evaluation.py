"""The evaluation counts what is right, missed and late; and judges a small city whole."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from analytics.detectors import DETECTORS
from anju.evaluation import baselines, frames, judging, report, score
from anju.evaluation.judging import CityJudgement, ReportedFinding, TruthSpan
from anju.services import meter_bounds
from simulators.world.city import WorldCity
from tests.analytics.detectors.test_golden import frame_of

FIRST, LAST = date(2026, 1, 1), date(2026, 12, 31)


def said(
    unit: str,
    start: date,
    end: date | None = None,
    *,
    kind: str = "unoccupied",
    score_: float = 0.9,
    shown: bool = True,
) -> ReportedFinding:
    raised = start + timedelta(days=31)
    return ReportedFinding(
        unit=unit,
        detector=kind,
        score=score_,
        start_day=start,
        end_day=end,
        raised_day=raised,
        shown=shown,
    )


def truth(unit: str, start: str, end: str, kind: str = "unoccupied") -> TruthSpan:
    return TruthSpan(
        unit=unit,
        kind=kind,
        start_day=date.fromisoformat(start),
        end_day=date.fromisoformat(end),
    )


def test_leads_and_truths_are_matched_by_home_and_time() -> None:
    judged = CityJudgement(
        findings=[
            said("a", date(2026, 3, 2), date(2026, 5, 1)),
            said("a", date(2026, 9, 1), date(2026, 10, 5)),
            said("b", date(2026, 6, 1)),
            said("d", date(2026, 6, 1), shown=False),
        ],
        truth=[
            truth("a", "2026-03-01", "2026-05-01"),
            truth("c", "2026-02-01", "2026-04-01"),
            truth("a", "2026-07-01", "2026-07-10"),
            truth("d", "2026-06-01", "2026-12-31"),
        ],
        units=10,
    )
    found = score.tally(judged, "unoccupied", FIRST, LAST)
    assert (found.leads, found.right, found.truths, found.found) == (3, 1, 3, 1)
    assert found.start_errors == [1] and found.delays == [32]


def test_the_ranking_counts_visits_within_the_budget() -> None:
    units = [f"u{n}" for n in range(1000)]
    sublets = [truth(u, "2026-03-01", "2026-12-31", "subletting") for u in ("u1", "u2", "u3")]
    fresh = [truth("u4", "2026-12-20", "2026-12-31", "subletting")]
    judged = CityJudgement(
        findings=[
            said(u, date(2026, 3, 1), kind="subletting", score_=s, shown=False)
            for u, s in (("u1", 0.9), ("u9", 0.8), ("u2", 0.7), ("u4", 0.6), ("u3", 0.1))
        ],
        truth=sublets + fresh,
        units=1000,
        consumption={u: n / 1e4 for n, u in enumerate(units)} | {"u3": 2.0},
    )
    found = score.ranked(judged, LAST)
    assert (found.visits, found.hits, found.sublets, found.baseline_hits) == (4, 3, 3, 1)
    told = score.summarise([found, found])
    assert (
        told.precision.rate == 0.75 and told.recall.rate == 1.0 and 0 < told.calibration_error < 1
    )


def test_baselines_are_what_a_spreadsheet_does() -> None:
    frame = frame_of(
        {
            "spans": [
                {"days": 90, "water": "used", "kwh": 6.0},
                {"days": 60, "water": "quiet", "kwh": 6.0},
            ]
        }
    )
    assert baselines.quiet_by_threshold(frame)[0][0][1] == frame.day(149)
    assert baselines.changed_consumption(frame)[0] == 0.0


@pytest.mark.long
def test_a_small_city_is_judged_whole() -> None:
    city = WorldCity(seed=11, units=480, first=date(2024, 9, 1), days=200)
    told = report.evaluate_cities([city], meter_bounds(None), lambda _n: None, 1)
    assert [row.detector for row in told.detectors] == [d.key for d in DETECTORS]
    unoccupied = told.detectors[0]
    assert (
        unoccupied.truths >= 5
        and (unoccupied.recall.rate or 0.0) >= 0.6
        and (unoccupied.precision.rate or 0.0) >= 0.9
    )


def test_the_frame_of_a_block_is_that_of_its_homes() -> None:
    """A home among others has the facts that it has alone."""
    city = WorldCity(seed=2, units=48, first=date(2024, 9, 1), days=40)
    homes = frames.make_homes(city, 0, 48)
    bounds = meter_bounds(None)
    many, alone = (
        frames.block_frame(city, homes, bounds),
        frames.block_frame(city, homes[7:8], bounds),
    )
    for name in (
        "water_l",
        "energy_kwh",
        "water_hours",
        "strangers_nights" if city.fitting(7).lock else "water_cover",
    ):
        assert np.array_equal(many[name][7], alone[name][0], equal_nan=True), name
    assert np.array_equal(many.let[7], alone.let[0]) and judging.last_day(city) == date(
        2024, 10, 10
    )
