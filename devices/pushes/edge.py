"""Edge AI boxes and cameras that report what they see: an e-bike in a lift, a blocked lane, smoke, a fall.

There is no national form. Makers agree on an event's name, a device, a time; the names differ by firmware, so the ones
that are known are a table here, and a profile's alarm map can add others. A picture stays where it is.
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
    PushFormat,
    encode_json,
    event_id,
    flatten,
    not_understood,
    number_of,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected
from domain.wire import Hazard

NAME = "edge"

_NATIVE = (
    "deviceId",
    "device_id",
    "deviceSn",
    "device",
    "sn",
    "cameraId",
    "camera_id",
    "channelId",
)
_WORD = ("alarmType", "alarm_type", "eventType", "event_type", "event", "type")
_TIME = ("alarmTime", "alarm_time", "eventTime", "timestamp", "time", "dateTime", "ts")
_ID = ("alarmId", "alarm_id", "eventId", "event_id", "uuid", "id")
_SCORE = ("confidence", "score", "conf")
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
_OVER = frozenset({"0", "off", "end", "stop", "inactive", "returned", "clear", "false"})


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:  # noqa: ARG001
    """Read one event."""
    found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    native = _first(found, _NATIVE).lower()
    if not native:
        return not_understood(
            NAME, f"no field names the device; one of {', '.join(_NATIVE)} is needed"
        )
    word = _first(found, _WORD)
    if word.lower() in ("heartbeat", "keepalive"):
        return [ReceivedHeartbeat(native=native)]
    at = next((time_of(found[name]) for name in _TIME if found.get(name) is not None), None)
    hazard = _HAZARDS.get(word.replace(" ", "").replace("-", "_").lower())
    number_of_it = event_id(_first(found, _ID), at if isinstance(at, int) else text_of(at))
    if hazard is None:
        return [ReceivedFields(native=native, at=at, id=number_of_it, fields=flatten(found))]
    state = text_of(found.get("state", found.get("status"))).lower()
    data: dict[str, Any] = {"hazard": str(hazard), "state": "off" if state in _OVER else "on"}
    score = next((number_of(found[name]) for name in _SCORE if found.get(name) is not None), None)
    if score is not None:
        data["confidence"] = score
    return [ReceivedEvent(native=native, at=at, id=number_of_it, kind="hazard", data=data)]


def _first(found: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((text_of(found[name]) for name in names if text_of(found.get(name))), "")


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write an event as a box pushes it.

    Raises: ValueError for what it cannot say.
    """
    if isinstance(heard, ReceivedHeartbeat):
        return "application/json", encode_json({"deviceId": heard.native, "alarmType": "heartbeat"})
    if isinstance(heard, ReceivedFields):
        return "application/json", encode_json(heard.fields)
    if heard.kind != "hazard" or not isinstance(heard.at, int):
        raise ValueError(f"{NAME}: a box sends hazards with a time")
    names = {hazard: word for word, hazard in _HAZARDS.items()}
    body: dict[str, Any] = {
        "deviceId": heard.native,
        "alarmType": names[Hazard(heard.data["hazard"])],
        "alarmTime": heard.at,
        "alarmId": heard.id.rsplit("-", 1)[0],
        "state": heard.data["state"],
    }
    if "confidence" in heard.data:
        body["confidence"] = heard.data["confidence"]
    return "application/json", encode_json(body)


PUSH = PushFormat(name=NAME, title="Edge AI box", parse=parse, render=render)
