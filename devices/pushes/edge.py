"""Edge AI boxes and cameras that report what they see: an e-bike in a lift, a blocked lane, smoke,
a fall.

There is no national form. Makers agree on an event's name, a device, a time; the names differ by
firmware, so the ones that are known are a table here, and a profile's alarm map can add others. A
picture stays where it is.
"""

from __future__ import annotations

from typing import Any

from devices.messages import (
    ReceivedEvent,
    ReceivedFields,
    ReceivedHeartbeat,
    ReceivedMessage,
    Tokenizer,
)
from devices.pushes.body import (
    PushBody,
    PushFormat,
    event_id,
    flatten,
    json_body,
    not_understood,
    number_of,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected
from domain.wire import Hazard

NAME = "edge"

_DEVICE_FIELDS = (
    "deviceId",
    "device_id",
    "deviceSn",
    "device",
    "sn",
    "cameraId",
    "camera_id",
    "channelId",
)
_NAME_FIELDS = ("alarmType", "alarm_type", "eventType", "event_type", "event", "type")
_TIME_FIELDS = ("alarmTime", "alarm_time", "eventTime", "timestamp", "time", "dateTime", "ts")
_ID_FIELDS = ("alarmId", "alarm_id", "eventId", "event_id", "uuid", "id")
_CONFIDENCE_FIELDS = ("confidence", "score", "conf")
_HAZARDS: dict[str, Hazard] = {
    "accesselevatoralarm": Hazard.EBIKE_IN_LIFT,
    "ebikeinelevator": Hazard.EBIKE_IN_LIFT,
    "ebike_in_lift": Hazard.EBIKE_IN_LIFT,
    "abnormalparkingdetection": Hazard.FIRE_LANE_BLOCKED,
    "firelaneoccupied": Hazard.FIRE_LANE_BLOCKED,
    "fire_lane_blocked": Hazard.FIRE_LANE_BLOCKED,
    "channelblockagedetection": Hazard.EXIT_BLOCKED,
    "exit_blocked": Hazard.EXIT_BLOCKED,
    "smokeandfiredetectionevent": Hazard.FIRE,
    "highthrow": Hazard.FALLING_OBJECT,
    "highaltitudeparabolic": Hazard.FALLING_OBJECT,
    "falling_object": Hazard.FALLING_OBJECT,
}
_OFF_STATES = frozenset({"0", "off", "end", "stop", "inactive", "returned", "clear", "false"})


def parse(content_type: str, body: bytes, _tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse one event; one whose name is not known becomes fields for the profile's alarm map."""
    event = read_body(NAME, content_type, body)
    if isinstance(event, Rejected):
        return event
    native = _first_text(event, _DEVICE_FIELDS).lower()
    if not native:
        names = ", ".join(_DEVICE_FIELDS)
        return not_understood(NAME, f"no field names the device; one of {names} is needed")
    name = _first_text(event, _NAME_FIELDS)
    if name.lower() in ("heartbeat", "keepalive"):
        return [ReceivedHeartbeat(native=native)]
    at = time_of(_first_value(event, _TIME_FIELDS))
    time_text = at if isinstance(at, int) else text_of(at)
    number = event_id(_first_text(event, _ID_FIELDS), time_text)
    hazard = _HAZARDS.get(name.replace(" ", "").replace("-", "_").lower())
    if hazard is None:
        return [ReceivedFields(native=native, at=at, id=number, fields=flatten(event))]
    data = _parse_hazard(hazard, event)
    return [ReceivedEvent(native=native, at=at, id=number, kind="hazard", data=data)]


def _parse_hazard(hazard: Hazard, event: dict[str, Any]) -> dict[str, Any]:
    state = text_of(event.get("state", event.get("status"))).lower()
    data: dict[str, Any] = {
        "hazard": str(hazard),
        "state": "off" if state in _OFF_STATES else "on",
    }
    confidence = number_of(_first_value(event, _CONFIDENCE_FIELDS))
    if confidence is not None:
        data["confidence"] = confidence
    return data


def _first_value(event: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return the value of the first field that has one."""
    return next((event[name] for name in names if event.get(name) is not None), None)


def _first_text(event: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the text of the first field that has one."""
    texts = (text_of(event.get(name)) for name in names)
    return next((text for text in texts if text), "")


def render(message: ReceivedMessage) -> PushBody:
    """Write an event as a box pushes it.

    Raises: ValueError for what a box cannot say.
    """
    if isinstance(message, ReceivedHeartbeat):
        return json_body({"deviceId": message.native, "alarmType": "heartbeat"})
    if isinstance(message, ReceivedFields):
        return json_body(message.fields)
    if message.kind != "hazard" or not isinstance(message.at, int):
        raise ValueError(f"{NAME}: a box sends hazards with a time")
    names = {hazard: name for name, hazard in _HAZARDS.items()}
    body: dict[str, Any] = {
        "deviceId": message.native,
        "alarmType": names[Hazard(message.data["hazard"])],
        "alarmTime": message.at,
        "alarmId": message.id.rsplit("-", 1)[0],
        "state": message.data["state"],
    }
    if "confidence" in message.data:
        body["confidence"] = message.data["confidence"]
    return json_body(body)


PUSH = PushFormat(name=NAME, title="Edge AI box", parse=parse, render=render)
