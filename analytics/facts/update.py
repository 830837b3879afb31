"""Facts of units brought up to date: over the days that changed, and their neighbours.

Facts are those of an instant: what had not arrived by then is not in them, so a night of the past
is judged with what was known. Facts computed bit by bit equal those computed from nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.facts.columns import DoorDays, FactSources, combine, to_rows
from analytics.facts.intervals import REACH
from analytics.facts.meters import (
    DEFAULT_BOUNDS,
    MeterBoundsTable,
    RegisterSeries,
    registers_to_days,
)
from analytics.facts.supply_days import SupplyDays
from domain.calendar import day_of, day_start, day_starts_ms
from domain.measures import REGISTER_OF, Supply
from store.database.connection import Connection
from store.series import dirty_spans, meter_mounts, passages, unit_days
from store.series.dirty_spans import DirtyUnit
from store.series.meter_mounts import MeterMount
from store.series.passages import CarDays, EventWindow, TokenDays, UnitDoor
from store.series.readings import ReadingColumns, read_readings
from store.series.unit_days import DaySpan, UnitDays

#: Units whose facts are computed together.
UNITS_PER_BLOCK = 500
#: Unit-days whose readings are read together. Readings lie in the order of time, so each read goes
#: through what everybody sent in its days: few large reads are best.
UNIT_DAYS_PER_READ = 96_000
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRules:
    """What facts are computed by: a time zone, the bounds of meters, and what had arrived when."""

    zone: ZoneInfo
    meter_bounds: MeterBoundsTable
    known_at: datetime

    def window(self, days: DaySpan) -> EventWindow:
        """Return the window of the events of local days."""
        first, last = days
        return EventWindow(
            low=day_start(first, self.zone),
            high=day_start(last + _DAY, self.zone),
            known_at=self.known_at,
            zone=self.zone.key,
        )


@dataclass(slots=True, kw_only=True)
class FactUpdate:
    """What was computed anew: how many rows, and of each unit its estate and the first day."""

    rows: int = 0
    first_days: dict[int, date] = field(default_factory=dict)
    estates: dict[int, int] = field(default_factory=dict)

    def first_days_of(self, estate_id: int) -> dict[int, date]:
        """Return the first day that was computed anew of each unit of an estate."""
        return {
            unit: first
            for unit, first in self.first_days.items()
            if self.estates[unit] == estate_id
        }

    def add(self, spans: Mapping[int, DaySpan], rows: int) -> None:
        """Note which days of units were computed anew."""
        self.rows += rows
        for unit, (first, _) in spans.items():
            self.first_days[unit] = min(first, self.first_days.get(unit, first))


def update_estates(connection: Connection, estates: Sequence[int], rules: FactRules) -> FactUpdate:
    """Turn what had arrived in estates, and is not in the facts yet, into facts."""
    update = FactUpdate()
    last_id = 0
    while True:
        look = dirty_spans.take_dirty_spans(connection, estates, rules.known_at, after=last_id)
        if not look.span_ids:
            return update
        last_id = look.span_ids[-1]
        spans = changed_days(look.units, rules)
        updated, rows = update_facts(connection, spans, rules)
        update.estates |= {unit.unit_id: unit.estate_id for unit in look.units}
        update.add(updated, rows)
        dirty_spans.clear_dirty_spans(connection, look.span_ids, rules.known_at)
        if len(look.span_ids) < dirty_spans.SPANS_PER_LOOK:
            # What arrives meanwhile is for the next pass: a busy estate must not hold this one.
            return update


def changed_days(units: Sequence[DirtyUnit], rules: FactRules) -> dict[int, DaySpan]:
    """Return the local days of units that changed, up to today; later ones are left out."""
    today = day_of(rules.known_at, rules.zone)
    spans = {}
    for unit in units:
        first = day_of(unit.from_at, rules.zone)
        last = day_of(unit.to_at, rules.zone)
        if first <= today:
            spans[unit.unit_id] = (first, min(last, today))
    return spans


def update_facts(
    connection: Connection, spans: Mapping[int, DaySpan], rules: FactRules
) -> tuple[dict[int, DaySpan], int]:
    """Compute the facts of units anew, over the days that changed and their neighbours.

    Returns the days of each unit that were computed anew, and how many rows that made.
    """
    stale = unit_days.widen_to_neighbours(connection, spans, REACH)
    with_context = unit_days.widen_to_neighbours(connection, stale, REACH)
    row_count = 0
    for read in plan_reads(with_context, UNIT_DAYS_PER_READ):
        series = load_series(connection, read, rules)
        for block in plan_blocks(read.units, stale):
            sources = load_sources(connection, block, series, rules)
            rows = compute_facts(sources, rules)
            first, last = block.days
            unit_days.save_days(connection, rows, block.units, first, last)
            row_count += len(rows)
    return stale, row_count


# What is read together ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitBlock:
    """Units, and days that are the same for all of them."""

    units: Sequence[int]
    days: DaySpan

    @property
    def day_count(self) -> int:
        """How many days there are."""
        first, last = self.days
        return (last - first).days + 1


def plan_reads(spans: Mapping[int, DaySpan], most_unit_days: int) -> Iterator[UnitBlock]:
    """Divide units into reads of up to so many unit-days, with like spans together.

    A unit that reaches far back does not make other units be read that far back: no read is more
    than twice as wide as its shortest span.
    """
    units: list[int] = []
    days = shortest = (date.min, date.min)
    for unit in sorted(spans, key=lambda unit: (_length(spans[unit]), spans[unit], unit)):
        joined = _join(days, spans[unit])
        is_too_wide = _length(joined) > 2 * _length(shortest)
        is_too_large = (len(units) + 1) * _length(joined) > most_unit_days
        if units and (is_too_wide or is_too_large):
            yield UnitBlock(units=units, days=days)
            units = []
        if not units:
            shortest = spans[unit]
            joined = spans[unit]
        units.append(unit)
        days = joined
    if units:
        yield UnitBlock(units=units, days=days)


def plan_blocks(units: Sequence[int], spans: Mapping[int, DaySpan]) -> Iterator[UnitBlock]:
    """Divide units into blocks of the same days that are computed together."""
    units_by_days: defaultdict[DaySpan, list[int]] = defaultdict(list)
    for unit in units:
        units_by_days[spans[unit]].append(unit)
    for days, members in units_by_days.items():
        remaining = iter(members)
        while block := list(islice(remaining, UNITS_PER_BLOCK)):
            yield UnitBlock(units=block, days=days)


def _length(days: DaySpan) -> int:
    return (days[1] - days[0]).days + 1


def _join(days: DaySpan, others: DaySpan) -> DaySpan:
    return min(days[0], others[0]), max(days[1], others[1])


# Loaded ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSeries:
    """What meters and doors of some units reported over some days."""

    readings: ReadingColumns
    """Sorted by point and time."""
    meters: Mapping[int, Sequence[MeterMount]]
    """The registers behind each unit."""
    door_days: NDArray[np.int64]
    """The (unit id, day number) pairs on which a door of the unit reported, of shape (pairs, 2).

    A report is a passage, or a reading of the door's own, such as its battery's.
    """


def load_series(connection: Connection, read: UnitBlock, rules: FactRules) -> UnitSeries:
    """Read what meters and doors of units reported."""
    window = rules.window(read.days)
    mounts = meter_mounts.list_meter_mounts(connection, read.units, list(REGISTER_OF.values()))
    doors = passages.list_doors(connection, read.units)
    meter_points = {mount.point_id for mount in mounts}
    door_points = {door.point_id for door in doors if door.point_id is not None}
    points = sorted(meter_points | door_points)
    readings = read_readings(connection, points, window.low, window.high, rules.known_at)
    door_ids = sorted({door.door_id for door in doors})
    passage_days = passages.list_passage_days(connection, door_ids, window)
    meters: defaultdict[int, list[MeterMount]] = defaultdict(list)
    for mount in mounts:
        meters[mount.unit_id].append(mount)
    return UnitSeries(
        readings=readings,
        meters=meters,
        door_days=find_door_days(doors, passage_days, readings, read.days, rules.zone),
    )


def find_door_days(
    doors: Sequence[UnitDoor],
    passage_days: Sequence[tuple[int, int]],
    readings: ReadingColumns,
    days: DaySpan,
    zone: ZoneInfo,
) -> NDArray[np.int64]:
    """List the (unit id, day number) pairs on which a door of the unit reported, in their order.

    `passage_days` are the pairs of a door and the number of a day on which somebody came to it.
    """
    starts = np.array(day_starts_ms(days[0], _length(days), zone), dtype=np.int64)
    first_day = unit_days.day_number(days[0])
    days_of_door: defaultdict[int, set[int]] = defaultdict(set)
    for door_id, day in passage_days:
        days_of_door[door_id].add(day)
    for door_id, point_id in {(door.door_id, door.point_id) for door in doors}:
        if point_id is not None:
            begin, end = np.searchsorted(readings.point, [point_id, point_id + 1])
            column = np.searchsorted(starts, readings.at[begin:end], side="right") - 1
            days_of_door[door_id].update(np.unique(column + first_day).tolist())
    pairs = {(door.unit_id, day) for door in doors for day in days_of_door[door.door_id]}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSources:
    """What the facts of a block of units are computed from."""

    block: UnitBlock
    mounts: Sequence[MeterMount]
    readings: ReadingColumns
    """Sorted by point and time; of other units, too."""
    door_days: NDArray[np.int64]
    """As in `UnitSeries`; of other units, too."""
    people: TokenDays
    """With unit ids and day numbers."""
    cars: CarDays
    """With unit ids and day numbers."""


def load_sources(
    connection: Connection, block: UnitBlock, series: UnitSeries, rules: FactRules
) -> BlockSources:
    """Read who came to a block of units, and add what meters and doors reported."""
    window = rules.window(block.days)
    return BlockSources(
        block=block,
        mounts=[mount for unit in block.units for mount in series.meters.get(unit, ())],
        readings=series.readings,
        door_days=series.door_days,
        people=passages.read_token_days(connection, block.units, window),
        cars=passages.read_car_days(connection, block.units, window),
    )


# Computed ----------------------------------------------------------------------------------------


def compute_facts(sources: BlockSources, rules: FactRules) -> UnitDays:
    """Compute the facts of a block of units; pure."""
    block = sources.block
    first_day = unit_days.day_number(block.days[0])
    starts = day_starts_ms(block.days[0], block.day_count, rules.zone)
    day_starts = np.array(starts, dtype=np.float64)
    own_doors = sources.door_days[np.isin(sources.door_days[:, 0], block.units)]
    place = BlockPlace(block=block, first_day=first_day)
    facts = combine(
        FactSources(
            water=_compute_supply(Supply.WATER, sources, day_starts, rules),
            energy=_compute_supply(Supply.ELECTRICITY, sources, day_starts, rules),
            people=place.of_people(sources.people),
            doors=place.of_doors(own_doors),
            cars=place.of_cars(sources.cars),
        )
    )
    return to_rows(np.array(block.units, dtype=np.int32), first_day, facts)


def _compute_supply(
    supply: Supply, sources: BlockSources, day_starts: NDArray[np.float64], rules: FactRules
) -> SupplyDays:
    """Compute one supply's facts from the readings of its registers while they were mounted."""
    units = sources.block.units
    row_of = {unit: row for row, unit in enumerate(units)}
    mounts = [mount for mount in sources.mounts if mount.point == REGISTER_OF[supply]]
    readings = sources.readings
    point_ids = [mount.point_id for mount in mounts]
    begins = np.searchsorted(readings.point, point_ids, side="left")
    ends = np.searchsorted(readings.point, point_ids, side="right")
    registers = []
    for mount, begin, end in zip(mounts, begins, ends, strict=True):
        at = readings.at[begin:end]
        mounted = _mounted(mount, at)
        registers.append(
            RegisterSeries(
                unit_row=row_of[mount.unit_id],
                at=at[mounted].astype(np.float64),
                value=readings.value[begin:end][mounted],
                bounds=rules.meter_bounds.get((mount.profile, mount.point), DEFAULT_BOUNDS[supply]),
            )
        )
    return registers_to_days(supply, registers, len(units), day_starts)


