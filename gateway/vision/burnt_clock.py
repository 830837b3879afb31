"""Reading the clock that a camera burns into its picture, in whatever font it has.

No font is known beforehand: the clock teaches its own digits. The units of the seconds change once
a second through ten shapes in a fixed order, and the tens change when the units turn from nine to
nought; so after two turns each digit's shape is known, and the other cells of the clock can be read
with them. Where the cells do not behave like a clock, nothing is told: it cannot be judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.vision.rules import ClockRule
from gateway.vision.sighting import Sighting

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]
#: A cell's shape is this many rows and columns.
SHAPE = (24, 16)
#: Shapes of neighbouring seconds are less alike than this, shapes of one digit more than that.
CHANGED = 0.85
ALIKE = 0.8
#: Seconds that must be seen in a row to learn; and readings in a row that must agree before
#: anything is told.
LEARN = 22
AGREE = 5


@dataclass(slots=True)
class BurntClock:
    """The reader of one rule.

    `see` takes the pictures; while it learns, it needs about four a second.
    """

    rule: ClockRule
    _shapes: list[Floats] = field(default_factory=list)
    _tens_turned: list[bool] = field(default_factory=list)
    _digits: dict[int, Floats] = field(default_factory=dict)
    _units: Floats | None = None
    _tens: Floats | None = None
    _changed_at: float = float("-inf")
    _off: list[bool] = field(default_factory=list)
    wrong: bool = False
    #: The last time that was read, naive and local; None where it could not be read.
    read: datetime | None = None

    def see(self, t: float, grey: Grey, now: datetime) -> list[Sighting]:
        """Read a picture (rows, columns) and return whether its clock became wrong or right.

        `now` is the gateway's clock, naive and local.
        """
        cells = self._cells(grey)
        if cells is None:
            return []
        at = self.rule.format.find("ss")
        units = cells[at + 1]
        tens = cells[at]
        turned = self._units is not None and _alike(units, self._units) < CHANGED
        if self._units is None or turned:
            since = t - self._changed_at
            if self._units is not None and since > 2.5:
                self._shapes.clear()
                self._tens_turned.clear()
            self._changed_at = t
            tens_turned = self._tens is not None and _alike(tens, self._tens) < CHANGED
            self._units = units
            self._tens = tens
            if not self._digits:
                self._shapes.append(units)
                self._tens_turned.append(tens_turned)
                self._learn()
                return []
            return self._judge(t, cells, now)
        return []

    def _cells(self, grey: Grey) -> list[Floats] | None:
        rows, columns = grey.shape
        left, top, width, height = self.rule.box
        x0 = left * columns
        y0 = top * rows
        x1 = (left + width) * columns
        y1 = (top + height) * rows
        count = len(self.rule.format)
        if (x1 - x0) / count < 4 or y1 - y0 < 6:
            return None
        strip = grey[int(y0) : max(int(np.ceil(y1)), int(y0) + 1), int(x0) : int(np.ceil(x1))]
        wide = np.asarray(
            cv2.resize(strip, (SHAPE[1] * count, SHAPE[0]), interpolation=cv2.INTER_AREA),
            np.float32,
        )
        return [wide[:, i * SHAPE[1] : (i + 1) * SHAPE[1]] for i in range(count)]

    def _learn(self) -> None:
        """Name the shapes once two turns of ten are alike and the tens turned in the same place."""
        if len(self._shapes) > LEARN + 20:
            del self._shapes[0], self._tens_turned[0]
        if len(self._shapes) < LEARN:
            return
        shapes = self._shapes[-LEARN:]
        turned = self._tens_turned[-LEARN:]
        again = [_alike(shapes[i], shapes[i + 10]) for i in range(LEARN - 10)]
        apart = [_alike(shapes[i], shapes[i + 1]) for i in range(LEARN - 1)]
        noughts = [i for i, flag in enumerate(turned) if flag]
        if (
            min(again) < ALIKE
            or max(apart) > CHANGED
            or len(noughts) < 2
            or any((b - a) % 10 for a, b in pairwise(noughts))
        ):
            return
        for digit in range(10):
            same = [shape for i, shape in enumerate(shapes) if (i - noughts[0]) % 10 == digit]
            self._digits[digit] = np.mean(same, axis=0, dtype=np.float32)

    def _judge(self, t: float, cells: list[Floats], now: datetime) -> list[Sighting]:
        self.read = self._read(cells, now)
        if self.read is None:
            return []
        off = (self.read - now).total_seconds()
        self._off = [*self._off[-(AGREE - 1) :], abs(off) > self.rule.most_off_s]
        if len(self._off) == AGREE and len(set(self._off)) == 1 and self._off[0] != self.wrong:
            self.wrong = self._off[0]
            state = "on" if self.wrong else "off"
            return [
                Sighting(
                    condition="clock",
                    state=state,
                    at_s=t,
                    detail="burnt_in_clock",
                    data={"off_s": round(off)},
                )
            ]
        return []

    def _read(self, cells: list[Floats], now: datetime) -> datetime | None:
        """Return the date and time in the cells, or None where a cell is no digit.

        What the format does not show is taken from `now`.
        """
        fields: dict[str, str] = {}
        for letter, cell in zip(self.rule.format, cells, strict=True):
            if letter not in "YMDhms":
                continue
            likeness = {digit: _alike(cell, shape) for digit, shape in self._digits.items()}
            best = max(likeness, key=lambda digit: likeness[digit])
            if likeness[best] < 0.5:
                return None
            fields[letter] = fields.get(letter, "") + str(best)
        year = fields.get("Y", str(now.year))
        try:
            read = now.replace(
                year=int(year) + (2000 if len(year) == 2 else 0),
                month=int(fields.get("M", now.month)),
                day=int(fields.get("D", now.day)),
                hour=int(fields["h"]),
                minute=int(fields["m"]),
                second=int(fields["s"]),
                microsecond=0,
            )
        except ValueError:
            return None
        if "D" not in fields and abs(read - now) > timedelta(hours=12):
            read += timedelta(days=1 if read < now else -1)
        return read


def _alike(a: Floats, b: Floats) -> float:
    """Return the correlation of two cells (rows, columns), from -1 to 1."""
    x = a - a.mean()
    y = b - b.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum() + 1e-6))
