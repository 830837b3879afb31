"""Dahua access controllers and video door stations: `AccessControl` events, as JSON or as lines of
the CGI's text form.

Names, passwords and picture addresses are dropped.
"""

from __future__ import annotations

import re
from typing import Any

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushBody,
    PushFormat,
    event_id,
    integer_of,
    json_body,
    not_understood,
    read_body,
    table_at,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "dahua"

#: `Method` of an access event.
_METHODS = {
    0: "code",
    1: "card",
    2: "card",
    3: "code",
    4: "remote",
    5: "button",
    6: "fingerprint",
    15: "face",
}
_CONDITIONS = {
    "AlarmLocal": "other",
    "ProfileAlarmTransmit": "other",
    "DoorStatus": "held_open",
    "BreakIn": "forced",
    "DoorNotClosed": "held_open",
    "ChassisIntruded": "tamper",
}
_LINE = re.compile(rb"Code=(\w{1,40});action=(\w{1,20});index=(\d{1,6})(?:;data=(\{.*\}))?", re.S)


_HEARTBEATS = ("KeepAlive", "Heartbeat", "TimeChange", "NTPAdjustTime")
_OUTCOMES = {1: "granted", 0: "denied"}
_DIRECTIONS = {"Entry": "in", "Exit": "out"}
#: The first bytes of a body in which a line of the text form is searched.
_LINE_SEARCH = 65_536


def parse(content_type: str, body: bytes, tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse one event."""
    event = _read_event(content_type, body)
    if isinstance(event, Rejected):
        return event
    code = text_of(event.get("Code"))
    data = table_at(event, "Data")
    native = _native_of(event, data)
    if code in _HEARTBEATS:
        return [ReceivedHeartbeat(native=native)]
    if code in _CONDITIONS:
        return [_parse_condition(native, code, text_of(event.get("Action")), data)]
    if code != "AccessControl":
        return not_understood(NAME, f"code {code!r} is not read")
    return [_parse_passage(native, data, tokenize)]


def _read_event(content_type: str, body: bytes) -> dict[str, Any] | Rejected:
    """Read an event in the CGI's text form, or as an object."""
    line = _LINE.search(body[:_LINE_SEARCH])
    if line is None:
        return read_body(NAME, content_type, body)
    event: dict[str, Any] = {"Code": line[1].decode(), "Action": line[2].decode()}
    if line[4]:
        data = read_body(NAME, "application/json", line[4])
        if isinstance(data, Rejected):
            return data
        event["Data"] = data
    return event


def _native_of(event: dict[str, Any], data: dict[str, Any]) -> str:
    names = (event.get("serial"), data.get("SN"), event.get("mac"))
    native = next((text for text in map(text_of, names) if text), "-")
    return native.lower()


def _parse_condition(native: str, code: str, action: str, data: dict[str, Any]) -> ReceivedEvent:
    at = time_of(data.get("UTC"))
    state = "off" if action == "Stop" else "on"
    return ReceivedEvent(
        native=native,
        at=at,
        id=event_id(code, action, at),
        kind="device",
        data={"condition": _CONDITIONS[code], "state": state},
    )


def _parse_passage(native: str, data: dict[str, Any], tokenize: Tokenizer) -> ReceivedEvent:
    at = time_of(data.get("UTC"))
    status = integer_of(data.get("Status"))
    passage: dict[str, Any] = {
        "method": _METHODS.get(integer_of(data.get("Method")) or 0, "card"),
        "outcome": "unknown" if status is None else _OUTCOMES.get(status, "unknown"),
        "direction": _DIRECTIONS.get(text_of(data.get("Type")), "unknown"),
    }
    person = text_of(data.get("UserID"))
    if person:
        passage["person"] = tokenize("person", person)
    card = text_of(data.get("CardNo"))
    if card:
        passage["credential"] = tokenize("card", card)
    reader = text_of(data.get("ReaderID"))
    if reader:
        passage["reader"] = reader
    number = event_id("r", integer_of(data.get("RecNo")), at)
    return ReceivedEvent(native=native, at=at, id=number, kind="passage", data=passage)


def render(message: ReceivedMessage) -> PushBody:
    """Write a passage as a controller pushes it.

    Raises: ValueError for what a controller cannot say.
    """
    if isinstance(message, ReceivedHeartbeat):
        return json_body({"Code": "KeepAlive", "Action": "Pulse", "serial": message.native})
    if not isinstance(message, ReceivedEvent) or message.kind != "passage":
        raise ValueError(f"{NAME}: a controller sends passages only")
    if not isinstance(message.at, int):
        raise ValueError(f"{NAME}: a controller sends its time with an offset")
    body = {
        "Action": "Pulse",
        "Code": "AccessControl",
        "Index": 0,
        "serial": message.native,
        "Data": _render_passage(message.id, message.at, message.data),
    }
    return json_body(body)


def _render_passage(number: str, at: int, passage: dict[str, Any]) -> dict[str, Any]:
    method = passage["method"]
    data: dict[str, Any] = {
        "Method": next(code for code, name in _METHODS.items() if name == method),
        "RecNo": int(number.split("-")[1]),
        "UTC": at // 1000,
        "Type": {"in": "Entry", "out": "Exit"}.get(passage["direction"], ""),
    }
    if passage["outcome"] != "unknown":
        data["Status"] = 1 if passage["outcome"] == "granted" else 0
    for name, field in (("person", "UserID"), ("credential", "CardNo"), ("reader", "ReaderID")):
        if name in passage:
            data[field] = passage[name]
    return data


PUSH = PushFormat(name=NAME, title="Dahua access controller", parse=parse, render=render)
