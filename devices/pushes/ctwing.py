"""Operators' NB-IoT platforms (CTWing and its like) that push what water meters, smoke and gas detectors sent them.

A report names the device by its IMEI and carries fields (`serviceData`), or the device's own bytes (`APPdata`, Base64): a
CJ/T 188 frame there is read as one. What the fields mean is the profile's to say.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from devices.messages import ReceivedFields, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.protocols import cjt188
from devices.pushes.body import (
    PushFormat,
    encode_json,
    event_id,
    flatten,
    nested,
    not_understood,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "ctwing"


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:  # noqa: ARG001
    """Read one report."""
    found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    native = text_of(found.get("IMEI")) or text_of(found.get("deviceId"))
    kind = text_of(found.get("messageType"))
    if not native:
        return not_understood(NAME, "neither IMEI nor deviceId names the device")
    if kind in ("deviceOnlineOfflineReport", "commandResponse", "dataReportTupResponse"):
        return [ReceivedHeartbeat(native=native)]
    if kind not in ("dataReport", "eventReport"):
        return not_understood(NAME, f"messageType {kind!r} is not read")
    at = time_of(found.get("timestamp"))
    sequence = text_of(found.get("upDataSN"))
    number = event_id(native, text_of(found.get("timestamp")), "" if sequence == "-1" else sequence)
    payload = found.get("payload", found.get("eventContent"))
    raw = nested(payload, "APPdata")
    if isinstance(raw, str):
        fields = _bytes(raw)
        if isinstance(fields, Rejected):
            return fields
    else:
        service = nested(payload, "serviceData")
        fields = flatten(service if isinstance(service, dict) else payload)
    if not fields:
        return not_understood(NAME, f"the report of {native} carries no fields")
    return [ReceivedFields(native=native, at=at, id=number, fields=fields)]


def _bytes(text: str) -> dict[str, Any] | Rejected:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return not_understood(NAME, "APPdata is not Base64")
    frame = cjt188.CODEC.decode(data)
    if isinstance(frame, Rejected):
        return not_understood(NAME, f"APPdata is no CJ/T 188 frame ({frame.detail})")
    measured = cjt188.decode_measured(frame)
    if isinstance(measured, Rejected):
        return measured
    fields: dict[str, Any] = {
        name: value for name, value in measured.quantities.items() if value is not None
    }
    return fields if measured.status is None else {**fields, "status": measured.status}


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write a report as the platform pushes it.

    Raises: ValueError for what it cannot say.
    """
    if isinstance(heard, ReceivedHeartbeat):
        return "application/json", encode_json(
            {"messageType": "deviceOnlineOfflineReport", "IMEI": heard.native}
        )
    if not isinstance(heard, ReceivedFields) or not isinstance(heard.at, int):
        raise ValueError(f"{NAME}: the platform sends fields with a time")
    nested: dict[str, Any] = dict(heard.fields)
    body = {
        "messageType": "dataReport",
        "IMEI": heard.native,
        "deviceId": heard.native,
        "timestamp": heard.at,
        "upDataSN": int(heard.id.rsplit("-", 1)[1]),
        "protocol": "lwm2m",
        "tenantId": "10000000",
        "payload": {"serviceId": 1, "serviceData": nested},
    }
    return "application/json", encode_json(body)


PUSH = PushFormat(name=NAME, title="NB-IoT platform (CTWing)", parse=parse, render=render)
