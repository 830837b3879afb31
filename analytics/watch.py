"""The fast loop: events that cannot wait become alerts within a second of the commit that stored them.

It is woken by the live bus and asks PostgreSQL, whose queue is the truth: an event is taken off it in the same
transaction that raises its alert, so that a kill between the two loses and doubles nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from analytics.policy import Policy
from domain.alerting import Condition, returned
from domain.wire import HazardState
from store import alerts, watch
from store.alerts import Raise
from store.connect import Connection

log = structlog.get_logger()

ACTOR = "watch"
#: A hazard that was over this long ago does not latch: nobody could still act on it.
LATE = timedelta(hours=24)


def step(connection: Connection, policy: Policy) -> int:
    """Act on what waits in the queue; returns how many alerts changed."""
    changed = 0
    while True:
        with connection.transaction():
            taken = watch.take(connection)
            changed += sum(_act(connection, event, policy) for event in taken)
        if not taken:
            return changed


def _act(connection: Connection, event: dict[str, Any], policy: Policy) -> int:
    data = event["data"]
    word = str(data.get("hazard") if event["kind"] == "hazard" else data.get("condition"))
    state = data.get("state")
    shown = policy.for_event(event["kind"], word)
    if shown is None or state == HazardState.TEST:
        log.info("event_not_shown", device=event["device"], kind=event["kind"], word=word, state=state)
        return 0
    detector = f"{event['kind']}:{word}"
    source = {"device": event["device"], "event": event["event_id"], "data": data}
    if state == HazardState.OFF:
        row = alerts.find_open(connection, detector, "device", event["device_id"])
        if row is None or row["since_at"] > event["at"]:
            return 0
        _return(connection, row, event["at"], source)
        return 1
    where = event["place"] or event["unit"] or event["entrance"] or event["building"] or "?"
    alert_id, new = alerts.raise_alert(
        connection,
        Raise(
            estate_id=event["estate_id"],
            detector=detector,
            subject_kind="device",
            subject_id=event["device_id"],
            subject=f"{where} · {event['device']}",
            alert_class=shown.alert_class,
            severity=shown.severity,
            score=1.0,
            reasons=(word,),
            evidence={"device": event["device"], "place": where, "event": event["event_id"], "data": data},
            policy_version=policy.version,
            since_at=event["at"],
        ),
        actor=ACTOR,
    )
    alerts.note_occurrence(connection, alert_id, event["at"], "on", source)
    over_at = watch.ended_since(connection, event["device_id"], event["kind"], word, event["at"]) if new else None
    if over_at is not None:
        # A gateway sends its newest first: the end came before its beginning. It stays on screen until somebody has seen it.
        row = alerts.find_open(connection, detector, "device", event["device_id"])
        if row is not None:
            _return(connection, row, over_at, {"device": event["device"], "at": over_at.isoformat()})
    return 1


def _return(connection: Connection, row: dict[str, Any], at: datetime, source: dict[str, Any]) -> None:
    """Note that an alert's condition is over."""
    alerts.note_occurrence(connection, row["id"], at, "off", source)
    if row["condition"] != Condition.ACTIVE:
        return
    state = returned(alerts.state_of(row))
    if datetime.now(UTC) - at > LATE:
        # A gateway's backlog: the danger passed before anyone could be told, so it goes on record without a siren.
        state = replace(state, ended=True)
    alerts.set_state(connection, row["id"], state, actor=ACTOR, step="returned")


def check_gateways(connection: Connection, policy: Policy) -> int:
    """Raise one alert for a gateway that fell silent, none for its children, and one for a clock that is far off; end them in time."""
    changed = 0
    with connection.transaction():
        for row in watch.gateways(connection):
            changed += _keep(
                connection, policy, row, "gateway_silent", "offline", not row["online"], bool(row["online"]), {}
            )
            skew = row["skew_ms"]
            if skew is not None and row["online"]:
                off = round(abs(skew) / 1000)
                limit = policy.clock_skew_s
                evidence = {"seconds": off, "behind": skew < 0}
                changed += _keep(
                    connection, policy, row, "clock_skew", "clock_off", off > limit, off < limit / 2, evidence
                )
    return changed


def _keep(
    connection: Connection,
    policy: Policy,
    row: dict[str, Any],
    detector: str,
    reason: str,
    wrong: bool,
    right: bool,
    evidence: dict[str, Any],
) -> int:
    """Raise an alert about a gateway where something is wrong, and end it where it is right again; returns how many changed."""
    held = alerts.find_open(connection, detector, "gateway", row["gateway_id"])
    if right and held is not None and held["condition"] == Condition.ACTIVE:
        alerts.set_state(connection, held["id"], returned(alerts.state_of(held)), actor=ACTOR, step="returned")
        return 1
    if not wrong or held is not None:
        return 0
    shown = policy.for_gateway(detector)
    alerts.raise_alert(
        connection,
        Raise(
            estate_id=row["estate_id"],
            detector=detector,
            subject_kind="gateway",
            subject_id=row["gateway_id"],
            subject=row["gateway"],
            alert_class=shown.alert_class,
            severity=shown.severity,
            score=1.0,
            reasons=(reason,),
            evidence={"devices": row["devices"], **evidence},
            policy_version=policy.version,
            since_at=min(row["at"], datetime.now(UTC)),
        ),
        actor=ACTOR,
    )
    return 1
