"""A share and how sure it is: hits of so many, with Wilson's interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

#: Standard deviations of a normal law that hold 95 of 100.
_Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """A share with its 95 % interval; `of` counts what it was counted over. Without any it has no
    value.
    """

    hits: int
    of: int
    rate: float | None
    low: float
    high: float


def rate(hits: int, of: int) -> Proportion:
    """Return a share, to four places, with its interval: it holds for few and for shares near
    nothing (E. B. Wilson, JASA 22, 1927).
    """
    if of == 0:
        return Proportion(hits=0, of=0, rate=None, low=0.0, high=1.0)
    share = hits / of
    scale = 1 + _Z**2 / of
    middle = (share + _Z**2 / (2 * of)) / scale
    half_width = _Z * sqrt(share * (1 - share) / of + _Z**2 / (4 * of * of)) / scale
    # Rounding may not push a bound past the share or out of 0 to 1.
    low = min(share, max(0.0, middle - half_width))
    high = max(share, min(1.0, middle + half_width))
    return Proportion(
        hits=hits, of=of, rate=round(share, 4), low=round(low, 4), high=round(high, 4)
    )
