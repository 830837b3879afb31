"""Heights from rows, and the law of a fall with drag.

Height above the ground comes from marks that an installer measures (a picture's row and its
metres), so that the law is the physical one and not one of pixels: from its apex a thing falls h0 -
h(t) = vt²/g ln cosh(g (t - t0) / vt), which is g t²/2 at first and the terminal speed vt at last
(quadratic drag).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRAVITY = 9.81
#: Terminal speeds begun from, m/s: a stone or a bottle at the upper end, a full bag of rubbish at
#: the lower; what falls more slowly than the slowest is a leaf. And when a thing may have left its
#: apex, seconds before (negative) or after it is first seen.
TERMINAL_SPEEDS = (13.0, 20.0, 45.0)
SLOWEST = 12.0
MOMENT = (-12.0, 0.4)


@dataclass(frozen=True, slots=True)
class Scale:
    """Rows to metres: h = (p y + q) / (r y + 1), as a plane under perspective has it.

    With two marks r is 0.
    """

    p: float
    q: float
    r: float

    @staticmethod
    def through(marks: list[tuple[float, float]], rows: int) -> Scale:
        """Fit to marks of (share of the picture's height, metres)."""
        y = np.array([share * rows for share, _ in marks])
        h = np.array([metres for _, metres in marks])
        if len(marks) == 2:
            p = float((h[1] - h[0]) / (y[1] - y[0]))
            return Scale(p, float(h[0] - p * y[0]), 0.0)
        rows_of = np.stack([y, np.ones_like(y), -h * y], axis=1)
        (p, q, r), *_ = np.linalg.lstsq(rows_of, h, rcond=None)
        return Scale(float(p), float(q), float(r))

    def metres(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights of rows."""
        return (self.p * y + self.q) / (self.r * y + 1)

    def pixels_per_metre(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows that a metre of height takes there."""
        slope = np.abs((self.p - self.q * self.r) / (self.r * y + 1) ** 2)
        return 1 / np.maximum(slope, 1e-6)

    def across(
        self, x: NDArray[np.float64], y: NDArray[np.float64], rows: int, columns: int
    ) -> NDArray[np.float64]:
        """Return metres along the wall from the middle column, of the shape of `x`.

        A metre along the wall takes pixels as 1 / depth, a metre of height as 1 / depth². Where the
        camera's axis meets the wall they differ by the cosine of its tilt, taken as 0.75.
        """
        middle = np.array([rows / 2])
        nearness = (self.r * y + 1) / (self.r * rows / 2 + 1)
        return (
            (x - columns / 2) / (self.pixels_per_metre(middle)[0] / 0.75 * nearness)
            if self.r
            else (x - columns / 2) / self.pixels_per_metre(y)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """The fall that fits a track: speeds in m/s, heights in metres, times in seconds.

    `seconds` is how long the thing was seen. `begun_s` is how long before that it left its apex; a
    negative value is after.
    """

    terminal: float
    apex_m: float
    drop_m: float
    seconds: float
    begun_s: float
    rms_m: float

    def height(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres above ground, `t` seconds after it was first seen."""
        return self.apex_m - _fallen(t + self.begun_s, self.terminal**-2)


def best_fall(t: NDArray[np.float64], h: NDArray[np.float64], highest: float) -> Fall | None:
    """Fit a fall with drag to heights `h` (metres, (n,)) at `t` (seconds from 0, (n,)).

    The fit is by Gauss and Newton, from each of some terminal speeds. The answer is the best one
    whose apex is not above `highest`; None where there is none.
    """
    best: Fall | None = None
    early = max(len(t) // 3, 4)
    begun = min(0.0, slope_of(t[:early], h[:early]) / GRAVITY)
    for speed in TERMINAL_SPEEDS:
        # Of a terminal speed vt its inverse square is looked for, in which a fall is nearly linear;
        # the apex follows from the rest.
        t0 = begun
        drag = speed**-2
        for step in range(12):
            fallen = _fallen(t - t0, drag)
            faster = drag**-0.5 * np.tanh(GRAVITY * (t - t0) * drag**0.5)
            design = np.stack([faster, (fallen - _fallen(t - t0, drag * 1.01)) / (drag * 0.01)])
            design -= design.mean(axis=1, keepdims=True)
            left = h + fallen
            left -= left.mean()
            if step < 6:
                # First the moment alone: far from it both at once may run away.
                t0 = float(
                    np.clip(t0 + design[0] @ left / max(design[0] @ design[0], 1e-9), *MOMENT)
                )
                continue
            normal = design @ design.T
            normal[[0, 1], [0, 1]] *= 1 + 1e-6
            change = np.linalg.solve(normal + 1e-12 * np.eye(2), design @ left)
            t0 = float(np.clip(t0 + change[0], *MOMENT))
            drag = float(np.clip(drag + change[1], SLOWEST**-2 / 100, SLOWEST**-2))
        apex = float(np.mean(h + _fallen(t - t0, drag)))
        if apex > highest:
            # A short track hardly tells its apex: then it is the highest there can be, and the
            # misfit says whether that will do.
            t0 = _begun_below(highest, t, h, t0, drag)
            apex = float(np.mean(h + _fallen(t - t0, drag)))
        rms = rms_of(apex - _fallen(t - t0, drag) - h)
        if apex <= highest + 0.01 and (best is None or rms < best.rms_m):
            best = Fall(
                terminal=drag**-0.5,
                apex_m=apex,
                drop_m=float(h[0] - h[-1]),
                seconds=float(t[-1] - t[0]),
                begun_s=-t0,
                rms_m=rms,
            )
    return best


def _begun_below(
    highest: float, t: NDArray[np.float64], h: NDArray[np.float64], early: float, drag: float
) -> float:
    """Return the earliest moment at which an apex at `highest` can have been left.

    `early` is a moment that is too early.
    """
    late = MOMENT[1]
    for _ in range(24):
        middle = (early + late) / 2
        early, late = (
            (early, middle) if np.mean(h + _fallen(t - middle, drag)) <= highest else (middle, late)
        )
    return late


def _fallen(t: NDArray[np.float64], drag: float) -> NDArray[np.float64]:
    """Metres fallen after `t` seconds; `drag` is the inverse square of the terminal speed."""
    return np.asarray(np.log(np.cosh(GRAVITY * t * drag**0.5)) / (GRAVITY * drag), np.float64)


def slope_of(t: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """The slope of the straight line through some values (least squares)."""
    away = t - t.mean()
    return float(away @ values / (away @ away))


def rms_of(values: NDArray[np.float64]) -> float:
    """The root of the mean square of some values."""
    return float(np.sqrt(np.mean(values**2)))
