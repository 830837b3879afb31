"""Page's cumulative sum over many units at once: when did something begin, when was that sure, and is it over?

E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954): evidence for a change is added up day by day and never
falls below nothing; where it last left nothing is the likeliest day of the change. A day of which nothing is known adds
nothing, so silence neither begins nor ends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A stretch of days, as columns: its likeliest first day, the day on which it was sure, its last (None while it lasts)."""

    unit: int
    start: int
    sure: int
    last: int | None
    #: The evidence at its height.
    height: float

    def span(self, days: int) -> slice:
        """Return its columns in a frame of so many days."""
        return slice(self.start, days if self.last is None else self.last + 1)


def episodes(evidence: NDArray[Any], *, fire: float, drop: float) -> list[Episode]:
    """Find the episodes in which evidence of shape (units, days) adds up to `fire`.

    One is over when the sum has fallen by `drop` from its height; its last day is the day of that height.
    """
    units, days = evidence.shape
    total, height = np.zeros(units), np.zeros(units)
    start, sure, top = np.zeros(units, dtype=np.int64), np.full(units, -1), np.zeros(units, dtype=np.int64)
    found: list[Episode] = []
    steps = np.nan_to_num(evidence.T.astype(np.float64, order="C"))
    for day in range(days):
        step = steps[day]
        fresh = (total <= 0) & (step > 0)
        start[fresh] = day
        total = np.maximum(total + step, 0.0)
        higher = total > height
        height[higher] = total[higher]
        top[higher] = day
        sure[(sure < 0) & (total >= fire)] = day
        over = (sure >= 0) & (total <= height - drop)
        if over.any():
            for unit in np.flatnonzero(over).tolist():
                found.append(_episode(unit, start, sure, height, int(top[unit])))
            total[over] = 0.0
        gone = total <= 0
        height[gone] = 0.0
        sure[gone] = -1
    found += [_episode(unit, start, sure, height, None) for unit in np.flatnonzero(sure >= 0).tolist()]
    return sorted(found, key=lambda e: (e.unit, e.start))


def _episode(
    unit: int, start: NDArray[np.int64], sure: NDArray[Any], height: NDArray[np.float64], last: int | None
) -> Episode:
    return Episode(unit=unit, start=int(start[unit]), sure=int(sure[unit]), last=last, height=float(height[unit]))
