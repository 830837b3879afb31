"""LoRaWAN through ChirpStack v4: the JSON of its `event/up` and `event/status`, over MQTT or its
HTTP integration.

`object` is what the site's payload codec in ChirpStack made of the bytes; the profile maps its
fields to points.
"""

from __future__ import annotations

from typing import Any

from devices.messages import ReceivedFields, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushBody,
    PushFormat,
    event_id,
    flatten,
    json_body,
    nested,
    not_understood,
    number_of,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "chirpstack"


def parse(content_type: str, body: bytes, _tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse one event of a device."""
    event = read_body(NAME, content_type, body)
    if isinstance(event, Rejected):
        return event
    native = text_of(nested(event, "deviceInfo", "devEui")).lower()
    if not native:
        return not_understood(NAME, "no deviceInfo.devEui; the v4 JSON marshaler is needed")
    fields = _fields_of(event)
    if not fields:
        return [ReceivedHeartbeat(native=native)]
    number = event_id(text_of(event.get("deduplicationId")))
    at = time_of(event.get("time"))
    return [ReceivedFields(native=native, at=at, id=number, fields=fields)]


def _fields_of(event: dict[str, Any]) -> dict[str, Any]:
    """Return the payload's fields with the best signal strength, or a status's battery level."""
    payload = event.get("object")
    if isinstance(payload, dict):
        fields = flatten(payload)
        strength = _best_strength(event.get("rxInfo"))
        if strength is not None:
            fields["rssi"] = strength
        return fields
    level = number_of(event.get("batteryLevel"))
    return {} if level is None else {"batteryLevel": level}


def _best_strength(receptions: Any) -> float | None:
    """Return the highest RSSI (dBm) of the LoRaWAN gateways that received the uplink."""
    if not isinstance(receptions, list):
        return None
    strengths = [number_of(nested(reception, "rssi")) for reception in receptions]
    return max((strength for strength in strengths if strength is not None), default=None)


def render(message: ReceivedMessage) -> PushBody:
    """Write an uplink as ChirpStack does.

    Raises: ValueError for what ChirpStack cannot say.
    """
    info = {"tenantName": "estate", "applicationId": "a", "devEui": message.native}
    if isinstance(message, ReceivedHeartbeat):
        return json_body({"deduplicationId": "x", "time": "", "deviceInfo": info})
    if not isinstance(message, ReceivedFields) or not isinstance(message.at, int):
        raise ValueError(f"{NAME}: ChirpStack sends fields with a time")
    fields = dict(message.fields)
    strength = fields.pop("rssi", None)
    body: dict[str, Any] = {
        "deduplicationId": message.id,
        "time": message.at,
        "deviceInfo": info,
        "fCnt": 1,
        "fPort": 2,
        "object": fields,
    }
    if strength is not None:
        body["rxInfo"] = [{"gatewayId": "0016c001ff10a235", "rssi": strength, "snr": 7.5}]
    return json_body(body)


PUSH = PushFormat(name=NAME, title="LoRaWAN (ChirpStack v4)", parse=parse, render=render)
