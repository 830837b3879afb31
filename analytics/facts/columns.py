"""The facts of supplies, doors and gates put together: the columns of unit-days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.facts.supply_days import SupplyDays
from domain.people import PersonKind
from store.series import unit_days
from store.series.passages import CarDays, TokenDays
from store.series.unit_days import UnitDays

Floats = NDArray[np.float64]
#: Litres in an hour from which someone drew water in it.
_DRAWN_L = 0.5
#: Local hours that are night, those of a working day, and those in which a vehicle is charged.
_NIGHT = slice(0, 5)
_WORKING_DAY = slice(9, 18)
_CHARGING = slice(0, 8)
#: Hours of the night, and of the working day, that must be known for their sum.
_LEAST_NIGHT_HOURS = 4
_LEAST_WORKING_HOURS = 8
#: An hour belongs to a plateau of power that differs by at most this share of it.
_PLATEAU_TOLERANCE = 0.15
#: Bits of a packed token below its hash.
TOKEN_BITS = 7
DOOR_COLUMNS = (
    "entries",
    "exits",
    "residents_seen",
    "strangers_seen",
    "residents_nights",
    "strangers_nights",
    "lent_passages",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorDays:
    """On which days a door of a unit reported anything: rows and columns of (units, days)."""

    unit: NDArray[np.int64]
    day: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSources:
    """What facts are put together from; units are rows and days columns of (units, days)."""

    water: SupplyDays
    energy: SupplyDays
    people: TokenDays
    doors: DoorDays
    """Where no door reported, the counts of a day are not known, and not zero."""
    cars: CarDays


@dataclass(frozen=True, slots=True, kw_only=True)
class FactColumns:
    """Facts as arrays of shape (units, days)."""

    columns: Mapping[str, Floats]
    """By name, in the uom of the name's last part; NaN is "not known"."""
    known: NDArray[np.bool_]
    """Where anything at all is known."""
    token_cell: NDArray[np.int64]
    """The cell of each token, of shape (tokens,): the row times the days, plus the column."""
    token: NDArray[np.int64]
    """Packed tokens, of shape (tokens,)."""
    faults: Mapping[tuple[int, int], Sequence[str]]
    """What was wrong with meters, by row and column."""


def combine(sources: FactSources) -> FactColumns:
    """Put the facts of supplies, doors and gates together."""
    shape = sources.water.amount.shape
    columns = {name: np.full(shape, np.nan) for name in unit_days.COLUMNS}
    columns |= _water_columns(sources.water)
    columns |= _energy_columns(sources.energy)
    for name in DOOR_COLUMNS:
        columns[name][sources.doors.unit, sources.doors.day] = 0.0
    columns["cars_seen"][sources.cars.unit, sources.cars.day] = sources.cars.seen
    columns["cars_nights"][sources.cars.unit, sources.cars.day] = sources.cars.nights
    _add_people(columns, sources.people)
    known = _is_known(sources, columns)
    token_cell, token = _pack_tokens(sources.people, days=shape[1])
    return FactColumns(
        columns=columns,
        known=known,
        token_cell=token_cell,
        token=token,
        faults=_prefix_faults(sources, known),
    )


