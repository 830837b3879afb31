"""Looks that are unusual: many persons in a day, many at night, the same person again and again, many homes. Somebody is told; nobody is judged."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind
from privacy.purposes import PeoplePolicy
from store.alerts.alerts import list_open_keys
from store.alerts.raising import NewAlert, raise_alert
from store.database.connection import Connection
from store.people import people

DETECTOR = "unusual_lookups"
_NIGHT = (22, 6)


def check(connection: Connection, policy: PeoplePolicy, now: datetime) -> int:
    """Raise an alert for each log-in and estate whose looks are unusual now; one that stands is counted, not raised again."""
    raised = 0
    open_keys = list_open_keys(connection, DETECTOR)
    for found in [
        *_unusual_looks(connection, policy, now),
        *_unusual_homes(connection, policy, now),
    ]:
        key = AlertKey(
            detector=DETECTOR,
            subject_kind=SubjectKind.ESTATE,
            subject_id=found["estate_id"],
            dedup_key=found["name"],
        )
        if key in open_keys:
            continue
        open_keys.add(key)
        wanted = NewAlert(
            key=key,
            estate_id=found["estate_id"],
            subject=found["name"],
            alert_class=AlertClass.PRIVACY,
            severity=Severity.HIGH,
            score=1.0,
            reasons=(found["reason"],),
            evidence={"who": found["name"], "count": found["count"], "limit": found["limit"]},
            policy_version="1",
            since_at=now,
        )
        raised += raise_alert(connection, wanted, actor="privacy watch").is_new
    return raised


def _unusual_looks(
    connection: Connection, policy: PeoplePolicy, now: datetime
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    by_who: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in people.looks(connection, now - timedelta(days=30)):
        by_who[row["name"], row["estate_id"]].append(row)
    for (name, estate_id), rows in by_who.items():
        today = [row for row in rows if row["asked_at"] > now - timedelta(days=1)]
        zone = ZoneInfo(rows[0]["timezone"])
        night = [
            row
            for row in today
            if not _NIGHT[1] <= row["asked_at"].astimezone(zone).hour < _NIGHT[0]
        ]
        persons = {row["person_id"] for row in today}
        most = max(Counter(row["person_id"] for row in rows).values())
        for reason, count, limit in (
            ("many_persons", len(persons), policy.unusual_per_day),
            ("at_night", len(night), policy.unusual_at_night),
            ("same_person", most, policy.unusual_at_one),
        ):
            # What was unusual long ago and not since is no news.
            if count >= limit and today:
                found.append(
                    {
                        "name": name,
                        "estate_id": estate_id,
                        "reason": reason,
                        "count": count,
                        "limit": limit,
                    }
                )
                break
    return found


def _unusual_homes(
    connection: Connection, policy: PeoplePolicy, now: datetime
) -> list[dict[str, Any]]:
    rows = people.homes_looked_at(connection, now - timedelta(days=1), policy.unusual_homes_per_day)
    return [
        {
            "name": r["name"],
            "estate_id": r["estate_id"],
            "reason": "many_homes",
            "count": r["homes"],
            "limit": policy.unusual_homes_per_day,
        }
        for r in rows
    ]
