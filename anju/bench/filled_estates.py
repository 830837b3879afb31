"""Estates with a year of facts and a new day of readings, for benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask
from analytics.nightly.clock import night_clock
from anju.register_files import import_rows
from domain.calendar import DAY_MS, DEFAULT_ZONE, HOUR_MS, day_start
from domain.people import PersonKind
from store.analytics import nights
from store.database.connection import Connection
from store.database.partitions import Partitions
from store.ingest import log
from store.ingest.ledger import PostgresLedger
from store.ingest.log import DirtySpans
from store.series import dirty_spans, meter_mounts, passages, readings, unit_days
from store.series.unit_days import UnitDays

ZONE = ZoneInfo(DEFAULT_ZONE)
#: Units of an estate, and days of facts.
PER_ESTATE = 2_000
HISTORY = 365
#: One home in so many is not let.
_UNLET = 33
#: Homes in a hundred that were left, and days since they were.
_LEFT_SHARE = 0.02
_LEFT_DAYS = 60
#: Days for which people have lived there.
_LIVED_IN_DAYS = 900
#: Days before the new one of which there are readings, too.
_DAYS_BEFORE = 3
#: Homes whose facts are made together.
_HOMES_PER_BLOCK = 250
#: What each device of a home is: the kind and the profile.
_DEVICES = {
    "wm": ("water_meter", "water-dn15"),
    "em": ("electricity_meter", "electricity-1p-60a"),
    "lock": ("door", "door-terminal"),
}
#: By how much each register grows in an hour of the day.
_HOURLY_USE = {"water_m3": 0.015, "energy_kwh": 0.35}
#: Nothing runs between midnight and this hour.
_QUIET_HOURS = 7


def fill_estate(dsn: str, connection: Connection, number: int, count: int, today: date) -> None:
    """Store an estate with its register, a year of facts, and what devices sent of the last days.

    A home has two meters and a lock. Two homes in a hundred were left two months ago, and three in
    a hundred are not let. The readings of `today` are not in the facts yet.
    """
    code = f"bench-{number:03d}"
    unit_codes = [f"u-{index:05d}" for index in range(count)]
    report = import_rows(connection, _register_rows(code, unit_codes, today))
    assert not report.errors
    (estate,) = nights.list_estates(connection, code)
    _clear_register_spans(connection, estate.id)
    units = nights.list_units(connection, estate.id)
    rng = np.random.default_rng([7, number])
    is_unlet = np.arange(count) % _UNLET == 0
    is_left = (rng.random(count) < _LEFT_SHARE) & ~is_unlet
    _save_year(connection, rng, units, is_left=is_left, is_unlet=is_unlet, today=today)
    is_empty = dict(zip(units, (is_left | is_unlet).tolist(), strict=True))
    _save_readings(dsn, connection, estate.id, is_empty, rng=rng, today=today)
    lived_in = {
        unit: unit_code
        for unit, unit_code in zip(units, unit_codes, strict=True)
        if not is_empty[unit]
    }
    _save_passages(connection, code, lived_in, rng, today)
    judged_at = night_clock(today - timedelta(days=1), ZONE)
    nights.note_judged(connection, estate.id, today, judged_at)
    connection.commit()


def _register_rows(
    estate: str, unit_codes: Sequence[str], today: date
) -> dict[str, list[dict[str, str]]]:
    """Make the rows of an estate's register files."""
    since = (today - timedelta(days=_LIVED_IN_DAYS)).isoformat()
    devices = [(f"{name}-{code}", code, name) for code in unit_codes for name in _DEVICES]
    households = [(code, f"{estate}-{code}") for code in unit_codes]
    return {
        "estates": [{"code": estate, "name": estate, "timezone": ZONE.key}],
        "units": [{"estate": estate, "code": code} for code in unit_codes],
        "households": [{"code": household} for _, household in households],
        "residents": [
            {"code": f"{household}-p", "household": household, "valid_from": since}
            for _, household in households
        ],
        "tenancies": [
            {
                "code": household,
                "estate": estate,
                "unit": code,
                "household": household,
                "valid_from": since,
            }
            for index, (code, household) in enumerate(households)
            if index % _UNLET
        ],
        "gateways": [{"estate": estate, "code": "gw"}],
        "devices": [
            {
                "estate": estate,
                "gateway": "gw",
                "code": device,
                "kind": _DEVICES[name][0],
                "profile": _DEVICES[name][1],
            }
            for device, _, name in devices
        ],
        "mounts": [
            {
                "code": f"{estate}-{device}",
                "estate": estate,
                "device": device,
                "unit": code,
                "valid_from": since,
            }
            for device, code, _ in devices
        ],
    }


