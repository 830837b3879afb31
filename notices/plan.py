"""From a change of an alert to the messages that the rules ask for.

Each change is planned once. A message is worded when it is planned, so however often it is sent,
it is byte for byte the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from math import ceil
from zoneinfo import ZoneInfo

from domain.access import CLASSES_OF, Role
from domain.alerting import AlertClass, Suppression
from notices.rules import (
    CALLING_STEPS,
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
from store.notices.deliveries import DropCondition, NewDelivery, QueuedChange

#: A change that is planned so long after it happened is no news to people; machines get it all the
#: same.
OLD = timedelta(hours=24)
_DRILL_MARKS = {"zh": "【演练】", "en": "[drill] "}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertWording:
    """An alert in words of one language."""

    title: str
    sentence: str
    advice: str


#: Puts an alert into words of a language.
Describe = Callable[[Alert, str], AlertWording]
#: Lists the browsers (subscriptions as JSON) of a role's people who see an estate.
Browsers = Callable[[Role, int], list[str]]


def plan_all(
    connection: Connection, notices: NoticeRules, describe: Describe, now: datetime
) -> int:
    """Plan every change that waits; returns how many messages were made."""
    browsers = partial(push_subscriptions.list_browsers, connection)
    total = 0
    while True:
        with connection.transaction():
            changes = deliveries.take_changes(connection)
            messages = [
                message
                for change in changes
                for message in plan(change, notices, describe, now, browsers)
            ]
            deliveries.add_deliveries(connection, messages)
        total += len(messages)
        if not changes:
            return total


def plan(
    change: QueuedChange,
    notices: NoticeRules,
    describe: Describe,
    now: datetime,
    browsers: Browsers = lambda _role, _estate: [],
) -> list[NewDelivery]:
    """Make the messages that a change asks for."""
    is_old = now - change.changed_at > OLD
    messages = []
    for rule in notices.rules:
        channel = notices.channels[rule.channel]
        if not applies(rule, channel, change) or (is_old and not channel.is_machine):
            continue
        due_at = find_due_time(rule, change, now)
        if due_at is None:
            continue
        wording = describe(change.alert, channel.language)
        for recipient in _list_recipients(channel, change.alert, browsers):
            message_id = make_message_id(change.seq, rule.name, recipient)
            text = _word_message(channel, change, wording, message_id)
            messages.append(
                NewDelivery(
                    message_id=message_id,
                    channel=rule.channel,
                    rule=rule.name,
                    recipient=recipient,
                    alert_id=change.alert.id,
                    seq=change.seq,
                    urgent=change.alert.alert_class is AlertClass.LIFE_SAFETY,
                    unless=find_drop_condition(rule, channel),
                    subject=text.subject,
                    body=text.body,
                    made_at=now,
                    due_at=due_at,
                )
            )
    return messages


def repeat_message(sent: NewDelivery, rule: NoticeRule, now: datetime) -> NewDelivery:
    """Make the next message of a rule that repeats until somebody has acknowledged the alert."""
    stem, _, number = sent.message_id.rpartition("-")
    return NewDelivery(
        message_id=f"{stem}-{int(number) + 1}",
        channel=sent.channel,
        rule=sent.rule,
        recipient=sent.recipient,
        alert_id=sent.alert_id,
        seq=sent.seq,
        urgent=sent.urgent,
        unless=sent.unless,
        subject=sent.subject,
        body=sent.body,
        made_at=now,
        due_at=now + timedelta(seconds=rule.repeat_s),
    )


def applies(rule: NoticeRule, channel: Channel, change: QueuedChange) -> bool:
    """Whether a rule asks for messages about a change that its channel's role may see."""
    alert = change.alert
    if alert.alert_class not in rule.classes or alert.alert_class not in CLASSES_OF[channel.role]:
        return False
    if alert.severity.rank < rule.min_severity.rank:
        return False
    if rule.estates is not None and alert.estate not in rule.estates:
        return False
    if alert.drill and not rule.drills:
        return False
    if alert.suppression is not Suppression.NONE and not channel.is_machine:
        return False
    if rule.steps is not None:
        return change.step in rule.steps
    return channel.is_machine or change.step in CALLING_STEPS


