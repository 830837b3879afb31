"""Number-plate cameras at a gate (`AlarmInfoPlate`, as several makers push it over HTTP or MQTT).

A plate never leaves this module: it becomes a token. What the camera answers with opens no barrier
from here.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

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
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "plates"

#: A mainland plate: province, letter, five or six of letters and digits (GA 36-2018).
_PLATE = re.compile(r"[\u4e00-\u9fff][A-Z][A-Z0-9]{4,5}[A-Z0-9\u4e00-\u9fff]")


#: Texts for a vehicle without a plate.
_NO_PLATE = ("", "_无_", "无牌车")
#: Fields of a body that says only that the camera is alive.
_HEARTBEAT_FIELDS = ("heartbeat", "keep_alive", "SerialData")


def parse(content_type: str, body: bytes, tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse one recognition."""
    document = read_body(NAME, content_type, body)
    if isinstance(document, Rejected):
        return document
    alarm = document.get("AlarmInfoPlate")
    if not isinstance(alarm, dict):
        if any(name in document for name in _HEARTBEAT_FIELDS):
            return [ReceivedHeartbeat(native=_native_of(document))]
        return not_understood(NAME, "no AlarmInfoPlate")
    result = nested(alarm, "result", "PlateResult")
    if not isinstance(result, dict):
        return not_understood(NAME, "no PlateResult")
    return [_parse_result(_native_of(alarm), result, tokenize)]


def _native_of(table: dict[str, Any]) -> str:
    return text_of(table.get("serialno")).lower() or "-"


def _parse_result(native: str, result: dict[str, Any], tokenize: Tokenizer) -> ReceivedEvent:
    data: dict[str, Any] = {"direction": "unknown"}
    plate = _read_plate(text_of(result.get("license")))
    if plate:
        data["plate"] = tokenize("plate", plate)
    confidence = number_of(result.get("confidence"))
    if confidence is not None:
        data["confidence"] = confidence
    at = time_of(nested(result, "timeStamp", "Timeval", "sec"))
    number = text_of(result.get("unique_id")) or text_of(result.get("plateid"))
    return ReceivedEvent(
        native=native, at=at, id=event_id("p", number, at), kind="plate", data=data
    )


def _read_plate(text: str) -> str:
    """Return the plate, which some firmware wraps in Base64; empty for a vehicle without one."""
    if text in _NO_PLATE:
        return ""
    if _PLATE.fullmatch(text):
        return text
    try:
        unwrapped = base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return text
    return unwrapped if _PLATE.fullmatch(unwrapped) else text


def render(message: ReceivedMessage) -> PushBody:
    """Write a recognition as a camera pushes it.

    Raises: ValueError for what a camera cannot say.
    """
    if not isinstance(message, ReceivedEvent) or message.kind != "plate":
        raise ValueError(f"{NAME}: a camera sends plates only")
    if not isinstance(message.at, int):
        raise ValueError(f"{NAME}: a camera sends its time with an offset")
    result = {
        "license": message.data.get("plate", "_无_"),
        "plateid": integer_of(message.id.split("-")[1]),
        "timeStamp": {"Timeval": {"sec": message.at // 1000, "usec": 0}},
    }
    if "confidence" in message.data:
        result["confidence"] = message.data["confidence"]
    alarm = {"serialno": message.native, "channel": 0, "result": {"PlateResult": result}}
    return json_body({"AlarmInfoPlate": alarm})


PUSH = PushFormat(
    name=NAME,
    title="Number-plate camera",
    parse=parse,
    render=render,
    answer=b'{"Response_AlarmInfoPlate":{"info":"","channelNum":0}}',
)
