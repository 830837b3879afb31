"""A person's steps on an alert: legal transitions only, each on record.

A step is refused where somebody else changed the alert first, so two people never undo each other's
work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.access import Action, Principal
from domain.alerting import (
    AlertState,
    NotAllowed,
    Suppression,
    acknowledged,
    confirmed,
    dismissed,
    restored,
    suppressed,
)
from store.access import scope, users
from store.alerts import changes, suppressions
from store.alerts.alerts import Alert, find_alert
from store.alerts.changes import AlertStep, StaleVersion
from store.database.connection import Connection

#: A shelf is a promise to look again: after a week at most it must be asked for anew.
LONGEST_SHELF = timedelta(days=7)


class UnknownAlert(Exception):
    """No such alert within the principal's reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTarget:
    """The alert that a step is for, and the version that the person has read; None for any."""

    alert_id: int
    version: int | None = None


def acknowledge(
    connection: Connection, principal: Principal, target: StepTarget, *, note: str | None = None
) -> int:
    """Note that a person has seen an alert; returns its new version.

    Raises: UnknownAlert, NotAllowed, StaleVersion.
    """
    with connection.transaction():
        alert = _read_for_step(connection, principal, target)
        step = AlertStep(actor=principal.name, name="acknowledged", note=note)
        return _save(connection, alert, acknowledged(alert.state), step)


def confirm(
    connection: Connection, principal: Principal, target: StepTarget, *, note: str | None = None
) -> int:
    """Note that a person has looked and found the alert true.

    Returns and raises as `acknowledge`.
    """
    with connection.transaction():
        alert = _read_for_step(connection, principal, target)
        step = AlertStep(actor=principal.name, name="confirmed", note=note)
        return _save(connection, alert, confirmed(alert.state), step)


def dismiss(
    connection: Connection, principal: Principal, target: StepTarget, *, note: str | None = None
) -> int:
    """Note that a person has looked and found nothing; the note is required.

    Returns and raises as `acknowledge`.
    """
    if not note:
        raise NotAllowed("say in `note` what was found: an alert is not dismissed without a reason")
    with connection.transaction():
        alert = _read_for_step(connection, principal, target)
        step = AlertStep(actor=principal.name, name="dismissed", note=note)
        return _save(connection, alert, dismissed(alert.state), step)


def shelve(
    connection: Connection,
    principal: Principal,
    target: StepTarget,
    *,
    until_at: datetime,
    now: datetime,
    note: str | None = None,
) -> int:
    """Suppress an alert's key until an instant; the note is required.

    Occurrences until then are counted and not shown. Returns and raises as `acknowledge`.
    """
    if not now < until_at <= now + LONGEST_SHELF:
        raise NotAllowed(
            f"an alert is shelved until a time from now to {LONGEST_SHELF.days} days ahead"
        )
    step = AlertStep(actor=principal.name, name=Suppression.SHELVED, note=note)
    return _suppress(connection, principal, target, step, until_at=until_at)


def take_out_of_service(
    connection: Connection, principal: Principal, target: StepTarget, *, note: str | None = None
) -> int:
    """Suppress an alert's key until it is restored; the note is required.

    Returns and raises as `acknowledge`.
    """
    if not principal.may(Action.TAKE_OUT_OF_SERVICE):
        raise NotAllowed(
            f"the role {principal.role} takes nothing out of service; shelve it, or ask who may"
        )
    step = AlertStep(actor=principal.name, name=Suppression.OUT_OF_SERVICE, note=note)
    return _suppress(connection, principal, target, step, until_at=None)


def restore(
    connection: Connection, principal: Principal, target: StepTarget, *, note: str | None = None
) -> int:
    """Show an alert's key again that was shelved or out of service.

    Returns and raises as `acknowledge`.
    """
    with connection.transaction():
        alert = _read_for_step(connection, principal, target)
        suppressions.release_key(connection, alert.key, actor=principal.name)
        step = AlertStep(actor=principal.name, name="restored", note=note)
        return _save(connection, alert, restored(alert.state), step)


def assign(
    connection: Connection, principal: Principal, target: StepTarget, *, assignee: str | None
) -> int:
    """Give an alert to a person who sees it, or to nobody.

    Returns and raises as `acknowledge`.
    """
    with connection.transaction():
        alert = _read_for_step(connection, principal, target)
        if assignee is not None:
            _require_assignable(connection, alert, assignee)
        return changes.assign_alert(
            connection, alert.id, assignee, actor=principal.name, expected_version=alert.version
        )


def comment(connection: Connection, principal: Principal, alert_id: int, text: str) -> None:
    """Add a person's remark to an alert's record.

    Raises: UnknownAlert, NotAllowed.
    """
    with connection.transaction():
        alert = _read_for_step(connection, principal, StepTarget(alert_id=alert_id))
        step = AlertStep(actor=principal.name, name="comment", note=text)
        changes.note_change(connection, alert.id, step)


def _read_for_step(connection: Connection, principal: Principal, target: StepTarget) -> Alert:
    """Read the alert of a step.

    Raises: UnknownAlert, NotAllowed where the principal only looks, StaleVersion.
    """
    if not principal.may(Action.STEP_ON_ALERTS):
        raise NotAllowed(f"the role {principal.role} only looks")
    alert = find_alert(connection, target.alert_id, principal.estate_ids, principal.classes)
    if alert is None:
        raise UnknownAlert(f"alert {target.alert_id}")
    if target.version is not None and alert.version != target.version:
        raise StaleVersion(f"alert {target.alert_id} was changed by someone else")
    return alert


def _suppress(
    connection: Connection,
    principal: Principal,
    target: StepTarget,
    step: AlertStep,
    *,
    until_at: datetime | None,
) -> int:
    """Suppress an alert and its key, for the reason in the step's note."""
    if not step.note:
        raise NotAllowed("say in `note` why: nothing is held back without a reason")
    kind = Suppression(step.name)
    may_suppress_life_safety = principal.may(Action.HOLD_BACK_LIFE_SAFETY)
    with connection.transaction():
        alert = _read_for_step(connection, principal, target)
        state = suppressed(alert.state, kind, may_suppress_life_safety=may_suppress_life_safety)
        suppressions.suppress_key(
            connection, alert.key, kind, step.note, until_at, actor=principal.name
        )
        return _save(connection, alert, state, step)


def _require_assignable(connection: Connection, alert: Alert, assignee: str) -> None:
    """Check that a person sees an alert and may act on it.

    Raises: NotAllowed.
    """
    with scope.signing_in(connection):
        person = users.find_principal(connection, assignee)
    sees_alert = (
        person is not None
        and alert.estate_id in person.estate_ids
        and alert.alert_class in person.classes
    )
    if person is None or not sees_alert:
        raise NotAllowed(f"{assignee!r} is nobody who sees this alert")
    if not person.may(Action.STEP_ON_ALERTS):
        raise NotAllowed(f"{assignee!r} only looks")


def _save(connection: Connection, alert: Alert, state: AlertState, step: AlertStep) -> int:
    """Store a new state; returns the new version.

    Raises: StaleVersion where another person, or the device itself, has changed the alert
    meanwhile.
    """
    return changes.set_state(connection, alert.id, state, step, expected_version=alert.version)
