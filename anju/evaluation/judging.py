"""A simulated city judged by the same detectors as in the nights, without broker and database.

Blocks of homes are independent, so several processes judge one each. A block is judged on its last
day and, cut off, every four weeks before it, to know when a finding was first reported.
"""

from __future__ import annotations

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from analytics.detectors import DETECTORS
from analytics.detectors.contract import Finding
from analytics.facts.meters import MeterBoundsTable
from analytics.frame import UnitDayFrame
from analytics.policy import Policy, load_policy
from analytics.unit_frames import cut_after
from anju.evaluation.baselines import changed_consumption, quiet_by_threshold
from anju.evaluation.frames import SimulatedHome, block_frame, make_homes
from domain.calendar import day_of, from_ms
from domain.periods import Period, overlapping
from simulators.world.city import PER_BUILDING, ZONE, WorldCity
from simulators.world.traffic import truth_of

#: Homes that are judged together: whole buildings.
HOMES_PER_BLOCK = 10 * PER_BUILDING
#: Days between two judgements of a block.
DAYS_BETWEEN = 28


@dataclass(slots=True, kw_only=True)
class ReportedFinding:
    """A finding about a home over several judgements, with the content of the latest."""

    unit: str
    detector: str
    score: float
    start_day: date
    end_day: date | None
    """The day on which it ended; None while it lasts."""
    raised_day: date
    """The first judgement that reported it, or that found it likely enough to be shown."""
    shown: bool
    """Whether any judgement found it likely enough to be shown."""
    reasons: tuple[str, ...] = ()

    @property
    def period(self) -> Period:
        """Its days; the day on which it ended is the last one."""
        return period_of_days(self.start_day, self.end_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthSpan:
    """What is true of a home: a kind, which is a detector's key, and its days, both included."""

    unit: str
    kind: str
    start_day: date
    end_day: date


def period_of_days(first: date, last: date | None) -> Period:
    """Return the period of days from `first` to `last`, both included; None: it lasts."""
    return Period(start=first, end=None if last is None else last + timedelta(days=1))


@dataclass(slots=True, kw_only=True)
class CityJudgement:
    """What was found in some homes, and what is true of them."""

    findings: list[ReportedFinding] = field(default_factory=list)
    truth: list[TruthSpan] = field(default_factory=list)
    units: int = 0
    abstained: dict[str, set[str]] = field(default_factory=dict)
    """The homes that could not be judged on the last day, by "detector: reason"."""
    consumption: dict[str, float] = field(default_factory=dict)
    """The score of each home by consumption alone."""
    threshold: dict[str, list[tuple[date, date]]] = field(default_factory=dict)
    """The days on which each home is vacant by a fixed threshold, both included."""

    def add(self, other: CityJudgement) -> None:
        """Add the judgement of other homes."""
        self.findings += other.findings
        self.truth += other.truth
        self.units += other.units
        self.consumption |= other.consumption
        self.threshold |= other.threshold
        for key, units in other.abstained.items():
            self.abstained.setdefault(key, set()).update(units)


@dataclass(frozen=True, slots=True, kw_only=True)
class CityBlock:
    """Homes of a city from one number to before another."""

    city: WorldCity
    begin: int
    end: int
    meter_bounds: MeterBoundsTable


def judge_city(
    city: WorldCity,
    meter_bounds: MeterBoundsTable,
    progress: Callable[[int], None],
    processes: int = 2,
) -> CityJudgement:
    """Judge a whole city; `progress` is called with the number of homes of each block."""
    blocks = [
        CityBlock(
            city=city,
            begin=begin,
            end=min(begin + HOMES_PER_BLOCK, city.units),
            meter_bounds=meter_bounds,
        )
        for begin in range(0, city.units, HOMES_PER_BLOCK)
    ]
    total = CityJudgement()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for judgement in pool.imap_unordered(judge_block, blocks):
            total.add(judgement)
            progress(judgement.units)
    return total


def judge_block(block: CityBlock) -> CityJudgement:
    """Judge the homes of a block and compare nothing yet."""
    city = block.city
    homes = make_homes(city, block.begin, block.end)
    frame = block_frame(city, homes, block.meter_bounds)
    names = [f"{city.estate(home.index)}/{city.unit(home.index)}" for home in homes]
    judgement = CityJudgement(
        units=len(homes),
        truth=[
            span
            for home, name in zip(homes, names, strict=True)
            for span in _truth_spans(city, home, name)
        ],
        consumption=dict(zip(names, changed_consumption(frame).tolist(), strict=True)),
        threshold={names[row]: spans for row, spans in quiet_by_threshold(frame).items()},
    )
    _judge_over_time(frame, names, judgement)
    return judgement


def _truth_spans(city: WorldCity, home: SimulatedHome, name: str) -> Iterator[TruthSpan]:
    for story in truth_of(city, home.home, home.metered):
        yield TruthSpan(
            unit=name,
            kind=story["kind"],
            start_day=date.fromisoformat(story["start_day"]),
            end_day=date.fromisoformat(story["end_day"]),
        )


def _judge_over_time(frame: UnitDayFrame, names: Sequence[str], judgement: CityJudgement) -> None:
    """Judge a frame again and again as it grows, and add what is found to a judgement."""
    policy = load_policy()
    reports = FindingReports(names=names, policy=policy)
    last = frame.days - 1
    first = last % DAYS_BETWEEN
    for column in range(first, frame.days, DAYS_BETWEEN):
        day = frame.day(column)
        known = cut_after(frame, day)
        if known is None:
            continue
        for detector in DETECTORS:
            found, abstained = detector.detect(known, policy.params(detector))
            for finding in found:
                reports.add(detector.key, finding, day)
            if column == last:
                for abstention in abstained:
                    key = f"{detector.key}: {abstention.reason}"
                    judgement.abstained.setdefault(key, set()).add(names[abstention.unit - 1])
    judgement.findings = reports.all()


class FindingReports:
    """Findings of homes over several judgements: a later one updates an earlier one it overlaps."""

    def __init__(self, *, names: Sequence[str], policy: Policy) -> None:
        self._names = names
        self._policy = policy
        self._reports: defaultdict[tuple[int, str], list[ReportedFinding]] = defaultdict(list)

    def add(self, detector: str, finding: Finding, day: date) -> None:
        """Add a finding of the judgement on a day."""
        report = self._new_report(detector, finding, day)
        reports = self._reports[finding.unit, detector]
        earlier = overlapping(report.period, reports)
        if earlier:
            _update(earlier[0], report)
        else:
            reports.append(report)

    def all(self) -> list[ReportedFinding]:
        """Return all findings, home by home and detector by detector."""
        return [report for reports in self._reports.values() for report in reports]

    def _new_report(self, detector: str, finding: Finding, day: date) -> ReportedFinding:
        end = finding.until_ms
        return ReportedFinding(
            unit=self._names[finding.unit - 1],
            detector=detector,
            score=finding.score,
            start_day=day_of(from_ms(finding.since_ms), ZONE),
            end_day=None if end is None else day_of(from_ms(end), ZONE),
            raised_day=day,
            shown=self._policy.tells(detector, finding.score),
            reasons=finding.reasons,
        )


def _update(earlier: ReportedFinding, later: ReportedFinding) -> None:
    """Give an earlier report the content of a later one."""
    if later.shown and not earlier.shown:
        earlier.raised_day = later.raised_day
        earlier.shown = True
    earlier.score = later.score
    earlier.start_day = later.start_day
    earlier.end_day = later.end_day
    earlier.reasons = later.reasons


def last_day(city: WorldCity) -> date:
    """Return a city's last day."""
    return city.first + timedelta(days=city.days - 1)
