"""Whether scores mean what they say: the expected calibration error, and a better calibration where
there is one.

A new calibration is only ever proposed, as a shift and a stretch of the log odds (J. Platt, 1999)
with the error before and after on visits that it was not made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.fusion import calibrate

#: Labelled visits below which no calibration is proposed.
LEAST_LABELS = 40
#: The fit is drawn towards no change (shift 0, stretch 1), the stretch more than the shift.
_PRIOR = np.array([0.0, 1.0])
_PRIOR_WEIGHT = np.array([0.1, 1.0])
#: Newton's method ends after so many steps, or when a step is so small.
_MOST_STEPS = 30
_SMALL_STEP = 1e-8
#: Scores are kept off 0 and 1, whose log odds are infinite.
_LEAST_SCORE = 0.001
_GREATEST_SCORE = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBin:
    """Visits whose score lies in [low, high): their mean score, and the share that came true."""

    low: float
    high: float
    visits: int
    score: float
    came_true: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCalibration:
    """The expected calibration error (mean gap between score and outcome, weighted by visits), and
    each bin.
    """

    error: float
    bins: tuple[ScoreBin, ...]


def bins_as_json(bins: Sequence[ScoreBin]) -> list[dict[str, float]]:
    """Return bins as JSON values; their bounds are named `from` and `to`."""
    return [
        {
            "from": score_bin.low,
            "to": score_bin.high,
            "visits": score_bin.visits,
            "score": score_bin.score,
            "came_true": score_bin.came_true,
        }
        for score_bin in bins
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationProposal:
    """A calibration that a person may adopt: new log odds = shift + stretch × old.

    The errors are those on visits that the calibration was not made of; `labels` counts the visits.
    """

    shift: float
    stretch: float
    labels: int
    error_before: float
    error_after: float

    def apply(self, score: float) -> float:
        """Return what a score would become."""
        return calibrate(score, self.shift, self.stretch)


def compare_scores(
    scores: Sequence[float], hits: Sequence[bool], bins: int = 10
) -> ScoreCalibration:
    """Compare scores (0 to 1) with what came true, one of each for every visit."""
    if not len(scores):
        return ScoreCalibration(error=0.0, bins=())
    score = np.asarray(scores, dtype=float)
    hit = np.asarray(hits, dtype=float)
    bin_of = np.minimum((score * bins).astype(int), bins - 1)
    error = 0.0
    found = []
    for number in sorted(set(bin_of.tolist())):
        members = bin_of == number
        mean_score = float(score[members].mean())
        came_true = float(hit[members].mean())
        error += abs(mean_score - came_true) * float(members.mean())
        found.append(
            ScoreBin(
                low=number / bins,
                high=(number + 1) / bins,
                visits=int(members.sum()),
                score=round(mean_score, 3),
                came_true=round(came_true, 3),
            )
        )
    return ScoreCalibration(error=round(error, 4), bins=tuple(found))


def propose_calibration(
    scores: Sequence[float], hits: Sequence[bool]
) -> CalibrationProposal | None:
    """Fit a new calibration to labelled visits; None where there are too few, or where it is no
    better.

    Its error is measured by halves: each half is judged by a fit to the other. It is never applied
    by itself.
    """
    score = np.asarray(scores, dtype=float)
    hit = np.asarray(hits, dtype=float)
    if len(score) < LEAST_LABELS or hit.min() == hit.max():
        return None
    before = compare_scores(scores, hits).error
    after = compare_scores(_calibrate_by_halves(score, hit).tolist(), hits).error
    if after >= before:
        return None
    shift, stretch = _fit(score, hit)
    return CalibrationProposal(
        shift=round(shift, 3),
        stretch=round(stretch, 3),
        labels=len(score),
        error_before=before,
        error_after=after,
    )


def _calibrate_by_halves(
    score: NDArray[np.float64], hit: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each score calibrated by a fit to the half of the visits that it is not in."""
    even = np.arange(len(score)) % 2 == 0
    calibrated = np.empty(len(score))
    for half in (even, ~even):
        shift, stretch = _fit(score[~half], hit[~half])
        calibrated[half] = _chance(shift + stretch * _log_odds(score[half]))
    return calibrated


def _fit(score: NDArray[np.float64], hit: NDArray[np.float64]) -> tuple[float, float]:
    """Return the shift and stretch that fit best (Newton's method, penalised likelihood)."""
    terms = np.stack([np.ones_like(score), _log_odds(score)], axis=1)
    factors = _PRIOR.copy()
    for _ in range(_MOST_STEPS):
        chance = _chance(terms @ factors)
        slope = terms.T @ (hit - chance) - _PRIOR_WEIGHT * (factors - _PRIOR)
        curvature = (terms * (chance * (1 - chance))[:, None]).T @ terms + np.diag(_PRIOR_WEIGHT)
        step = np.linalg.solve(curvature, slope)
        factors = factors + step
        if np.abs(step).max() < _SMALL_STEP:
            break
    return float(factors[0]), float(factors[1])


def _log_odds(score: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(score, _LEAST_SCORE, _GREATEST_SCORE)
    return np.asarray(np.log(inside / (1 - inside)))


def _chance(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))
