"""The frame of simulated homes, made in memory: equal to the one from the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from analytics.facts.columns import DoorDays, FactColumns, FactSources, combine
from analytics.facts.meters import MeterBoundsTable, RegisterSeries, registers_to_days
from analytics.facts.supply_days import SupplyDays
from analytics.frame import Mask, UnitDayFrame, unpack
from analytics.history import COLUMNS
from analytics.unit_frames import UnitFacts, make_frame
from domain.calendar import day_starts_ms
from domain.measures import REGISTER_OF, Supply
from domain.people import PersonKind
from simulators.world.city import ZONE, WorldCity
from simulators.world.meters import Metered, MeterSeries, profile_of
from simulators.world.people import Household
from simulators.world.stories import StoryHome
from simulators.world.traffic import made, register_rows
from store.register.homes import Homes
from store.series.passages import CarDays, TokenDays
from store.series.unit_days import INSTANTS

_MINUTE_MS = 60_000
#: Hours before which leaving, and from which coming home, says that the night was spent.
_LEAVES_BEFORE_H = 10
_COMES_FROM_H = 18
#: The simulators' words for supplies.
_SUPPLY_WORDS = {Supply.WATER: "water", Supply.ELECTRICITY: "energy"}
_FAMILIES = {"water_meter": "water", "electricity_meter": "energy"}
#: Marks a stranger at an entrance's terminal: nobody knows whose unit it was.
_NO_UNIT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedHome:
    """One home of a simulated city, with its life and what its devices saw."""

    home: StoryHome
    household: Household
    metered: Metered

    @property
    def index(self) -> int:
        """Its number in the city."""
        return self.home.index


def make_homes(city: WorldCity, begin: int, end: int) -> list[SimulatedHome]:
    """Make the homes of a city from one number to before another."""
    homes = []
    for index in range(begin, end):
        home, household, metered = made(city, index)
        homes.append(SimulatedHome(home=home, household=household, metered=metered))
    return homes


def block_frame(
    city: WorldCity, homes: Sequence[SimulatedHome], bounds: MeterBoundsTable
) -> UnitDayFrame:
    """Make the frame of some homes, as the store would give it; unit ids count from 1."""
    facts = combine(_simulate_sources(city, homes, bounds))
    unit_facts = UnitFacts(
        units=list(range(1, len(homes) + 1)),
        first=city.first,
        columns={name: _as_stored(facts, name) for name in COLUMNS},
        tokens=unpack(facts.token_cell // city.days, facts.token_cell % city.days, facts.token),
        faults=facts.faults,
    )
    return make_frame(unit_facts, _simulate_register(city, homes), ZONE)


def _as_stored(facts: FactColumns, name: str) -> NDArray[Any]:
    """Return a column with the precision of the store; a day without a row has no facts."""
    dtype = np.float64 if name in INSTANTS else np.float32
    column: NDArray[Any] = np.where(facts.known, facts.columns[name], np.nan).astype(dtype)
    return column


def _simulate_sources(
    city: WorldCity, homes: Sequence[SimulatedHome], bounds: MeterBoundsTable
) -> FactSources:
    day_starts = np.array(day_starts_ms(city.first, city.days, ZONE), dtype=np.float64)
    passages = _list_passages(city, homes)
    return FactSources(
        water=_simulate_supply(city, homes, Supply.WATER, bounds, day_starts),
        energy=_simulate_supply(city, homes, Supply.ELECTRICITY, bounds, day_starts),
        people=_add_up_tokens(passages),
        doors=_find_door_days(city, homes, passages),
        cars=_simulate_cars(city, homes),
    )


# Meters ------------------------------------------------------------------------------------------


def _simulate_supply(
    city: WorldCity,
    homes: Sequence[SimulatedHome],
    supply: Supply,
    bounds: MeterBoundsTable,
    day_starts: NDArray[np.float64],
) -> SupplyDays:
    word = _SUPPLY_WORDS[supply]
    registers = []
    for row, home in enumerate(homes):
        profile = profile_of(city.fitting(home.index), word)
        for series in home.metered.series:
            if series.supply != word:
                continue
            at = day_starts[0] + series.minute * float(_MINUTE_MS)
            mounted = _is_mounted(home.metered, series, at, day_starts)
            registers.append(
                RegisterSeries(
                    unit_row=row,
                    at=at[mounted],
                    value=series.value[mounted],
                    bounds=bounds[profile, REGISTER_OF[supply]],
                )
            )
    return registers_to_days(supply, registers, len(homes), day_starts)


def _is_mounted(
    metered: Metered,
    series: MeterSeries,
    at: NDArray[np.float64],
    day_starts: NDArray[np.float64],
) -> Mask:
    """Tell which readings of a meter fall into the time for which the register has it mounted."""
    changed_on = metered.changed.get(series.supply)
    if changed_on is None:
        return np.ones(len(at), dtype=bool)
    if series.number == 0:
        return np.asarray(at < day_starts[changed_on])
    return np.asarray(at >= day_starts[changed_on])


# Doors -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passages:
    """One person's passages through one unit's door, as arrays of shape (days with passages,)."""

    unit: NDArray[np.int64]
    day: NDArray[np.int64]
    person_kind: NDArray[np.int64]
    """A `PersonKind`, or _NO_UNIT."""
    token: NDArray[np.int64]
    entries: NDArray[np.int64]
    exits: NDArray[np.int64]
    night: NDArray[np.int64]


def _list_passages(city: WorldCity, homes: Sequence[SimulatedHome]) -> _Passages:
    """List the passages of all people of some homes, one person after the other."""
    parts = [part for row, home in enumerate(homes) for part in _passages_of_home(city, row, home)]
    names = ("unit", "day", "person_kind", "token", "entries", "exits", "night")
    empty = [np.empty(0, dtype=np.int64)]
    columns = {
        name: np.concatenate(empty + [getattr(part, name) for part in parts]) for name in names
    }
    return _Passages(**columns)


def _passages_of_home(city: WorldCity, row: int, home: SimulatedHome) -> Iterator[_Passages]:
    fitting = city.fitting(home.index)
    if not fitting.lock and not fitting.terminal:
        return
    registered = {
        person.token: person
        for person in home.home.people
        if person.known_from is not None and not person.caller
    }
    for passages in home.household.passages:
        days = np.flatnonzero(~np.isnan(passages.hours).all(axis=1))
        if not len(days):
            continue
        token = passages.person.card or passages.person.token
        person_kind = _person_kinds(registered.get(token), days)
        if not fitting.lock:
            is_unknown = (person_kind == PersonKind.STRANGER) | (token is None)
            person_kind = np.where(is_unknown, _NO_UNIT, person_kind)
        # Columns are out, in, out again, in again.
        seen = ~np.isnan(passages.hours[days])
        yield _Passages(
            unit=np.full(len(days), row, dtype=np.int64),
            day=days,
            person_kind=person_kind,
            token=np.full(len(days), _hash_token(token), dtype=np.int64),
            entries=seen[:, [1, 3]].sum(axis=1),
            exits=seen[:, [0, 2]].sum(axis=1),
            night=_is_night(passages.hours[days]).astype(np.int64),
        )


def _hash_token(token: str | None) -> int:
    return 0 if token is None else crc32(token.encode()) << 8


def _person_kinds(person: Any, days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what a person is to the register on each of some days; None: a stranger."""
    if person is None:
        return np.full(len(days), PersonKind.STRANGER, dtype=np.int64)
    kind = PersonKind.GUEST if person.role in ("guest", "carer") else PersonKind.RESIDENT
    kinds = np.where(days >= person.known_from, kind, PersonKind.STRANGER)
    if person.known_to is not None:
        kinds = np.where(days > person.known_to, PersonKind.FORMER, kinds)
    return kinds.astype(np.int64)


