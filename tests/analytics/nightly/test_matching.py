"""What is found now against what is stored: laws of the matching, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.nightly.matching import (
    RaiseAlert,
    RecordEndedAlert,
    RefreshAlert,
    RefreshStep,
    WithdrawAlert,
    choose_step,
    match_abstentions,
    match_alerts,
    match_findings,
)
from domain.alerting import (
    Acknowledgement,
    AlertClass,
    AlertCondition,
    AlertKey,
    Severity,
    SubjectKind,
    Suppression,
)
from store.alerts.alerts import Alert
from store.alerts.raising import NewAlert
from store.analytics.findings import (
    DetectorRun,
    NewAbstention,
    NewFinding,
    StoredAbstention,
    StoredFinding,
)

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
RUN = DetectorRun(
    detector="unoccupied",
    version="1",
    params={"warn_days": 30.0},
    window_from=date(2026, 3, 1),
    window_to=date(2026, 5, 1),
)


def at(day: int) -> datetime:
    return FIRST + timedelta(days=day)


def found(start: int, end: int | None = None, *, unit: int = 1, **more: Any) -> NewFinding:
    content: dict[str, Any] = {
        "unit_id": unit,
        "since_at": at(start),
        "until_at": None if end is None else at(end),
        "since_low_at": at(start),
        "since_high_at": at(start),
        "frozen": False,
        "score": 0.8,
        "reasons": ("quiet",),
        "evidence": {"days": 40},
        "shown": True,
    }
    return NewFinding(**(content | more))


def stored(finding: NewFinding, number: int, *, raised_at: datetime | None = None) -> StoredFinding:
    """The row under which a finding was stored by an earlier run."""
    return StoredFinding(
        id=number,
        detector=RUN.detector,
        version=RUN.version,
        params_digest=RUN.params_digest,
        unit_id=finding.unit_id,
        since_at=finding.since_at,
        until_at=finding.until_at,
        frozen=finding.frozen,
        score=finding.score,
        reasons=list(finding.reasons),
        evidence=finding.evidence,
        raised_at=raised_at,
    )


findings = st.builds(
    lambda start, length, unit, score: found(
        start, None if length is None else start + length, unit=unit, score=score
    ),
    st.integers(-40, 40),
    st.none() | st.integers(1, 30),
    st.integers(1, 3),
    st.sampled_from([0.2, 0.5, 0.8]),
)


@given(st.lists(findings, max_size=6))
def test_what_is_found_again_changes_nothing(again: list[NewFinding]) -> None:
    rows = [stored(finding, number) for number, finding in enumerate(again, 1)]
    changes = match_findings(again, rows, RUN)
    assert not changes.added
    # Findings that are equal in everything share one row; the other rows are superseded.
    equal_twice = len(again) - len({repr(finding) for finding in again})
    assert len(changes.superseded) <= equal_twice


@given(st.lists(findings, max_size=6), st.lists(findings, max_size=6))
def test_every_stored_finding_stays_or_is_superseded_once(
    now: list[NewFinding], before: list[NewFinding]
) -> None:
    rows = [stored(finding, number) for number, finding in enumerate(before, 1)]
    changes = match_findings(now, rows, RUN)
    assert len(set(changes.superseded)) == len(changes.superseded)
    assert set(changes.superseded) <= {row.id for row in rows}
    ended_before_window = {
        row.id for row in rows if row.until_at and row.until_at.date() < RUN.window_from
    }
    assert not ended_before_window & set(changes.superseded)


def test_a_finding_that_goes_on_keeps_when_it_was_first_shown() -> None:
    shown_at = at(35)
    earlier = stored(found(0), 7, raised_at=shown_at)
    changes = match_findings([found(1, score=0.9)], [earlier], RUN)
    assert changes.superseded == [7]
    assert [finding.raised_at for finding in changes.added] == [shown_at]
    elsewhere = match_findings([found(1, unit=2)], [earlier], RUN)
    assert [finding.raised_at for finding in elsewhere.added] == [None]


@pytest.mark.parametrize(
    "change",
    [
        {"score": 0.81},
        {"reasons": ("silent",)},
        {"evidence": {"days": 41}},
        {"frozen": True},
        {"until_at": at(9)},
    ],
)
def test_a_finding_that_changed_is_another_row(change: dict[str, Any]) -> None:
    earlier = stored(found(0), 7)
    changes = match_findings([replace(found(0), **change)], [earlier], RUN)
    assert changes.superseded == [7] and len(changes.added) == 1


def test_other_parameters_are_another_row() -> None:
    other = replace(RUN, params={"warn_days": 40.0})
    changes = match_findings([found(0)], [stored(found(0), 7)], other)
    assert changes.superseded == [7] and len(changes.added) == 1


# Abstentions -------------------------------------------------------------------------------------


def abstention(first: int, last: int, reason: str = "no_door") -> NewAbstention:
    return NewAbstention(
        unit_id=1, from_day=at(first).date(), to_day=at(last).date(), reason=reason
    )


def stored_abstention(row: NewAbstention, number: int) -> StoredAbstention:
    return StoredAbstention(
        id=number,
        detector=RUN.detector,
        unit_id=row.unit_id,
        from_day=row.from_day,
        to_day=row.to_day,
        reason=row.reason,
    )


def test_an_abstention_that_goes_on_is_one_row() -> None:
    row = stored_abstention(abstention(0, 10), 3)
    changes = match_abstentions([abstention(1, 11)], [row], RUN)
    assert not changes.added and not changes.superseded
    assert changes.moved_ends == {3: at(11).date()}


def test_another_reason_and_an_earlier_start_are_other_rows() -> None:
    row = stored_abstention(abstention(5, 10), 3)
    for new in (abstention(5, 10, "no_meter"), abstention(4, 10), abstention(11, 12)):
        changes = match_abstentions([new], [row], RUN)
        assert changes.added == [new] and changes.superseded == [3]


def test_an_abstention_that_ended_before_the_window_stays() -> None:
    row = stored_abstention(abstention(-9, -1), 3)
    changes = match_abstentions([], [row], RUN)
    assert not changes.superseded


# Alerts ------------------------------------------------------------------------------------------


def new_alert(finding: NewFinding, severity: Severity = Severity.MEDIUM) -> NewAlert:
    return NewAlert(
        key=AlertKey(
            detector=RUN.detector, subject_kind=SubjectKind.UNIT, subject_id=finding.unit_id
        ),
        estate_id=1,
        subject="u-1",
        alert_class=AlertClass.COMPLIANCE,
        severity=severity,
        score=finding.score,
        reasons=finding.reasons,
        evidence=finding.evidence,
        policy_version="1",
        since_at=finding.since_at,
        until_at=finding.until_at,
    )


def alert(number: int, start: int, end: int | None = None, *, unit: int = 1) -> Alert:
    """An alert that has ended where its condition has."""
    return Alert(
        id=number,
        estate_id=1,
        estate="es",
        timezone="Asia/Shanghai",
        detector=RUN.detector,
        subject_kind=SubjectKind.UNIT,
        subject_id=unit,
        subject="u-1",
        dedup_key="",
        alert_class=AlertClass.COMPLIANCE,
        severity=Severity.MEDIUM,
        score=0.8,
        condition=AlertCondition.ACTIVE if end is None else AlertCondition.RETURNED,
        acknowledgement=Acknowledgement.UNACKNOWLEDGED,
        acknowledged_at=None,
        acknowledged_by=None,
        suppression=Suppression.NONE,
        suppressed_because=None,
        assignee=None,
        latched=False,
        review=False,
        drill=False,
        reasons=["quiet"],
        evidence={},
        policy_version="1",
        since_at=at(start),
        until_at=None if end is None else at(end),
        occurrences=1,
        raised_at=at(start),
        last_seen_at=at(start),
        ended_at=None if end is None else at(end),
        version=1,
    )


def test_a_finding_without_an_alert_raises_one_or_records_it() -> None:
    lasting, over, weak = found(0), found(-30, -20), found(-10, -5, shown=False)
    transitions = match_alerts([lasting, weak, over], [], new_alert)
    assert [type(transition) for transition in transitions] == [RecordEndedAlert, RaiseAlert]


def test_a_finding_that_grew_weak_keeps_its_alert() -> None:
    (transition,) = match_alerts([found(0, shown=False)], [alert(1, 0)], new_alert)
    assert isinstance(transition, RefreshAlert) and transition.existing.id == 1


def test_an_open_alert_without_a_finding_is_withdrawn_and_an_ended_one_stays() -> None:
    transitions = match_alerts([], [alert(1, -30, -20), alert(2, 0)], new_alert)
    assert [
        transition.existing.id
        for transition in transitions
        if isinstance(transition, WithdrawAlert)
    ] == [2]
    assert len(transitions) == 1


@given(st.lists(findings, max_size=6), st.lists(st.integers(-40, 40), max_size=5))
def test_every_alert_is_used_once(now: list[NewFinding], starts: list[int]) -> None:
    alerts = [alert(number, start) for number, start in enumerate(sorted(starts), 1)]
    transitions = match_alerts(now, alerts, new_alert)
    existing = [
        transition.existing.id
        for transition in transitions
        if isinstance(transition, RefreshAlert | WithdrawAlert)
    ]
    assert sorted(existing) == [row.id for row in alerts]
    new = [each for each in transitions if isinstance(each, RaiseAlert | RecordEndedAlert)]
    refreshed = [each for each in transitions if isinstance(each, RefreshAlert)]
    assert len(new) + len(refreshed) == len(now)


@pytest.mark.parametrize(
    ("existing", "end", "severity", "step"),
    [
        (alert(1, 0), None, Severity.MEDIUM, None),
        (alert(1, 0), 5, Severity.MEDIUM, RefreshStep.RETURNED),
        (alert(1, 0), 5, Severity.HIGH, RefreshStep.RETURNED),
        (alert(1, 0, 9), None, Severity.MEDIUM, RefreshStep.REOPENED),
        (alert(1, 0, 9), 9, Severity.MEDIUM, None),
        (alert(1, 0, 9), 9, Severity.HIGH, RefreshStep.SEVERITY),
        (alert(1, 0), None, Severity.HIGH, RefreshStep.WORSENED),
        (alert(1, 0), None, Severity.LOW, RefreshStep.SEVERITY),
    ],
)
def test_the_step_of_a_refreshed_alert(
    existing: Alert, end: int | None, severity: Severity, step: RefreshStep | None
) -> None:
    assert choose_step(existing, new_alert(found(0, end), severity)) is step
