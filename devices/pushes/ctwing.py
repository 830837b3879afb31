"""Operators' NB-IoT platforms (CTWing and its like) that push what water meters, smoke and gas
detectors sent them.

A report names the device by its IMEI and carries fields (`serviceData`), or the device's own bytes
(`APPdata`, Base64): a CJ/T 188 frame there is read as one. What the fields mean is the profile's to
say.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from devices.messages import ReceivedFields, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.protocols import cjt188
from devices.pushes.body import (
    PushBody,
    PushFormat,
    event_id,
    flatten,
    json_body,
    nested,
    not_understood,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "ctwing"


#: Reports that say only that the device or the platform is alive.
_HEARTBEATS = ("deviceOnlineOfflineReport", "commandResponse", "dataReportTupResponse")
_REPORTS = ("dataReport", "eventReport")


def parse(content_type: str, body: bytes, _tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse one report."""
    report = read_body(NAME, content_type, body)
    if isinstance(report, Rejected):
        return report
    native = text_of(report.get("IMEI")) or text_of(report.get("deviceId"))
    if not native:
        return not_understood(NAME, "neither IMEI nor deviceId names the device")
    kind = text_of(report.get("messageType"))
    if kind in _HEARTBEATS:
        return [ReceivedHeartbeat(native=native)]
    if kind not in _REPORTS:
        return not_understood(NAME, f"messageType {kind!r} is not read")
    fields = _fields_of(report.get("payload", report.get("eventContent")))
    if isinstance(fields, Rejected):
        return fields
    if not fields:
        return not_understood(NAME, f"the report of {native} carries no fields")
    return [
        ReceivedFields(
            native=native,
            at=time_of(report.get("timestamp")),
            id=_report_id(native, report),
            fields=fields,
        )
    ]


def _report_id(native: str, report: dict[str, Any]) -> str:
    """Make a report's id of its time and its sequence; the platform writes -1 where it has none."""
    sequence = text_of(report.get("upDataSN"))
    if sequence == "-1":
        sequence = ""
    return event_id(native, text_of(report.get("timestamp")), sequence)


def _fields_of(payload: Any) -> dict[str, Any] | Rejected:
    app_data = nested(payload, "APPdata")
    if isinstance(app_data, str):
        return _decode_app_data(app_data)
    service = nested(payload, "serviceData")
    return flatten(service if isinstance(service, dict) else payload)


def _decode_app_data(text: str) -> dict[str, Any] | Rejected:
    """Decode the device's own bytes, a CJ/T 188 frame in Base64."""
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
    fields: dict[str, Any] = measured.known_quantities()
    if measured.status is not None:
        fields["status"] = measured.status
    return fields


def render(message: ReceivedMessage) -> PushBody:
    """Write a report as the platform pushes it.

    Raises: ValueError for what the platform cannot say.
    """
    if isinstance(message, ReceivedHeartbeat):
        return json_body({"messageType": "deviceOnlineOfflineReport", "IMEI": message.native})
    if not isinstance(message, ReceivedFields) or not isinstance(message.at, int):
        raise ValueError(f"{NAME}: the platform sends fields with a time")
    sequence = message.id.rsplit("-", 1)[1]
    body = {
        "messageType": "dataReport",
        "IMEI": message.native,
        "deviceId": message.native,
        "timestamp": message.at,
        "upDataSN": int(sequence),
        "protocol": "lwm2m",
        "tenantId": "10000000",
        "payload": {"serviceId": 1, "serviceData": dict(message.fields)},
    }
    return json_body(body)


PUSH = PushFormat(name=NAME, title="NB-IoT platform (CTWing)", parse=parse, render=render)
