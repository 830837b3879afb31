"""What detectors find in a block of units, and what follows from it; pure, without a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from analytics.detectors.contract import Abstention, Detector, Finding
from analytics.frame import UnitDayFrame
from analytics.nightly.matching import (
    AbstentionChanges,
    AlertTransition,
    FindingChanges,
    match_abstentions,
    match_alerts,
    match_findings,
)
from analytics.parameters import numbers_of
from analytics.policy import Policy
from domain.alerting import AlertCondition, AlertKey, SubjectKind
from domain.calendar import from_ms
from store.alerts.alerts import Alert
from store.alerts.raising import NewAlert
from store.analytics.findings import (
    DetectorRun,
    NewAbstention,
    NewFinding,
    StoredAbstention,
    StoredFinding,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is known of a block of units of one estate at one instant."""

    estate_id: int
    unit_codes: Mapping[int, str]
    detectors: Sequence[Detector[Any]]
    """The detectors to run; `alerts` holds those of all of them."""
    whole_days: UnitDayFrame
    """Facts of shape (units, days) up to the last day that is over."""
    with_running_day: UnitDayFrame
    """The same with the day that is not over as the last one, for detectors that run by day."""
    findings: Sequence[StoredFinding]
    abstentions: Sequence[StoredAbstention]
    alerts: Mapping[str, Sequence[Alert]]
    """Open and ended alerts by detector; those of a unit stand in the order of their start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one detector's run leads to: rows to store and transitions of alerts to make."""

    run: DetectorRun
    finding_count: int
    findings: FindingChanges
    abstentions: AbstentionChanges
    transitions: Sequence[AlertTransition]


def judge(inputs: Inputs, policy: Policy) -> list[Verdict]:
    """Run the detectors over a block of units; returns one verdict per detector."""
    return [_judge_by(detector, inputs, policy) for detector in inputs.detectors]


def _judge_by(detector: Detector[Any], inputs: Inputs, policy: Policy) -> Verdict:
    frame = inputs.with_running_day if detector.hourly else inputs.whole_days
    run = describe_run(detector, policy, frame)
    found, abstained = detector.detect(frame, policy.params(detector))
    findings = [
        to_row(finding, shown=policy.tells(detector.key, finding.score)) for finding in found
    ]
    abstentions = [_to_abstention_row(abstention, frame) for abstention in abstained]
    stored_findings = [row for row in inputs.findings if row.detector == detector.key]
    stored_abstentions = [row for row in inputs.abstentions if row.detector == detector.key]
    to_alert = partial(new_alert, run=run, inputs=inputs, policy=policy)
    return Verdict(
        run=run,
        finding_count=len(findings),
        findings=match_findings(findings, stored_findings, run),
        abstentions=match_abstentions(abstentions, stored_abstentions, run),
        transitions=match_alerts(findings, inputs.alerts.get(detector.key, ()), to_alert),
    )


def describe_run(detector: Detector[Any], policy: Policy, frame: UnitDayFrame) -> DetectorRun:
    """Return which detector judges a frame, with which parameters."""
    return DetectorRun(
        detector=detector.key,
        version=detector.version,
        params=numbers_of(policy.params(detector)),
        window_from=frame.first,
        window_to=frame.day(frame.days - 1),
    )


def to_row(finding: Finding, *, shown: bool) -> NewFinding:
    """Return the row that stores a finding."""
    low_ms, high_ms = finding.since_between or (finding.since_ms, finding.since_ms)
    return NewFinding(
        unit_id=finding.unit,
        since_at=from_ms(finding.since_ms),
        until_at=None if finding.until_ms is None else from_ms(finding.until_ms),
        since_low_at=from_ms(low_ms),
        since_high_at=from_ms(high_ms),
        frozen=finding.frozen,
        score=finding.score,
        reasons=finding.reasons,
        evidence=finding.evidence,
        shown=shown,
    )


def _to_abstention_row(abstention: Abstention, frame: UnitDayFrame) -> NewAbstention:
    return NewAbstention(
        unit_id=abstention.unit,
        from_day=frame.day(abstention.first),
        to_day=frame.day(abstention.last),
        reason=abstention.reason,
    )


def new_alert(finding: NewFinding, run: DetectorRun, inputs: Inputs, policy: Policy) -> NewAlert:
    """Return the alert that policy wants to be shown for a finding."""
    rule = policy.for_finding(run.detector, {**finding.evidence, "score": finding.score})
    return NewAlert(
        key=AlertKey(
            detector=run.detector, subject_kind=SubjectKind.UNIT, subject_id=finding.unit_id
        ),
        estate_id=inputs.estate_id,
        subject=inputs.unit_codes[finding.unit_id],
        alert_class=rule.alert_class,
        severity=rule.severity,
        score=finding.score,
        reasons=finding.reasons,
        evidence={**finding.evidence, "detector_version": run.version},
        policy_version=policy.version,
        since_at=finding.since_at,
        until_at=finding.until_at,
        condition=condition_of(finding),
    )


def condition_of(finding: NewFinding) -> AlertCondition:
    """Return the condition of a finding's alert."""
    if finding.until_at is not None:
        return AlertCondition.RETURNED
    if finding.frozen:
        return AlertCondition.NOT_EVALUABLE
    return AlertCondition.ACTIVE