def _mounted(mount: MeterMount, at: NDArray[np.int64]) -> slice:
    """Return which of a register's readings, sorted by time, fall into its mount."""
    first = int(np.searchsorted(at, mount.from_ms, side="left"))
    if mount.to_ms is None:
        return slice(first, len(at))
    return slice(first, int(np.searchsorted(at, mount.to_ms, side="left")))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlace:
    """Where ids of units and numbers of days stand in arrays of a block's shape (units, days)."""

    block: UnitBlock
    first_day: int

    def of_people(self, people: TokenDays) -> TokenDays:
        """Return token days with rows and columns; days outside the block are left out."""
        row, column, inside = self._find(people.unit, people.day)
        return TokenDays(
            unit=row,
            day=column,
            person_kind=people.person_kind[inside],
            token=people.token[inside],
            entries=people.entries[inside],
            exits=people.exits[inside],
            night=people.night[inside],
            lent=people.lent[inside],
        )

    def of_cars(self, cars: CarDays) -> CarDays:
        """Return car days with rows and columns; days outside the block are left out."""
        row, column, inside = self._find(cars.unit, cars.day)
        return CarDays(unit=row, day=column, seen=cars.seen[inside], nights=cars.nights[inside])

    def of_doors(self, door_days: NDArray[np.int64]) -> DoorDays:
        """Return (unit id, day number) pairs as rows and columns of days inside the block."""
        row, column, _ = self._find(door_days[:, 0], door_days[:, 1])
        return DoorDays(unit=row, day=column)

    def _find(
        self, unit: NDArray[np.int64], day: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the row and the column of entries inside the block, and which they are."""
        column = day - self.first_day
        inside = (column >= 0) & (column < self.block.day_count)
        row = unit_days.row_numbers(self.block.units, unit)
        return row[inside], column[inside], inside
