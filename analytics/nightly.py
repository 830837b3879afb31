"""The slow loop: what changed becomes facts, facts become findings, findings become alerts.

It runs whenever something is dirty (every few minutes, and at night for all), works one estate at a time in one
transaction, and recomputes only the units and days that new readings touch, with the context that the interval law
needs. Running it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from numpy.typing import NDArray

from analytics.days import TRICKLE_L, SupplyDays, supply_days, to_rows
from analytics.detectors import DETECTORS
from analytics.detectors.contract import Detector, Finding
from analytics.frame import Frame
from analytics.intervals import REACH, Bounds, to_intervals
from analytics.policy import Policy
from domain.alerting import Condition, returned
from domain.calendar import day_of, day_start, day_starts_ms, from_ms
from domain.measures import REGISTER_OF, Supply
from store import alerts, facts, findings, places, series
from store.alerts import Raise
from store.connect import Connection
from store.facts import Meter

log = structlog.get_logger()

#: Units whose series are held in memory at a time.
UNITS_AT_ONCE = 500
#: Days after the last fact for which a frame shows that nothing came.
SILENCE_SHOWN = 60
ACTOR = "analytics"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBounds:
    """What a profile says of a register: uom/h, uom, uom (None: never rolls over), seconds."""

    max_rate: float
    resolution: float
    rollover: float | None
    expected_interval_s: int


#: Bounds for a register whose profile is unknown: a DN20 water meter and a 100 A single-phase electricity meter.
DEFAULT_BOUNDS = {
    Supply.WATER: MeterBounds(max_rate=5.0, resolution=0.001, rollover=None, expected_interval_s=3600),
    Supply.ELECTRICITY: MeterBounds(max_rate=26.4, resolution=0.01, rollover=None, expected_interval_s=3600),
}
BoundsOf = dict[tuple[str, str], MeterBounds]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one pass did."""

    units: int = 0
    unit_days: int = 0
    findings: int = 0
    raised: int = 0


def run_all(connection: Connection, policy: Policy, bounds: BoundsOf, now: datetime) -> RunReport:
    """Work off everything that is dirty in every estate, and judge all units once in each local day."""
    total = RunReport()
    for estate_id, code, zone in facts.dirty_estates(connection):
        done = run_estate(connection, estate_id, ZoneInfo(zone), policy, bounds, now)
        log.info(
            "estate_done",
            estate=code,
            units=done.units,
            unit_days=done.unit_days,
            findings=done.findings,
            raised=done.raised,
        )
        total = RunReport(
            units=total.units + done.units,
            unit_days=total.unit_days + done.unit_days,
            findings=total.findings + done.findings,
            raised=total.raised + done.raised,
        )
    today = {zone: day_of(now, ZoneInfo(zone)) for zone in facts.estate_zones(connection)}
    for estate_id, zone in facts.estates_to_judge(connection, today):
        with connection.transaction():
            units = facts.units_with_facts(connection, estate_id)
            for i in range(0, len(units), UNITS_AT_ONCE):
                judge(connection, estate_id, units[i : i + UNITS_AT_ONCE], ZoneInfo(zone), policy, now)
            facts.note_judged(connection, estate_id, today[zone])
    connection.commit()
    return total


def run_estate(
    connection: Connection, estate_id: int, zone: ZoneInfo, policy: Policy, bounds: BoundsOf, now: datetime
) -> RunReport:
    """Work off what is dirty in one estate, in one transaction."""
    units_done: set[int] = set()
    unit_days = 0
    with connection.transaction():
        while True:
            ids, dirty = facts.take_dirty(connection, estate_id)
            if not ids:
                break
            spans = {d.unit_id: (day_of(d.from_at, zone), day_of(d.to_at, zone)) for d in dirty}
            unit_days += update_facts(connection, spans, zone, bounds)
            facts.clear_dirty(connection, ids)
            units_done |= set(spans)
            if len(ids) < facts.SPANS_AT_ONCE:
                # What comes in meanwhile is the next pass's: a busy estate must not keep this one for ever.
                break
        found, raised = judge(connection, estate_id, sorted(units_done), zone, policy, now) if units_done else (0, 0)
    return RunReport(units=len(units_done), unit_days=unit_days, findings=found, raised=raised)


# Facts ---------------------------------------------------------------------------------------------------------------


def update_facts(connection: Connection, spans: dict[int, tuple[date, date]], zone: ZoneInfo, bounds: BoundsOf) -> int:
    """Recompute the facts of units over the days that changed and their neighbours; returns the rows written."""
    touched = facts.neighbour_days(connection, spans, REACH)
    context = facts.neighbour_days(connection, touched, REACH)
    groups: dict[tuple[date, date], list[int]] = {}
    for unit, span in touched.items():
        groups.setdefault(span, []).append(unit)
    written = 0
    for (first, last), units in groups.items():
        for i in range(0, len(units), UNITS_AT_ONCE):
            some = units[i : i + UNITS_AT_ONCE]
            low = min(context[u][0] for u in some)
            high = max(context[u][1] for u in some)
            written += _recompute(connection, some, first, last, low, high, zone, bounds)
    return written


