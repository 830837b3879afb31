"""One against few: three answers, fused over a passage; errors counted with their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.faces.matching import MOST_SUBJECTS, MatchVerdict, Thresholds, decide, roc

LIMITS = Thresholds(match=0.5, unknown=0.7, margin=0.05)


def at(*distances: float) -> np.ndarray:
    """Templates at distances from the origin, each in its own direction."""
    return np.stack([np.eye(16, dtype=np.float32)[i] * d for i, d in enumerate(distances)])


PROBE = [np.zeros(16, np.float32)] * 3


@pytest.mark.parametrize(
    ("gallery", "verdict", "subject"),
    [
        ({"k-a": at(0.4), "k-b": at(0.9)}, MatchVerdict.MATCH, "k-a"),
        ({"k-a": at(0.75), "k-b": at(0.9)}, MatchVerdict.UNKNOWN, None),
        ({"k-a": at(0.6), "k-b": at(0.9)}, MatchVerdict.UNDECIDED, None),
        ({"k-a": at(0.4), "k-b": at(0.42)}, MatchVerdict.UNDECIDED, None),
        ({}, MatchVerdict.UNKNOWN, None),
    ],
)
def test_the_answers(
    gallery: dict[str, np.ndarray], verdict: MatchVerdict, subject: str | None
) -> None:
    answer = decide(PROBE, gallery, LIMITS)
    assert (answer.verdict, answer.subject) == (verdict, subject)
    assert decide(PROBE[:1], gallery, LIMITS).verdict is MatchVerdict.UNDECIDED, (
        "one picture decides nothing"
    )
    assert decide([], gallery, LIMITS).verdict is MatchVerdict.UNDECIDED


def test_a_blurred_frame_does_not_decide() -> None:
    far = np.full(16, 0.5, np.float32)
    assert decide([*PROBE, far], {"k-a": at(0.4)}, LIMITS).verdict is MatchVerdict.MATCH
    assert (
        decide([far, far, far, PROBE[0]], {"k-a": at(0.4)}, LIMITS).verdict
        is not MatchVerdict.MATCH
    ), "nor does one lucky one"


def test_few_has_an_end() -> None:
    with pytest.raises(ValueError, match="one against few"):
        decide(PROBE, {f"k-{n}": at(1.0) for n in range(MOST_SUBJECTS + 1)}, LIMITS)


@given(spread=st.floats(0.01, 0.3), seed=st.integers(0, 50))
def test_a_roc_falls_and_rises(spread: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    people = {
        f"p{n}": (random.normal(0, 1, 8) + random.normal(0, spread, (4, 8))).astype(np.float32)
        for n in range(5)
    }
    points = roc(people, [0.0, 0.3, 0.6, 1.0, 3.0, 99.0])
    false_match = [point.false_match.rate or 0.0 for point in points]
    false_non_match = [point.false_non_match.rate or 0.0 for point in points]
    assert false_match == sorted(false_match)
    assert false_non_match == sorted(false_non_match, reverse=True)
    assert points[0].false_non_match.of == 5 * 6 and points[0].false_match.of == 10 * 16
    assert points[-1].false_match.rate == 1 and points[-1].false_non_match.rate == 0
