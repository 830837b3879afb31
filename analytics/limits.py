"""Limits on what meters and detectors measure, watched within seconds.

They cover residual current, temperature, and water that runs away. Only the last value of a point
is looked at: a value over a limit that is back below it at the next look is not reported. A value
older than a day says nothing about now, so it neither raises nor ends an alert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from analytics import transitions
from analytics.display_rules import DisplayRule, Limit
from analytics.policy import Policy
from analytics.transitions import ConditionTransition
from analytics.watch import WatchedSubject, observed_alert
from domain.alerting import AlertKey, DetectorFamily, DetectorName, SubjectKind
from store.alerts import alerts
from store.alerts.raising import NewAlert
from store.analytics import delay_timers, watch
from store.analytics.watch import LatestGauge
from store.database.connection import Connection

FRESH = timedelta(days=1)
_BURST_PIPE = "burst_pipe"
#: From m³/s to L/h.
_LITRES_PER_HOUR = 3.6e6


def check_gauges(connection: Connection, policy: Policy, now: datetime) -> int:
    """Raise an alert where a gauge is over its limit, and end it where it is well under it.

    Returns how many alerts changed.
    """
    points = sorted({limit.point for limit in policy.limits})
    gauges = watch.list_latest_gauges(connection, points, now - FRESH)
    known = _known_keys(connection, [_limit_detector(limit) for limit in policy.limits])
    found = []
    for limit in policy.limits:
        for gauge in gauges:
            if not _applies(limit, gauge):
                continue
            transition = _transition(_measure_gauge(limit, gauge), known, policy)
            if transition is not None:
                found.append(transition)
    with connection.transaction():
        return transitions.apply(connection, found, now)


@dataclass(slots=True)
class WaterFlows:
    """The last register of each water meter, so that the next one tells a flow.

    They are lost at a restart; the next reading fills them again.
    """

    last: dict[int, LatestGauge] = field(default_factory=dict)

    def check(self, connection: Connection, policy: Policy, now: datetime) -> int:
        """Raise an alert where more water runs, and for longer, than a household draws.

        Returns how many alerts changed.
        """
        known = _known_keys(connection, [_BURST_PIPE])
        longest = timedelta(seconds=policy.burst_pipe.step_s)
        found = []
        for gauge in watch.list_latest_gauges(connection, ["water_m3"], now - FRESH):
            earlier = self.last.get(gauge.point_id)
            if earlier is not None and earlier.at >= gauge.at:
                continue
            self.last[gauge.point_id] = gauge
            if earlier is None or gauge.at - earlier.at > longest or gauge.value < earlier.value:
                continue
            transition = _transition(_measure_flow(earlier, gauge, policy), known, policy)
            if transition is not None:
                found.append(transition)
        with connection.transaction():
            return transitions.apply(connection, found, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measurement:
    """One value beside its limit; between over and well under nothing changes."""

    gauge: LatestGauge
    detector: str
    reason: str
    rule: DisplayRule
    is_over: bool
    is_well_under: bool
    since_at: datetime
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownKeys:
    """Keys whose alert is active, and keys whose on-delay runs."""

    active: AbstractSet[AlertKey]
    delayed: AbstractSet[AlertKey]


def _known_keys(connection: Connection, detectors: Sequence[str]) -> _KnownKeys:
    return _KnownKeys(
        active=set(alerts.read_active_severities(connection, detectors)),
        delayed=delay_timers.list_delayed_keys(connection, detectors),
    )


def _limit_detector(limit: Limit) -> str:
    return str(DetectorName(family=DetectorFamily.LIMIT, word=limit.key))


def _applies(limit: Limit, gauge: LatestGauge) -> bool:
    """Whether a limit is about a gauge: its point, on one of its kinds of device."""
    return gauge.point == limit.point and (not limit.kinds or gauge.kind in limit.kinds)


def _measure_gauge(limit: Limit, gauge: LatestGauge) -> _Measurement:
    return _Measurement(
        gauge=gauge,
        detector=_limit_detector(limit),
        reason=limit.key,
        rule=limit.shown,
        is_over=gauge.value > limit.above,
        is_well_under=gauge.value < limit.below,
        since_at=gauge.at,
        evidence={"value": gauge.value, "limit": limit.above},
    )


def _measure_flow(earlier: LatestGauge, later: LatestGauge, policy: Policy) -> _Measurement:
    """Compute the flow in litres an hour between two registers in cubic metres."""
    seconds = (later.at - earlier.at).total_seconds()
    litres_an_hour = (later.value - earlier.value) * _LITRES_PER_HOUR / seconds
    above = policy.burst_pipe.above_l_h
    return _Measurement(
        gauge=later,
        detector=_BURST_PIPE,
        reason=_BURST_PIPE,
        rule=policy.for_watch(_BURST_PIPE),
        is_over=litres_an_hour > above,
        is_well_under=litres_an_hour < policy.burst_pipe.below_l_h,
        since_at=earlier.at,
        evidence={"value": round(litres_an_hour), "limit": above},
    )


def _transition(
    measured: _Measurement, known: _KnownKeys, policy: Policy
) -> ConditionTransition | None:
    """Make the transition that a measurement means; None where it changes nothing.

    An active alert ends well under its limit; an on-delay stops as soon as the value is not over
    it.
    """
    gauge = measured.gauge
    key = AlertKey(
        detector=measured.detector,
        subject_kind=SubjectKind.DEVICE,
        subject_id=gauge.device_id,
    )
    source = {"device": gauge.device, **measured.evidence}
    is_active = key in known.active
    if measured.is_over and not is_active:
        alert = _gauge_alert(measured, key, policy)
        return ConditionTransition(
            key=key, at=measured.since_at, rule=measured.rule, source=source, alert=alert
        )
    stops_delay = not measured.is_over and key in known.delayed
    if stops_delay or (measured.is_well_under and is_active):
        return ConditionTransition(key=key, at=gauge.at, rule=measured.rule, source=source)
    return None


def _gauge_alert(measured: _Measurement, key: AlertKey, policy: Policy) -> NewAlert:
    gauge = measured.gauge
    place = gauge.place or "?"
    subject = WatchedSubject(key=key, estate_id=gauge.estate_id, name=f"{place} · {gauge.device}")
    evidence = {"device": gauge.device, "place": place, **measured.evidence}
    return observed_alert(
        policy,
        measured.rule,
        subject,
        measured.since_at,
        reasons=(measured.reason,),
        evidence=evidence,
    )