def find_due_time(rule: NoticeRule, change: QueuedChange, now: datetime) -> datetime | None:
    """Find when a rule's message is due; None where that is outside the rule's hours.

    It is due after the rule's delay. What can wait also waits for its digest and the end of quiet
    hours; life safety never does.
    """
    zone = ZoneInfo(change.alert.timezone)
    due_at = max(now, change.changed_at + timedelta(seconds=rule.after_s))
    if rule.hours is not None and not _is_within(due_at.astimezone(zone).time(), rule.hours):
        return None
    if change.alert.alert_class is AlertClass.LIFE_SAFETY:
        return due_at
    if rule.digest_min:
        due_at = _next_digest(due_at, timedelta(minutes=rule.digest_min), zone)
    if rule.quiet is not None and _is_within(due_at.astimezone(zone).time(), rule.quiet):
        due_at = _next_time(due_at, rule.quiet[1], zone)
    return due_at


def find_drop_condition(rule: NoticeRule, channel: Channel) -> DropCondition:
    """Find when a rule's message is dropped before it was sent.

    A machine gets every message. A person who is called again, or called late, need not be called
    once somebody has acknowledged; a message that waits need not be sent once the alert is over.
    """
    if channel.is_machine:
        return DropCondition.NEVER
    if rule.after_s or rule.repeat_s:
        return DropCondition.ACKNOWLEDGED
    if rule.digest_min or rule.quiet:
        return DropCondition.OVER
    return DropCondition.NEVER


def make_message_id(seq: int, rule: str, recipient: str) -> str:
    """Make the id of a rule's first message about a change to one recipient."""
    digest = hashlib.sha256(f"{rule}\0{recipient}".encode()).hexdigest()[:12]
    return f"msg_{seq}_{digest}-0"


def _list_recipients(channel: Channel, alert: Alert, browsers: Browsers) -> list[str]:
    """List a channel's recipients; a channel that has one way for all of them has the empty one."""
    if isinstance(channel, TemplateSettings):
        return channel.to
    if isinstance(channel, PushSettings):
        return browsers(channel.role, alert.estate_id)
    return [""]


def _is_within(local: time, hours: tuple[time, time]) -> bool:
    """Whether a local time lies in hours that may reach over midnight."""
    begin, end = hours
    if begin < end:
        return begin <= local < end
    return local >= begin or local < end


def _next_digest(at: datetime, interval: timedelta, zone: ZoneInfo) -> datetime:
    """Return the first digest at or after an instant; digests count from local midnight."""
    midnight = datetime.combine(at.astimezone(zone).date(), time(0), tzinfo=zone)
    return midnight + ceil((at - midnight) / interval) * interval


def _next_time(at: datetime, clock: time, zone: ZoneInfo) -> datetime:
    """Return the first instant after another at which it is a local time."""
    local = at.astimezone(zone)
    today = datetime.combine(local.date(), clock, tzinfo=zone)
    return today if today > local else today + timedelta(days=1)


# Words --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _MessageText:
    subject: str
    body: str


def _word_message(
    channel: Channel, change: QueuedChange, wording: AlertWording, message_id: str
) -> _MessageText:
    if isinstance(channel, WebhookSettings):
        event = _make_cloud_event(change, wording, message_id)
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        return _MessageText(subject=wording.title, body=body)
    alert = change.alert
    mark = _DRILL_MARKS[channel.language] if alert.drill else ""
    return _MessageText(
        subject=f"{mark}{wording.title} · {alert.estate} · {alert.subject}",
        body=f"{wording.sentence}\n{wording.advice}",
    )


def _make_cloud_event(
    change: QueuedChange, wording: AlertWording, message_id: str
) -> dict[str, object]:
    """Make the CloudEvent of a change (cloudevents.io, specification 1.0.2)."""
    alert = change.alert
    return {
        "specversion": "1.0",
        "id": message_id,
        "source": f"/anju/{alert.estate}",
        "type": f"anju.alert.{change.step}",
        "subject": f"alerts/{alert.id}",
        "time": change.changed_at.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "id": alert.id,
            "estate": alert.estate,
            "detector": alert.detector,
            "subject_kind": alert.subject_kind,
            "subject": alert.subject,
            "alert_class": alert.alert_class,
            "severity": alert.severity,
            "condition": alert.condition,
            "acknowledgement": alert.acknowledgement,
            "suppression": alert.suppression,
            "drill": alert.drill,
            "occurrences": alert.occurrences,
            "version": alert.version,
            "since_at": alert.since_at.isoformat(),
            "raised_at": alert.raised_at.isoformat(),
            "ended_at": None if alert.ended_at is None else alert.ended_at.isoformat(),
            "step": change.step,
            "seq": change.seq,
            "title": wording.title,
            "sentence": wording.sentence,
            "advice": wording.advice,
        },
    }
