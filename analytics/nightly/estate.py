"""One estate judged at one instant: read, judged and applied, block of units by block of units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from analytics.detectors import DETECTORS
from analytics.detectors.contract import Detector
from analytics.facts.meters import MeterBoundsTable
from analytics.facts.update import FactRules
from analytics.history import FIRST_WINDOW, WINDOW, History
from analytics.nightly.apply import apply_verdicts
from analytics.nightly.clock import last_whole_day
from analytics.nightly.judge import judge
from analytics.nightly.load import load_inputs
from analytics.policy import Policy
from domain.calendar import day_of
from store.alerts import alerts
from store.analytics import nights
from store.database.connection import Connection
from store.series import unit_days

#: Detectors that do not wait for a day to be over.
HOURLY_DETECTORS: tuple[Detector[Any], ...] = tuple(
    detector for detector in DETECTORS if detector.hourly
)
#: Units that are judged together: what one frame holds in memory.
UNITS_PER_BLOCK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run did: nights run, units judged, rows of facts, findings made, and new alerts."""

    nights: int = 0
    units: int = 0
    unit_days: int = 0
    findings: int = 0
    raised: int = 0

    def __add__(self, other: RunReport) -> RunReport:
        return RunReport(
            nights=self.nights + other.nights,
            units=self.units + other.units,
            unit_days=self.unit_days + other.unit_days,
            findings=self.findings + other.findings,
            raised=self.raised + other.raised,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRules:
    """What estates are judged by."""

    policy: Policy
    meter_bounds: MeterBoundsTable


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClock:
    """The instant of a run, and the time zone in which it falls on a day."""

    at: datetime
    zone: ZoneInfo

    @property
    def today(self) -> date:
        """The local day, which is not over."""
        return day_of(self.at, self.zone)

    @property
    def last_whole_day(self) -> date:
        """The last local day that is over."""
        return last_whole_day(self.at, self.zone)


def fact_rules(rules: NightRules, clock: RunClock) -> FactRules:
    """Return what facts are computed by at an instant."""
    return FactRules(zone=clock.zone, meter_bounds=rules.meter_bounds, known_at=clock.at)


def judge_estate(
    connection: Connection, estate_id: int, rules: NightRules, clock: RunClock
) -> RunReport:
    """Judge all units of an estate by all that is known of them."""
    units = nights.list_units(connection, estate_id)
    report = judge_units(connection, estate_id, units, rules=rules, clock=clock)
    return report + RunReport(units=len(units))


def judge_changes(
    connection: Connection,
    estate_id: int,
    first_days: Mapping[int, date],
    *,
    rules: NightRules,
    clock: RunClock,
) -> RunReport:
    """Judge the units of an estate whose facts changed; `first_days` are the first days changed.

    Where only the day changed that is not over, hourly detectors alone judge, and only the units
    that it may concern.
    """
    if not first_days:
        return RunReport()
    changed = sorted(first_days)
    if min(first_days.values()) <= clock.last_whole_day:
        return judge_units(connection, estate_id, changed, rules=rules, clock=clock)
    concerned = find_units_for_hourly(connection, changed, clock.today)
    return judge_units(
        connection, estate_id, concerned, rules=rules, clock=clock, detectors=HOURLY_DETECTORS
    )


def find_units_for_hourly(connection: Connection, units: Sequence[int], today: date) -> list[int]:
    """List the units whose water does not rest, and those with an open alert of that kind."""
    keys = [detector.key for detector in HOURLY_DETECTORS]
    by_detector = alerts.lock_unit_alerts(connection, units, keys)
    with_open_alert = {
        alert.subject_id for found in by_detector.values() for alert in found if alert.is_open
    }
    without_rest = unit_days.list_units_without_rest(connection, units, today)
    return sorted(with_open_alert.union(without_rest))


def judge_units(
    connection: Connection,
    estate_id: int,
    units: Sequence[int],
    *,
    rules: NightRules,
    clock: RunClock,
    detectors: Sequence[Detector[Any]] = DETECTORS,
) -> RunReport:
    """Judge units of an estate, block by block; the first time by the whole of their past."""
    is_first_time = nights.read_judged_day(connection, estate_id) is None
    window = FIRST_WINDOW if is_first_time else WINDOW
    report = RunReport()
    for block in divide_into_blocks(units):
        history = History(units=block, zone=clock.zone, window=window)
        if history.read(connection, clock.today):
            report += judge_history(
                connection, estate_id, history, rules=rules, clock=clock, detectors=detectors
            )
    return report


def judge_history(
    connection: Connection,
    estate_id: int,
    history: History,
    *,
    rules: NightRules,
    clock: RunClock,
    detectors: Sequence[Detector[Any]] = DETECTORS,
) -> RunReport:
    """Judge the units of a history that reaches to the clock's day."""
    inputs = load_inputs(
        connection, history, estate_id=estate_id, clock=clock.at, detectors=detectors
    )
    if inputs is None:
        return RunReport()
    verdicts = judge(inputs, rules.policy)
    raised = apply_verdicts(connection, verdicts)
    found = sum(verdict.finding_count for verdict in verdicts)
    return RunReport(findings=found, raised=raised)


def divide_into_blocks(units: Sequence[int]) -> Iterator[list[int]]:
    """Divide units into blocks that are judged together."""
    remaining = iter(units)
    while block := list(islice(remaining, UNITS_PER_BLOCK)):
        yield block
