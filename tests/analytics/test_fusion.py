"""Evidence is added, never beyond its limit; without any the base rate stands."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import fusion
from analytics.fusion import Posterior, Weight, fuse_weights, limit_ratio, unseen_ratio


def weight(ratio: float, doubt: float = 0.5) -> Weight:
    return Weight(family="access", reason="x", ratio=ratio, doubt=doubt)


def chances(likely: Posterior) -> tuple[float, float, float]:
    return likely.chance, likely.low, likely.high


def test_without_evidence_the_base_rate_stands() -> None:
    assert chances(fuse_weights([], 0.0035)) == pytest.approx((0.0035, 0.0035, 0.0035))


@given(st.lists(st.floats(-5, 5), max_size=6), st.floats(0.0001, 0.2))
def test_a_posterior_lies_within_its_bounds_and_rises_with_evidence(
    ratios: list[float], base: float
) -> None:
    chance, low, high = chances(fuse_weights([weight(r) for r in ratios], base))
    assert 0 <= low <= chance <= high <= 1
    assert fuse_weights([weight(r) for r in [*ratios, 0.5]], base).chance > chance


@given(st.floats(-30, 30), st.floats(1.5, 1000))
def test_evidence_is_never_stronger_than_its_innocent_explanation_is_rare(
    ratio: float, limit: float
) -> None:
    bounded = limit_ratio(ratio, limit)
    assert bounded <= math.log(limit) + 1e-9 and bounded <= ratio + 1e-9


def test_one_family_alone_is_not_worth_a_visit() -> None:
    assert fuse_weights([weight(math.log(60.0))], fusion.BASE_RATE).chance < 0.2
    assert (
        fuse_weights([weight(math.log(60.0)), weight(1.0), weight(1.8)], fusion.BASE_RATE).chance
        > 0.5
    )


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.1, 0.95))
def test_the_more_often_someone_is_seen_the_less_they_are_gone(
    seen: int, more: int, usual: float
) -> None:
    days = seen + more + 1

    def of(k: int) -> float:
        return float(
            unseen_ratio(np.array(k), np.array(days), np.array(usual), strength=12.0, rate=0.04)
        )

    assert of(0) >= of(seen) - 1e-9
    assert of(0) > 0


def test_log_gamma_is_the_standard_librarys() -> None:
    x = np.array([0.2, 0.5, 1.0, 2.5, 10.0, 300.0])
    assert np.allclose(fusion._log_gamma(x), [math.lgamma(v) for v in x], atol=1e-8)


def test_a_changed_consumption_speaks_for_others() -> None:
    assert fusion.changed_ratio(0.8, 0.1, normal=0.2, other=0.6) > 1.5
    assert fusion.changed_ratio(0.0, 0.1, normal=0.2, other=0.6) < 0