def _clear_register_spans(connection: Connection, estate_id: int) -> None:
    """Forget that the meters are new to the register: that is no part of an ordinary night."""
    now = datetime.now(UTC)
    dirty = dirty_spans.take_dirty_spans(connection, [estate_id], now)
    dirty_spans.clear_dirty_spans(connection, dirty.span_ids, now)


# A year of facts ---------------------------------------------------------------------------------


def _save_year(
    connection: Connection,
    rng: np.random.Generator,
    units: Sequence[int],
    *,
    is_left: Mask,
    is_unlet: Mask,
    today: date,
) -> None:
    first = today - timedelta(days=HISTORY)
    for begin in range(0, len(units), _HOMES_PER_BLOCK):
        block = slice(begin, begin + _HOMES_PER_BLOCK)
        is_empty = np.zeros((len(units[block]), HISTORY), dtype=bool)
        is_empty[is_left[block], HISTORY - _LEFT_DAYS :] = True
        is_empty[is_unlet[block]] = True
        facts = _make_facts(rng, units[block], first, is_empty)
        unit_days.save_days(connection, facts, units[block], first, today - timedelta(days=1))
        connection.commit()


def _make_facts(
    rng: np.random.Generator, units: Sequence[int], first: date, is_empty: Mask
) -> UnitDays:
    """Make a year of life; `is_empty` has the shape (units, days).

    Each of two residents is seen on every second day. One meter in twenty is silent for weeks.
    """
    shape = is_empty.shape
    seen = (rng.random((2, *shape)) < 0.5) & ~is_empty
    is_silent = _make_silence(rng, shape)
    first_midnight = day_start(first, ZONE).timestamp() * 1000
    midnight = first_midnight + DAY_MS * np.arange(HISTORY, dtype=np.float64)
    columns: dict[str, NDArray[np.float64]] = {
        name: np.full(shape, np.nan) for name in unit_days.COLUMNS
    }
    columns |= _water_facts(rng, is_empty, midnight)
    columns |= _energy_facts(rng, is_empty)
    columns |= _door_facts(seen)
    for name, column in columns.items():
        if name.startswith("water"):
            nothing = 0.0 if name in ("water_cover", "water_samples") else np.nan
            columns[name] = np.where(is_silent, nothing, column)
    # Who was seen, as packed tokens: two residents of each home, home by night.
    person, home, day = np.nonzero(seen)
    token = np.array(units, dtype=np.int64)[home] * 16 + person * 8
    first_number = unit_days.day_number(first)
    numbers = np.arange(first_number, first_number + HISTORY, dtype=np.int32)
    return UnitDays(
        unit=np.repeat(np.array(units, dtype=np.int32), HISTORY),
        day=np.tile(numbers, len(units)),
        columns={name: np.ascontiguousarray(column).ravel() for name, column in columns.items()},
        token_row=home * HISTORY + day,
        token=token | PersonKind.RESIDENT << 1 | 1,
    )


def _make_silence(rng: np.random.Generator, shape: tuple[int, ...]) -> Mask:
    """Choose the days on which meters are silent."""
    is_silent = np.zeros(shape, dtype=bool)
    for row in np.flatnonzero(rng.random(shape[0]) < 0.05).tolist():
        begin = int(rng.integers(0, HISTORY))
        is_silent[row, begin : begin + int(rng.integers(5, 40))] = True
    return is_silent


