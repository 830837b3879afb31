"""The fast loop: events become alerts within a second of the commit that stored them.

The live bus wakes it, and PostgreSQL's queue is the truth: an event leaves the queue in the
transaction that raises its alert, so a kill between the two loses nothing and doubles nothing.
Several watchers may run: the queue has lanes by device, hazards have lanes of their own, and one
watcher at a time does the periodic checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from analytics import transitions
from analytics.display_rules import DisplayRule
from analytics.policy import Policy
from analytics.transitions import ACTOR, ConditionTransition
from domain.alerting import AlertKey, DetectorFamily, DetectorName, SubjectKind
from domain.wire import HazardState
from store.alerts import alerts, suppressions
from store.alerts.raising import NewAlert
from store.analytics import delay_timers, watch
from store.analytics.watch import GatewayCondition, QueuedEvent, RefusedMessages
from store.database.connection import Connection

log = structlog.get_logger()

GATEWAY_DETECTORS = ("gateway_silent", "clock_skew", "gateway_suspect")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSubject:
    """What the watch looks at: its key, and its name as people read it."""

    key: AlertKey
    estate_id: int
    name: str


def step(
    connection: Connection,
    policy: Policy,
    now: datetime,
    *,
    urgent: bool,
    on_change: Callable[[int], None] = lambda _changed: None,
) -> int:
    """Act on the events in the queue: on hazards where `urgent`, else on all others.

    Calls `on_change` after each batch with how many alerts changed; returns how many did in all.
    """
    total = 0
    while True:
        with connection.transaction():
            events = watch.take_events(connection, urgent=urgent)
            changed = transitions.apply(connection, _read_transitions(events, policy), now)
        if not events:
            return total
        total += changed
        if changed:
            on_change(changed)


def tick(connection: Connection, policy: Policy, now: datetime) -> int:
    """Act on delays, shelves and windows that have run out; returns how many alerts changed."""
    changed = 0
    while True:
        with connection.transaction():
            due = delay_timers.take_due_timers(connection, now, policy.behind_gateway)
            changed += transitions.expire_timers(connection, due, now)
        if not due:
            break
    with connection.transaction():
        return changed + suppressions.expire(connection, now, actor=ACTOR)


def observed_alert(
    policy: Policy,
    rule: DisplayRule,
    subject: WatchedSubject,
    since_at: datetime,
    *,
    reasons: Sequence[str],
    evidence: Mapping[str, Any],
) -> NewAlert:
    """Make the alert of something observed and not inferred: its likelihood is 1."""
    return NewAlert(
        key=subject.key,
        estate_id=subject.estate_id,
        subject=subject.name,
        alert_class=rule.alert_class,
        severity=rule.severity,
        score=1.0,
        reasons=reasons,
        evidence=evidence,
        policy_version=policy.version,
        since_at=since_at,
        latched=rule.latched,
        review=rule.review,
    )


def _read_transitions(
    events: Iterable[QueuedEvent], policy: Policy
) -> Iterator[ConditionTransition]:
    """Turn events into transitions, without tests and without what policy does not show."""
    for event in events:
        state = event.data.get("state")
        rule = policy.for_event(event.kind, event.word)
        if rule is None or state == HazardState.TEST:
            log.info(
                "event_not_shown",
                device=event.device,
                kind=event.kind,
                word=event.word,
                state=state,
            )
            continue
        key = AlertKey(
            detector=str(DetectorName(family=DetectorFamily(event.kind), word=event.word)),
            subject_kind=SubjectKind.DEVICE,
            subject_id=event.device_id,
        )
        alert = None
        if state != HazardState.OFF:
            alert = _event_alert(event, key, rule, policy)
        source = {"device": event.device, "event": event.event_id, "data": event.data}
        yield ConditionTransition(key=key, at=event.at, rule=rule, alert=alert, source=source)


def _event_alert(event: QueuedEvent, key: AlertKey, rule: DisplayRule, policy: Policy) -> NewAlert:
    subject = WatchedSubject(
        key=key, estate_id=event.estate_id, name=f"{event.location} · {event.device}"
    )
    evidence = {
        "device": event.device,
        "place": event.location,
        "event": event.event_id,
        "data": event.data,
    }
    return observed_alert(policy, rule, subject, event.at, reasons=(event.word,), evidence=evidence)


# Gateways -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _GatewayCheck:
    """What one detector says of a gateway; between wrong and right nothing changes."""

    detector: str
    reason: str
    is_wrong: bool
    is_right: bool
    evidence: Mapping[str, Any]


def check_gateways(connection: Connection, policy: Policy, now: datetime) -> int:
    """Raise and end the alerts about gateways themselves; returns how many changed.

    A silent gateway is one alert, and none for the devices behind it. A clock that is far off is
    one, and so is a credential that somebody else seems to hold.
    """
    active = alerts.read_active_severities(connection, GATEWAY_DETECTORS)
    delayed = delay_timers.list_delayed_keys(connection, GATEWAY_DETECTORS)
    since = now - timedelta(seconds=policy.gateway_suspect.window_s)
    refused_by_gateway = watch.count_refused_messages(connection, since)
    found: list[ConditionTransition] = []
    for gateway in watch.list_gateway_conditions(connection):
        refused = refused_by_gateway.get(gateway.gateway_id)
        checks = [
            _check_online(gateway),
            _check_clock(gateway, policy),
            _check_credential(gateway, refused, policy, since),
        ]
        for check in checks:
            key = AlertKey(
                detector=check.detector,
                subject_kind=SubjectKind.GATEWAY,
                subject_id=gateway.gateway_id,
            )
            is_unchanged = check.is_wrong == (key in active) and key not in delayed
            if is_unchanged or not (check.is_wrong or check.is_right):
                continue
            found.append(_gateway_transition(gateway, check, key, policy, now))
    with connection.transaction():
        return transitions.apply(connection, found, now)


def _check_online(gateway: GatewayCondition) -> _GatewayCheck:
    return _GatewayCheck(
        detector="gateway_silent",
        reason="offline",
        is_wrong=not gateway.online,
        is_right=gateway.online,
        evidence={},
    )


def _check_clock(gateway: GatewayCondition, policy: Policy) -> _GatewayCheck:
    """Compare a gateway's clock with ours; one that is offline or unknown says nothing."""
    known_skew_ms = gateway.skew_ms if gateway.online else None
    seconds = round(abs(known_skew_ms or 0) / 1000)
    limit = policy.clock_skew.limit_s
    return _GatewayCheck(
        detector="clock_skew",
        reason="clock_off",
        is_wrong=known_skew_ms is not None and seconds > limit,
        is_right=known_skew_ms is not None and seconds < limit / 2,
        evidence={"seconds": seconds, "behind": (known_skew_ms or 0) < 0},
    )


