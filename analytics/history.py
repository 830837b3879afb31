"""The facts of some units, read from the store and kept while nights are run one after the other.

Between two nights only the days that were computed anew are read again. What the register knows is
read each time, since it is small and may have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.detectors import INPUTS
from analytics.frame import UnitDayFrame, unpack
from analytics.unit_frames import UnitFacts, make_frame
from store.database.connection import Connection
from store.register import homes
from store.series import unit_days

#: Days that a frame reaches back: a year, and the month before it that tells what was usual.
WINDOW = 400
#: Days that a frame reaches back when an estate is judged for the first time.
FIRST_WINDOW = 3_660
#: Facts that detectors read; reading is a third of a night.
COLUMNS = tuple(name for name in unit_days.COLUMNS if name in INPUTS)
#: Days after the last fact that a frame still shows, so that silence is seen.
SILENCE_SHOWN = 60
#: Days by which a history may outgrow its window before the oldest days are dropped.
_SLACK = 30
#: Columns by which arrays grow at least, so that they do not grow every night.
_GROWTH = 60


@dataclass(slots=True)
class History:
    """Facts of units as growing arrays of shape (units, days).

    `read` reads the whole window once. `refresh` brings it up to a later night.
    """

    units: Sequence[int]
    zone: ZoneInfo
    window: int = WINDOW
    first: date | None = None
    """The local day of column 0; None before anything was read."""
    _days: int = 0
    _columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    _tokens: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    _faults: dict[tuple[int, int], Sequence[str]] = field(default_factory=dict)

    def read(self, connection: Connection, last: date) -> bool:
        """Read all days up to `last`, and at most SILENCE_SHOWN days after the last fact.

        Returns False where there are no facts up to `last`.
        """
        span = unit_days.read_day_span(connection, self.units)
        if span is None or span[0] > last:
            return False
        last = min(last, span[1] + timedelta(days=SILENCE_SHOWN))
        self._begin(span[0], last)
        self.refresh(connection, last)
        return True

    def refresh(
        self, connection: Connection, last: date, *, changed_from: date | None = None
    ) -> None:
        """Read the days up to `last` that are new, and those from `changed_from` on again."""
        if self.first is None:
            span = unit_days.read_day_span(connection, self.units)
            self._begin(min(span[0], last) if span else last, last)
        assert self.first is not None
        days = (last - self.first).days + 1
        stale = self._days
        if changed_from is not None:
            stale = max(0, min(stale, (changed_from - self.first).days))
        self._grow(days)
        if stale < days:
            self._read_days(connection, stale, days)
        self._days = days
        if days > self.window + _SLACK:
            self._drop_oldest(days - self.window)

    def frame(self, connection: Connection, known_on: date | None = None) -> UnitDayFrame:
        """Make the frame of what was read, with what the register knew on a day.

        Without a day that is the last day that was read.
        """
        assert self.first is not None
        register_day = known_on or self.first + timedelta(days=self._days - 1)
        facts = UnitFacts(
            units=self.units,
            first=self.first,
            columns={name: column[:, : self._days] for name, column in self._columns.items()},
            tokens=unpack(**self._tokens),
            faults=self._faults,
        )
        known = homes.read_homes(connection, self.units, register_day)
        return make_frame(facts, known, self.zone)

    def _begin(self, first: date, last: date) -> None:
        self.first = max(first, last - timedelta(days=self.window - 1))

    def _grow(self, days: int) -> None:
        width = next(iter(self._columns.values())).shape[1] if self._columns else 0
        if days <= width:
            return
        shape = (len(self.units), max(days, width + _GROWTH))
        for name in COLUMNS:
            dtype = np.float64 if name in unit_days.INSTANTS else np.float32
            column = np.full(shape, np.nan, dtype=dtype)
            if width:
                column[:, :width] = self._columns[name]
            self._columns[name] = column

    def _read_days(self, connection: Connection, begin: int, end: int) -> None:
        assert self.first is not None
        since = self.first + timedelta(days=begin)
        columns = unit_days.load_columns(connection, self.units, since, end - begin, COLUMNS)
        for name, column in columns.items():
            self._columns[name][:, begin:end] = column
        row, day, token = unit_days.load_tokens(connection, self.units, since, end - begin)
        self._replace_tokens(begin, {"unit": row, "day": day + begin, "token": token})
        self._faults = {cell: words for cell, words in self._faults.items() if cell[1] < begin}
        for row_number, day_number, words in unit_days.load_faults(
            connection, self.units, since, end - begin
        ):
            self._faults[row_number, day_number + begin] = words

    def _replace_tokens(self, begin: int, tokens: Mapping[str, NDArray[np.int64]]) -> None:
        """Replace the tokens of the days from `begin` on."""
        if not self._tokens:
            self._tokens = dict(tokens)
            return
        kept = self._tokens["day"] < begin
        self._tokens = {
            name: np.append(self._tokens[name][kept], column) for name, column in tokens.items()
        }

    def _drop_oldest(self, days: int) -> None:
        assert self.first is not None
        self.first += timedelta(days=days)
        self._days -= days
        self._columns = {name: column[:, days:].copy() for name, column in self._columns.items()}
        kept = self._tokens["day"] >= days
        self._tokens = {name: column[kept] for name, column in self._tokens.items()}
        self._tokens["day"] = self._tokens["day"] - days
        self._faults = {
            (row, day - days): words for (row, day), words in self._faults.items() if day >= days
        }
