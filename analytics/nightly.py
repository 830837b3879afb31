"""The slow loop: what changed becomes facts, facts become findings, findings become alerts.

By day it runs every few minutes over what is dirty; at night it judges every unit of every estate, whether or not anything
came, since silence has to be noticed too. Nights of the past can be run in their order, each with its own clock and with what had
arrived by then. An estate is judged in one transaction: a run that is killed goes on where it was, and a night that was run is not
run again. So estates may be judged one after the other, or by as many workers as there are (`Spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from analytics.detectors import DETECTORS
from analytics.detectors.contract import Abstention, Detector, Finding
from analytics.facts import BoundsOf, update_facts
from analytics.frame import UnitDayFrame
from analytics.history import WHOLE, WINDOW, History, last_whole_day, running, until
from analytics.parameters import numbers_of
from analytics.policy import Policy
from domain.alerting import AlertCondition, AlertKey, SubjectKind, returned, worsened
from domain.calendar import day_of, from_ms
from store.alerts import alerts, changes, raising
from store.alerts.alerts import Alert
from store.alerts.changes import AlertStep
from store.alerts.raising import NewAlert
from store.analytics import findings, nights
from store.analytics.findings import AbstentionRow, Current, FindingRow, Source
from store.database.connection import Connection
from store.register import places
from store.series import fact_inputs, unit_days

log = structlog.get_logger()

#: Detectors that do not wait for a day to be over.
HOURLY: tuple[Detector[Any], ...] = tuple(d for d in DETECTORS if d.hourly)
#: Units that are judged at a time: what one frame holds in memory.
UNITS_AT_ONCE = 2_000
#: Homes of estates that are worked off together: what one read of a night's readings is for (analytics/facts.py).
HOMES_TOGETHER = 8_000
#: The local hour at which a night is run: gateways have sent what the day held.
NIGHT_HOUR = 4
ACTOR = "analytics"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one pass did."""

    units: int = 0
    unit_days: int = 0
    findings: int = 0
    raised: int = 0
    nights: int = 0

    def __add__(self, other: RunReport) -> RunReport:
        return RunReport(
            units=self.units + other.units,
            unit_days=self.unit_days + other.unit_days,
            findings=self.findings + other.findings,
            raised=self.raised + other.raised,
            nights=self.nights + other.nights,
        )


#: What is to be done for one estate or a few, wherever there is a connection; and a way to have many of them done, in any order.
Job = Callable[[Connection], RunReport]
Spread = Callable[[Sequence[Job]], Iterator[RunReport]]


