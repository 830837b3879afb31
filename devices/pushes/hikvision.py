"""Hikvision access terminals: events pushed by ISAPI (`httpHosts`), and the pages of their own event store.

Three envelopes are in the field, by firmware: the event at the top, inside `EventNotificationAlert` (JSON or XML), and a
list (`AcsEvent.InfoList`, the answer to a search by which missed events are fetched). Each comes plain or as one part of a
multipart body beside a picture. Names and pictures are dropped; a heartbeat is answered and is a sign of life.
"""

from __future__ import annotations

from typing import Any

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushFormat,
    encode_json,
    event_id,
    integer_of,
    nested,
    not_understood,
    number_of,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "hikvision"

#: Minor codes of major 5, the access events: (method, outcome). None takes the method from `currentVerifyMode`.
_PASSAGES: dict[int, tuple[str | None, str]] = {
    1: ("card", "granted"),
    2: ("card", "granted"),
    3: ("card", "denied"),
    4: ("card", "denied"),
    5: ("card", "denied"),
    6: ("card", "denied"),
    7: ("card", "denied"),
    8: ("card", "denied"),
    9: ("card", "denied"),
    10: ("card", "denied"),
    23: ("button", "granted"),
    38: ("fingerprint", "granted"),
    39: ("fingerprint", "denied"),
    40: ("card", "granted"),
    41: ("card", "denied"),
    75: ("face", "granted"),
    76: ("face", "denied"),
    105: ("id_card", "granted"),
    106: ("id_card", "denied"),
}
#: Codes that say something of the door or the device: (condition, state).
_CONDITIONS: dict[tuple[int, int], tuple[str, str]] = {
    (5, 27): ("forced", "on"),
    (5, 28): ("held_open", "on"),
    (5, 22): ("held_open", "off"),
    (1, 1028): ("tamper", "on"),
    (1, 1029): ("tamper", "off"),
    (1, 1030): ("tamper", "on"),
    (1, 1031): ("tamper", "off"),
}
#: Minor codes of major 5 that only say how the door's lock stands.
_QUIET = frozenset({21, 24, 25, 26})
_MODES = {
    "face": "face",
    "card": "card",
    "fp": "fingerprint",
    "fingerprint": "fingerprint",
    "pw": "code",
    "qrcode": "qr",
    "qr": "qr",
    "idcard": "id_card",
}


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Read a push or a page of the event store."""
    found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    listed = nested(found, "AcsEvent", "InfoList")
    if isinstance(listed, list | dict):
        native = text_of(nested(found, "AcsEvent", "macAddress")) or "-"
        entries = listed if isinstance(listed, list) else [listed]
        outcomes = [
            _access(native, entry.get("time"), entry, tokens)
            for entry in entries
            if isinstance(entry, dict)
        ]
    else:
        alert = (
            found["EventNotificationAlert"]
            if isinstance(found.get("EventNotificationAlert"), dict)
            else found
        )
        native = (
            text_of(alert.get("macAddress"))
            or text_of(alert.get("deviceID"))
            or text_of(alert.get("ipAddress"))
        )
        native = native.lower() or "-"
        if text_of(alert.get("eventType")).lower() in ("heartbeat", "videoloss") and not alert.get(
            "AccessControllerEvent"
        ):
            return [ReceivedHeartbeat(native=native)]
        event = alert.get("AccessControllerEvent")
        if not isinstance(event, dict):
            return not_understood(
                NAME,
                f"eventType {text_of(alert.get('eventType'))!r} carries no AccessControllerEvent",
            )
        outcomes = [_access(native, alert.get("dateTime"), event, tokens)]
    heard = [item for item in outcomes if not isinstance(item, Rejected)]
    if heard or not outcomes:
        return heard
    first = outcomes[0]
    return first if isinstance(first, Rejected) else []


def _access(
    native: str, time: Any, event: dict[str, Any], tokens: Tokenizer
) -> ReceivedMessage | Rejected:
    major = integer_of(event.get("majorEventType", event.get("major")))
    minor = integer_of(event.get("subEventType", event.get("minor")))
    if major is None or minor is None:
        return not_understood(NAME, "the event has no majorEventType and subEventType")
    at = time_of(time)
    number_of_it = event_id("s", integer_of(event.get("serialNo")), major, minor, text_of(time))
    place = {"door": text_of(event.get("doorNo")), "reader": text_of(event.get("cardReaderNo"))}
    place = {name: value for name, value in place.items() if value}
    if (major, minor) in _CONDITIONS:
        condition, state = _CONDITIONS[major, minor]
        data = {"condition": condition, "state": state, **place}
        return ReceivedEvent(native=native, at=at, id=number_of_it, kind="device", data=data)
    if major != 5 or (minor not in _PASSAGES and minor not in _QUIET):
        return not_understood(NAME, f"event {major}/{minor} is not in the table of access events")
    if minor in _QUIET:
        return ReceivedHeartbeat(native=native)
    method, outcome = _PASSAGES[minor]
    data = {"method": method or _method(event), "outcome": outcome, "direction": "unknown", **place}
    person, card = (
        text_of(event.get("employeeNoString")) or text_of(event.get("employeeNo")),
        text_of(event.get("cardNo")),
    )
    if person:
        data["person"] = tokens("person", person)
    if card:
        data["credential"] = tokens("card", card)
    for ours, theirs in (("similarity", "similarity"), ("mask", "mask")):
        value: Any = (
            number_of(event.get(theirs)) if ours == "similarity" else text_of(event.get(theirs))
        )
        if value not in (None, "", "unknown"):
            data[ours] = value
    return ReceivedEvent(native=native, at=at, id=number_of_it, kind="passage", data=data)


def _method(event: dict[str, Any]) -> str:
    mode = text_of(event.get("currentVerifyMode")).lower()
    return next((ours for theirs, ours in _MODES.items() if mode.startswith(theirs)), "card")


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write an event as a terminal pushes it."""
    return "application/json", encode_json(event_envelope(heard))


