"""A person's steps on an alert: legal transitions only, two people at once never lose anything, all of it on record."""

from __future__ import annotations

from domain.access import READ_ONLY, Principal
from domain.alerting import NotAllowed, acknowledged
from store import alerts
from store.connect import Connection


class Unknown(Exception):
    """No such alert within the principal's reach."""


def acknowledge(
    connection: Connection, principal: Principal, alert_id: int, *, version: int | None, note: str | None
) -> int:
    """Note that a person has seen an alert; returns its new version.

    Raises: Unknown, NotAllowed, store.alerts.Stale (someone was faster than `version`).
    """
    _may_write(principal)
    with connection.transaction():
        row = alerts.get_alert(connection, alert_id, principal.estate_ids, principal.classes)
        if row is None:
            raise Unknown(f"alert {alert_id}")
        if version is not None and row["version"] != version:
            raise alerts.Stale(f"alert {alert_id} was changed by someone else")
        state = acknowledged(alerts.state_of(row))
        return alerts.set_state(
            connection,
            alert_id,
            state,
            actor=principal.name,
            step="acknowledged",
            note=note,
            expected_version=row["version"],
        )


def comment(connection: Connection, principal: Principal, alert_id: int, text: str) -> None:
    """Add a person's remark to an alert's record.

    Raises: Unknown, NotAllowed.
    """
    _may_write(principal)
    with connection.transaction():
        if alerts.get_alert(connection, alert_id, principal.estate_ids, principal.classes) is None:
            raise Unknown(f"alert {alert_id}")
        alerts.note_change(connection, alert_id, principal.name, "comment", text)


def _may_write(principal: Principal) -> None:
    if principal.role in READ_ONLY:
        raise NotAllowed(f"the role {principal.role} only looks")