def _check_credential(
    gateway: GatewayCondition,
    refused: RefusedMessages | None,
    policy: Policy,
    since: datetime,
) -> _GatewayCheck:
    """Look for signs that a gateway's credential is in other hands."""
    refused_count = refused.refused if refused else 0
    revoked_count = refused.revoked if refused else 0
    reason = ""
    if gateway.credential_conflict_at is not None and gateway.credential_conflict_at > since:
        reason = "two_holders"
    elif revoked_count:
        reason = "revoked_in_use"
    elif refused_count >= policy.gateway_suspect.refused_limit:
        reason = "many_refused"
    return _GatewayCheck(
        detector="gateway_suspect",
        reason=reason,
        is_wrong=bool(reason),
        is_right=not reason,
        evidence={"refused": refused_count, "revoked": revoked_count},
    )


def _gateway_transition(
    gateway: GatewayCondition, check: _GatewayCheck, key: AlertKey, policy: Policy, now: datetime
) -> ConditionTransition:
    rule = policy.for_watch(check.detector)
    at = min(gateway.at, now)
    alert = None
    if check.is_wrong:
        subject = WatchedSubject(key=key, estate_id=gateway.estate_id, name=gateway.gateway)
        evidence = {"devices": gateway.devices, **check.evidence}
        alert = observed_alert(
            policy, rule, subject, at, reasons=(check.reason,), evidence=evidence
        )
    return ConditionTransition(key=key, at=at, rule=rule, alert=alert, source={})
