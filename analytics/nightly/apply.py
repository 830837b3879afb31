"""Verdicts become rows: findings, abstentions and alerts, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from analytics.nightly.judge import Verdict
from analytics.nightly.matching import (
    AbstentionChanges,
    AlertTransition,
    FindingChanges,
    RaiseAlert,
    RecordEndedAlert,
    RefreshAlert,
    RefreshStep,
    WithdrawAlert,
)
from domain.alerting import returned, worsened
from store.alerts import changes, raising
from store.alerts.changes import AlertStep
from store.analytics import findings
from store.analytics.findings import DetectorRun
from store.database.connection import Connection

ACTOR = "analytics"


def apply_verdicts(connection: Connection, verdicts: Sequence[Verdict]) -> int:
    """Store verdicts and make their transitions; returns how many alerts are new."""
    return sum(_apply_verdict(connection, verdict) for verdict in verdicts)


def _apply_verdict(connection: Connection, verdict: Verdict) -> int:
    save_findings(connection, verdict.run, verdict.findings)
    save_abstentions(connection, verdict.run, verdict.abstentions)
    new_alerts = 0
    for transition in verdict.transitions:
        make_transition(connection, transition)
        new_alerts += isinstance(transition, RaiseAlert | RecordEndedAlert)
    return new_alerts


def save_findings(connection: Connection, run: DetectorRun, changes: FindingChanges) -> None:
    """Supersede the findings that a run no longer confirms, and store its new ones."""
    findings.supersede_findings(connection, changes.superseded)
    findings.add_findings(connection, run, changes.added)


def save_abstentions(connection: Connection, run: DetectorRun, changes: AbstentionChanges) -> None:
    """Supersede, prolong and add abstentions as a run found them."""
    findings.supersede_abstentions(connection, changes.superseded)
    findings.move_abstention_ends(connection, changes.moved_ends)
    findings.add_abstentions(connection, run, changes.added)


def make_transition(connection: Connection, transition: AlertTransition) -> None:
    """Make one transition of an alert."""
    match transition:
        case RaiseAlert(alert=alert):
            raising.raise_alert(connection, alert, actor=ACTOR)
        case RecordEndedAlert(alert=alert):
            raising.record_ended_alert(connection, alert, actor=ACTOR)
        case WithdrawAlert(existing=existing):
            step = AlertStep(actor=ACTOR, name="withdrawn")
            changes.set_state(connection, existing.id, returned(existing.state), step)
        case RefreshAlert():
            _refresh(connection, transition)


def _refresh(connection: Connection, refresh: RefreshAlert) -> None:
    existing = refresh.existing
    raising.refresh_alert(connection, existing.id, refresh.alert)
    match refresh.step:
        case RefreshStep.RETURNED:
            step = AlertStep(actor=ACTOR, name=refresh.step)
            changes.set_state(connection, existing.id, returned(existing.state), step)
        case RefreshStep.REOPENED:
            changes.reopen_alert(connection, existing.id, actor=ACTOR)
        case RefreshStep.WORSENED:
            step = AlertStep(actor=ACTOR, name=refresh.step)
            changes.set_state(connection, existing.id, worsened(existing.state), step)
        case RefreshStep.SEVERITY:
            note = f"{existing.severity} → {refresh.alert.severity}"
            step = AlertStep(actor=ACTOR, name=refresh.step, note=note)
            changes.note_change(connection, existing.id, step)