def event_envelope(heard: ReceivedMessage) -> dict[str, Any]:
    """Write an event in the envelope that stands at the top.

    Raises: ValueError for what a terminal cannot say.
    """
    if isinstance(heard, ReceivedHeartbeat):
        return {"macAddress": heard.native, "eventType": "heartBeat", "eventState": "active"}
    if not isinstance(heard, ReceivedEvent):
        raise ValueError(f"{NAME}: a terminal sends events only")
    _, serial, major, minor, time = heard.id.split("-", 4)
    event: dict[str, Any] = {
        "majorEventType": int(major),
        "subEventType": int(minor),
        "serialNo": int(serial),
    }
    for ours, theirs in (("door", "doorNo"), ("reader", "cardReaderNo")):
        if ours in heard.data:
            event[theirs] = int(heard.data[ours])
    for ours, theirs in (
        ("person", "employeeNoString"),
        ("credential", "cardNo"),
        ("similarity", "similarity"),
    ):
        if ours in heard.data:
            event[theirs] = heard.data[ours]
    return {
        "ipAddress": "192.0.2.1",
        "macAddress": heard.native,
        "dateTime": time,
        "eventType": "AccessControllerEvent",
        "eventState": "active",
        "AccessControllerEvent": event,
    }


def event_codes(data: dict[str, Any]) -> tuple[int, int]:
    """Tell the major and minor code by which a terminal says a passage or a condition.

    Raises: ValueError for what a terminal cannot say.
    """
    if "condition" in data:
        for code, said in _CONDITIONS.items():
            if said == (data["condition"], data["state"]):
                return code
    for minor, passage in _PASSAGES.items():
        if passage == (data.get("method"), data.get("outcome")):
            return 5, minor
    raise ValueError(f"{NAME}: no code for {data}")


PUSH = PushFormat(name=NAME, title="Hikvision access terminal (ISAPI)", parse=parse, render=render)
