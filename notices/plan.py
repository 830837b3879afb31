"""From a change of an alert to the messages that its rules ask for: pure, and planned once for each change.

A message is worded when it is planned, so that however often it is sent it is byte for byte the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from domain.access import CLASSES_OF, Role
from domain.alerting import AlertClass, Severity
from notices.rules import (
    CALLING,
    Channel,
    NoticeRule,
    NoticeRules,
    PushSettings,
    TemplateSettings,
    WebhookSettings,
)
from store.alerts.alerts import Alert
from store.database.connection import Connection
from store.notices import deliveries, push_subscriptions
from store.notices.deliveries import Delivery, QueuedChange

#: A change that is planned so long after it happened is news to nobody; a machine is told all the same.
OLD = timedelta(hours=24)


class PlannedNotice(NamedTuple):
    """An alert in words."""

    title: str
    sentence: str
    advice: str


#: Puts an alert into words of a language.
Describe = Callable[[Alert, str], PlannedNotice]
#: Lists the browsers (subscriptions as JSON) of a role's people who reach an estate.
Browsers = Callable[[Role, int], list[str]]


def plan_all(
    connection: Connection, notices: NoticeRules, describe: Describe, now: datetime
) -> int:
    """Plan every change that waits; returns how many messages came of it."""
    made = 0
    while True:
        with connection.transaction():
            changes = deliveries.take_changes(connection)
            wanted = [
                message
                for change in changes
                for message in plan(
                    change,
                    notices,
                    describe,
                    now,
                    partial(push_subscriptions.list_browsers, connection),
                )
            ]
            deliveries.add_deliveries(connection, wanted)
        made += len(wanted)
        if not changes:
            return made


def plan(
    change: QueuedChange,
    notices: NoticeRules,
    describe: Describe,
    now: datetime,
    browsers: Browsers = lambda _role, _estate: [],
) -> list[Delivery]:
    """Say which messages a change asks for; `change` is its row with its alert's columns, the estate's code and time zone."""
    made = []
    for rule in notices.rules:
        channel = notices.channels[rule.channel]
        machine = isinstance(channel, WebhookSettings)
        if not _asks(rule, change, seen=CLASSES_OF[channel.role], machine=machine):
            continue
        if not machine and now - change.changed_at > OLD:
            continue
        due_at = when(rule, change, now)
        if due_at is None:
            continue
        recipients = [""]
        if isinstance(channel, TemplateSettings):
            recipients = channel.to
        elif isinstance(channel, PushSettings):
            recipients = browsers(channel.role, change.alert.estate_id)
        for recipient in recipients:
            message_id = _id(change.seq, rule.name, recipient, 0)
            subject, body = _words(channel, change, describe, message_id)
            made.append(
                Delivery(
                    message_id=message_id,
                    channel=rule.channel,
                    rule=rule.name,
                    recipient=recipient,
                    alert_id=change.alert.id,
                    seq=change.seq,
                    urgent=change.alert.alert_class == AlertClass.LIFE_SAFETY,
                    unless=_unless(rule, machine=machine),
                    subject=subject,
                    body=body,
                    made_at=now,
                    due_at=due_at,
                )
            )
    return made


def again(sent: dict[str, Any], rule: NoticeRule, now: datetime) -> Delivery:
    """Make the next message of a rule that repeats until somebody has acknowledged."""
    number = int(sent["message_id"].rpartition("-")[2]) + 1
    kept = {name: sent[name] for name in Delivery.__slots__}
    return Delivery(
        **{
            **kept,
            "message_id": f"{sent['message_id'].rpartition('-')[0]}-{number}",
            "made_at": now,
            "due_at": now + timedelta(seconds=rule.repeat_s),
        }
    )


def when(rule: NoticeRule, change: QueuedChange, now: datetime) -> datetime | None:
    """Say when a rule's message is due: after its delay, out of its quiet hours, at its digest; None outside its hours."""
    zone = ZoneInfo(change.alert.timezone)
    due: datetime = max(now, change.changed_at + timedelta(seconds=rule.after_s))
    if rule.hours is not None and not _within(due.astimezone(zone).time(), rule.hours):
        return None
    if change.alert.alert_class == AlertClass.LIFE_SAFETY:
        return due
    if rule.digest_min:
        step = timedelta(minutes=rule.digest_min)
        midnight = datetime.combine(due.astimezone(zone).date(), time(0), tzinfo=zone)
        due = midnight + (-(-(due - midnight) // step)) * step
    if rule.quiet is not None and _within(due.astimezone(zone).time(), rule.quiet):
        local = due.astimezone(zone)
        end = datetime.combine(local.date(), rule.quiet[1], tzinfo=zone)
        due = end if end > local else end + timedelta(days=1)
    return due


def _within(local: time, hours: tuple[time, time]) -> bool:
    """Say whether a local time lies in hours that may reach over midnight."""
    begin, end = hours
    return begin <= local < end if begin < end else local >= begin or local < end


def _asks(rule: NoticeRule, change: QueuedChange, *, seen: frozenset[str], machine: bool) -> bool:
    steps = rule.steps if rule.steps is not None else None if machine else CALLING
    return (
        change.alert.alert_class in rule.classes
        and change.alert.alert_class in seen
        and Severity(change.alert.severity).rank >= rule.min_severity.rank
        and (rule.estates is None or change.alert.estate in rule.estates)
        and (steps is None or change.step in steps)
        and (rule.drills or not change.alert.drill)
        and (machine or change.alert.suppression == "none")
    )


def _unless(rule: NoticeRule, *, machine: bool) -> str:
    if machine:
        return "never"
    return (
        "acknowledged"
        if rule.after_s or rule.repeat_s
        else "over"
        if rule.digest_min or rule.quiet
        else "never"
    )


def _id(seq: int, rule: str, recipient: str, number: int) -> str:
    digest = hashlib.sha256(f"{rule}\0{recipient}".encode()).hexdigest()[:12]
    return f"msg_{seq}_{digest}-{number}"


def _words(
    channel: Channel,
    change: QueuedChange,
    describe: Describe,
    message_id: str,
) -> tuple[str, str]:
    said = describe(change.alert, channel.language)
    if isinstance(channel, WebhookSettings):
        return said.title, _cloud_event(change, said, message_id)
    mark = {"zh": "【演练】", "en": "[drill] "}[channel.language] if change.alert.drill else ""
    return (
        f"{mark}{said.title} · {change.alert.estate} · {change.alert.subject}",
        f"{said.sentence}\n{said.advice}",
    )


def _cloud_event(change: QueuedChange, said: PlannedNotice, message_id: str) -> str:
    """Word a change as a CloudEvent 1.0 in JSON (cloudevents.io, spec 1.0.2)."""
    shown = (
        "id",
        "estate",
        "detector",
        "subject_kind",
        "subject",
        "alert_class",
        "severity",
        "condition",
        "acknowledgement",
        "suppression",
        "drill",
        "occurrences",
        "version",
    )
    at = {
        name: None
        if getattr(change.alert, name) is None
        else getattr(change.alert, name).isoformat()
        for name in ("since_at", "raised_at", "ended_at")
    }
    data = {
        **{name: getattr(change.alert, name) for name in shown},
        **at,
        "step": change.step,
        "seq": change.seq,
        **said._asdict(),
    }
    return json.dumps(
        {
            "specversion": "1.0",
            "id": message_id,
            "source": f"/anju/{change.alert.estate}",
            "type": f"anju.alert.{change.step}",
            "subject": f"alerts/{change.alert.id}",
            "time": change.changed_at.isoformat(),
            "datacontenttype": "application/json",
            "data": data,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
