"""Page's cumulative sum over many units at once: when did something begin, when was that sure, and is it over?

E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954): evidence for a change is added up day by day and never
falls below nothing; where it last left nothing is the likeliest day of the change. A day of which nothing is known adds
nothing, so silence neither begins nor ends anything.

In most homes nothing ever adds up. So the cheapest question comes first, over all units at once (is there so much evidence at
all?), then the exact one (does it ever add up?), and only the few homes that are left are followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Evidence of a day that is not to be judged: whatever stood is over, and nothing goes on across it.
OUTSIDE = -1e6
#: Up to so many units are sooner followed than asked whether it is worth it.
_FEW = 50
#: Tenths do not add up exactly: ten times 0.7 is 7.
_SAME = 1e-4


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


def episodes(
    evidence: NDArray[Any], *, fire: float, drop: float, rows: NDArray[np.int64] | None = None
) -> list[Episode]:
    """Find the episodes in which evidence of shape (units, days) adds up to `fire`; `rows` names its units where they are only some.

    One is over when the sum has fallen by `drop` from its height; its last day is the day of that height.
    """
    if not evidence.size:
        return []
    fire, drop = fire - _SAME, drop - _SAME
    # In 24 bits, so that sums in 53 are exact.
    steps = evidence.astype(np.float32, copy=False)
    if np.isnan(steps).any():
        steps = np.nan_to_num(steps)
    enough = np.flatnonzero(np.maximum(steps, np.float32(0)).sum(axis=1) >= fire - 0.01)
    found: list[Episode] = []
    if len(enough) > _FEW:
        enough = enough[_have_one(steps[enough], fire, drop)]
    # Before the first day that speaks for it nothing can begin.
    for unit, first in zip(
        enough.tolist(), (steps[enough] > 0).argmax(axis=1).tolist(), strict=True
    ):
        found += _follow(
            unit if rows is None else int(rows[unit]),
            first,
            steps[unit, first:].tolist(),
            fire,
            drop,
        )
    return found


def _have_one(steps: NDArray[np.float32], fire: float, drop: float) -> NDArray[np.int64]:
    """Return the rows that have an episode: the sum reaches `fire`, and can fall by `drop` or stands at the end."""
    nothing = np.zeros(len(steps))
    total, most = nothing.copy(), nothing.copy()
    for step in np.ascontiguousarray(steps.T, dtype=np.float64):
        np.add(total, step, out=total)
        np.maximum(total, nothing, out=total)
        np.maximum(most, total, out=most)
    return np.flatnonzero((most >= fire) & ((most >= drop) | (total > 0)))


def _follow(
    unit: int, start: int, steps: list[float], fire: float, drop: float
) -> Iterator[Episode]:
    """Follow one unit day by day, from a first day on."""
    days = enumerate(steps, start)
    total = 0.0
    for day, step in days:
        total += step
        if total <= 0.0:
            total, start = 0.0, day + 1
        elif total >= fire:
            height, sure, peak = total, day, day
            for then, more in days:
                total += more
                if total > height:
                    height, peak = total, then
                elif total <= max(0.0, height - drop):
                    break
            else:
                yield Episode(unit=unit, start=start, sure=sure, last=None, height=height)
                return
            # What fell to nothing before it fell by so much was never anything.
            if max(total, 0.0) <= height - drop:
                yield Episode(unit=unit, start=start, sure=sure, last=peak, height=height)
            total, start = 0.0, then + 1
