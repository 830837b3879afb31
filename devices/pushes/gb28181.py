"""GB/T 28181 alarms: the body of a `MESSAGE` (annex A.2.5), as a SIP server in front of the cameras hands it on."""

from __future__ import annotations

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushFormat,
    event_id,
    integer_of,
    nested,
    not_understood,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "gb28181"

#: AlarmMethod 2 (the device itself) by AlarmType, and the methods that have one meaning.
_BY_TYPE = {1: "fault", 2: "tamper", 3: "fault", 4: "fault", 5: "fault"}


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:  # noqa: ARG001
    """Read one notification."""
    found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    notify = found.get("Notify")
    native, kind = text_of(nested(notify, "DeviceID")), text_of(nested(notify, "CmdType"))
    if not isinstance(notify, dict) or not native:
        return not_understood(NAME, "no Notify with a DeviceID")
    if kind == "Keepalive":
        return [ReceivedHeartbeat(native=native)]
    if kind != "Alarm":
        return not_understood(NAME, f"CmdType {kind!r} is not read")
    method = integer_of(notify.get("AlarmMethod")) or 0
    kind_of_it = (
        integer_of(nested(notify, "Info", "AlarmType")) or integer_of(notify.get("AlarmType")) or 0
    )
    condition = (
        "fault" if method == 6 else _BY_TYPE.get(kind_of_it, "other") if method == 2 else "other"
    )
    data = {
        "condition": condition,
        "state": "on",
        "priority": integer_of(notify.get("AlarmPriority")) or 0,
        "method": method,
    }
    if kind_of_it:
        data["type"] = kind_of_it
    time = text_of(notify.get("AlarmTime"))
    number = event_id("n", integer_of(notify.get("SN")), time)
    return [ReceivedEvent(native=native, at=time_of(time), id=number, kind="device", data=data)]


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write a notification.

    Raises: ValueError for what it cannot say.
    """
    if isinstance(heard, ReceivedHeartbeat):
        body = f"<Notify><CmdType>Keepalive</CmdType><SN>1</SN><DeviceID>{heard.native}</DeviceID></Notify>"
    elif isinstance(heard, ReceivedEvent) and heard.kind == "device":
        _, serial, time = heard.id.split("-", 2)
        info = (
            f"<Info><AlarmType>{heard.data['type']}</AlarmType></Info>"
            if "type" in heard.data
            else ""
        )
        body = (
            f"<Notify><CmdType>Alarm</CmdType><SN>{serial}</SN><DeviceID>{heard.native}</DeviceID>"
            f"<AlarmPriority>{heard.data['priority']}</AlarmPriority><AlarmMethod>{heard.data['method']}</AlarmMethod>"
            f"<AlarmTime>{time}</AlarmTime>{info}</Notify>"
        )
    else:
        raise ValueError(f"{NAME}: alarms only")
    return "application/xml", f'<?xml version="1.0" encoding="GB2312"?>\n{body}'.encode("gb18030")


PUSH = PushFormat(
    name=NAME, title="GB/T 28181 alarm", parse=parse, render=render, answer_type="text/plain"
)
