"""How long a city's night takes: from the store with a year of facts and a new day of readings to the alerts, estate by estate.

Beside it, over the same columns in memory: the detectors' own time, and one numpy pass over every column that they read.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from statistics import median
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.detectors import DETECTORS
from analytics.facts import BoundsOf
from analytics.history import History, last_whole_day
from analytics.nightly import blocks, night_clock, run_all
from analytics.policy import load_policy
from anju.memory import kept_memory
from anju.night_workers import NightEngine, crew
from anju.register_files import import_rows
from domain.calendar import DAY_MS, DEFAULT_ZONE, HOUR_MS, day_start
from domain.people import PersonKind
from store.analytics import nights
from store.database import health
from store.database.connection import Connection, connect
from store.database.partitions import Partitions
from store.ingest import log
from store.ingest.ledger import PostgresLedger
from store.ingest.log import DirtySpans
from store.series import fact_inputs, readings, unit_days

ZONE = ZoneInfo(DEFAULT_ZONE)
PER_ESTATE, HISTORY = 2_000, 365
#: One home in so many is not let.
_UNLET = 33
#: Days before the new one of which there are readings, too.
_DAYS_BEFORE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night, seconds and bytes: the whole, reading the frames, the detectors, one numpy pass, and the median over the blocks of how
    many such passes the detectors take; peak memory of the greatest process.
    """

    units: int
    whole_s: float
    read_s: float
    detect_s: float
    pass_s: float
    passes: float
    peak_bytes: int
    findings: int
    unit_days: int


