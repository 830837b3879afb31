"""A person's steps on an alert: legal transitions only, two people at once never lose anything, all of it on record."""

from __future__ import annotations

from collections.abc import Callable
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
from store.alerts import alerts, changes, suppressions
from store.alerts.alerts import Alert
from store.alerts.changes import AlertStep, StaleVersion
from store.database.connection import Connection

#: A shelf is a promise to look again: no longer than a week, then it is asked for anew.
LONGEST_SHELF = timedelta(days=7)


class UnknownAlert(Exception):
    """No such alert within the principal's reach."""


def acknowledge(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    *,
    version: int | None = None,
    note: str | None = None,
) -> int:
    """Note that a person has seen an alert; returns its new version.

    Raises: Unknown, NotAllowed, store.alerts.changes.StaleVersion (someone was faster than `version`).
    """
    return _step(connection, principal, alert_id, version, "acknowledged", acknowledged, note)


def confirm(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    *,
    version: int | None = None,
    note: str | None = None,
) -> int:
    """Note that a person has looked and found it true. Raises as `acknowledge`."""
    return _step(connection, principal, alert_id, version, "confirmed", confirmed, note)


def dismiss(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    *,
    version: int | None = None,
    note: str | None = None,
) -> int:
    """Note that a person has looked and found nothing; the reason is required. Raises as `acknowledge`."""
    if not note:
        raise NotAllowed("say in `note` what was found: an alert is not dismissed without a reason")
    return _step(connection, principal, alert_id, version, "dismissed", dismissed, note)


def shelve(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    *,
    until_at: datetime,
    now: datetime,
    note: str | None = None,
    version: int | None = None,
) -> int:
    """Hold an alert's key back until an instant, for a reason; what comes in between is counted and not shown. Raises as `acknowledge`."""
    if not now < until_at <= now + LONGEST_SHELF:
        raise NotAllowed(
            f"an alert is shelved until a time from now to {LONGEST_SHELF.days} days ahead"
        )
    return _hold_back(connection, principal, alert_id, version, Suppression.SHELVED, note, until_at)


def take_out_of_service(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    *,
    note: str | None = None,
    version: int | None = None,
) -> int:
    """Hold an alert's key back until it is restored, for a reason. Raises as `acknowledge`."""
    if not principal.may(Action.TAKE_OUT_OF_SERVICE):
        raise NotAllowed(
            f"the role {principal.role} takes nothing out of service; shelve it, or ask who may"
        )
    return _hold_back(
        connection, principal, alert_id, version, Suppression.OUT_OF_SERVICE, note, None
    )


def restore(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    *,
    version: int | None = None,
    note: str | None = None,
) -> int:
    """Show an alert's key again that was shelved or out of service. Raises as `acknowledge`."""
    with connection.transaction():
        alert = _read(connection, principal, alert_id, version)
        suppressions.release_key(connection, alert.key, actor=principal.name)
        return _set(connection, principal, alert, restored(alert.state), "restored", note)


def assign(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    *,
    assignee: str | None,
    version: int | None = None,
) -> int:
    """Give an alert to a person who sees it, or to nobody. Raises as `acknowledge`."""
    with connection.transaction():
        alert = _read(connection, principal, alert_id, version)
        if assignee is not None:
            with scope.signing_in(connection):
                other = users.find_principal(connection, assignee)
            if (
                other is None
                or alert.estate_id not in other.estate_ids
                or alert.alert_class not in other.classes
            ):
                raise NotAllowed(f"{assignee!r} is nobody who sees this alert")
            if not other.may(Action.STEP_ON_ALERTS):
                raise NotAllowed(f"{assignee!r} only looks")
        return changes.assign_alert(
            connection, alert_id, assignee, actor=principal.name, expected_version=alert.version
        )


def comment(connection: Connection, principal: Principal, alert_id: int, text: str) -> None:
    """Add a person's remark to an alert's record.

    Raises: Unknown, NotAllowed.
    """
    with connection.transaction():
        _read(connection, principal, alert_id, None)
        step = AlertStep(actor=principal.name, name="comment", note=text)
        changes.note_change(connection, alert_id, step)


def _hold_back(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    version: int | None,
    kind: Suppression,
    note: str | None,
    until_at: datetime | None,
) -> int:
    if not note:
        raise NotAllowed("say in `note` why: nothing is held back without a reason")
    may = principal.may(Action.HOLD_BACK_LIFE_SAFETY)
    with connection.transaction():
        alert = _read(connection, principal, alert_id, version)
        state = suppressed(alert.state, kind, may_hold_back_life_safety=may)
        suppressions.suppress_key(connection, alert.key, kind, note, until_at, actor=principal.name)
        return _set(connection, principal, alert, state, kind, note)


def _step(
    connection: Connection,
    principal: Principal,
    alert_id: int,
    version: int | None,
    name: str,
    change: Callable[[AlertState], AlertState],
    note: str | None,
) -> int:
    with connection.transaction():
        alert = _read(connection, principal, alert_id, version)
        return _set(connection, principal, alert, change(alert.state), name, note)


def _read(
    connection: Connection, principal: Principal, alert_id: int, version: int | None
) -> Alert:
    if not principal.may(Action.STEP_ON_ALERTS):
        raise NotAllowed(f"the role {principal.role} only looks")
    alert = alerts.find_alert(connection, alert_id, principal.estate_ids, principal.classes)
    if alert is None:
        raise UnknownAlert(f"alert {alert_id}")
    if version is not None and alert.version != version:
        raise StaleVersion(f"alert {alert_id} was changed by someone else")
    return alert


def _set(
    connection: Connection,
    principal: Principal,
    alert: Alert,
    state: AlertState,
    name: str,
    note: str | None,
) -> int:
    # The version that was read is expected: what happened in between (another guard, the device itself) is never written over.
    step = AlertStep(actor=principal.name, name=name, note=note)
    return changes.set_state(connection, alert.id, state, step, expected_version=alert.version)
