"""What detectors find now against what is stored: matched by unit and overlapping time.

Everything here is pure. It returns the changes to make and makes none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from domain.periods import overlapping
from store.alerts.alerts import Alert
from store.alerts.raising import NewAlert
from store.analytics.findings import (
    DetectorRun,
    NewAbstention,
    NewFinding,
    StoredAbstention,
    StoredFinding,
)

#: Scores that differ by less count as equal: they are stored with three digits.
SCORE_TOLERANCE = 0.0005


class AboutUnit(Protocol):
    """A row about one unit."""

    @property
    def unit_id(self) -> int:
        """The unit's id."""


Row = TypeVar("Row", bound=AboutUnit)


# Findings and abstentions ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingChanges:
    """Findings to store, and the ids of stored ones that are no longer confirmed."""

    added: Sequence[NewFinding]
    superseded: Sequence[int]


def match_findings(
    found: Sequence[NewFinding], stored: Sequence[StoredFinding], run: DetectorRun
) -> FindingChanges:
    """Compare one detector's findings with its stored ones.

    A stored finding that is found again without a change stays. One that ended before the window
    of the run stays, too. Every other one is superseded. A new finding that overlaps stored ones
    keeps the instant at which the first of them was shown.
    """
    stored_by_unit = group_by_unit(stored)
    confirmed: set[int] = set()
    added = []
    for finding in found:
        earlier = overlapping(finding.period, stored_by_unit[finding.unit_id])
        unchanged = [row for row in earlier if is_unchanged(row, finding, run)]
        if unchanged:
            confirmed.add(unchanged[0].id)
            continue
        shown_at = [row.raised_at for row in earlier if row.raised_at is not None]
        added.append(replace(finding, raised_at=min(shown_at, default=None)))
    superseded = [row.id for row in stored if row.id not in confirmed and _reaches_window(row, run)]
    return FindingChanges(added=added, superseded=superseded)


def is_unchanged(stored: StoredFinding, found: NewFinding, run: DetectorRun) -> bool:
    """Tell whether a finding was stored with the same content by the same detector and params."""
    same_period = stored.period == found.period
    same_run = (stored.version, stored.params_digest) == (run.version, run.params_digest)
    same_grounds = tuple(stored.reasons) == tuple(found.reasons)
    return (
        same_period
        and same_run
        and same_grounds
        and stored.frozen == found.frozen
        and abs(stored.score - found.score) < SCORE_TOLERANCE
        and stored.evidence == found.evidence
    )


def _reaches_window(stored: StoredFinding, run: DetectorRun) -> bool:
    return stored.until_at is None or stored.until_at.date() >= run.window_from


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionChanges:
    """Abstentions to store, new last days of stored ones by id, and ids of unconfirmed ones."""

    added: Sequence[NewAbstention]
    moved_ends: Mapping[int, date]
    superseded: Sequence[int]


def match_abstentions(
    found: Sequence[NewAbstention], stored: Sequence[StoredAbstention], run: DetectorRun
) -> AbstentionChanges:
    """Compare one detector's abstentions with its stored ones.

    A stored abstention goes on where one of the same reason overlaps it and begins no earlier.
    Its last day then follows. One that ended before the window of the run stays as it is.
    """
    stored_by_unit = group_by_unit(stored)
    confirmed: set[int] = set()
    moved_ends: dict[int, date] = {}
    added = []
    for abstention in found:
        earlier = [
            row
            for row in overlapping(abstention.period, stored_by_unit[abstention.unit_id])
            if row.reason == abstention.reason
            and row.from_day <= abstention.from_day
            and row.id not in confirmed
        ]
        if not earlier:
            added.append(abstention)
            continue
        continued = earlier[0]
        confirmed.add(continued.id)
        if continued.to_day != abstention.to_day:
            moved_ends[continued.id] = abstention.to_day
    superseded = [
        row.id for row in stored if row.id not in confirmed and row.to_day >= run.window_from
    ]
    return AbstentionChanges(added=added, moved_ends=moved_ends, superseded=superseded)


