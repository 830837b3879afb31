"""Small spots that move fast: what is new in a picture beside the two before it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
#: At most so many spots are taken from a picture, the most salient first.
MOST_SPOTS = 100
#: Pixels that lie in neighbouring cells of this many pixels are one spot.
GRID = 4


@dataclass(slots=True)
class SpotFinder:
    """Finds the spots of a stream. `find` takes every picture, in order.

    `inside` (rows, columns) is 1 where spots count; None counts them everywhere.
    """

    inside: Grey | None = None
    _earlier: deque[Grey] = field(default_factory=lambda: deque(maxlen=2))
    _activity: NDArray[np.float32] | None = None

    def find(self, grey: Grey) -> NDArray[np.float64]:
        """Return spots that are in this picture and in neither of the two before.

        `grey` has the shape (rows, columns). The answer has the shape (n, 4): x, y and width in
        pixels, and salience. It is empty until two pictures are known.
        """
        calm = np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.uint8)
        spots = self._compare(calm) if len(self._earlier) == 2 else np.zeros((0, 4))
        self._earlier.append(calm)
        return spots

    def forget_pictures(self) -> None:
        """Forget the pictures before; the next one belongs to another stretch of the stream."""
        self._earlier.clear()

    def _compare(self, grey: Grey) -> NDArray[np.float64]:
        first, second = self._earlier
        moved = np.asarray(cv2.min(cv2.absdiff(grey, first), cv2.absdiff(grey, second)))
        coarse = np.asarray(
            cv2.resize(moved, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA), np.float32
        )
        if self._activity is None:
            self._activity = coarse.copy()
        else:
            self._activity += (coarse - self._activity) * np.float32(0.04)
        # Single pixels of noise may stand out: a spot has two or more. Much that moves at once must
        # not raise the level far.
        counts = np.cumsum(np.bincount(moved[::4, ::4].ravel(), minlength=256))
        median, high = np.searchsorted(counts, [0.5 * counts[-1], 0.999 * counts[-1]])
        level = min(max(6.0, float(high)), 6 * float(median) + 12)
        _, mask = cv2.threshold(moved, level, 1, cv2.THRESH_BINARY)
        if self.inside is not None:
            mask = cv2.bitwise_and(mask, self.inside)
        places = np.flatnonzero(np.asarray(mask).view(bool))
        if not len(places):
            return np.zeros((0, 4))
        rows_columns = np.divmod(places, moved.shape[1])
        return self._spots_of(
            np.column_stack(rows_columns[::-1]).astype(np.int32), np.asarray(moved, np.uint8)
        )

    def _spots_of(self, points: NDArray[np.int32], moved: Grey) -> NDArray[np.float64]:
        """Gather pixels that lie together into spots: components on a coarse grid, measured on the
        fine one.
        """
        assert self._activity is not None
        rows, columns = moved.shape
        cells = points // GRID
        coarse = np.zeros((rows // GRID + 1, columns // GRID + 1), np.uint8)
        coarse[cells[:, 1], cells[:, 0]] = 1
        count, labels = cv2.connectedComponents(coarse, connectivity=8)
        label = np.asarray(labels)[cells[:, 1], cells[:, 0]]
        weight = moved[points[:, 1], points[:, 0]].astype(np.float64)
        area = np.bincount(label, minlength=count)
        strength = np.bincount(label, weight, minlength=count)
        places = points.astype(np.float64)
        found = np.flatnonzero(area >= 2)
        total = strength[found]

        def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(
                np.bincount(label, weight * values, minlength=count)[found] / total, np.float64
            )

        x = mean(places[:, 0])
        y = mean(places[:, 1])
        xx = mean(places[:, 0] ** 2) - x**2
        yy = mean(places[:, 1] ** 2) - y**2
        xy = mean(places[:, 0] * places[:, 1]) - x * y
        # A spot's length and width, were it even: the square roots of twelve times its variance
        # along and across.
        across = np.hypot((xx - yy) / 2, xy)
        length, width = (
            np.sqrt(12 * np.maximum((xx + yy) / 2 + sign * across, 0)) + 1 for sign in (1, -1)
        )
        at = np.minimum(
            (np.column_stack([y, x]) / 16).astype(int), np.array(self._activity.shape) - 1
        )
        # Where something moves all the time (laundry, a tree), a spot must stand out from that.
        salience = total / (1.0 + self._activity[at[:, 0], at[:, 1]] ** 2)
        picked = np.flatnonzero(length < 0.12 * rows)
        picked = picked[np.argsort(-salience[picked])][:MOST_SPOTS]
        return np.column_stack([x[picked], y[picked], width[picked], salience[picked]])
