"""Each family's evidence of subletting: never stronger than its limit, and silent where nothing is
known.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.detectors.subletting import access, meters, plates, reports, signs
from analytics.detectors.subletting.access import AccessWeights
from analytics.detectors.subletting.detector import DETECTOR
from analytics.detectors.subletting.meters import MeterWeights
from analytics.detectors.subletting.plates import PlateWeights
from analytics.detectors.subletting.reports import ReportWeights
from analytics.detectors.subletting.signs import SightingParams, Stretch
from analytics.frame import UnitDayFrame
from analytics.fusion import Weight
from analytics.presence import PresenceParams
from tests.analytics.detectors.test_golden import frame_of

LIFE = {"water": "used", "kwh": 6.0, "entries": 4}
GONE = {"water": "used", "kwh": 6.0, "entries": 0}
STRETCH = Stretch(row=0, start=120, end=180)


def frame(*spans: dict[str, Any], **case: Any) -> UnitDayFrame:
    return frame_of({"spans": list(spans), **case})


def read(shown: UnitDayFrame) -> signs.SublettingSigns:
    return signs.read_signs(shown, PresenceParams(), SightingParams())


def weigh_access(shown: UnitDayFrame) -> dict[str, float]:
    weights = access.weigh_access(
        shown, read(shown), STRETCH, SightingParams(), AccessWeights(), least_days=28
    )
    return ratios(weights)


def ratios(weights: list[Weight]) -> dict[str, float]:
    return {weight.reason: weight.ratio for weight in weights}


def night(*tokens: int) -> list[dict[str, Any]]:
    return [{"token": token, "who": 1, "night": True, "every": 1} for token in tokens]


def test_residents_who_are_not_seen_any_more_speak_for_it_up_to_their_limit() -> None:
    found = weigh_access(frame({"days": 120, **LIFE}, {"days": 60, **GONE}))
    limit = AccessWeights().limit_all_unseen
    assert 3.0 < found["residents_not_seen"] <= math.log(limit)
    assert found["nobody_else_seen"] == pytest.approx(-math.log(AccessWeights().nobody_else))


def test_residents_who_are_seen_as_before_speak_against_it() -> None:
    found = weigh_access(frame({"days": 180, **LIFE}))
    assert found["residents_not_seen"] < -3.0


def test_a_stranger_who_stays_while_residents_are_gone_is_one_reason_not_two() -> None:
    found = weigh_access(frame({"days": 120, **LIFE}, {"days": 60, **GONE, "tokens": night(5)}))
    assert set(found) == {"residents_gone_strangers_stay"}
    assert found["residents_gone_strangers_stay"] <= math.log(AccessWeights().limit_both)


def test_a_dormitory_is_another_matter() -> None:
    crowd = {"days": 60, **GONE, "tokens": night(1, 2, 3, 4, 5)}
    assert weigh_access(frame({"days": 120, **LIFE}, crowd))["crowd"] < 0


def test_a_declared_carer_lowers_the_limit() -> None:
    spans = ({"days": 120, **LIFE}, {"days": 60, **GONE})
    undeclared = weigh_access(frame(*spans))["residents_not_seen"]
    declared = weigh_access(frame(*spans, spoken_for=[120, 180]))["residents_not_seen"]
    assert declared < undeclared


def test_a_lent_card_is_evidence_of_its_own() -> None:
    shown = frame({"days": 120, **LIFE}, {"days": 60, **LIFE, "lent_passages": 1})
    assert weigh_access(shown)["card_lent"] == pytest.approx(math.log(AccessWeights().limit_lent))


@pytest.mark.parametrize("known_days", [0, 27])
def test_doors_that_saw_too_few_days_say_nothing(known_days: int) -> None:
    spans = [{"days": 180 - known_days, "water": "used", "kwh": 6.0}]
    if known_days:
        spans.append({"days": known_days, **GONE})
    assert weigh_access(frame(*spans)) == {}


def weigh_plates(shown: UnitDayFrame) -> dict[str, float]:
    return ratios(
        plates.weigh_plates(shown, STRETCH, PlateWeights(), gone_seen=0.04, least_days=28)
    )


@settings(max_examples=40, deadline=None)
@given(before=st.integers(1, 3), after=st.integers(0, 3))
def test_a_car_says_no_more_than_its_limits(before: int, after: int) -> None:
    rng = np.random.default_rng(before * 10 + after)
    shown = frame({"days": 180, **LIFE, "cars": 0})
    for span, rate in ((slice(0, 120), before / 3), (slice(120, 180), after / 3)):
        length = span.stop - span.start
        shown.columns["cars_seen"][0, span] = rng.random(length) < rate
    weights = PlateWeights()
    for ratio in weigh_plates(shown).values():
        assert -math.log(weights.limit_parked) - 1e-9 <= ratio <= math.log(weights.limit_car) + 1e-9


def test_a_car_that_is_gone_speaks_for_it_and_one_that_was_never_seen_says_nothing() -> None:
    gone = frame({"days": 120, **LIFE, "cars": 1}, {"days": 60, **LIFE, "cars": 0})
    assert weigh_plates(gone)["car_not_seen"] > 1.0
    assert weigh_plates(frame({"days": 180, **LIFE, "cars": 1}))["car_seen"] < 0
    assert weigh_plates(frame({"days": 180, **LIFE, "cars": 0})) == {}
    assert weigh_plates(frame({"days": 180, **LIFE})) == {}


def weigh_meters(shown: UnitDayFrame) -> list[Weight]:
    return meters.weigh_meters(shown, read(shown), STRETCH, MeterWeights())


def test_meters_without_readings_say_nothing() -> None:
    assert weigh_meters(frame({"days": 180, "entries": 2})) == []


def test_use_that_goes_on_as_before_is_use_and_no_change() -> None:
    found = ratios(weigh_meters(frame({"days": 180, **LIFE})))
    assert found["water_used_while_unseen"] == 1.0
    assert found["power_used_while_unseen"] == 0.6
    assert found["water_changed"] < 0 and found["power_changed"] < 0


def test_consumption_that_fell_by_half_where_nobody_else_is_seen_is_somebody_who_left() -> None:
    less = {"days": 60, **GONE, "water_l": 50.0}
    found = weigh_meters(frame({"days": 120, **LIFE, "water_l": 150.0}, less))
    assert ratios(found)["water_changed"] <= meters.FELL_BY_HALF
    assert meters.fell_by_half(found)
    assert not meters.fell_by_half(weigh_meters(frame({"days": 180, **LIFE})))


def weigh_reports(*told: dict[str, Any]) -> dict[str, float]:
    shown = frame({"days": 200, **LIFE}, told=list(told))
    return ratios(reports.weigh_reports(shown, STRETCH, ReportWeights()))


def test_a_tip_off_belongs_to_the_time_around_it_and_counts_once() -> None:
    tip = {"source": "tip_off", "kind": "sublet"}
    inside = [{**tip, "day": day} for day in (60, 150, 199)]
    assert weigh_reports(*inside) == {"tip_off": pytest.approx(math.log(ReportWeights().limit_tip))}
    assert weigh_reports({**tip, "day": 59}) == {}


def test_another_home_is_a_fact_whenever_it_was_reported() -> None:
    fact = {"source": "outside", "kind": "owns_home", "day": 3}
    assert set(weigh_reports(fact)) == {"lives_elsewhere"}
    assert weigh_reports({**fact, "kind": "deceased"}) == {}


def test_how_often_residents_are_usually_seen_is_drawn_from_what_is_known() -> None:
    usual = SightingParams().usual_seen
    seen_daily = read(frame({"days": 180, **LIFE})).usual_seen[0]
    never_seen = read(frame({"days": 180, **GONE})).usual_seen[0]
    assert usual < seen_daily <= 0.98
    assert never_seen < usual


def test_a_stretch_knows_its_last_eight_weeks_and_what_was_before() -> None:
    assert STRETCH.recent == slice(124, 180)
    assert Stretch(row=0, start=170, end=180).recent == slice(170, 180)
    assert STRETCH.before(84) == slice(36, 120)
    assert STRETCH.before(400) == slice(0, 120)


def test_nothing_is_found_of_a_home_of_which_nothing_is_known() -> None:
    judgement = DETECTOR.detect(frame({"days": 180}), DETECTOR.params_type())
    assert judgement.findings == []
    assert {abstention.reason for abstention in judgement.abstentions} == {"door_silent"}
