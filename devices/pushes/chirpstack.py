"""LoRaWAN through ChirpStack v4: the JSON of its `event/up` and `event/status`, over MQTT or its HTTP integration.

`object` is what the site's payload codec in ChirpStack made of the bytes; the profile maps its fields to points.
"""

from __future__ import annotations

from typing import Any

from devices.messages import ReceivedFields, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushFormat,
    encode_json,
    event_id,
    flatten,
    nested,
    not_understood,
    number_of,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "chirpstack"


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:  # noqa: ARG001
    """Read one event of a device."""
    found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    native = text_of(nested(found, "deviceInfo", "devEui")).lower()
    if not native:
        return not_understood(NAME, "no deviceInfo.devEui; the v4 JSON marshaler is needed")
    at, number_of_it = time_of(found.get("time")), event_id(text_of(found.get("deduplicationId")))
    fields: dict[str, Any] = {}
    if isinstance(found.get("object"), dict):
        fields = flatten(found["object"])
        heard_by = found.get("rxInfo")
        strengths = (
            [number_of(nested(r, "rssi")) for r in heard_by] if isinstance(heard_by, list) else []
        )
        best = max((s for s in strengths if s is not None), default=None)
        if best is not None:
            fields["rssi"] = best
    elif number_of(found.get("batteryLevel")) is not None:
        fields["batteryLevel"] = number_of(found["batteryLevel"])
    if not fields:
        return [ReceivedHeartbeat(native=native)]
    return [ReceivedFields(native=native, at=at, id=number_of_it, fields=fields)]


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write an uplink as ChirpStack does.

    Raises: ValueError for what it cannot say.
    """
    info = {"tenantName": "estate", "applicationId": "a", "devEui": heard.native}
    if isinstance(heard, ReceivedHeartbeat):
        return "application/json", encode_json(
            {"deduplicationId": "x", "time": "", "deviceInfo": info}
        )
    if not isinstance(heard, ReceivedFields) or not isinstance(heard.at, int):
        raise ValueError(f"{NAME}: ChirpStack sends fields with a time")
    fields = dict(heard.fields)
    rssi = fields.pop("rssi", None)
    body: dict[str, Any] = {
        "deduplicationId": heard.id,
        "time": heard.at,
        "deviceInfo": info,
        "fCnt": 1,
        "fPort": 2,
        "object": fields,
    }
    if rssi is not None:
        body["rxInfo"] = [{"gatewayId": "0016c001ff10a235", "rssi": rssi, "snr": 7.5}]
    return "application/json", encode_json(body)


PUSH = PushFormat(name=NAME, title="LoRaWAN (ChirpStack v4)", parse=parse, render=render)