def to_rows(units: NDArray[np.int32], first: int, facts: FactColumns) -> UnitDays:
    """Return the rows of all units and days of which anything is known.

    `units`, of shape (units,), are ids; `first` is the number of the first day.
    """
    days = facts.known.shape[1]
    cells = np.flatnonzero(facts.known.ravel())
    row_of_cell = np.full(facts.known.size, -1, dtype=np.int64)
    row_of_cell[cells] = np.arange(len(cells))
    faults = [
        (int(row_of_cell[unit * days + day]), words) for (unit, day), words in facts.faults.items()
    ]
    return UnitDays(
        unit=units[cells // days].astype(np.int32),
        day=(first + cells % days).astype(np.int32),
        columns={name: column.ravel()[cells] for name, column in facts.columns.items()},
        token_row=row_of_cell[facts.token_cell],
        token=facts.token,
        faults=sorted(faults),
    )


def _is_known(sources: FactSources, columns: Mapping[str, Floats]) -> NDArray[np.bool_]:
    has_doors = ~np.isnan(columns["entries"])
    has_gates = ~np.isnan(columns["cars_seen"])
    return _has_supply(sources.water) | _has_supply(sources.energy) | has_doors | has_gates


def _has_supply(supply: SupplyDays) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = (supply.samples > 0) | (supply.cover > 0) | ~np.isnan(supply.amount)
    return known


def _prefix_faults(
    sources: FactSources, known: NDArray[np.bool_]
) -> dict[tuple[int, int], list[str]]:
    """Name the supply in each fault; faults of days of which nothing is known are left out."""
    faults: dict[tuple[int, int], list[str]] = {}
    for prefix, supply in (("water", sources.water), ("energy", sources.energy)):
        for cell, words in supply.faults.items():
            if known[cell]:
                faults.setdefault(cell, []).extend(f"{prefix}_{word}" for word in sorted(words))
    return faults


def _water_columns(water: SupplyDays) -> dict[str, Floats]:
    hourly = water.hourly * 1000.0
    known = ~np.isnan(hourly)
    hours_known = np.where(known.any(axis=2), known.sum(axis=2), np.nan).astype(np.float64)
    any_known = ~np.isnan(hours_known)
    with np.errstate(invalid="ignore"):
        hours_drawn = (hourly > _DRAWN_L).sum(axis=2)
    peak = np.nanmax(np.where(known, hourly, 0.0), axis=2)
    trickle = np.where(np.isnan(water.amount), np.nan, water.trickle * 1000.0)
    return {
        "water_l": water.amount * 1000.0,
        "water_cover": water.cover,
        "water_samples": water.samples.astype(np.float64),
        "water_trickle_l": trickle,
        "water_least_l_h": water.least_rate * 1000.0,
        "water_hours": np.where(any_known, hours_drawn, np.nan),
        "water_hours_known": hours_known,
        "water_night_l": _sum_of_hours(hourly, _NIGHT, _LEAST_NIGHT_HOURS),
        "water_peak_l": np.where(any_known, peak, np.nan),
        "water_first_use_at": water.first_use,
        "water_last_use_at": water.last_use,
        "water_first_still_at": water.first_still,
        "water_last_still_at": water.last_still,
    }


def _energy_columns(energy: SupplyDays) -> dict[str, Floats]:
    plateau_w, plateau_h = _find_plateau(energy.hourly)
    return {
        "energy_kwh": energy.amount,
        "energy_cover": energy.cover,
        "energy_samples": energy.samples.astype(np.float64),
        "energy_floor_w": energy.least_rate * 1000.0,
        "energy_peak_w": energy.most_rate * 1000.0,
        "energy_night_kwh": _sum_of_hours(energy.hourly, _NIGHT, _LEAST_NIGHT_HOURS),
        "energy_day_kwh": _sum_of_hours(energy.hourly, _WORKING_DAY, _LEAST_WORKING_HOURS),
        "energy_plateau_w": plateau_w,
        "energy_plateau_h": plateau_h,
    }


def _sum_of_hours(hourly: Floats, hours: slice, least_known: int) -> Floats:
    """Add up some hours of each day; NaN where fewer than `least_known` of them are known."""
    values = hourly[:, :, hours]
    is_enough = (~np.isnan(values)).sum(axis=2) >= least_known
    return np.where(is_enough, np.nansum(values, axis=2), np.nan)


def _find_plateau(hourly: Floats) -> tuple[Floats, Floats]:
    """Find how much power is drawn alike for hours of the night, above the least of the day.

    A charger draws so, and so do other things: it is a weak hint. `hourly` (kWh) has the shape
    (units, days, 24). Returns W and hours of shape (units, days), NaN where an hour is unknown.
    """
    known = ~np.isnan(hourly)
    charging_known = known[:, :, _CHARGING].all(axis=2)
    least = np.nanmin(np.where(known, hourly, np.inf), axis=2) * 1000.0
    floor = np.where(charging_known, least, np.nan)
    above_floor = hourly[:, :, _CHARGING] * 1000.0 - floor[:, :, None]
    level = np.median(above_floor[:, :, _NIGHT], axis=2)
    with np.errstate(invalid="ignore"):
        distance = np.abs(above_floor - level[:, :, None])
        is_level = distance <= _PLATEAU_TOLERANCE * level[:, :, None]
    plateau_w = np.where(charging_known, level, np.nan)
    plateau_h = np.where(charging_known, is_level.sum(axis=2), np.nan)
    return plateau_w, plateau_h


def _add_people(columns: Mapping[str, Floats], people: TokenDays) -> None:
    """Add up who came through doors, in place."""
    cells = (people.unit, people.day)
    np.add.at(columns["entries"], cells, people.entries)
    np.add.at(columns["exits"], cells, people.exits)
    np.add.at(columns["lent_passages"], cells, people.lent)
    has_token = people.token != 0
    is_ours = np.isin(people.person_kind, (PersonKind.RESIDENT, PersonKind.GUEST))
    for group, mask in (("residents", has_token & is_ours), ("strangers", has_token & ~is_ours)):
        group_cells: tuple[NDArray[Any], NDArray[Any]] = (people.unit[mask], people.day[mask])
        np.add.at(columns[f"{group}_seen"], group_cells, 1.0)
        np.add.at(columns[f"{group}_nights"], group_cells, people.night[mask].astype(float))


def _pack_tokens(people: TokenDays, days: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cell of each token, and the token with its kind and night in the low bits."""
    has_token = people.token != 0
    packed = (people.token & ~TOKEN_BITS) | people.person_kind << 1 | people.night
    cell = people.unit * days + people.day
    return cell[has_token], packed[has_token]