def _water_facts(
    rng: np.random.Generator, is_empty: Mask, midnight: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    shape = is_empty.shape
    litres = np.where(is_empty, 0.0, rng.gamma(6.0, 30.0, shape))
    return {
        "water_l": litres,
        "water_cover": np.ones(shape),
        "water_samples": np.full(shape, 24.0),
        "water_trickle_l": np.zeros(shape),
        "water_least_l_h": np.zeros(shape),
        "water_hours": np.where(is_empty, 0.0, 11.0),
        "water_hours_known": np.full(shape, 24.0),
        "water_night_l": litres * 0.04,
        "water_peak_l": litres * 0.2,
        "water_first_use_at": np.where(is_empty, np.nan, midnight + 6.5 * HOUR_MS),
        "water_last_use_at": np.where(is_empty, np.nan, midnight + 22 * HOUR_MS),
        "water_first_still_at": np.broadcast_to(midnight, shape),
        "water_last_still_at": np.broadcast_to(midnight + 8.6e7, shape),
    }


def _energy_facts(rng: np.random.Generator, is_empty: Mask) -> dict[str, NDArray[np.float64]]:
    shape = is_empty.shape
    kwh = np.where(is_empty, 0.8, rng.gamma(9.0, 0.6, shape))
    return {
        "energy_kwh": kwh,
        "energy_cover": np.ones(shape),
        "energy_samples": np.full(shape, 24.0),
        "energy_floor_w": kwh * 15,
        "energy_peak_w": kwh * 120,
        "energy_night_kwh": kwh * 0.15,
        "energy_day_kwh": kwh * 0.4,
        "energy_plateau_w": kwh * 5,
        "energy_plateau_h": np.full(shape, 3.0),
    }


def _door_facts(seen: Mask) -> dict[str, NDArray[np.float64]]:
    """Return the columns of doors; `seen` has the shape (residents, units, days)."""
    residents = seen.sum(axis=0) * 1.0
    nobody = np.zeros(residents.shape)
    return {
        "entries": residents,
        "exits": nobody,
        "residents_seen": residents,
        "strangers_seen": nobody,
        "residents_nights": residents,
        "strangers_nights": nobody,
        "lent_passages": nobody,
    }


# What devices sent -------------------------------------------------------------------------------


def _save_readings(
    dsn: str,
    connection: Connection,
    estate_id: int,
    is_empty: Mapping[int, bool],
    *,
    rng: np.random.Generator,
    today: date,
) -> None:
    """Store the readings of every meter up to the end of the new day, each at its own second.

    The new day's readings are dirty. A night reads the days before, too, for what it needs to know
    around the new one.
    """
    meters = meter_mounts.list_meters(connection, list(is_empty))
    ledger = PostgresLedger.open(dsn)
    points = ledger.make_points([(meter.device_id, meter.point) for meter in meters])
    ledger.commit()
    ledger.close()
    midnight = day_start(today, ZONE)
    begin = midnight - timedelta(days=_DAYS_BEFORE)
    Partitions(connection).cover(connection, begin, midnight + timedelta(days=1))
    hours = np.arange(24 * (_DAYS_BEFORE + 1), dtype=np.int64)
    second = rng.integers(0, HOUR_MS, (len(meters), 1))
    at = int(begin.timestamp() * 1000) + second + HOUR_MS * hours
    point = np.array([points[meter.device_id, meter.point] for meter in meters], dtype=np.int32)
    hourly_use = np.array(
        [
            0.0
            if is_empty[meter.unit_id] and meter.point == "water_m3"
            else _HOURLY_USE[meter.point]
            for meter in meters
        ]
    )
    hours_used = np.cumsum(hours % 24 >= _QUIET_HOURS)
    start = rng.uniform(10, 500, len(meters))[:, None]
    value = np.round(start + hourly_use[:, None] * hours_used, 3)
    readings.write_readings(
        connection,
        readings.ReadingColumns(
            at=at.ravel(), point=np.repeat(point, len(hours)), value=value.ravel()
        ),
    )
    newest = at[:, -1]
    device = np.array([meter.device_id for meter in meters], dtype=np.int32)
    spans = DirtySpans(
        device=device,
        estate=np.full(len(device), estate_id, dtype=np.int32),
        low=np.full(len(device), int(midnight.timestamp() * 1000)),
        high=newest,
        received=np.full(len(device), newest.max()),
    )
    log.mark_dirty(connection, spans)


def _save_passages(
    connection: Connection,
    estate: str,
    lived_in: Mapping[int, str],
    rng: np.random.Generator,
    today: date,
) -> None:
    """Store who went out in the morning and came home in the evening, over the same days."""
    doors = passages.list_doors(connection, list(lived_in))
    lock_of = {door.unit_id: door.door_id for door in doors}
    midnight = int(day_start(today, ZONE).timestamp() * 1000)
    batch = []
    for day in range(-_DAYS_BEFORE, 1):
        leaving = rng.integers(6 * 60, 9 * 60, len(lived_in)).tolist()
        coming = rng.integers(17 * 60, 22 * 60, len(lived_in)).tolist()
        for (unit, code), out, back in zip(lived_in.items(), leaving, coming, strict=True):
            for direction, minute in (("out", out), ("in", back)):
                at = midnight + DAY_MS * day + 60_000 * minute
                batch.append(
                    readings.EventRow(
                        device_id=lock_of[unit],
                        at_ms=at,
                        event_id=f"{direction}{day}",
                        kind="passage",
                        data={
                            "person": f"{estate}-{code}-p",
                            "direction": direction,
                            "outcome": "granted",
                        },
                        received_ms=at,
                    )
                )
    readings.write_events(connection, batch)
    connection.commit()
