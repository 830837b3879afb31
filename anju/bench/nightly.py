"""`anju bench nightly`: how long a city's night takes, from the store to the alerts.

Beside it, over the same columns in memory: the time of the detectors alone, and one numpy pass over
every column that they read.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from statistics import median

import numpy as np

from analytics.detectors import DETECTORS
from analytics.facts.meters import MeterBoundsTable
from analytics.history import History
from analytics.nightly.clock import last_whole_day, night_clock
from analytics.nightly.estate import NightRules, RunReport, divide_into_blocks
from analytics.nightly.run import run_all
from analytics.policy import load_policy
from anju.bench.filled_estates import PER_ESTATE, ZONE, fill_estate
from anju.memory import kept_memory
from anju.night_workers import NightEngine, crew
from store.analytics import nights
from store.database import health
from store.database.connection import Connection, connect

#: Seconds that a statement may take.
_STATEMENT_S = 3600
_FILLING_PROCESSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredNight:
    """One night: seconds of the whole and of its parts, and bytes of memory."""

    units: int
    whole_s: float
    read_s: float
    """Reading the frames again."""
    detect_s: float
    """The detectors alone."""
    pass_s: float
    """One numpy pass over the columns."""
    passes: float
    """How many such passes the detectors take: the median over the blocks."""
    peak_bytes: int
    """Peak memory of the greatest process."""
    findings: int
    unit_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _BlockTimes:
    """Seconds that one block of units took."""

    read_s: float
    detect_s: float
    pass_s: float


def measure(
    dsn: str,
    units: int,
    meter_bounds: MeterBoundsTable,
    today: date,
    workers: int,
    report_step: Callable[[str], None],
) -> MeasuredNight:
    """Fill a fresh database with a year of facts of so many homes, and run tonight."""
    _fill_city(dsn, units, today, report_step)
    with connect(dsn, statement_s=_STATEMENT_S, alone=True) as connection:
        health.analyze(connection)
        clock = night_clock(today, ZONE).astimezone(UTC)
        rules = NightRules(policy=load_policy(), meter_bounds=meter_bounds)
        began = time.perf_counter()
        report = _run_night(dsn, connection, rules, clock, workers, report_step)
        whole_s = time.perf_counter() - began
        peak_bytes = _peak_bytes()
        report_step("taking the night apart")
        with kept_memory():
            blocks = list(_time_blocks(connection, clock))
    return MeasuredNight(
        units=units,
        whole_s=whole_s,
        read_s=sum(block.read_s for block in blocks),
        detect_s=sum(block.detect_s for block in blocks),
        pass_s=sum(block.pass_s for block in blocks),
        passes=median(block.detect_s / block.pass_s for block in blocks),
        peak_bytes=peak_bytes,
        findings=report.findings,
        unit_days=report.unit_days,
    )


def _fill_city(dsn: str, units: int, today: date, report_step: Callable[[str], None]) -> None:
    """Fill estates of PER_ESTATE homes, several at a time."""
    sizes = [min(PER_ESTATE, units - first) for first in range(0, units, PER_ESTATE)]
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_FILLING_PROCESSES, mp_context=spawning) as pool:
        filled = pool.map(partial(_fill, dsn, today), range(len(sizes)), sizes)
        for count, _ in enumerate(filled, 1):
            report_step(f"{count} of {len(sizes)} estates filled")


def _fill(dsn: str, today: date, number: int, count: int) -> None:
    with connect(dsn, statement_s=_STATEMENT_S) as connection:
        fill_estate(dsn, connection, number, count, today)


def _run_night(
    dsn: str,
    connection: Connection,
    rules: NightRules,
    clock: datetime,
    workers: int,
    report_step: Callable[[str], None],
) -> RunReport:
    engine = NightEngine.PROCESSES if workers > 1 else NightEngine.HERE
    with crew(engine, dsn, workers=workers) as spread:
        return run_all(
            connection,
            rules,
            clock,
            spread=spread,
            progress=lambda done, of: report_step(f"{done} of {of} estates judged"),
        )


def _peak_bytes() -> int:
    """Return the peak memory of this process, or of the greatest of its children."""
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(process).ru_maxrss for process in processes) * 1024


def _time_blocks(connection: Connection, clock: datetime) -> Iterator[_BlockTimes]:
    """Read the frames of all blocks again, and run the detectors over them."""
    policy = load_policy()
    for estate in nights.list_estates(connection):
        for units in divide_into_blocks(nights.list_units(connection, estate.id)):
            history = History(units=units, zone=ZONE)
            began = time.perf_counter()
            history.read(connection, last_whole_day(clock, ZONE))
            frame = history.frame(connection)
            was_read = time.perf_counter()
            for detector in DETECTORS:
                detector.detect(frame, policy.params(detector))
            was_judged = time.perf_counter()
            for column in frame.columns.values():
                np.nansum(column)
            yield _BlockTimes(
                read_s=was_read - began,
                detect_s=was_judged - was_read,
                pass_s=time.perf_counter() - was_judged,
            )
    connection.rollback()
