"""A block of units is judged without a database: what is found becomes rows and transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analytics.detectors import DETECTORS, unoccupied
from analytics.nightly.estate import HOURLY_DETECTORS
from analytics.nightly.judge import Inputs, Verdict, condition_of, judge, new_alert
from analytics.nightly.matching import RaiseAlert, RefreshAlert
from analytics.policy import load_policy
from domain.alerting import AlertCondition
from store.analytics.findings import NewFinding, StoredAbstention, StoredFinding
from tests.analytics.detectors.test_golden import frame_of
from tests.analytics.nightly.test_matching import alert

POLICY = load_policy()
QUIET = {
    "spans": [
        {"days": 90, "water": "used", "kwh": 6.0},
        {"days": 60, "water": "quiet", "kwh": 0.5},
    ]
}


def inputs() -> Inputs:
    """One home that was left sixty days ago, of which nothing is stored."""
    frame = frame_of(QUIET)
    return Inputs(
        estate_id=5,
        unit_codes={1: "3-301"},
        detectors=DETECTORS,
        whole_days=frame,
        with_running_day=frame,
        findings=(),
        abstentions=(),
        alerts={},
    )


def verdict_of(verdicts: Sequence[Verdict], detector: str) -> Verdict:
    return next(verdict for verdict in verdicts if verdict.run.detector == detector)


def as_stored(verdict: Verdict) -> list[StoredFinding]:
    return [
        StoredFinding(
            id=number,
            detector=verdict.run.detector,
            version=verdict.run.version,
            params_digest=verdict.run.params_digest,
            unit_id=row.unit_id,
            since_at=row.since_at,
            until_at=row.until_at,
            frozen=row.frozen,
            score=row.score,
            reasons=list(row.reasons),
            evidence=row.evidence,
            raised_at=None,
        )
        for number, row in enumerate(verdict.findings.added, 1)
    ]


def abstentions_as_stored(verdict: Verdict) -> list[StoredAbstention]:
    return [
        StoredAbstention(
            id=number,
            detector=verdict.run.detector,
            unit_id=row.unit_id,
            from_day=row.from_day,
            to_day=row.to_day,
            reason=row.reason,
        )
        for number, row in enumerate(verdict.abstentions.added, 1)
    ]


def test_every_detector_gives_a_verdict_and_a_lead_is_raised() -> None:
    verdicts = judge(inputs(), POLICY)
    assert [verdict.run.detector for verdict in verdicts] == [d.key for d in DETECTORS]
    lead = verdict_of(verdicts, unoccupied.DETECTOR.key)
    (finding,) = lead.findings.added
    (transition,) = lead.transitions
    assert isinstance(transition, RaiseAlert)
    assert transition.alert.subject == "3-301" and transition.alert.estate_id == 5
    assert transition.alert.since_at == finding.since_at and finding.shown
    assert transition.alert.evidence["detector_version"] == unoccupied.DETECTOR.version
    assert lead.finding_count == 1


def test_judging_twice_is_judging_once() -> None:
    first = judge(inputs(), POLICY)
    known = replace(
        inputs(),
        findings=[row for verdict in first for row in as_stored(verdict)],
        abstentions=[row for verdict in first for row in abstentions_as_stored(verdict)],
    )
    for verdict in judge(known, POLICY):
        assert not verdict.findings.added and not verdict.findings.superseded
        assert not verdict.abstentions.added and not verdict.abstentions.superseded
        assert not verdict.abstentions.moved_ends


def test_judging_changes_nothing_it_is_given() -> None:
    given = inputs()
    before = {name: column.copy() for name, column in given.whole_days.columns.items()}
    judge(given, POLICY)
    for name, column in before.items():
        assert np.array_equal(given.whole_days[name], column, equal_nan=True), name


def test_an_alert_that_stands_is_refreshed_and_not_doubled() -> None:
    first = verdict_of(judge(inputs(), POLICY), "unoccupied")
    (row,) = first.findings.added
    standing = replace(alert(9, 0), since_at=row.since_at)
    known = replace(inputs(), alerts={"unoccupied": [standing]})
    (transition,) = verdict_of(judge(known, POLICY), "unoccupied").transitions
    assert isinstance(transition, RefreshAlert) and transition.existing.id == 9


def test_hourly_detectors_read_the_day_that_is_not_over() -> None:
    frame = frame_of(QUIET)
    given = replace(
        inputs(), detectors=HOURLY_DETECTORS, whole_days=frame.until(100), with_running_day=frame
    )
    for verdict in judge(given, POLICY):
        assert verdict.run.window_to == frame.day(frame.days - 1)


def test_a_frozen_finding_is_neither_active_nor_over() -> None:
    lead = verdict_of(judge(inputs(), POLICY), "unoccupied")
    (row,) = lead.findings.added
    assert condition_of(row) is AlertCondition.ACTIVE
    assert condition_of(replace(row, frozen=True)) is AlertCondition.NOT_EVALUABLE
    over: NewFinding = replace(row, until_at=row.since_at)
    assert condition_of(over) is AlertCondition.RETURNED
    assert new_alert(over, lead.run, inputs(), POLICY).until_at == over.until_at