# Alerts ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseAlert:
    """A finding that lasts gets an alert."""

    alert: NewAlert


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEndedAlert:
    """A finding that is over already gets an alert on record."""

    alert: NewAlert


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawAlert:
    """Late data removed the evidence of an open alert: it is withdrawn, not returned."""

    existing: Alert


class RefreshStep(StrEnum):
    """What an alert's refreshed content means for its state, as its record names it."""

    RETURNED = "returned"
    REOPENED = "reopened"
    WORSENED = "worsened"
    SEVERITY = "severity"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshAlert:
    """An alert gets the content of its finding, and takes a step if that calls for one."""

    existing: Alert
    alert: NewAlert
    step: RefreshStep | None


AlertTransition = RaiseAlert | RecordEndedAlert | WithdrawAlert | RefreshAlert


def match_alerts(
    found: Sequence[NewFinding],
    alerts: Sequence[Alert],
    to_alert: Callable[[NewFinding], NewAlert],
) -> list[AlertTransition]:
    """Pair one detector's findings with its alerts, unit by unit.

    `alerts` are open and ended ones; those of a unit stand in the order of their start.
    """
    found_by_unit = group_by_unit(found)
    alerts_by_unit: defaultdict[int, list[Alert]] = defaultdict(list)
    for alert in alerts:
        alerts_by_unit[alert.subject_id].append(alert)
    transitions: list[AlertTransition] = []
    for unit in sorted(found_by_unit.keys() | alerts_by_unit.keys()):
        transitions += _match_unit_alerts(found_by_unit[unit], alerts_by_unit[unit], to_alert)
    return transitions


def _match_unit_alerts(
    found: Sequence[NewFinding],
    alerts: Sequence[Alert],
    to_alert: Callable[[NewFinding], NewAlert],
) -> list[AlertTransition]:
    """Pair one unit's findings with its alerts by overlapping time, earliest first.

    A finding without an alert raises one, if it is likely enough to be shown. One that has an alert
    keeps it, also when it grows weaker. An open alert without a finding is withdrawn.
    """
    unmatched = list(alerts)
    updates: list[AlertTransition] = []
    for finding in sorted(found, key=_start):
        candidates = overlapping(finding.period, unmatched)
        if candidates:
            existing = candidates[0]
            unmatched.remove(existing)
            updates.append(_refresh(existing, to_alert(finding)))
        elif finding.shown:
            updates.append(_open(to_alert(finding)))
    withdrawals = [WithdrawAlert(existing=alert) for alert in unmatched if alert.is_open]
    return [*withdrawals, *updates]


def _start(finding: NewFinding) -> datetime:
    return finding.since_at


def _open(alert: NewAlert) -> AlertTransition:
    if alert.until_at is None:
        return RaiseAlert(alert=alert)
    return RecordEndedAlert(alert=alert)


def _refresh(existing: Alert, alert: NewAlert) -> RefreshAlert:
    return RefreshAlert(existing=existing, alert=alert, step=choose_step(existing, alert))


def choose_step(existing: Alert, alert: NewAlert) -> RefreshStep | None:
    """Choose the step of an alert whose content is refreshed; None: its state stays."""
    is_over = alert.until_at is not None
    if is_over and existing.is_open:
        return RefreshStep.RETURNED
    if not is_over and not existing.is_open:
        return RefreshStep.REOPENED
    if existing.severity == alert.severity:
        return None
    if alert.severity.rank > existing.severity.rank and not is_over:
        return RefreshStep.WORSENED
    return RefreshStep.SEVERITY


def group_by_unit(rows: Iterable[Row]) -> defaultdict[int, list[Row]]:
    """Group rows by their unit, in their order."""
    groups: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.unit_id].append(row)
    return groups
