"""Unusual look-ups: of many persons in a day, at night, of one person again and again, and of many
homes. An alert tells the privacy officer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind
from privacy.purposes import PeoplePolicy
from store.alerts.alerts import list_open_keys
from store.alerts.raising import NewAlert, raise_alert
from store.database.connection import Connection
from store.people import lookups
from store.people.lookups import LookupEvent

DETECTOR = "unusual_lookups"
#: The hours of the day, local time, between which a look-up is usual.
DAY_BEGINS_HOUR = 6
DAY_ENDS_HOUR = 22
_MONTH = timedelta(days=30)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusualUse:
    """That a user's look-ups at an estate reach a limit: the reason code, how many there were, and
    the limit.
    """

    name: str
    estate_id: int
    reason: str
    count: int
    limit: int


def check(connection: Connection, policy: PeoplePolicy, now: datetime) -> int:
    """Raise an alert for each user and estate with unusual look-ups, unless one is open; returns
    how many.
    """
    open_keys = list_open_keys(connection, DETECTOR)
    found = [
        *_find_unusual_lookups(connection, policy, now),
        *_find_unusual_home_reads(connection, policy, now),
    ]
    raised = 0
    for use in found:
        alert = _to_alert(use, now)
        if alert.key in open_keys:
            continue
        open_keys.add(alert.key)
        raised += raise_alert(connection, alert, actor="privacy watch").is_new
    return raised


def _to_alert(use: UnusualUse, now: datetime) -> NewAlert:
    key = AlertKey(
        detector=DETECTOR,
        subject_kind=SubjectKind.ESTATE,
        subject_id=use.estate_id,
        dedup_key=use.name,
    )
    return NewAlert(
        key=key,
        estate_id=use.estate_id,
        subject=use.name,
        alert_class=AlertClass.PRIVACY,
        severity=Severity.HIGH,
        score=1.0,
        reasons=(use.reason,),
        evidence={"who": use.name, "count": use.count, "limit": use.limit},
        policy_version="1",
        since_at=now,
    )


def _find_unusual_lookups(
    connection: Connection, policy: PeoplePolicy, now: datetime
) -> Iterator[UnusualUse]:
    events_of: dict[tuple[str, int], list[LookupEvent]] = defaultdict(list)
    for event in lookups.list_lookup_events(connection, now - _MONTH):
        events_of[event.name, event.estate_id].append(event)
    for events in events_of.values():
        use = find_unusual_use(events, policy, now)
        if use is not None:
            yield use


def find_unusual_use(
    events: Sequence[LookupEvent], policy: PeoplePolicy, now: datetime
) -> UnusualUse | None:
    """Return the first limit that one user's look-ups of a month at one estate reach;

    None where they are usual, or none is of today.
    """
    today = [event for event in events if event.asked_at > now - _DAY]
    if not today:
        # What was unusual long ago and not since is no news.
        return None
    persons_today = {event.person_id for event in today}
    at_night = [event for event in today if _is_night(event)]
    most_of_one = max(Counter(event.person_id for event in events).values())
    for reason, count, limit in (
        ("many_persons", len(persons_today), policy.unusual_per_day),
        ("at_night", len(at_night), policy.unusual_at_night),
        ("same_person", most_of_one, policy.unusual_at_one),
    ):
        if count >= limit:
            return UnusualUse(
                name=events[0].name,
                estate_id=events[0].estate_id,
                reason=reason,
                count=count,
                limit=limit,
            )
    return None


def _is_night(event: LookupEvent) -> bool:
    hour = event.asked_at.astimezone(ZoneInfo(event.timezone)).hour
    return not DAY_BEGINS_HOUR <= hour < DAY_ENDS_HOUR


def _find_unusual_home_reads(
    connection: Connection, policy: PeoplePolicy, now: datetime
) -> Iterator[UnusualUse]:
    limit = policy.unusual_homes_per_day
    for reads in lookups.list_home_reads(connection, now - _DAY, limit):
        yield UnusualUse(
            name=reads.name,
            estate_id=reads.estate_id,
            reason="many_homes",
            count=reads.homes,
            limit=limit,
        )
