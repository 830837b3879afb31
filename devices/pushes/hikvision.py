"""Hikvision access terminals: events pushed by ISAPI (`httpHosts`), and the pages of their own
event store.

Three envelopes are in the field, by firmware: the event at the top, inside `EventNotificationAlert`
(JSON or XML), and a list (`AcsEvent.InfoList`, the answer to a search by which missed events are
fetched). Each comes plain or as one part of a multipart body beside a picture. Names and pictures
are dropped; a heartbeat is answered and is a sign of life.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushBody,
    PushFormat,
    event_id,
    integer_of,
    json_body,
    nested,
    not_understood,
    number_of,
    read_body,
    table_at,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "hikvision"


class _Passage(NamedTuple):
    """How somebody was identified, and whether the door let them pass."""

    method: str
    outcome: str


class _Condition(NamedTuple):
    """A condition of the door or the device, and whether it begins or ends."""

    condition: str
    state: str


class EventCode(NamedTuple):
    """The major and the minor code by which a terminal names an event."""

    major: int
    minor: int


#: Major code of the access events.
_ACCESS = 5
_PASSAGES = {
    1: _Passage("card", "granted"),
    2: _Passage("card", "granted"),
    3: _Passage("card", "denied"),
    4: _Passage("card", "denied"),
    5: _Passage("card", "denied"),
    6: _Passage("card", "denied"),
    7: _Passage("card", "denied"),
    8: _Passage("card", "denied"),
    9: _Passage("card", "denied"),
    10: _Passage("card", "denied"),
    23: _Passage("button", "granted"),
    38: _Passage("fingerprint", "granted"),
    39: _Passage("fingerprint", "denied"),
    40: _Passage("card", "granted"),
    41: _Passage("card", "denied"),
    75: _Passage("face", "granted"),
    76: _Passage("face", "denied"),
    105: _Passage("id_card", "granted"),
    106: _Passage("id_card", "denied"),
}
_CONDITIONS = {
    EventCode(5, 27): _Condition("forced", "on"),
    EventCode(5, 28): _Condition("held_open", "on"),
    EventCode(5, 22): _Condition("held_open", "off"),
    EventCode(1, 1028): _Condition("tamper", "on"),
    EventCode(1, 1029): _Condition("tamper", "off"),
    EventCode(1, 1030): _Condition("tamper", "on"),
    EventCode(1, 1031): _Condition("tamper", "off"),
}
#: Minor codes of access events that report only the state of the door's lock.
_LOCK_STATES = frozenset({21, 24, 25, 26})
_HEARTBEATS = ("heartbeat", "videoloss")


def parse(content_type: str, body: bytes, tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse a push, or a page of the event store.

    Entries of a page that are not known are left out; a page without a known one is Rejected.
    """
    document = read_body(NAME, content_type, body)
    if isinstance(document, Rejected):
        return document
    entries = nested(document, "AcsEvent", "InfoList")
    if isinstance(entries, list | dict):
        return _parse_page(table_at(document, "AcsEvent"), entries, tokenize)
    alert = document
    if isinstance(document.get("EventNotificationAlert"), dict):
        alert = document["EventNotificationAlert"]
    message = _parse_alert(alert, tokenize)
    return message if isinstance(message, Rejected) else [message]


def _parse_page(
    page: dict[str, Any], entries: list[Any] | dict[str, Any], tokenize: Tokenizer
) -> list[ReceivedMessage] | Rejected:
    native = text_of(page.get("macAddress")) or "-"
    if isinstance(entries, dict):
        entries = [entries]
    messages: list[ReceivedMessage] = []
    rejections: list[Rejected] = []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        message = _parse_event(native, entry.get("time"), entry, tokenize)
        if isinstance(message, Rejected):
            rejections.append(message)
        else:
            messages.append(message)
    if rejections and not messages:
        return rejections[0]
    return messages


def _parse_alert(alert: dict[str, Any], tokenize: Tokenizer) -> ReceivedMessage | Rejected:
    native = _native_of(alert)
    event_type = text_of(alert.get("eventType"))
    event = alert.get("AccessControllerEvent")
    if event_type.lower() in _HEARTBEATS and not event:
        return ReceivedHeartbeat(native=native)
    if not isinstance(event, dict):
        detail = f"eventType {event_type!r} carries no AccessControllerEvent"
        return not_understood(NAME, detail)
    return _parse_event(native, alert.get("dateTime"), event, tokenize)


