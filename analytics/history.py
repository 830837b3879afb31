"""The frame of some units, read from the store and kept while nights are run one after the other.

A frame reaches back `WINDOW` days from the last whole day. Between two nights only the days that were computed anew are read
again; what the register says is asked for anew each time, since it is small and may say something else tonight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.detectors import INPUTS
from analytics.frame import OutsideReport, Tokens, UnitDayFrame, unpack
from domain.calendar import HOUR_MS, day_start, day_starts_ms
from store.database.connection import Connection
from store.register import homes
from store.register.homes import Homes
from store.series import unit_days

#: Days that a frame shows at most: a year, and the month before it that tells what was usual. The first time that an estate is
#: judged it shows all that there is.
WINDOW, WHOLE = 400, 3_660
#: Facts of a frame: those that a detector reads, since reading is a third of a night.
COLUMNS = tuple(name for name in (*unit_days.NUMBERS, *unit_days.INSTANTS) if name in INPUTS)
#: Days after the last fact for which a frame by day shows that nothing came.
SILENCE_SHOWN = 60
#: So much of a day must be known before it says anything while it lasts.
_HOURS_MS = 4.0 * HOUR_MS
_FAMILIES = ("water", "energy", "door", "lock")


@dataclass(slots=True)
class History:
    """Facts of units as growing arrays; `refresh` brings them up to a night, `frame` shows them."""

    units: list[int]
    zone: ZoneInfo
    window: int = WINDOW
    first: date | None = None
    _columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    _tokens: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    _faults: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    _days: int = 0

    def read(self, connection: Connection, last: date) -> bool:
        """Read all days up to `last`, or up to SILENCE_SHOWN days after the last fact; False where there are no facts."""
        span = unit_days.span_of(connection, self.units)
        if span is None or span[0] > last:
            return False
        last = min(last, span[1] + timedelta(days=SILENCE_SHOWN))
        self._begin(span, last)
        self.refresh(connection, last, None)
        return True

    def _begin(self, span: tuple[date, date] | None, last: date) -> None:
        first = min(span[0], last) if span else last
        self.first = max(first, last - timedelta(days=self.window - 1))

    def refresh(self, connection: Connection, last: date, changed: date | None) -> None:
        """Read the days up to `last`: all the first time, then those from `changed` on, and those that are new."""
        if self.first is None:
            self._begin(unit_days.span_of(connection, self.units), last)
        assert self.first is not None
        days = (last - self.first).days + 1
        begin = (
            self._days if changed is None else max(0, min(self._days, (changed - self.first).days))
        )
        self._grow(days)
        if begin < days:
            self._read(connection, begin, days)
        self._days = days
        if days > self.window + 30:
            self._forget(days - self.window)

    def _grow(self, days: int) -> None:
        have = next(iter(self._columns.values())).shape[1] if self._columns else 0
        if days <= have:
            return
        size = max(days, have + 60)
        for name in COLUMNS:
            kind = np.float64 if name in unit_days.INSTANTS else np.float32
            column = np.full((len(self.units), size), np.nan, dtype=kind)
            if have:
                column[:, :have] = self._columns[name]
            self._columns[name] = column

    def _read(self, connection: Connection, begin: int, end: int) -> None:
        assert self.first is not None
        since = self.first + timedelta(days=begin)
        for name, column in unit_days.load_columns(
            connection, self.units, since, end - begin, COLUMNS
        ).items():
            self._columns[name][:, begin:end] = column
        row, day, token = unit_days.load_tokens(connection, self.units, since, end - begin)
        held = self._tokens or {"unit": row[:0], "day": day[:0], "token": token[:0]}
        keep = held["day"] < begin
        self._tokens = {
            "unit": np.append(held["unit"][keep], row),
            "day": np.append(held["day"][keep], day + begin),
            "token": np.append(held["token"][keep], token),
        }
        self._faults = {key: words for key, words in self._faults.items() if key[1] < begin}
        for u, d, words in unit_days.load_faults(connection, self.units, since, end - begin):
            self._faults[u, d + begin] = words

    def _forget(self, days: int) -> None:
        """Let go of the oldest days."""
        assert self.first is not None
        self.first += timedelta(days=days)
        self._days -= days
        self._columns = {name: column[:, days:].copy() for name, column in self._columns.items()}
        keep = self._tokens["day"] >= days
        self._tokens = {name: column[keep] for name, column in self._tokens.items()}
        self._tokens["day"] = self._tokens["day"] - days
        self._faults = {(u, d - days): words for (u, d), words in self._faults.items() if d >= days}

    def frame(self, connection: Connection, known: date | None = None) -> UnitDayFrame:
        """Make the frame of what was read last, with what the register knew on its last day, or on another."""
        assert self.first is not None
        days = self._days
        told = homes.read_homes(
            connection, self.units, known or self.first + timedelta(days=days - 1)
        )
        return make_frame(
            self.units,
            self.first,
            self.zone,
            {name: c[:, :days] for name, c in self._columns.items()},
            told,
            tokens=unpack(**self._tokens),
            faults=self._faults,
        )


def make_frame(
    units: Sequence[int],
    first: date,
    zone: ZoneInfo,
    columns: dict[str, NDArray[Any]],
    known: Homes,
    *,
    tokens: Tokens,
    faults: dict[tuple[int, int], list[str]],
) -> UnitDayFrame:
    """Lay what the register knows over the days of facts."""
    shape = next(iter(columns.values())).shape
    days = shape[1]
    row_of = {unit: i for i, unit in enumerate(units)}

    def span(since: date, until: date | None) -> slice:
        a, b = (since - first).days, days if until is None else (until - first).days + 1
        return slice(min(max(a, 0), days), min(max(b, 0), days))

    masks = {
        name: np.zeros(shape, dtype=bool) for name in ("let", "declared", "spoken_for", *_FAMILIES)
    }
    let_since = np.full(shape, np.nan, dtype=np.float32)
    ended = np.full(shape, np.nan, dtype=np.float32)
    members = np.zeros(shape, dtype=np.float32)
    for unit, since, until in known.tenancies:
        u = row_of[unit]
        masks["let"][u, span(since, until)] = True
        let_since[u, span(since, until)] = (since - first).days
        if until is not None:
            ended[u, min(max((until - first).days + 1, 0), days) :] = (until - first).days
    for unit, kind, since, until in known.declarations:
        name = (
            "declared"
            if kind in ("absence", "repair")
            else "spoken_for"
            if kind in ("guest", "carer")
            else None
        )
        if name:
            masks[name][row_of[unit], span(since, until)] = True
    for unit, since, until in known.residents:
        if until is None or until >= since:
            members[row_of[unit], span(since, until)] += 1
    begin = day_start(first, zone)
    for unit, family, low, high in known.devices:
        a = max(0, (low - begin).days)
        b = days if high is None else max(0, (high - begin).days + 1)
        masks[family][row_of[unit], a:b] = True
        if family == "lock":
            masks["door"][row_of[unit], a:b] = True
    told = [
        OutsideReport(unit=row_of[u], day=(day - first).days, source=source, kind=kind)
        for u, source, kind, day in known.told
    ]
    told += [
        OutsideReport(unit=u, day=d, source="meter", kind=word)
        for (u, d), words in sorted(faults.items())
        for word in words
    ]
    return UnitDayFrame(
        units=np.array(units, dtype=np.int32),
        first=first,
        day_starts=np.array(day_starts_ms(first, days, zone), dtype=np.float64),
        columns=columns,
        let=masks["let"],
        declared=masks["declared"],
        spoken_for=masks["spoken_for"],
        let_since=let_since,
        ended=ended,
        members=members,
        fitted={name: masks[name] for name in _FAMILIES},
        tokens=tokens,
        told=tuple(told),
    )


def until(frame: UnitDayFrame, day: date) -> UnitDayFrame | None:
    """Cut a frame off after a day; None where it begins later."""
    days = (day - frame.first).days + 1
    return frame.until(min(days, frame.days)) if days >= 1 else None


def running(frame: UnitDayFrame, clock: datetime) -> UnitDayFrame:
    """Return the frame whose last day is the clock's own, as far as anything is known of it; without it before that is hours.

    What is known of a day that is not over ends with the latest reading of anybody, and a unit's cover is its share of that.
    """
    last = frame.days - 1
    start, length = (
        float(frame.day_starts[last]),
        float(frame.day_starts[last + 1] - frame.day_starts[last]),
    )
    if not start <= clock.timestamp() * 1000 < start + length:
        return frame
    cover = {name: frame[name][:, last] for name in ("water_cover", "energy_cover")}
    share = max(float(np.nanmax(c, initial=0.0)) for c in cover.values())
    if share * length < _HOURS_MS:
        return frame.until(last)
    columns = dict(frame.columns)
    for name, part in cover.items():
        columns[name] = columns[name].copy()
        columns[name][:, last] = np.minimum(part / share, 1.0)
    ends = frame.day_starts.copy()
    ends[-1] = start + share * length
    return replace(frame, columns=columns, day_starts=ends, partial=True, derived={})


def last_whole_day(clock: datetime, zone: ZoneInfo) -> date:
    """Return the last local day that was over at an instant: a day that is not over proves nothing yet."""
    return clock.astimezone(zone).date() - timedelta(days=1)
