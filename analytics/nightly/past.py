"""Nights of the past, run in their order: each with its clock and with what had arrived then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from analytics.facts.update import update_estates
from analytics.history import History
from analytics.nightly.clock import night_clock
from analytics.nightly.estate import (
    NightRules,
    RunClock,
    RunReport,
    divide_into_blocks,
    fact_rules,
    judge_history,
)
from analytics.nightly.run import Spread
from store.analytics import nights
from store.analytics.nights import NightEstate
from store.database.connection import Connection

#: Is called with an estate's code and the last day whose night was run.
NightProgress = Callable[[str, date], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NightSpan:
    """The local days whose nights are run, both included."""

    first: date
    last: date


def run_nights(
    connection: Connection,
    rules: NightRules,
    span: NightSpan,
    *,
    estate: str | None = None,
    spread: Spread | None = None,
    progress: NightProgress | None = None,
) -> RunReport:
    """Run the nights of every estate, or of one by its code; nights that were run stay.

    Without `spread`, `progress` is called after every night; with it, after every estate.
    """
    estates = nights.list_estates(connection, estate)
    connection.commit()
    total = RunReport()
    if spread is None:
        for each in estates:
            total += run_estate_nights(
                connection, estate=each, rules=rules, span=span, progress=progress
            )
        return total
    jobs = [partial(run_estate_nights, estate=each, rules=rules, span=span) for each in estates]
    for each, report in zip(estates, spread(jobs), strict=True):
        total += report
        if progress is not None:
            progress(each.code, span.last)
    return total


def run_estate_nights(
    connection: Connection,
    *,
    estate: NightEstate,
    rules: NightRules,
    span: NightSpan,
    progress: NightProgress | None = None,
) -> RunReport:
    """Run the nights of one estate that were not run, each in a transaction of its own."""
    zone = ZoneInfo(estate.timezone)
    total = RunReport()
    with nights.lock_nights(connection, [estate.id]):
        judged = nights.read_judged_day(connection, estate.id)
        first = span.first if judged is None else max(span.first, judged)
        units = nights.list_units(connection, estate.id)
        histories = [History(units=block, zone=zone) for block in divide_into_blocks(units)]
        connection.commit()
        for day in days_between(first, span.last):
            clock = RunClock(at=night_clock(day, zone), zone=zone)
            total += _run_night(connection, estate.id, histories, rules, clock)
            if progress is not None:
                progress(estate.code, day)
    return total


def _run_night(
    connection: Connection,
    estate_id: int,
    histories: Sequence[History],
    rules: NightRules,
    clock: RunClock,
) -> RunReport:
    """Run one night; the histories are those of the night before."""
    with nights.transaction_at(connection, clock.at):
        update = update_estates(connection, [estate_id], fact_rules(rules, clock))
        units = sum(len(history.units) for history in histories)
        report = RunReport(nights=1, units=units, unit_days=update.rows)
        # The first hours of a night are a day that is not over: they are read anew each night.
        changed_from = min(update.first_days.values(), default=clock.last_whole_day)
        for history in histories:
            history.refresh(connection, clock.today, changed_from=changed_from)
            report += judge_history(connection, estate_id, history, rules=rules, clock=clock)
        nights.note_judged(connection, estate_id, clock.today, clock.at)
    return report


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days from `first` to `last`, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)