def _native_of(alert: dict[str, Any]) -> str:
    names = (text_of(alert.get(name)) for name in ("macAddress", "deviceID", "ipAddress"))
    return next((name.lower() for name in names if name), "-")


def _parse_event(
    native: str, time: Any, event: dict[str, Any], tokenize: Tokenizer
) -> ReceivedMessage | Rejected:
    major = integer_of(event.get("majorEventType", event.get("major")))
    minor = integer_of(event.get("subEventType", event.get("minor")))
    if major is None or minor is None:
        return not_understood(NAME, "the event has no majorEventType and subEventType")
    at = time_of(time)
    number = event_id("s", integer_of(event.get("serialNo")), major, minor, text_of(time))
    condition = _CONDITIONS.get(EventCode(major, minor))
    if condition is not None:
        data = {**condition._asdict(), **_place_of(event)}
        return ReceivedEvent(native=native, at=at, id=number, kind="device", data=data)
    if major == _ACCESS and minor in _LOCK_STATES:
        return ReceivedHeartbeat(native=native)
    if major != _ACCESS or minor not in _PASSAGES:
        return not_understood(NAME, f"event {major}/{minor} is not in the table of access events")
    data = _parse_passage(_PASSAGES[minor], event, tokenize)
    return ReceivedEvent(native=native, at=at, id=number, kind="passage", data=data)


def _place_of(event: dict[str, Any]) -> dict[str, str]:
    """Return the numbers of the door and the reader, as far as the event names them."""
    place = {"door": text_of(event.get("doorNo")), "reader": text_of(event.get("cardReaderNo"))}
    return {name: number for name, number in place.items() if number}


def _parse_passage(passage: _Passage, event: dict[str, Any], tokenize: Tokenizer) -> dict[str, Any]:
    data: dict[str, Any] = {
        **passage._asdict(),
        "direction": "unknown",
        **_place_of(event),
    }
    person = text_of(event.get("employeeNoString")) or text_of(event.get("employeeNo"))
    if person:
        data["person"] = tokenize("person", person)
    card = text_of(event.get("cardNo"))
    if card:
        data["credential"] = tokenize("card", card)
    similarity = number_of(event.get("similarity"))
    if similarity is not None:
        data["similarity"] = similarity
    mask = text_of(event.get("mask"))
    if mask not in ("", "unknown"):
        data["mask"] = mask
    return data


def render(message: ReceivedMessage) -> PushBody:
    """Write an event as a terminal pushes it.

    Raises: ValueError for what a terminal cannot say.
    """
    return json_body(event_envelope(message))


def event_envelope(message: ReceivedMessage) -> dict[str, Any]:
    """Write an event in the envelope that has it at the top.

    Raises: ValueError for what a terminal cannot say.
    """
    if isinstance(message, ReceivedHeartbeat):
        return {"macAddress": message.native, "eventType": "heartBeat", "eventState": "active"}
    if not isinstance(message, ReceivedEvent):
        raise ValueError(f"{NAME}: a terminal sends events only")
    _, serial, major, minor, time = message.id.split("-", 4)
    event: dict[str, Any] = {
        "majorEventType": int(major),
        "subEventType": int(minor),
        "serialNo": int(serial),
    }
    for name, field in (("door", "doorNo"), ("reader", "cardReaderNo")):
        if name in message.data:
            event[field] = int(message.data[name])
    for name, field in _IDENTITY_FIELDS:
        if name in message.data:
            event[field] = message.data[name]
    return {
        "ipAddress": "192.0.2.1",
        "macAddress": message.native,
        "dateTime": time,
        "eventType": "AccessControllerEvent",
        "eventState": "active",
        "AccessControllerEvent": event,
    }


_IDENTITY_FIELDS = (
    ("person", "employeeNoString"),
    ("credential", "cardNo"),
    ("similarity", "similarity"),
)


def event_codes(data: dict[str, Any]) -> EventCode:
    """Return the codes by which a terminal names a passage or a condition.

    Raises: ValueError for what a terminal cannot say.
    """
    if "condition" in data:
        wanted = _Condition(data["condition"], data["state"])
        for code, condition in _CONDITIONS.items():
            if condition == wanted:
                return code
    passage = (data.get("method"), data.get("outcome"))
    for minor, known in _PASSAGES.items():
        if known == passage:
            return EventCode(_ACCESS, minor)
    raise ValueError(f"{NAME}: no code for {data}")


PUSH = PushFormat(name=NAME, title="Hikvision access terminal (ISAPI)", parse=parse, render=render)