def measure(
    dsn: str, units: int, bounds: BoundsOf, today: date, workers: int, told: Callable[[str], None]
) -> Night:
    """Fill a fresh database with a year of facts of so many homes and run tonight, in so many processes."""
    sizes = [min(PER_ESTATE, units - first) for first in range(0, units, PER_ESTATE)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for n, _ in enumerate(pool.map(partial(_fill, dsn, today), range(len(sizes)), sizes), 1):
            told(f"{n} of {len(sizes)} estates filled")
    with connect(dsn, statement_s=3600, alone=True) as connection:
        health.analyze(connection)
        clock = night_clock(today, ZONE).astimezone(UTC)
        began = time.perf_counter()
        with crew(
            NightEngine.PROCESSES if workers > 1 else NightEngine.HERE, dsn, workers=workers
        ) as spread:
            report = run_all(
                connection,
                load_policy(),
                bounds,
                clock,
                spread=spread,
                progress=lambda done, of: told(f"{done} of {of} estates judged"),
            )
        whole = time.perf_counter() - began
        peaks = [
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        told("taking the night apart")
        with kept_memory():
            read, detect, once = zip(*_parts(connection, clock), strict=True)
    return Night(
        units=units,
        whole_s=whole,
        read_s=sum(read),
        detect_s=sum(detect),
        pass_s=sum(once),
        passes=median(d / o for d, o in zip(detect, once, strict=True)),
        findings=report.findings,
        unit_days=report.unit_days,
        peak_bytes=max(peaks) * 1024,
    )


def _fill(dsn: str, today: date, number: int, count: int) -> None:
    with connect(dsn, statement_s=3600) as connection:
        fill_estate(dsn, connection, number, count, today)


def fill_estate(dsn: str, connection: Connection, number: int, count: int, today: date) -> None:
    """Make an estate: homes with two meters and a lock, lived in but for two in a hundred that were left two months ago and three that
    are not let; a year of facts, and what meters and locks told of the last days.
    """
    estate = f"bench-{number:03d}"
    since = (today - timedelta(days=900)).isoformat()
    codes = [f"u-{n:05d}" for n in range(count)]
    meters = [(f"{kind}-{code}", code, kind) for code in codes for kind in ("wm", "em", "lock")]
    kinds = {
        "wm": ("water_meter", "water-dn15"),
        "em": ("electricity_meter", "electricity-1p-60a"),
        "lock": ("door", "door-terminal"),
    }
    report = import_rows(
        connection,
        {
            "estates": [{"code": estate, "name": estate, "timezone": ZONE.key}],
            "units": [{"estate": estate, "code": code} for code in codes],
            "households": [{"code": f"{estate}-{code}"} for code in codes],
            "residents": [
                {"code": f"{estate}-{code}-p", "household": f"{estate}-{code}", "valid_from": since}
                for code in codes
            ],
            "tenancies": [
                {
                    "code": f"{estate}-{code}",
                    "estate": estate,
                    "unit": code,
                    "household": f"{estate}-{code}",
                    "valid_from": since,
                }
                for n, code in enumerate(codes)
                if n % _UNLET
            ],
            "gateways": [{"estate": estate, "code": "gw"}],
            "devices": [
                {
                    "estate": estate,
                    "gateway": "gw",
                    "code": m,
                    "kind": kinds[k][0],
                    "profile": kinds[k][1],
                }
                for m, _, k in meters
            ],
            "mounts": [
                {
                    "code": f"{estate}-{m}",
                    "estate": estate,
                    "device": m,
                    "unit": code,
                    "valid_from": since,
                }
                for m, code, _ in meters
            ],
        },
    )
    assert not report.errors
    estate_id = next(row[0] for row in nights.list_estates(connection, estate))
    # That its meters are new to the register is no part of an ordinary night.
    now = datetime.now(UTC)
    fact_inputs.clear_dirty(
        connection, fact_inputs.take_dirty(connection, [estate_id], now)[0], now
    )
    ids = fact_inputs.units_of(connection, estate_id)
    rng = np.random.default_rng([7, number])
    first = today - timedelta(days=HISTORY)
    unlet = np.arange(count) % _UNLET == 0
    left = (rng.random(count) < 0.02) & ~unlet
    for begin in range(0, count, 250):
        block = slice(begin, begin + 250)
        made = _facts(rng, ids[block], first, left[block], unlet[block])
        unit_days.save_days(connection, made, ids[block], first, today - timedelta(days=1))
        connection.commit()
    empty = dict(zip(ids, left | unlet, strict=True))
    _readings(dsn, connection, estate_id, empty, rng, today)
    _passages(
        connection,
        estate,
        {unit: code for unit, code in zip(ids, codes, strict=True) if not empty[unit]},
        rng,
        today,
    )
    fact_inputs.note_judged(
        connection, estate_id, today, night_clock(today - timedelta(days=1), ZONE)
    )
    connection.commit()


def _facts(
    rng: np.random.Generator,
    units: list[int],
    first: date,
    gone: NDArray[np.bool_],
    unlet: NDArray[np.bool_],
) -> unit_days.UnitDays:
    """Make a year of life: who lives there is seen on three days of four, a meter in twenty was silent for weeks."""
    shape = (len(units), HISTORY)
    left = np.zeros(shape, dtype=bool)
    left[gone, HISTORY - 60 :] = True
    left[unlet] = True
    seen = (rng.random((2, *shape)) < 0.5) & ~left
    silent = np.zeros(shape, dtype=bool)
    for row in np.flatnonzero(rng.random(len(units)) < 0.05).tolist():
        fell = int(rng.integers(0, HISTORY))
        silent[row, fell : fell + int(rng.integers(5, 40))] = True
    midnight = day_start(first, ZONE).timestamp() * 1000 + float(DAY_MS) * np.arange(HISTORY)
    litres = np.where(left, 0.0, rng.gamma(6.0, 30.0, shape))
    kwh = np.where(left, 0.8, rng.gamma(9.0, 0.6, shape))
    columns = {name: np.full(shape, np.nan) for name in (*unit_days.NUMBERS, *unit_days.INSTANTS)}
    columns |= {
        "water_l": litres,
        "water_cover": np.ones(shape),
        "water_samples": np.full(shape, 24.0),
        "water_trickle_l": np.zeros(shape),
        "water_least_l_h": np.zeros(shape),
        "water_hours": np.where(left, 0.0, 11.0),
        "water_hours_known": np.full(shape, 24.0),
        "water_night_l": litres * 0.04,
        "water_peak_l": litres * 0.2,
        "energy_kwh": kwh,
        "energy_cover": np.ones(shape),
        "energy_samples": np.full(shape, 24.0),
        "energy_floor_w": kwh * 15,
        "energy_peak_w": kwh * 120,
        "energy_night_kwh": kwh * 0.15,
        "energy_day_kwh": kwh * 0.4,
        "energy_plateau_w": kwh * 5,
        "energy_plateau_h": np.full(shape, 3.0),
        "entries": seen.sum(axis=0) * 1.0,
        "exits": np.zeros(shape),
        "residents_seen": seen.sum(axis=0) * 1.0,
        "strangers_seen": np.zeros(shape),
        "residents_nights": seen.sum(axis=0) * 1.0,
        "strangers_nights": np.zeros(shape),
        "lent_passages": np.zeros(shape),
        "water_first_use_at": np.where(left, np.nan, midnight + 6.5 * 3.6e6),
        "water_last_use_at": np.where(left, np.nan, midnight + 22 * 3.6e6),
        "water_first_still_at": np.broadcast_to(midnight, shape),
        "water_last_still_at": np.broadcast_to(midnight + 8.6e7, shape),
    }
    for name, column in columns.items():
        if name.startswith("water"):
            columns[name] = np.where(
                silent, 0.0 if name in ("water_cover", "water_samples") else np.nan, column
            )
    begin = unit_days.day_number(first)
    # Who was seen, as packed tokens: two residents of each home, home by night.
    person, home, day = np.nonzero(seen)
    return unit_days.UnitDays(
        token_row=home * HISTORY + day,
        token=(np.array(units, dtype=np.int64)[home] * 16 + person * 8)
        | PersonKind.RESIDENT << 1
        | 1,
        unit=np.repeat(np.array(units, dtype=np.int32), HISTORY),
        day=np.tile(np.arange(begin, begin + HISTORY, dtype=np.int32), len(units)),
        columns={name: np.ascontiguousarray(column).ravel() for name, column in columns.items()},
    )


def _readings(
    dsn: str,
    connection: Connection,
    estate_id: int,
    empty: dict[int, np.bool_],
    rng: np.random.Generator,
    today: date,
) -> None:
    """Store the readings of every meter up to the new day's end, as ingest does, each at its own second of the hour; the new day's are
    dirty. Those of the days before are what the night needs to know around it, and looks through.
    """
    meters = fact_inputs.devices_of(connection, list(empty))
    ledger = PostgresLedger.open(dsn)
    points = ledger.make_points([(device, name) for _, device, name in meters])
    ledger.commit()
    ledger.close()
    midnight = day_start(today, ZONE)
    begin = midnight - timedelta(days=_DAYS_BEFORE)
    Partitions(connection).cover(connection, begin, midnight + timedelta(days=1))
    hours = np.arange(24 * (_DAYS_BEFORE + 1), dtype=np.int64)
    at = (
        int(begin.timestamp() * 1000) + rng.integers(0, HOUR_MS, (len(meters), 1)) + HOUR_MS * hours
    )
    step = {"water_m3": 0.015, "energy_kwh": 0.35}
    # Nothing runs between midnight and seven.
    used = np.cumsum(hours % 24 >= 7)
    of = np.array([points[device, name] for _, device, name in meters], dtype=np.int32)
    rises = np.array(
        [0.0 if empty[unit] and name == "water_m3" else step[name] for unit, _, name in meters]
    )
    value = np.round(rng.uniform(10, 500, len(of))[:, None] + rises[:, None] * used, 3)
    readings.write_readings(
        connection,
        readings.ReadingColumns(
            at=at.ravel(), point=np.repeat(of, len(hours)), value=value.ravel()
        ),
    )
    low, high = int(midnight.timestamp() * 1000), at[:, -1]
    device = np.array([d for _, d, _ in meters], dtype=np.int32)
    log.mark_dirty(
        connection,
        DirtySpans(
            device=device,
            estate=np.full(len(device), estate_id, dtype=np.int32),
            low=np.full(len(device), low),
            high=high,
            received=np.full(len(device), high.max()),
        ),
    )


def _passages(
    connection: Connection,
    estate: str,
    homes: dict[int, str],
    rng: np.random.Generator,
    today: date,
) -> None:
    """Store who went out in the morning and came home in the evening, over the same days."""
    locks = {unit: device for unit, device, _ in fact_inputs.doors_of(connection, list(homes))}
    midnight = int(day_start(today, ZONE).timestamp() * 1000)
    batch = []
    for day in range(-_DAYS_BEFORE, 1):
        for (unit, code), out, back in zip(
            homes.items(),
            rng.integers(6 * 60, 9 * 60, len(homes)),
            rng.integers(17 * 60, 22 * 60, len(homes)),
            strict=True,
        ):
            for direction, minute in (("out", int(out)), ("in", int(back))):
                at = midnight + DAY_MS * day + 60_000 * minute
                said = {
                    "person": f"{estate}-{code}-p",
                    "direction": direction,
                    "outcome": "granted",
                }
                batch.append(
                    readings.EventRow(
                        device_id=locks[unit],
                        at_ms=at,
                        event_id=f"{direction}{day}",
                        kind="passage",
                        data=said,
                        received_ms=at,
                    )
                )
    readings.write_events(connection, batch)
    connection.commit()


def _parts(connection: Connection, clock: datetime) -> Iterator[tuple[float, float, float]]:
    """Take the night apart, block by block: read the same frames again, run the detectors over them, and one numpy pass over their columns."""
    policy = load_policy()
    for estate_id, _, _ in nights.list_estates(connection):
        for block in blocks(fact_inputs.units_of(connection, estate_id)):
            history = History(units=block, zone=ZONE)
            began = time.perf_counter()
            history.read(connection, last_whole_day(clock, ZONE))
            frame = history.frame(connection)
            read = time.perf_counter() - began
            began = time.perf_counter()
            for detector in DETECTORS:
                detector.detect(frame, policy.params(detector))
            detect = time.perf_counter() - began
            began = time.perf_counter()
            for column in frame.columns.values():
                np.nansum(column)
            yield read, detect, time.perf_counter() - began
    connection.rollback()