def _recompute(
    connection: Connection,
    units: list[int],
    first: date,
    last: date,
    low: date,
    high: date,
    zone: ZoneInfo,
    bounds: BoundsOf,
) -> int:
    count = (last - first).days + 1
    day_starts = np.array(day_starts_ms(first, count, zone), dtype=np.float64)
    from_at, to_at = day_start(low, zone), day_start(high + timedelta(days=1), zone)
    per_supply = {}
    for supply, point in REGISTER_OF.items():
        meters = facts.meters_of(connection, units, [point])
        per_supply[supply] = _supply(connection, supply, meters, units, day_starts, from_at, to_at, bounds)
    begin, end = day_start(first, zone), day_start(last + timedelta(days=1), zone)
    seen = {
        (row["unit_id"], row["day"]): {k: row[k] for k in ("entries", "exits", "residents_seen", "strangers_seen")}
        for row in facts.passages(connection, units, begin, end, zone.key)
    }
    alive = facts.door_days(connection, units, begin, end, zone.key)
    days = [first + timedelta(days=i) for i in range(count)]
    rows = to_rows(units, days, per_supply[Supply.WATER], per_supply[Supply.ELECTRICITY], seen, alive)
    facts.save_days(connection, rows, units, first, last)
    return len(rows)


def _supply(
    connection: Connection,
    supply: Supply,
    meters: list[Meter],
    units: list[int],
    day_starts: NDArray[np.float64],
    from_at: datetime,
    to_at: datetime,
    bounds: BoundsOf,
) -> SupplyDays:
    """Read the series behind one supply of units and turn them into facts."""
    raw = series.read_readings(connection, sorted({m.point_id for m in meters}), from_at, to_at)
    row_of = {unit: i for i, unit in enumerate(units)}
    known = [bounds.get((m.profile, m.point), DEFAULT_BOUNDS[supply]) for m in meters]
    at, value, which = [], [], []
    left = np.searchsorted(raw.point, [m.point_id for m in meters], side="left")
    right = np.searchsorted(raw.point, [m.point_id for m in meters], side="right")
    for i, meter in enumerate(meters):
        t = raw.at[left[i] : right[i]]
        a = int(np.searchsorted(t, meter.from_ms, side="left"))
        b = len(t) if meter.to_ms is None else int(np.searchsorted(t, meter.to_ms, side="left"))
        at.append(t[a:b].astype(np.float64))
        value.append(raw.value[left[i] : right[i]][a:b])
        which.append(np.full(b - a, i, dtype=np.int64))
    flat_at = np.concatenate(at) if at else np.empty(0)
    flat_value = np.concatenate(value) if value else np.empty(0)
    flat_which = np.concatenate(which) if which else np.empty(0, dtype=np.int64)
    limits = Bounds(
        max_rate=np.array([k.max_rate for k in known]),
        resolution=np.array([k.resolution for k in known]),
        rollover=np.array([k.rollover or np.inf for k in known]),
    )
    unit_of = np.array([row_of[m.unit_id] for m in meters], dtype=np.int64)
    least = np.maximum(limits.resolution, TRICKLE_L / 1000.0) if supply is Supply.WATER else np.zeros(len(meters))
    return supply_days(
        unit_of,
        to_intervals(flat_which, flat_at, flat_value, limits),
        unit_of[flat_which],
        flat_at,
        len(units),
        day_starts,
        trickle=least,
        observed_h=np.array([2.5 * k.expected_interval_s / 3600 for k in known]),
    )


# Findings and alerts -------------------------------------------------------------------------------------------------


def load_frame(connection: Connection, units: list[int], zone: ZoneInfo, now: datetime) -> Frame | None:
    """Read all facts of units as a frame; None where they have none.

    It ends with the last whole day before `now`, or SILENCE_SHOWN days after the last fact: a day that is not over
    proves nothing yet, and silence has to be seen as silence.
    """
    span = facts.span_of(connection, units)
    if span is None:
        return None
    first, last = span
    last = min(day_of(now, zone) - timedelta(days=1), last + timedelta(days=SILENCE_SHOWN))
    if last < first:
        return None
    days = (last - first).days + 1
    starts = day_starts_ms(first, days, zone)
    let = np.zeros((len(units), days), dtype=bool)
    declared = np.zeros((len(units), days), dtype=bool)
    row_of = {unit: i for i, unit in enumerate(units)}
    for entry in facts.declared_spans(connection, units):
        a = max(0, (entry["valid_from"] - first).days)
        b = days if entry["valid_to"] is None else min(days, (entry["valid_to"] - first).days + 1)
        if b > a:
            target = let if entry["kind"] == "tenancy" else declared if entry["kind"] in ("absence", "repair") else None
            if target is not None:
                target[row_of[entry["unit_id"]], a:b] = True
    return Frame(
        units=np.array(units, dtype=np.int32),
        first=first,
        day_starts=np.array(starts, dtype=np.float64),
        columns=facts.load_columns(connection, units, first, days),
        let=let,
        declared=declared,
    )


