"""What changed becomes unit-day facts: the units and days that new readings touch, with the context that the interval law needs.

Facts are those of an instant: what had not arrived by then is not in them, so that a night of the past can be judged with
what was known. Computing them bit by bit gives what computing them from nothing gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.days import TRICKLE_L, People, SupplyDays, dense, supply_days, to_unit_days
from analytics.intervals import REACH, Bounds, to_intervals
from domain.calendar import day_start, day_starts_ms
from domain.measures import REGISTER_OF, Supply
from store import facts, series, unit_days
from store.connect import Connection
from store.facts import Meter, TokenDay

#: Units whose series are held in memory at a time.
UNITS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBounds:
    """What a profile says of a register: uom/h, uom, uom (None: never rolls over), seconds."""

    max_rate: float
    resolution: float
    rollover: float | None
    expected_interval_s: int


#: Bounds for a register whose profile is unknown: a DN20 water meter and a 100 A single-phase electricity meter.
DEFAULT_BOUNDS = {
    Supply.WATER: MeterBounds(max_rate=5.0, resolution=0.001, rollover=None, expected_interval_s=3600),
    Supply.ELECTRICITY: MeterBounds(max_rate=26.4, resolution=0.01, rollover=None, expected_interval_s=3600),
}
BoundsOf = dict[tuple[str, str], MeterBounds]


@dataclass(slots=True)
class Touched:
    """Which units' facts were computed anew, from which day on, and how many rows that made."""

    units: set[int] = field(default_factory=set)
    first: date | None = None
    last: date | None = None
    rows: int = 0

    def add(self, units: list[int], first: date, last: date, rows: int) -> None:
        """Count a block."""
        self.units.update(units)
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        self.rows += rows


def update_facts(
    connection: Connection, spans: dict[int, tuple[date, date]], zone: ZoneInfo, bounds: BoundsOf, known_at: datetime
) -> Touched:
    """Recompute the facts of units over the days that changed and their neighbours, from what had arrived at `known_at`."""
    touched = facts.neighbour_days(connection, spans, REACH)
    context = facts.neighbour_days(connection, touched, REACH)
    groups: dict[tuple[date, date], list[int]] = {}
    for unit, span in touched.items():
        groups.setdefault(span, []).append(unit)
    done = Touched()
    for (first, last), units in groups.items():
        for i in range(0, len(units), UNITS_AT_ONCE):
            some = units[i : i + UNITS_AT_ONCE]
            low = min(context[u][0] for u in some)
            high = max(context[u][1] for u in some)
            done.add(some, first, last, _recompute(connection, some, first, last, (low, high), zone, bounds, known_at))
    return done


def _recompute(
    connection: Connection,
    units: list[int],
    first: date,
    last: date,
    context: tuple[date, date],
    zone: ZoneInfo,
    bounds: BoundsOf,
    known_at: datetime,
) -> int:
    count = (last - first).days + 1
    day_starts = np.array(day_starts_ms(first, count, zone), dtype=np.float64)
    from_at, to_at = day_start(context[0], zone), day_start(context[1] + timedelta(days=1), zone)
    per_supply = {}
    for supply, point in REGISTER_OF.items():
        meters = facts.meters_of(connection, units, [point])
        per_supply[supply] = _supply(connection, supply, meters, units, day_starts, (from_at, to_at, known_at), bounds)
    begin, end = day_start(first, zone), day_start(last + timedelta(days=1), zone)
    people = facts.token_days(connection, units, begin, end, zone.key, known_at)
    alive = facts.door_days(connection, units, begin, end, zone.key, known_at)
    cars = facts.car_days(connection, units, begin, end, zone.key, known_at)
    day = unit_days.day_number(first)
    found = dense(
        per_supply[Supply.WATER],
        per_supply[Supply.ELECTRICITY],
        _people(people, units, day, count),
        doors=_table(alive, units, day, count, 2),
        cars=_table(cars, units, day, count, 4),
    )
    rows = to_unit_days(np.array(units, dtype=np.int32), day, found)
    unit_days.save_days(connection, rows, units, first, last)
    return len(rows)


def _supply(
    connection: Connection,
    supply: Supply,
    meters: list[Meter],
    units: list[int],
    day_starts: NDArray[np.float64],
    span: tuple[datetime, datetime, datetime],
    bounds: BoundsOf,
) -> SupplyDays:
    """Read the series behind one supply of units and turn them into facts; `span` is from, to, and known at."""
    raw = series.read_readings(connection, sorted({m.point_id for m in meters}), *span)
    row_of = {unit: i for i, unit in enumerate(units)}
    known = [bounds.get((m.profile, m.point), DEFAULT_BOUNDS[supply]) for m in meters]
    at, value = [], []
    left = np.searchsorted(raw.point, [m.point_id for m in meters], side="left")
    right = np.searchsorted(raw.point, [m.point_id for m in meters], side="right")
    for i, meter in enumerate(meters):
        t = raw.at[left[i] : right[i]]
        a = int(np.searchsorted(t, meter.from_ms, side="left"))
        b = len(t) if meter.to_ms is None else int(np.searchsorted(t, meter.to_ms, side="left"))
        at.append(t[a:b].astype(np.float64))
        value.append(raw.value[left[i] : right[i]][a:b])
    unit_of = np.array([row_of[m.unit_id] for m in meters], dtype=np.int64)
    return registers_to_days(supply, at, value, known, unit_of, len(units), day_starts)


def registers_to_days(
    supply: Supply,
    at: Sequence[NDArray[np.float64]],
    value: Sequence[NDArray[np.float64]],
    known: Sequence[MeterBounds],
    unit_of: NDArray[np.int64],
    units: int,
    day_starts: NDArray[np.float64],
) -> SupplyDays:
    """Turn one supply's registers into facts: of each its readings (ms UTC, uom), what its profile says, and its unit's row."""
    flat_at = np.concatenate(at) if at else np.empty(0)
    flat_value = np.concatenate(value) if value else np.empty(0)
    which = np.repeat(np.arange(len(at), dtype=np.int64), [len(t) for t in at])
    limits = Bounds(
        max_rate=np.array([k.max_rate for k in known]),
        resolution=np.array([k.resolution for k in known]),
        rollover=np.array([k.rollover or np.inf for k in known]),
    )
    least = np.maximum(limits.resolution, TRICKLE_L / 1000.0) if supply is Supply.WATER else np.zeros(len(known))
    return supply_days(
        unit_of,
        to_intervals(which, flat_at, flat_value, limits),
        unit_of[which],
        flat_at,
        units,
        day_starts,
        trickle=least,
        observed_h=np.array([2.5 * k.expected_interval_s / 3600 for k in known]),
    )


def _table(rows: Sequence[tuple[int, ...]], units: list[int], first: int, days: int, width: int) -> NDArray[np.int64]:
    """Turn rows that begin with a unit's id and a day's number into such that begin with the unit's row and the day's column."""
    table = np.array(rows, dtype=np.int64).reshape(-1, width)
    table[:, 0] = unit_days.rows_of(units, table[:, 0])
    table[:, 1] -= first
    return table[(table[:, 1] >= 0) & (table[:, 1] < days)]


def _people(rows: Sequence[TokenDay], units: list[int], first: int, days: int) -> People:
    table = _table(rows, units, first, days, 8)
    names = ("unit", "day", "who", "token", "entries", "exits", "night", "lent")
    return People(**{name: table[:, i] for i, name in enumerate(names)})
