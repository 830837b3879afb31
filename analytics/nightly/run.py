"""Runs over all estates: by day what changed, and once in each local day all units.

A night judges every unit, whether or not anything arrived: silence has to be noticed, too. An
estate is judged in one transaction. A run that is killed leaves nothing behind, and an estate whose
night was run is not judged again. So any number of workers can judge the estates of a night.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import ceil
from zoneinfo import ZoneInfo

import structlog

from analytics.facts.update import update_estates
from analytics.nightly.estate import (
    NightRules,
    RunClock,
    RunReport,
    fact_rules,
    judge_changes,
    judge_estate,
)
from store.analytics import nights
from store.analytics.nights import NightEstate
from store.database.connection import Connection

log = structlog.get_logger()

#: Units of estates whose readings are read together in a night (see analytics/facts/update.py).
UNITS_PER_BATCH = 8_000

#: Work for one estate or a few, wherever there is a connection.
Job = Callable[[Connection], RunReport]
#: Does jobs in any order, such as by several workers, and yields a report as each is done.
Spread = Callable[[Sequence[Job]], Iterator[RunReport]]
#: Is called with the number of estates judged, and of those that are due.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstateBatch:
    """Estates of one time zone, by id."""

    zone: ZoneInfo
    estates: Sequence[int]


def run_all(
    connection: Connection,
    rules: NightRules,
    now: datetime,
    *,
    spread: Spread | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Judge what changed in every estate, and all units of those whose night is due."""
    due = nights.list_due_estates(connection, now)
    due_ids = {estate.id for estate in due}
    changed = [
        estate for estate in nights.list_dirty_estates(connection) if estate.id not in due_ids
    ]
    total = RunReport()
    for batch in batches_by_zone(changed):
        total += run_changes(connection, batch, rules, now)
    jobs = [
        partial(run_due_nights, batch=batch, rules=rules, now=now) for batch in batches_by_zone(due)
    ]
    connection.commit()
    for report in do_jobs(connection, jobs, spread):
        total += report
        if progress is not None:
            progress(total.nights, len(due))
    return total


def do_jobs(
    connection: Connection, jobs: Sequence[Job], spread: Spread | None
) -> Iterator[RunReport]:
    """Do jobs here one after the other, or hand them on."""
    if spread is not None:
        yield from spread(jobs)
        return
    for job in jobs:
        yield job(connection)


def run_changes(
    connection: Connection, batch: EstateBatch, rules: NightRules, now: datetime
) -> RunReport:
    """Bring facts of estates up to date and judge the units that changed, in one transaction."""
    clock = RunClock(at=now, zone=batch.zone)
    with nights.transaction_at(connection, now):
        update = update_estates(connection, batch.estates, fact_rules(rules, clock))
        report = RunReport(units=len(update.first_days), unit_days=update.rows)
        for estate_id in batch.estates:
            first_days = update.first_days_of(estate_id)
            report += judge_changes(connection, estate_id, first_days, rules=rules, clock=clock)
    log.info(
        "estates_done",
        estates=len(batch.estates),
        units=report.units,
        unit_days=report.unit_days,
        findings=report.findings,
        raised=report.raised,
    )
    return report


def run_due_nights(
    connection: Connection, *, batch: EstateBatch, rules: NightRules, now: datetime
) -> RunReport:
    """Bring the facts of estates up to date and judge all units, each estate in a transaction.

    Estates whose night another worker has run meanwhile are left out.
    """
    clock = RunClock(at=now, zone=batch.zone)
    with nights.lock_nights(connection, batch.estates):
        due = [estate_id for estate_id in batch.estates if _is_due(connection, estate_id, clock)]
        connection.commit()
        with nights.transaction_at(connection, now):
            update = update_estates(connection, due, fact_rules(rules, clock))
        total = RunReport(unit_days=update.rows)
        for estate_id in due:
            with nights.transaction_at(connection, now):
                total += judge_estate(connection, estate_id, rules, clock)
                nights.note_judged(connection, estate_id, clock.today, now)
            total += RunReport(nights=1)
    return total


def _is_due(connection: Connection, estate_id: int, clock: RunClock) -> bool:
    judged = nights.read_judged_day(connection, estate_id)
    return judged is None or judged < clock.today


def batches_by_zone(estates: Iterable[NightEstate]) -> Iterator[EstateBatch]:
    """Group estates of one time zone into batches of similar size.

    A batch holds at most UNITS_PER_BATCH units, or one estate that is larger by itself.
    """
    by_zone: defaultdict[str, list[NightEstate]] = defaultdict(list)
    for estate in sorted(estates, key=lambda estate: estate.id):
        by_zone[estate.timezone].append(estate)
    for zone in sorted(by_zone):
        for members in fill_batches(by_zone[zone]):
            yield EstateBatch(zone=ZoneInfo(zone), estates=[estate.id for estate in members])


def fill_batches(estates: Sequence[NightEstate]) -> Iterator[list[NightEstate]]:
    """Divide estates, in their order, into batches of similar size."""
    total = sum(estate.unit_count for estate in estates)
    batch_count = max(1, ceil(total / UNITS_PER_BATCH))
    most_units = total / batch_count
    batch: list[NightEstate] = []
    units = 0
    for estate in estates:
        if batch and units + estate.unit_count > most_units:
            yield batch
            batch = []
            units = 0
        batch.append(estate)
        units += estate.unit_count
    yield batch