def night_clock(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which the night after a local day is run."""
    return datetime.combine(day + timedelta(days=1), time(NIGHT_HOUR), tzinfo=zone)


def run_all(
    connection: Connection,
    policy: Policy,
    bounds: BoundsOf,
    now: datetime,
    *,
    spread: Spread | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> RunReport:
    """Work off everything that is dirty in every estate, and judge all units once in each local day, if need be by several workers."""
    total = RunReport()
    today = {zone: day_of(now, ZoneInfo(zone)) for zone in fact_inputs.estate_zones(connection)}
    due = dict(fact_inputs.estates_to_judge(connection, today))
    dirty = {
        estate_id: zone
        for estate_id, zone in fact_inputs.dirty_estates(connection)
        if estate_id not in due
    }
    homes = fact_inputs.count_units(connection)
    for zone, estates in together(dirty, homes):
        done = run_estates(connection, estates, ZoneInfo(zone), policy, bounds, now)
        log.info(
            "estates_done",
            estates=len(estates),
            units=done.units,
            unit_days=done.unit_days,
            findings=done.findings,
            raised=done.raised,
        )
        total += done
    jobs = [
        partial(judge_estates, estates=estates, zone=zone, policy=policy, bounds=bounds, now=now)
        for zone, estates in together(due, homes)
    ]
    connection.commit()
    for done in spread(jobs) if spread else (job(connection) for job in jobs):
        total += done
        progress(total.nights, len(due))
    return total


def together(zones: dict[int, str], homes: dict[int, int]) -> Iterator[tuple[str, list[int]]]:
    """Put estates of one time zone together, whose readings are read in one go: parts of like size, of up to HOMES_TOGETHER homes or of
    one estate.
    """
    for zone in sorted(set(zones.values())):
        estates = sorted(e for e, z in zones.items() if z == zone)
        total = sum(homes.get(e, 0) for e in estates)
        share = total / max(1, -(-total // HOMES_TOGETHER))
        some: list[int] = []
        for estate_id in estates:
            if some and sum(homes.get(e, 0) for e in (*some, estate_id)) > share:
                yield zone, some
                some = []
            some.append(estate_id)
        yield zone, some


def judge_estates(
    connection: Connection,
    *,
    estates: list[int],
    zone: str,
    policy: Policy,
    bounds: BoundsOf,
    now: datetime,
) -> RunReport:
    """Work off what is dirty in estates, then judge all units of each in a transaction of its own, but for those whose night was run."""
    local, today = ZoneInfo(zone), day_of(now, ZoneInfo(zone))
    with ExitStack() as kept:
        for estate_id in estates:
            kept.enter_context(nights.held(connection, estate_id))
        judged = {estate_id: fact_inputs.judged_day(connection, estate_id) for estate_id in estates}
        due = [estate_id for estate_id, day in judged.items() if day is None or day < today]
        connection.commit()
        with connection.transaction():
            nights.set_clock(connection, now)
            done = RunReport(unit_days=_work_off(connection, due, local, bounds, now).rows)
        for estate_id in due:
            with connection.transaction():
                nights.set_clock(connection, now)
                for block in blocks(fact_inputs.units_of(connection, estate_id)):
                    done += replace(
                        judge_units(connection, estate_id, block, local, policy, now),
                        units=len(block),
                    )
                fact_inputs.note_judged(connection, estate_id, today, now)
                done += RunReport(nights=1)
    return done


def run_estates(
    connection: Connection,
    estates: list[int],
    zone: ZoneInfo,
    policy: Policy,
    bounds: BoundsOf,
    now: datetime,
) -> RunReport:
    """Work off what is dirty in estates, in one transaction, and judge the units of which whole days changed."""
    with connection.transaction():
        nights.set_clock(connection, now)
        worked = _work_off(connection, estates, zone, bounds, now)
        done = RunReport(units=len(worked.first), unit_days=worked.rows)
        for estate_id in estates:
            touched = worked.of_estate(estate_id)
            if touched and min(worked.first[unit] for unit in touched) <= last_whole_day(now, zone):
                for block in blocks(touched):
                    done += judge_units(connection, estate_id, block, zone, policy, now)
            elif touched:
                # The day that is not over is shown to those who cannot wait for its end, about the homes that it may concern.
                held = alerts.lock_unit_alerts(connection, touched, [d.key for d in HOURLY])
                standing = {
                    alert.subject_id for rows in held.values() for alert in rows if alert.is_open
                }
                units = sorted(
                    standing | set(unit_days.without_rest(connection, touched, day_of(now, zone)))
                )
                for block in blocks(units):
                    done += judge_units(connection, estate_id, block, zone, policy, now, HOURLY)
    return done


@dataclass(slots=True)
class Worked:
    """What was computed anew: rows of facts, and of each unit its estate and the first of the days."""

    rows: int = 0
    first: dict[int, date] = field(default_factory=dict)
    estate: dict[int, int] = field(default_factory=dict)

    def of_estate(self, estate_id: int) -> list[int]:
        """List the units of an estate, by id."""
        return sorted(unit for unit in self.first if self.estate[unit] == estate_id)


def _work_off(
    connection: Connection, estates: list[int], zone: ZoneInfo, bounds: BoundsOf, known_at: datetime
) -> Worked:
    """Turn what had arrived at an instant into facts."""
    done = Worked()
    today, last = day_of(known_at, zone), 0
    while True:
        ids, dirty = fact_inputs.take_dirty(connection, estates, known_at, after=last)
        if not ids:
            break
        last = ids[-1]
        spans = {
            d.unit_id: (day_of(d.from_at, zone), min(day_of(d.to_at, zone), today))
            for d in dirty
            if day_of(d.from_at, zone) <= today
        }
        done.estate |= {d.unit_id: d.estate_id for d in dirty}
        touched, rows = update_facts(connection, spans, zone, bounds, known_at)
        done.rows += rows
        for unit, (first, _) in touched.items():
            done.first[unit] = min(first, done.first.get(unit, first))
        fact_inputs.clear_dirty(connection, ids, known_at)
        if len(ids) < fact_inputs.SPANS_AT_ONCE:
            # What comes in meanwhile is the next pass's: a busy estate must not keep this one for ever.
            break
    return done


# Nights of the past --------------------------------------------------------------------------------------------------


def run_nights(
    connection: Connection,
    policy: Policy,
    bounds: BoundsOf,
    first: date,
    last: date,
    *,
    estate: str | None = None,
    spread: Spread | None = None,
    progress: Callable[[str, date], None] = lambda _estate, _day: None,
) -> RunReport:
    """Run the nights after the days from `first` to `last` of each estate, in their order; those that were run stay.

    `progress` is told of every night where they are run here, and of as many estates as are over where others run them.
    """
    total = RunReport()
    estates = nights.list_estates(connection, estate)
    connection.commit()
    jobs = [
        partial(
            run_estate_nights,
            estate_id=estate_id,
            zone=zone,
            policy=policy,
            bounds=bounds,
            first=first,
            last=last,
        )
        for estate_id, _, zone in estates
    ]
    if spread is None:
        for (_, code, _), job in zip(estates, jobs, strict=True):
            total += job(connection, progress=partial(progress, code))
        return total
    for (_, code, _), done in zip(estates, spread(jobs), strict=True):
        total += done
        progress(code, last)
    return total


def run_estate_nights(
    connection: Connection,
    *,
    estate_id: int,
    zone: str,
    policy: Policy,
    bounds: BoundsOf,
    first: date,
    last: date,
    progress: Callable[[date], None] = lambda _day: None,
) -> RunReport:
    """Run the nights of one estate that were not run, each in a transaction of its own."""
    total, local = RunReport(), ZoneInfo(zone)
    with nights.held(connection, estate_id):
        judged = fact_inputs.judged_day(connection, estate_id)
        begin = first if judged is None else max(first, judged)
        histories = [
            History(units=block, zone=local)
            for block in blocks(fact_inputs.units_of(connection, estate_id))
        ]
        connection.commit()
        for n in range((last - begin).days + 1):
            day = begin + timedelta(days=n)
            total += _run_night(connection, estate_id, histories, local, policy, bounds, day)
            progress(day)
    return total


def _run_night(
    connection: Connection,
    estate_id: int,
    histories: list[History],
    zone: ZoneInfo,
    policy: Policy,
    bounds: BoundsOf,
    day: date,
) -> RunReport:
    clock = night_clock(day, zone)
    with connection.transaction():
        nights.set_clock(connection, clock)
        worked = _work_off(connection, [estate_id], zone, bounds, clock)
        done = RunReport(
            units=sum(len(h.units) for h in histories), unit_days=worked.rows, nights=1
        )
        for history in histories:
            # The night's own first hours are a day that is not over: read anew each time.
            history.refresh(
                connection, day + timedelta(days=1), min(worked.first.values(), default=day)
            )
            done += _judge(connection, estate_id, history, policy, clock)
        fact_inputs.note_judged(connection, estate_id, day + timedelta(days=1), clock)
    return done


# Findings and alerts -------------------------------------------------------------------------------------------------


def judge_units(
    connection: Connection,
    estate_id: int,
    units: list[int],
    zone: ZoneInfo,
    policy: Policy,
    clock: datetime,
    detectors: Sequence[Detector[Any]] = DETECTORS,
) -> RunReport:
    """Judge units by all that is known of them up to the last whole day; what is hourly sees the clock's own day, too."""
    first_time = fact_inputs.judged_day(connection, estate_id) is None
    history = History(units=units, zone=zone, window=WHOLE if first_time else WINDOW)
    if not history.read(connection, day_of(clock, zone)):
        return RunReport()
    return _judge(connection, estate_id, history, policy, clock, detectors)


def _judge(
    connection: Connection,
    estate_id: int,
    history: History,
    policy: Policy,
    clock: datetime,
    detectors: Sequence[Detector[Any]] = DETECTORS,
) -> RunReport:
    """Run detectors over the frame of a history that reaches to the clock's day, and bring findings and alerts up to date."""
    whole = last_whole_day(clock, history.zone)
    read = history.frame(connection, whole)
    frame, now = until(read, whole), running(read, clock)
    if frame is None:
        return RunReport()
    units = frame.units.tolist()
    codes = places.unit_codes(connection, units)
    current = findings.read_current(connection, units)
    held = alerts.lock_unit_alerts(connection, units, [d.key for d in detectors])
    done = RunReport()
    for detector in detectors:
        shown = now if detector.hourly else frame
        said, abstained = detector.detect(shown, policy.params(detector))
        store_said(connection, current, shown, detector, policy, said, abstained)
        raised = _to_alerts(
            connection, estate_id, detector, held.get(detector.key, []), codes, said, policy
        )
        done += RunReport(findings=len(said), raised=raised)
    return done


def store_said(
    connection: Connection,
    current: Current,
    frame: UnitDayFrame,
    detector: Detector[Any],
    policy: Policy,
    said: Iterable[Finding],
    abstained: Iterable[Abstention],
) -> None:
    """Store what a detector said of the units of a frame."""
    source = Source(
        detector=detector.key,
        version=detector.version,
        params=numbers_of(policy.params(detector)),
        window_from=frame.first,
        window_to=frame.day(frame.days - 1),
    )
    rows = [
        FindingRow(
            unit_id=f.unit,
            since_ms=f.since_ms,
            until_ms=f.until_ms,
            frozen=f.frozen,
            score=f.score,
            reasons=f.reasons,
            evidence=f.evidence,
            since_between=f.since_between,
            shown=policy.tells(detector.key, f.score),
        )
        for f in said
    ]
    findings.replace_findings(connection, current, source, rows)
    findings.replace_abstentions(
        connection,
        current,
        source,
        [
            AbstentionRow(
                unit_id=a.unit,
                from_day=frame.day(a.first),
                to_day=frame.day(a.last),
                reason=a.reason,
            )
            for a in abstained
        ],
    )


def _to_alerts(
    connection: Connection,
    estate_id: int,
    detector: Detector[Any],
    alerts_held: Sequence[Alert],
    codes: dict[int, str],
    said: Iterable[Finding],
    policy: Policy,
) -> int:
    """Match findings to the alerts that stand for them, by unit and overlapping time."""
    held: dict[int, list[Alert]] = {}
    for row in alerts_held:
        held.setdefault(row.subject_id, []).append(row)
    by_unit: dict[int, list[Finding]] = {}
    for finding in said:
        by_unit.setdefault(finding.unit, []).append(finding)
    raised = 0
    for unit in sorted(set(held) | set(by_unit)):
        rest = held.get(unit, [])
        pairs: list[tuple[Finding, Alert | None]] = []
        for finding in sorted(by_unit.get(unit, []), key=lambda f: f.since_ms):
            match = next((row for row in rest if _overlap(row, finding)), None)
            # What has been told stays told while the suspicion stands, also when it grows weaker.
            if match is None and not policy.tells(detector.key, finding.score):
                continue
            rest = [row for row in rest if row is not match]
            pairs.append((finding, match))
        for row in rest:
            if row.is_open:
                # Late data took the ground from under it: it did not return, it never was.
                changes.set_state(
                    connection,
                    row.id,
                    returned(row.state),
                    AlertStep(actor=ACTOR, name="withdrawn"),
                )
        for finding, match in pairs:
            wanted = _wanted(estate_id, detector, codes[unit], finding, policy)
            raised += _bring_up_to_date(connection, wanted, finding, match)
    return raised


def blocks(units: list[int]) -> list[list[int]]:
    """Divide units into what is judged at a time."""
    return [units[i : i + UNITS_AT_ONCE] for i in range(0, len(units), UNITS_AT_ONCE)]


def _bring_up_to_date(
    connection: Connection, wanted: NewAlert, finding: Finding, match: Alert | None
) -> int:
    over = finding.until_ms is not None
    if match is None:
        if over:
            raising.record_ended_alert(connection, wanted, actor=ACTOR)
        else:
            raising.raise_alert(connection, wanted, actor=ACTOR)
        return 1
    changed = raising.refresh_alert(connection, match.id, wanted)
    if over and match.is_open:
        changes.set_state(
            connection, match.id, returned(match.state), AlertStep(actor=ACTOR, name="returned")
        )
    elif not over and not match.is_open:
        changes.reopen_alert(connection, match.id, actor=ACTOR)
    elif changed and match.severity != wanted.severity:
        if wanted.severity.rank > match.severity.rank and not over:
            changes.set_state(
                connection,
                match.id,
                worsened(match.state),
                AlertStep(actor=ACTOR, name="worsened"),
            )
        else:
            note = f"{match.severity} → {wanted.severity}"
            changes.note_change(
                connection, match.id, AlertStep(actor=ACTOR, name="severity", note=note)
            )
    return 0


def _wanted(
    estate_id: int, detector: Detector[Any], subject: str, finding: Finding, policy: Policy
) -> NewAlert:
    shown = policy.for_finding(detector.key, {**finding.evidence, "score": finding.score})
    condition = (
        AlertCondition.RETURNED
        if finding.until_ms is not None
        else AlertCondition.NOT_EVALUABLE
        if finding.frozen
        else AlertCondition.ACTIVE
    )
    return NewAlert(
        key=AlertKey(detector=detector.key, subject_kind=SubjectKind.UNIT, subject_id=finding.unit),
        estate_id=estate_id,
        subject=subject,
        alert_class=shown.alert_class,
        severity=shown.severity,
        score=finding.score,
        reasons=finding.reasons,
        evidence={**finding.evidence, "detector_version": detector.version},
        policy_version=policy.version,
        since_at=from_ms(finding.since_ms),
        until_at=from_ms(finding.until_ms) if finding.until_ms is not None else None,
        condition=condition,
    )


def _overlap(row: Alert, finding: Finding) -> bool:
    since, until = from_ms(finding.since_ms), finding.until_ms
    starts_before_end = row.until_at is None or since < row.until_at
    return bool(starts_before_end and (until is None or row.since_at < from_ms(until)))