def _is_night(hours: NDArray[np.float64]) -> Mask:
    """Tell which days begin with leaving before ten, or end with coming home after six.

    `hours` has the shape (days, 4): out, in, out again, in again; NaN where there is nothing.
    """
    is_empty = np.isnan(hours).all(axis=1, keepdims=True)
    filled = np.where(is_empty, 0.0, hours)
    first = np.nanargmin(filled, axis=1)
    last = np.nanargmax(filled, axis=1)
    rows = np.arange(len(filled))
    leaves_early = (first % 2 == 0) & (filled[rows, first] < _LEAVES_BEFORE_H)
    comes_late = (last % 2 == 1) & (filled[rows, last] >= _COMES_FROM_H)
    return np.asarray(leaves_early | comes_late)


def _add_up_tokens(passages: _Passages) -> TokenDays:
    """Add up passages by unit, day and token, as the store's query does."""
    # What a terminal saw of strangers belongs to no unit.
    has_unit = passages.person_kind != _NO_UNIT
    keys = np.stack([passages.unit, passages.day, passages.token], axis=1)[has_unit]
    unique, place = np.unique(keys, axis=0, return_inverse=True)
    count = len(unique)
    person_kind = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(person_kind, place, passages.person_kind[has_unit])
    entries = np.zeros(count, dtype=np.int64)
    np.add.at(entries, place, passages.entries[has_unit])
    exits = np.zeros(count, dtype=np.int64)
    np.add.at(exits, place, passages.exits[has_unit])
    night = np.zeros(count, dtype=np.int64)
    np.maximum.at(night, place, passages.night[has_unit])
    return TokenDays(
        unit=unique[:, 0],
        day=unique[:, 1],
        token=unique[:, 2],
        person_kind=person_kind,
        entries=entries,
        exits=exits,
        night=night,
        lent=np.zeros(count, dtype=np.int64),
    )


