"""What changed becomes unit-day facts: the units and days that new readings touch, with the context that the interval law needs.

Facts are those of an instant: what had not arrived by then is not in them, so that a night of the past can be judged with
what was known. Computing them bit by bit gives what computing them from nothing gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.intervals import REACH, Bounds, to_intervals
from analytics.supply_days import TRICKLE_L, People, SupplyDays, dense, supply_days, to_unit_days
from domain.calendar import day_start, day_starts_ms
from domain.measures import REGISTER_OF, Supply
from store.database.connection import Connection
from store.series import fact_inputs, unit_days
from store.series.fact_inputs import MeterMount, TokenDay
from store.series.readings import ReadingColumns, read_readings

#: Units whose facts are computed at a time, and unit-days whose readings are read at a time. Readings lie in the order of time, so
#: that each read looks through what everybody sent in its days: few large reads, whatever the size of the city.
UNITS_AT_ONCE, READ_AT_ONCE = 500, 96_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBounds:
    """What a profile says of a register: uom/h, uom, uom (None: never rolls over), seconds."""

    max_rate: float
    resolution: float
    rollover: float | None
    expected_interval_s: int


#: Bounds for a register whose profile is unknown: a DN20 water meter and a 100 A single-phase electricity meter.
DEFAULT_BOUNDS = {
    Supply.WATER: MeterBounds(
        max_rate=5.0, resolution=0.001, rollover=None, expected_interval_s=3600
    ),
    Supply.ELECTRICITY: MeterBounds(
        max_rate=26.4, resolution=0.01, rollover=None, expected_interval_s=3600
    ),
}
BoundsOf = dict[tuple[str, str], MeterBounds]
#: The first and the last of some local days.
Span = tuple[date, date]
_DAY = timedelta(days=1)


def update_facts(
    connection: Connection,
    spans: dict[int, Span],
    zone: ZoneInfo,
    bounds: BoundsOf,
    known_at: datetime,
) -> tuple[dict[int, Span], int]:
    """Recompute the facts of units over the days that changed and their neighbours, from what had arrived at `known_at`.

    Returns which days of each unit were computed anew, and how many rows of facts that made.
    """
    touched = fact_inputs.neighbour_days(connection, spans, REACH)
    context = fact_inputs.neighbour_days(connection, touched, REACH)
    rows = 0
    for units, low, high in reads(context, READ_AT_ONCE):
        said = _read(connection, units, (low, high), zone, known_at)
        groups: dict[Span, list[int]] = {}
        for unit in units:
            groups.setdefault(touched[unit], []).append(unit)
        for span, members in groups.items():
            for i in range(0, len(members), UNITS_AT_ONCE):
                some = members[i : i + UNITS_AT_ONCE]
                rows += _recompute(connection, some, span, said, zone, bounds, known_at)
    return touched, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageClaims:
    """What meters and doors of some units told of some days: readings by point and time, the registers behind each unit, and the
    (unit, day from 2000-01-01) pairs, sorted by unit, on which a door that the unit goes through said anything at all: a passage, or a
    reading of its own, such as its battery's. Where no door spoke, nobody knows who came: counts of that day are unknown and not zero.
    """

    readings: ReadingColumns
    meters: dict[int, list[MeterMount]]
    doors: NDArray[np.int64]


def _read(
    connection: Connection, units: list[int], span: Span, zone: ZoneInfo, known_at: datetime
) -> PassageClaims:
    meters = fact_inputs.meters_of(connection, units, list(REGISTER_OF.values()))
    behind: dict[int, list[MeterMount]] = {}
    for meter in meters:
        behind.setdefault(meter.unit_id, []).append(meter)
    doors = fact_inputs.doors_of(connection, units)
    low, high = day_start(span[0], zone), day_start(span[1] + _DAY, zone)
    points = {m.point_id for m in meters} | {point for _, _, point in doors if point is not None}
    readings = read_readings(connection, sorted(points), low, high, known_at)
    passed = fact_inputs.passage_days(
        connection, sorted({door for _, door, _ in doors}), low, high, zone.key, known_at
    )
    return PassageClaims(
        readings=readings, meters=behind, doors=_door_days(doors, passed, readings, span, zone)
    )


def _door_days(
    doors: list[tuple[int, int, int | None]],
    passed: list[tuple[int, int]],
    readings: ReadingColumns,
    span: Span,
    zone: ZoneInfo,
) -> NDArray[np.int64]:
    """List when the doors of units spoke, as rows of unit and day; `passed` are the days on which somebody came to each door."""
    starts = np.array(day_starts_ms(span[0], (span[1] - span[0]).days + 1, zone), dtype=np.int64)
    first = unit_days.day_number(span[0])
    spoke: dict[int, set[int]] = {}
    for door, day in passed:
        spoke.setdefault(door, set()).add(day)
    for door, point in {(door, point) for _, door, point in doors if point is not None}:
        begin, end = np.searchsorted(readings.point, [point, point + 1])
        told = np.searchsorted(starts, readings.at[begin:end], side="right") - 1 + first
        spoke.setdefault(door, set()).update(np.unique(told).tolist())
    pairs = {(unit, day) for unit, door, _ in doors for day in spoke.get(door, ())}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def reads(context: dict[int, Span], at_once: int) -> Iterator[tuple[list[int], date, date]]:
    """Divide units into reads of up to so many unit-days, those of like spans together: who reaches far back makes nobody reach there
    who does not.
    """
    some: list[int] = []
    low = high = date.min
    shortest = 0
    for unit in sorted(context, key=lambda u: (context[u][1] - context[u][0], context[u], u)):
        a, b = context[unit]
        days, wide = (b - a).days + 1, (max(high, b) - min(low, a)).days + 1
        if some and (wide > 2 * shortest or (len(some) + 1) * wide > at_once):
            yield some, low, high
            some = []
        if not some:
            low, high, shortest = a, b, days
        low, high = min(low, a), max(high, b)
        some.append(unit)
    if some:
        yield some, low, high


def _recompute(
    connection: Connection,
    units: list[int],
    span: Span,
    said: PassageClaims,
    zone: ZoneInfo,
    bounds: BoundsOf,
    known_at: datetime,
) -> int:
    first, last = span
    count = (last - first).days + 1
    day_starts = np.array(day_starts_ms(first, count, zone), dtype=np.float64)
    meters = [m for unit in units for m in said.meters.get(unit, [])]
    per_supply = {
        supply: _supply(
            supply,
            [m for m in meters if m.point == point],
            said.readings,
            units,
            day_starts,
            bounds,
        )
        for supply, point in REGISTER_OF.items()
    }
    begin, end = day_start(first, zone), day_start(last + _DAY, zone)
    people = fact_inputs.token_days(connection, units, begin, end, zone.key, known_at)
    cars = fact_inputs.car_days(connection, units, begin, end, zone.key, known_at)
    day = unit_days.day_number(first)
    found = dense(
        per_supply[Supply.WATER],
        per_supply[Supply.ELECTRICITY],
        _people(people, units, day, count),
        doors=_table(said.doors[np.isin(said.doors[:, 0], units)], units, day, count, 2),
        cars=_table(cars, units, day, count, 4),
    )
    rows = to_unit_days(np.array(units, dtype=np.int32), day, found)
    unit_days.save_days(connection, rows, units, first, last)
    return len(rows)


def _supply(
    supply: Supply,
    meters: list[MeterMount],
    raw: ReadingColumns,
    units: list[int],
    day_starts: NDArray[np.float64],
    bounds: BoundsOf,
) -> SupplyDays:
    """Turn the series behind one supply of units into facts; `raw` holds them, by point and time."""
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
    least = (
        np.maximum(limits.resolution, TRICKLE_L / 1000.0)
        if supply is Supply.WATER
        else np.zeros(len(known))
    )
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


def _table(
    rows: Sequence[tuple[int, ...]] | NDArray[np.int64],
    units: list[int],
    first: int,
    days: int,
    width: int,
) -> NDArray[np.int64]:
    """Turn rows that begin with a unit's id and a day's number into such that begin with the unit's row and the day's column."""
    table = np.array(rows, dtype=np.int64).reshape(-1, width)
    table[:, 0] = unit_days.rows_of(units, table[:, 0])
    table[:, 1] -= first
    return table[(table[:, 1] >= 0) & (table[:, 1] < days)]


def _people(rows: Sequence[TokenDay], units: list[int], first: int, days: int) -> People:
    table = _table(rows, units, first, days, 8)
    names = ("unit", "day", "who", "token", "entries", "exits", "night", "lent")
    return People(**{name: table[:, i] for i, name in enumerate(names)})
