"""GB/T 28181 alarms: the body of a `MESSAGE` (annex A.2.5), as a SIP server in front of the cameras
hands it on.
"""

from __future__ import annotations

from typing import Any

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushBody,
    PushFormat,
    event_id,
    integer_of,
    nested,
    not_understood,
    read_body,
    table_at,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "gb28181"

#: AlarmMethod: alarms of the device itself, and device failures.
_DEVICE_ALARM = 2
_DEVICE_FAILURE = 6
#: AlarmType of the alarms of the device itself, as conditions.
_DEVICE_CONDITIONS = {1: "fault", 2: "tamper", 3: "fault", 4: "fault", 5: "fault"}


def parse(content_type: str, body: bytes, _tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse one notification."""
    document = read_body(NAME, content_type, body)
    if isinstance(document, Rejected):
        return document
    notify = table_at(document, "Notify")
    native = text_of(notify.get("DeviceID"))
    if not native:
        return not_understood(NAME, "no Notify with a DeviceID")
    command = text_of(notify.get("CmdType"))
    if command == "Keepalive":
        return [ReceivedHeartbeat(native=native)]
    if command != "Alarm":
        return not_understood(NAME, f"CmdType {command!r} is not read")
    return [_parse_alarm(native, notify)]


def _parse_alarm(native: str, notify: dict[str, Any]) -> ReceivedEvent:
    method = integer_of(notify.get("AlarmMethod")) or 0
    alarm_type = integer_of(nested(notify, "Info", "AlarmType"))
    if not alarm_type:
        alarm_type = integer_of(notify.get("AlarmType"))
    data: dict[str, Any] = {
        "condition": _condition_of(method, alarm_type or 0),
        "state": "on",
        "priority": integer_of(notify.get("AlarmPriority")) or 0,
        "method": method,
    }
    if alarm_type:
        data["type"] = alarm_type
    time = text_of(notify.get("AlarmTime"))
    number = event_id("n", integer_of(notify.get("SN")), time)
    return ReceivedEvent(native=native, at=time_of(time), id=number, kind="device", data=data)


def _condition_of(method: int, alarm_type: int) -> str:
    if method == _DEVICE_FAILURE:
        return "fault"
    if method == _DEVICE_ALARM:
        return _DEVICE_CONDITIONS.get(alarm_type, "other")
    return "other"


def render(message: ReceivedMessage) -> PushBody:
    """Write a notification.

    Raises: ValueError for what a notification cannot say.
    """
    if isinstance(message, ReceivedHeartbeat):
        notify = {"CmdType": "Keepalive", "SN": "1", "DeviceID": message.native}
        return _notify_body(notify)
    if not isinstance(message, ReceivedEvent) or message.kind != "device":
        raise ValueError(f"{NAME}: alarms only")
    _, serial, time = message.id.split("-", 2)
    notify = {
        "CmdType": "Alarm",
        "SN": serial,
        "DeviceID": message.native,
        "AlarmPriority": message.data["priority"],
        "AlarmMethod": message.data["method"],
        "AlarmTime": time,
    }
    if "type" in message.data:
        notify["Info"] = f"<AlarmType>{message.data['type']}</AlarmType>"
    return _notify_body(notify)


def _notify_body(elements: dict[str, Any]) -> PushBody:
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in elements.items())
    document = f'<?xml version="1.0" encoding="GB2312"?>\n<Notify>{inner}</Notify>'
    return PushBody("application/xml", document.encode("gb18030"))


PUSH = PushFormat(
    name=NAME, title="GB/T 28181 alarm", parse=parse, render=render, answer_type="text/plain"
)
