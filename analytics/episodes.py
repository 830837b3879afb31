"""Page's cumulative sum over many units at once: when did something begin, when was that sure, and
is it over?

E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954): evidence for a change is added up
day by day and never falls below nothing; where it last left nothing is the likeliest day of the
change. A day of which nothing is known adds nothing, so silence neither begins nor ends anything.

In most homes nothing ever adds up. So the cheapest test comes first, over all units at once (is
there so much evidence at all?), then the exact one (does it ever add up?), and only the few homes
that are left are followed day by day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Evidence of a day that is not to be judged: whatever stood is over, and nothing goes on across
#: it.
OUTSIDE = -1e6
#: Up to so many units are followed at once; a test of all of them first would take longer.
_FEW_UNITS = 50
#: Tenths do not add up exactly: ten times 0.7 is 7.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A stretch of days of one row, as columns: its likeliest first day, the day on which it was
    sure, its last (None while it lasts).
    """

    row: int
    start: int
    sure: int
    last: int | None
    #: The evidence at its height.
    height: float

    def span(self, days: int) -> slice:
        """Return its columns in a frame of so many days."""
        return slice(self.start, days if self.last is None else self.last + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    fire: float
    drop: float


def find_episodes(
    evidence: NDArray[Any], *, fire: float, drop: float, rows: NDArray[np.int64] | None = None
) -> list[Episode]:
    """Find the episodes in which evidence of shape (units, days) adds up to `fire`.

    An episode is over when the sum has fallen by `drop` from its height; its last day is the day of
    that height. NaN counts as nothing. `rows` gives the rows of the whole frame where `evidence` is
    of some units only.
    """
    if not evidence.size:
        return []
    limits = _Limits(fire=fire - _TOLERANCE, drop=drop - _TOLERANCE)
    # In 24 bits, so that sums in 53 are exact.
    steps = evidence.astype(np.float32, copy=False)
    if np.isnan(steps).any():
        steps = np.nan_to_num(steps)
    total = np.maximum(steps, np.float32(0)).sum(axis=1)
    enough = np.flatnonzero(total >= limits.fire - 0.01)
    if len(enough) > _FEW_UNITS:
        enough = enough[_rows_with_episode(steps[enough], limits)]
    # Nothing can begin before the first day that speaks for it.
    first_days = (steps[enough] > 0).argmax(axis=1)
    found: list[Episode] = []
    for index, first in zip(enough.tolist(), first_days.tolist(), strict=True):
        row = index if rows is None else int(rows[index])
        found += _follow_unit(row, first, steps[index, first:].tolist(), limits)
    return found


def _rows_with_episode(steps: NDArray[np.float32], limits: _Limits) -> NDArray[np.int64]:
    """Return the rows that have an episode: the sum reaches `fire`, and can fall by `drop` or
    stands at the end.
    """
    nothing = np.zeros(len(steps))
    total = nothing.copy()
    highest = nothing.copy()
    for step in np.ascontiguousarray(steps.T, dtype=np.float64):
        np.add(total, step, out=total)
        np.maximum(total, nothing, out=total)
        np.maximum(highest, total, out=highest)
    stands = (highest >= limits.drop) | (total > 0)
    return np.flatnonzero((highest >= limits.fire) & stands)


def _follow_unit(row: int, start: int, steps: list[float], limits: _Limits) -> Iterator[Episode]:
    """Follow one unit day by day, from the column `start` on."""
    days = enumerate(steps, start)
    total = 0.0
    for day, step in days:
        total += step
        if total <= 0.0:
            total = 0.0
            start = day + 1
        elif total >= limits.fire:
            height = total
            sure = peak = day
            for later, more in days:
                total += more
                if total > height:
                    height = total
                    peak = later
                elif total <= max(0.0, height - limits.drop):
                    break
            else:
                yield Episode(row=row, start=start, sure=sure, last=None, height=height)
                return
            # What fell to nothing before it fell by `drop` was never anything.
            if max(total, 0.0) <= height - limits.drop:
                yield Episode(row=row, start=start, sure=sure, last=peak, height=height)
            total = 0.0
            start = later + 1