def judge(
    connection: Connection, estate_id: int, units: list[int], zone: ZoneInfo, policy: Policy, now: datetime
) -> tuple[int, int]:
    """Run every detector over units and bring their alerts up to date; returns findings and alerts raised."""
    frame = load_frame(connection, units, zone, now)
    if frame is None:
        return 0, 0
    codes = places.unit_codes(connection, units)
    found = raised = 0
    for detector in DETECTORS:
        params = policy.params(detector.key)
        said, abstained = detector.detect(frame, params)
        findings.replace_findings(
            connection,
            detector.key,
            detector.version,
            params,
            units,
            [
                findings.FindingRow(
                    unit_id=f.unit,
                    since_ms=f.since_ms,
                    until_ms=f.until_ms,
                    frozen=f.frozen,
                    score=f.score,
                    reasons=f.reasons,
                    evidence=f.evidence,
                )
                for f in said
            ],
        )
        findings.replace_abstentions(
            connection,
            detector.key,
            detector.version,
            units,
            [
                findings.AbstentionRow(
                    unit_id=a.unit, from_day=frame.day(a.first), to_day=frame.day(a.last), reason=a.reason
                )
                for a in abstained
            ],
        )
        raised += _to_alerts(connection, estate_id, detector, units, codes, said, policy)
        found += len(said)
    return found, raised


def _to_alerts(
    connection: Connection,
    estate_id: int,
    detector: Detector,
    units: list[int],
    codes: dict[int, str],
    said: Iterable[Finding],
    policy: Policy,
) -> int:
    """Match findings to the alerts that stand for them, by unit and overlapping time."""
    held: dict[int, list[dict[str, Any]]] = {}
    for row in alerts.of_units(connection, detector.key, units):
        held.setdefault(row["subject_id"], []).append(row)
    by_unit: dict[int, list[Finding]] = {}
    for finding in said:
        by_unit.setdefault(finding.unit, []).append(finding)
    raised = 0
    for unit in sorted(set(held) | set(by_unit)):
        rest = held.get(unit, [])
        pairs: list[tuple[Finding, dict[str, Any] | None]] = []
        for finding in sorted(by_unit.get(unit, []), key=lambda f: f.since_ms):
            match = next((row for row in rest if _overlap(row, finding)), None)
            rest = [row for row in rest if row is not match]
            pairs.append((finding, match))
        for row in rest:
            if row["ended_at"] is None:
                # Late data took the ground from under it: it did not return, it never was.
                alerts.set_state(connection, row["id"], returned(alerts.state_of(row)), actor=ACTOR, step="withdrawn")
        for finding, match in pairs:
            wanted = _wanted(estate_id, detector, codes[unit], finding, policy)
            raised += _bring_up_to_date(connection, wanted, finding, match)
    return raised


def _bring_up_to_date(connection: Connection, wanted: Raise, finding: Finding, match: dict[str, Any] | None) -> int:
    over = finding.until_ms is not None
    if match is None:
        if over:
            alerts.record_ended(connection, wanted, actor=ACTOR)
        else:
            alerts.raise_alert(connection, wanted, actor=ACTOR)
        return 1
    changed = alerts.refresh(connection, match["id"], wanted)
    if over and match["ended_at"] is None:
        alerts.set_state(connection, match["id"], returned(alerts.state_of(match)), actor=ACTOR, step="returned")
    elif not over and match["ended_at"] is not None:
        alerts.reopen(connection, match["id"], actor=ACTOR)
    elif changed and match["severity"] != wanted.severity:
        alerts.note_change(connection, match["id"], ACTOR, "severity", f"{match['severity']} → {wanted.severity}")
    return 0


def _wanted(estate_id: int, detector: Detector, subject: str, finding: Finding, policy: Policy) -> Raise:
    shown = policy.for_finding(detector.key, finding.evidence)
    condition = (
        Condition.RETURNED
        if finding.until_ms is not None
        else Condition.NOT_EVALUABLE
        if finding.frozen
        else Condition.ACTIVE
    )
    return Raise(
        estate_id=estate_id,
        detector=detector.key,
        subject_kind="unit",
        subject_id=finding.unit,
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


def _overlap(row: dict[str, Any], finding: Finding) -> bool:
    since, until = from_ms(finding.since_ms), finding.until_ms
    starts_before_end = row["until_at"] is None or since < row["until_at"]
    return bool(starts_before_end and (until is None or row["since_at"] < from_ms(until)))