def _find_door_days(
    city: WorldCity, homes: Sequence[SimulatedHome], passages: _Passages
) -> DoorDays:
    """Find on which days a door of each home reported anything."""
    reported = np.zeros((len(homes), city.days), dtype=bool)
    reported[passages.unit, passages.day] = True
    rows_by_entrance: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, home in enumerate(homes):
        fitting = city.fitting(home.index)
        if fitting.lock:
            reported[row] |= city.powered(home.index) & ~city.outage(home.index)
        if fitting.terminal:
            rows_by_entrance[city.estate(home.index), city.entrance(home.index)].append(row)
    for rows in rows_by_entrance.values():
        # A terminal is known to be alive where anybody of the entrance passed it.
        reported[rows] = reported[rows].any(axis=0)
    unit, day = np.nonzero(reported)
    return DoorDays(unit=unit, day=day)


# Gates -------------------------------------------------------------------------------------------


def _simulate_cars(city: WorldCity, homes: Sequence[SimulatedHome]) -> CarDays:
    """Return what gates saw of registered vehicles; strangers' cars pass every gate every day."""
    parts = [np.empty((0, 4), dtype=np.int64)]
    for row, home in enumerate(homes):
        car = home.home.car
        if car is None:
            continue
        # Passages of days on which a gateway's line was dead are sent later, as those of doors are.
        tenancies = [
            (since, until)
            for household, since, until in home.home.tenancies
            if household == car.household
        ]
        days = np.flatnonzero(_days_within(tenancies, city.days))
        hours = car.hours[days]
        seen = ~np.isnan(hours).all(axis=1)
        nights = seen & _is_night(hours)
        part = np.stack([np.full(len(days), row), days, seen, nights], axis=1)
        parts.append(part.astype(np.int64))
    unit, day, seen_days, night_days = np.concatenate(parts).T
    return CarDays(unit=unit, day=day, seen=seen_days, nights=night_days)


def _days_within(spans: Sequence[tuple[int, int | None]], days: int) -> Mask:
    """Return the days that lie in any of some spans, both ends included; None is an open end."""
    within = np.zeros(days, dtype=bool)
    for first, last in spans:
        end = None if last is None else max(0, last + 1)
        within[max(0, first) : end] = True
    return within


# The register ------------------------------------------------------------------------------------


def _simulate_register(city: WorldCity, homes: Sequence[SimulatedHome]) -> Homes:
    """Return what the register knows of some homes, from the rows of its files."""
    rows = register_rows(city, [(home.home, home.metered) for home in homes])
    number_of = {
        (city.estate(home.index), city.unit(home.index)): number
        for number, home in enumerate(homes, 1)
    }

    def unit_of(placed: Mapping[str, str]) -> int:
        return number_of[placed["estate"], placed["unit"]]

    tenancies = {tenancy["household"]: tenancy for tenancy in rows["tenancies"]}
    residents = []
    for resident in rows["residents"]:
        tenancy = tenancies[resident["household"]]
        first = date.fromisoformat(resident["valid_from"])
        last = _read_day(resident["valid_to"]) or _read_day(tenancy["valid_to"])
        residents.append((unit_of(tenancy), first, last))
    return Homes(
        tenancies=[
            (
                unit_of(tenancy),
                date.fromisoformat(tenancy["valid_from"]),
                _read_day(tenancy["valid_to"]),
            )
            for tenancy in rows["tenancies"]
        ],
        declarations=[
            (
                unit_of(declaration),
                declaration["kind"],
                date.fromisoformat(declaration["valid_from"]),
                _read_day(declaration["valid_to"]),
            )
            for declaration in rows["declarations"]
        ],
        residents=residents,
        devices=list(_mounted_devices(rows, unit_of)),
        told=[
            (
                unit_of(tip_off),
                "tip_off",
                tip_off["kind"],
                date.fromisoformat(tip_off["received_on"]),
            )
            for tip_off in rows["tip_offs"]
        ],
    )


def _mounted_devices(
    rows: Mapping[str, Sequence[Mapping[str, str]]],
    unit_of: Callable[[Mapping[str, str]], int],
) -> Iterator[tuple[int, str, datetime, datetime | None]]:
    """Yield the unit, the family and the time of each mount; a gate belongs to no unit."""
    kinds = {device["code"]: device["kind"] for device in rows["devices"]}
    units_by_entrance: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for unit in rows["units"]:
        number = unit_of({"estate": unit["estate"], "unit": unit["code"]})
        units_by_entrance[unit["estate"], unit["entrance"]].append(number)
    for mount in rows["mounts"]:
        kind = kinds[mount["device"]]
        if kind == "gate":
            continue
        if mount["unit"]:
            numbers = [unit_of(mount)]
            family = _FAMILIES.get(kind, "lock")
        else:
            numbers = units_by_entrance[mount["estate"], mount["entrance"]]
            family = _FAMILIES.get(kind, "door")
        since = _day_start(date.fromisoformat(mount["valid_from"]))
        until = _read_day(mount["valid_to"])
        for number in numbers:
            yield number, family, since, None if until is None else _day_start(until)


def _read_day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _day_start(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), ZONE)
