"""Dahua access controllers and video door stations: `AccessControl` events, as JSON or as lines of the CGI's text form.

Names, passwords and picture addresses are dropped.
"""

from __future__ import annotations

import re
from typing import Any

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushFormat,
    encode_json,
    event_id,
    integer_of,
    not_understood,
    read_body,
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


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Read one event."""
    line = _LINE.search(body[:65_536]) if b"Code=" in body[:65_536] else None
    found: dict[str, Any] | Rejected
    if line:
        found = {"Code": line[1].decode(), "Action": line[2].decode()}
        if line[4]:
            data = read_body(NAME, "application/json", line[4])
            if isinstance(data, Rejected):
                return data
            found["Data"] = data
    else:
        found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    code, action = text_of(found.get("Code")), text_of(found.get("Action"))
    data = found["Data"] if isinstance(found.get("Data"), dict) else {}
    native = (
        text_of(found.get("serial")) or text_of(data.get("SN")) or text_of(found.get("mac"))
    ).lower() or "-"
    if code in ("KeepAlive", "Heartbeat", "TimeChange", "NTPAdjustTime"):
        return [ReceivedHeartbeat(native=native)]
    at = time_of(data.get("UTC"))
    if code in _CONDITIONS:
        state = "off" if action == "Stop" else "on"
        word = {"condition": _CONDITIONS[code], "state": state}
        return [
            ReceivedEvent(
                native=native, at=at, id=event_id(code, action, at), kind="device", data=word
            )
        ]
    if code != "AccessControl":
        return not_understood(NAME, f"code {code!r} is not read")
    method = _METHODS.get(integer_of(data.get("Method")) or 0, "card")
    status = integer_of(data.get("Status"))
    out: dict[str, Any] = {
        "method": method,
        "outcome": {1: "granted", 0: "denied"}.get(-1 if status is None else status, "unknown"),
        "direction": {"Entry": "in", "Exit": "out"}.get(text_of(data.get("Type")), "unknown"),
    }
    for ours, theirs, kind in (("person", "UserID", "person"), ("credential", "CardNo", "card")):
        if text_of(data.get(theirs)):
            out[ours] = tokens(kind, text_of(data[theirs]))
    if text_of(data.get("ReaderID")):
        out["reader"] = text_of(data["ReaderID"])
    return [
        ReceivedEvent(
            native=native,
            at=at,
            id=event_id("r", integer_of(data.get("RecNo")), at),
            kind="passage",
            data=out,
        )
    ]


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write a passage as a controller pushes it.

    Raises: ValueError for what a controller cannot say.
    """
    if isinstance(heard, ReceivedHeartbeat):
        return "application/json", encode_json(
            {"Code": "KeepAlive", "Action": "Pulse", "serial": heard.native}
        )
    if (
        not isinstance(heard, ReceivedEvent)
        or heard.kind != "passage"
        or not isinstance(heard.at, int)
    ):
        raise ValueError(f"{NAME}: a controller sends passages only")
    said = heard.data
    data: dict[str, Any] = {
        "Method": next(code for code, method in _METHODS.items() if method == said["method"]),
        "RecNo": int(heard.id.split("-")[1]),
        "UTC": heard.at // 1000,
        "Type": {"in": "Entry", "out": "Exit"}.get(said["direction"], ""),
    }
    if said["outcome"] != "unknown":
        data["Status"] = 1 if said["outcome"] == "granted" else 0
    for ours, theirs in (("person", "UserID"), ("credential", "CardNo"), ("reader", "ReaderID")):
        if ours in said:
            data[theirs] = said[ours]
    body = {
        "Action": "Pulse",
        "Code": "AccessControl",
        "Index": 0,
        "serial": heard.native,
        "Data": data,
    }
    return "application/json", encode_json(body)


PUSH = PushFormat(name=NAME, title="Dahua access controller", parse=parse, render=render)
