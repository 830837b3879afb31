"""What visits teach: hit rates with their intervals, what the random controls say is missed, and whether scores mean what they say.

A new calibration is only
ever proposed, as a shift and a stretch of the log odds (J. Platt, 1999) with the error before and after on visits that it was not made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.fusion import calibrate
from domain.proportions import Proportion, rate

#: Labelled visits below which no calibration is proposed.
LEAST_LABELS = 40


def hit_rates(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group visits that tested a finding (detector, version, estate, month, kind, outcome) and return each group's hit rate.

    A visit confirms a detector where the kind that was found is the detector's own. Inconclusive visits count beside it.
    """
    groups: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(
            (row["detector"], row["version"], row["estate"], row["month"]), []
        ).append(row)
    found = []
    for (detector, version, estate, month), visits in sorted(groups.items()):
        told = [v for v in visits if v["outcome"] != "inconclusive"]
        hits = sum(v["outcome"] == "confirmed" and v["kind"] == detector for v in told)
        found.append(
            {
                "detector": detector,
                "version": version,
                "estate": estate,
                "month": month,
                "inconclusive": len(visits) - len(told),
                **_shown(rate(hits, len(told))),
            }
        )
    return found


def miss_rate(controls: Sequence[dict[str, Any]]) -> Proportion:
    """Return the share of random control visits that found something nobody had a lead about."""
    told = [v for v in controls if v["outcome"] != "inconclusive"]
    return rate(sum(v["outcome"] == "confirmed" for v in told), len(told))


def calibration(
    scores: Sequence[float], hits: Sequence[bool], bins: int = 10
) -> tuple[float, list[dict[str, Any]]]:
    """Compare scores with what came true: the expected calibration error (the mean gap, weighted by visits), and each bin."""
    p, y = np.asarray(scores, dtype=float), np.asarray(hits, dtype=float)
    if not len(p):
        return 0.0, []
    which = np.minimum((p * bins).astype(int), bins - 1)
    rows, error = [], 0.0
    for b in sorted(set(which.tolist())):
        of = which == b
        told, came = float(p[of].mean()), float(y[of].mean())
        error += abs(told - came) * float(of.mean())
        rows.append(
            {
                "from": b / bins,
                "to": (b + 1) / bins,
                "visits": int(of.sum()),
                "score": round(told, 3),
                "came_true": round(came, 3),
            }
        )
    return round(error, 4), rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A calibration that a person may adopt: new log odds = shift + stretch × old; errors on visits that it was not made of."""

    shift: float
    stretch: float
    labels: int
    error_before: float
    error_after: float

    def apply(self, score: float) -> float:
        """Return what a score would become."""
        return calibrate(score, self.shift, self.stretch)


def propose(scores: Sequence[float], hits: Sequence[bool]) -> Proposal | None:
    """Fit a new calibration to labelled visits by halves; None where there are too few, or where it is no better.

    Each half is judged by what the other half teaches. It is never applied by itself.
    """
    p, y = np.asarray(scores, dtype=float), np.asarray(hits, dtype=float)
    if len(p) < LEAST_LABELS or y.min() == y.max():
        return None
    half = np.arange(len(p)) % 2 == 0
    after = np.empty(len(p))
    for mine in (half, ~half):
        shift, stretch = _fit(p[~mine], y[~mine])
        after[mine] = _chance(shift + stretch * _odds(p[mine]))
    before_error, after_error = (
        calibration(p.tolist(), y.astype(bool).tolist())[0],
        calibration(after.tolist(), y.astype(bool).tolist())[0],
    )
    shift, stretch = _fit(p, y)
    if after_error >= before_error:
        return None
    return Proposal(
        shift=round(shift, 3),
        stretch=round(stretch, 3),
        labels=len(p),
        error_before=before_error,
        error_after=after_error,
    )


def _fit(p: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Fit shift and stretch by Newton's method on the penalised log likelihood (a little towards no change)."""
    x = np.stack([np.ones_like(p), _odds(p)], axis=1)
    beta, prior, weight = np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.1, 1.0])
    for _ in range(30):
        q = _chance(x @ beta)
        slope = x.T @ (y - q) - weight * (beta - prior)
        curve = (x * (q * (1 - q))[:, None]).T @ x + np.diag(weight)
        step = np.linalg.solve(curve, slope)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    return float(beta[0]), float(beta[1])


def _odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    q = np.clip(p, 0.001, 0.999)
    return np.asarray(np.log(q / (1 - q)))


def _chance(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def _shown(found: Proportion) -> dict[str, Any]:
    return {
        "hits": found.hits,
        "visits": found.of,
        "hit_rate": found.rate,
        "low": found.low,
        "high": found.high,
    }
