"""The fast loop: events that cannot wait become alerts within a second of the commit that stored them.

It is woken by the live bus and asks PostgreSQL, whose queue is the truth: an event is taken off it in the same
transaction that raises its alert, so that a kill between the two loses and doubles nothing. Several watchers may run:
the queue has lanes by device, hazards stand apart from all else, and the periodic checks are one watcher's at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import structlog

from analytics import transitions
from analytics.policy import DisplayRule, Policy
from analytics.transitions import ACTOR, ConditionTransition
from domain.wire import HazardState
from store.alerts import alerts, suppressions
from store.alerts.alerts import NewAlert
from store.analytics import watch
from store.database.connection import Connection

log = structlog.get_logger()


def step(
    connection: Connection,
    policy: Policy,
    now: datetime,
    *,
    urgent: bool,
    told: Callable[[int], None] = lambda _changed: None,
) -> int:
    """Act on what waits in the queue, hazards (`urgent`) or all else; returns how many alerts changed, and tells after every batch."""
    total = 0
    while True:
        with connection.transaction():
            taken = watch.take(connection, urgent=urgent)
            changed = transitions.apply(connection, _turns(taken, policy), now)
        if not taken:
            return total
        total += changed
        if changed:
            told(changed)


def tick(connection: Connection, policy: Policy, now: datetime) -> int:
    """Act on what has waited long enough: delays that are over, shelves and windows that have run out."""
    changed = 0
    while True:
        with connection.transaction():
            due = watch.take_due(connection, now, policy.behind_gateway)
            changed += transitions.ring(connection, due, now)
        if not due:
            break
    with connection.transaction():
        return changed + suppressions.expire(connection, now, actor=ACTOR)


def _turns(events: list[dict[str, Any]], policy: Policy) -> Iterator[ConditionTransition]:
    for event in events:
        data = event["data"]
        word = str(data.get("hazard") if event["kind"] == "hazard" else data.get("condition"))
        state = data.get("state")
        shown = policy.for_event(event["kind"], word)
        if shown is None or state == HazardState.TEST:
            log.info(
                "event_not_shown",
                device=event["device"],
                kind=event["kind"],
                word=word,
                state=state,
            )
            continue
        where = event["place"] or event["unit"] or event["entrance"] or event["building"] or "?"
        detector = f"{event['kind']}:{word}"
        wanted = None
        if state != HazardState.OFF:
            evidence = {
                "device": event["device"],
                "place": where,
                "event": event["event_id"],
                "data": data,
            }
            wanted = wish(
                policy,
                shown,
                event["estate_id"],
                (detector, "device", event["device_id"]),
                f"{where} · {event['device']}",
                event["at"],
                reasons=(word,),
                evidence=evidence,
            )
        yield ConditionTransition(
            key=(detector, "device", event["device_id"]),
            at=event["at"],
            shown=shown,
            wanted=wanted,
            source={"device": event["device"], "event": event["event_id"], "data": data},
        )


def wish(
    policy: Policy,
    shown: DisplayRule,
    estate_id: int,
    key: watch.Key,
    subject: str,
    since_at: datetime,
    *,
    reasons: tuple[str, ...],
    evidence: dict[str, Any],
) -> NewAlert:
    """Say which alert is wanted for something that was seen and not reckoned: its likelihood is 1."""
    return NewAlert(
        estate_id=estate_id,
        detector=key[0],
        subject_kind=key[1],
        subject_id=key[2],
        subject=subject,
        alert_class=shown.alert_class,
        severity=shown.severity,
        score=1.0,
        reasons=reasons,
        evidence=evidence,
        policy_version=policy.version,
        since_at=since_at,
        latched=shown.latched,
        review=shown.review,
    )


def _suspicion(
    row: dict[str, Any], refused: tuple[int, int], since: datetime, policy: Policy
) -> tuple[str, dict[str, Any]]:
    """Say why a gateway's credential may be in other hands; an empty reason where nothing says so."""
    evidence = {"refused": refused[0], "revoked": refused[1]}
    if row["credential_conflict_at"] is not None and row["credential_conflict_at"] > since:
        return "two_holders", evidence
    if refused[1]:
        return "revoked_in_use", evidence
    if refused[0] >= policy.number("gateway_suspect", "refused_limit"):
        return "many_refused", evidence
    return "", evidence


def check_gateways(connection: Connection, policy: Policy, now: datetime) -> int:
    """Raise one alert for a gateway that fell silent, none for its children, one for a clock that is far off, and one for a credential
    that somebody else seems to hold; end them in time.
    """
    standing = alerts.standing_of(connection, ["gateway_silent", "clock_skew", "gateway_suspect"])
    waiting = watch.waiting_keys(connection, ["gateway_silent", "clock_skew", "gateway_suspect"])
    said: list[ConditionTransition] = []
    span = timedelta(seconds=policy.number("gateway_suspect", "window_s"))
    refused = watch.refusals(connection, now - span)
    for row in watch.gateways(connection):
        checks: list[tuple[str, str, bool, bool, dict[str, Any]]] = [
            ("gateway_silent", "offline", not row["online"], bool(row["online"]), {})
        ]
        if row["skew_ms"] is not None and row["online"]:
            off, limit = round(abs(row["skew_ms"]) / 1000), policy.number("clock_skew", "limit_s")
            evidence = {"seconds": off, "behind": row["skew_ms"] < 0}
            checks.append(("clock_skew", "clock_off", off > limit, off < limit / 2, evidence))
        reason, evidence = _suspicion(
            row, refused.get(row["gateway_id"], (0, 0)), now - span, policy
        )
        checks.append(("gateway_suspect", reason, bool(reason), not reason, evidence))
        for detector, reason, wrong, right, evidence in checks:
            key = (detector, "gateway", row["gateway_id"])
            stands = key in standing
            if (wrong == stands and key not in waiting) or not (wrong or right):
                continue
            wanted = None
            if wrong:
                evidence = {"devices": row["devices"], **evidence}
                wanted = wish(
                    policy,
                    policy.for_watch(detector),
                    row["estate_id"],
                    key,
                    row["gateway"],
                    min(row["at"], now),
                    reasons=(reason,),
                    evidence=evidence,
                )
            said.append(
                ConditionTransition(
                    key=key,
                    at=min(row["at"], now),
                    shown=policy.for_watch(detector),
                    wanted=wanted,
                    source={},
                )
            )
    with connection.transaction():
        return transitions.apply(connection, said, now)
