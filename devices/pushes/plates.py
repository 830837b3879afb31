"""Number-plate cameras at a gate (`AlarmInfoPlate`, as several makers push it over HTTP or MQTT).

A plate never leaves this module: it becomes a token. What the camera answers with opens no barrier from here.
"""

from __future__ import annotations

import base64
import binascii
import re
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

NAME = "plates"

#: A mainland plate: province, letter, five or six of letters and digits (GA 36-2018).
_PLATE = re.compile(r"[\u4e00-\u9fff][A-Z][A-Z0-9]{4,5}[A-Z0-9\u4e00-\u9fff]")


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Read one recognition."""
    found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    alarm = found.get("AlarmInfoPlate")
    if not isinstance(alarm, dict):
        if any(name in found for name in ("heartbeat", "keep_alive", "SerialData")):
            return [ReceivedHeartbeat(native=text_of(found.get("serialno")).lower() or "-")]
        return not_understood(NAME, "no AlarmInfoPlate")
    native = text_of(alarm.get("serialno")).lower() or "-"
    result = nested(alarm, "result", "PlateResult")
    if not isinstance(result, dict):
        return not_understood(NAME, "no PlateResult")
    at = time_of(nested(result, "timeStamp", "Timeval", "sec"))
    data: dict[str, Any] = {"direction": "unknown"}
    plate = _plate(text_of(result.get("license")))
    if plate:
        data["plate"] = tokens("plate", plate)
    confidence = number_of(result.get("confidence"))
    if confidence is not None:
        data["confidence"] = confidence
    unique = text_of(result.get("unique_id")) or text_of(result.get("plateid"))
    return [
        ReceivedEvent(native=native, at=at, id=event_id("p", unique, at), kind="plate", data=data)
    ]


def _plate(text: str) -> str:
    """Return the plate, which some firmware wraps in Base64; empty where the camera saw a vehicle without one."""
    if text in ("", "_无_", "无牌车"):
        return ""
    if not _PLATE.fullmatch(text):
        try:
            inner = base64.b64decode(text, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return text
        if _PLATE.fullmatch(inner):
            return inner
    return text


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write a recognition as a camera pushes it.

    Raises: ValueError for what a camera cannot say.
    """
    if (
        not isinstance(heard, ReceivedEvent)
        or heard.kind != "plate"
        or not isinstance(heard.at, int)
    ):
        raise ValueError(f"{NAME}: a camera sends plates only")
    whole_number = integer_of(heard.id.split("-")[1])
    result = {
        "license": heard.data.get("plate", "_无_"),
        "plateid": whole_number,
        "timeStamp": {"Timeval": {"sec": heard.at // 1000, "usec": 0}},
    }
    if "confidence" in heard.data:
        result["confidence"] = heard.data["confidence"]
    body = {
        "AlarmInfoPlate": {
            "serialno": heard.native,
            "channel": 0,
            "result": {"PlateResult": result},
        }
    }
    return "application/json", encode_json(body)


PUSH = PushFormat(
    name=NAME,
    title="Number-plate camera",
    parse=parse,
    render=render,
    answer=b'{"Response_AlarmInfoPlate":{"info":"","channelNum":0}}',
)
