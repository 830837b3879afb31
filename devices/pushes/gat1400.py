"""GA/T 1400, the video image library interface: face and vehicle objects, without their images.

A face object says that somebody stood there, not who: it becomes a passage by an unknown person. A
vehicle object's plate becomes a token. Registration and keep-alive are answered by the gateway
(GA/T 1400.4-2017, 6.2).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
    PushBody,
    PushFormat,
    encode_json,
    event_id,
    nested,
    not_understood,
    read_body,
    text_of,
    time_of,
)
from domain.rejection import Rejected

NAME = "gat1400"


_HEARTBEATS = ("KeepaliveObject", "RegisterObject", "UnRegisterObject")


def parse(content_type: str, body: bytes, tokenize: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Parse the objects of one request."""
    request = read_body(NAME, content_type, body)
    if isinstance(request, Rejected):
        return request
    for name in _HEARTBEATS:
        if isinstance(request.get(name), dict):
            return [ReceivedHeartbeat(native=_native_of(request[name]))]
    faces = _objects_of(request, "FaceListObject", "FaceObject")
    vehicles = _objects_of(request, "MotorVehicleListObject", "MotorVehicleObject")
    if faces is None and vehicles is None:
        return not_understood(NAME, "neither faces nor vehicles; other objects are not read")
    messages: list[ReceivedMessage] = [_parse_face(face) for face in faces or ()]
    messages += [_parse_vehicle(vehicle, tokenize) for vehicle in vehicles or ()]
    return messages


def _objects_of(request: dict[str, Any], outer: str, inner: str) -> list[dict[str, Any]] | None:
    """Return the objects of a kind, be they in a list object or by themselves; None without any."""
    objects = nested(request, outer, inner)
    if objects is None:
        objects = request.get(inner)
    if objects is None:
        return None
    if not isinstance(objects, list):
        objects = [objects]
    return [item for item in objects if isinstance(item, dict)]


def _native_of(item: dict[str, Any]) -> str:
    return text_of(item.get("DeviceID")) or "-"


def _parse_face(face: dict[str, Any]) -> ReceivedEvent:
    shot_time = face.get("ShotTime")
    return ReceivedEvent(
        native=_native_of(face),
        at=time_of(shot_time) or time_of(face.get("FaceAppearTime")),
        id=event_id("f", text_of(face.get("FaceID")), text_of(shot_time)),
        kind="passage",
        data={"method": "face", "outcome": "unknown", "direction": "unknown"},
    )


def _parse_vehicle(vehicle: dict[str, Any], tokenize: Tokenizer) -> ReceivedEvent:
    data: dict[str, Any] = {"direction": "unknown"}
    plate = text_of(vehicle.get("PlateNo"))
    if plate:
        data["plate"] = tokenize("plate", plate)
    pass_time = vehicle.get("PassTime")
    return ReceivedEvent(
        native=_native_of(vehicle),
        at=time_of(pass_time) or time_of(vehicle.get("AppearTime")),
        id=event_id("v", text_of(vehicle.get("MotorVehicleID")), text_of(pass_time)),
        kind="plate",
        data=data,
    )


def render(message: ReceivedMessage) -> PushBody:
    """Write an object as a camera sends it.

    Raises: ValueError for what a camera cannot say.
    """
    if isinstance(message, ReceivedHeartbeat):
        return _viid_body({"KeepaliveObject": {"DeviceID": message.native}})
    if not isinstance(message, ReceivedEvent):
        raise ValueError(f"{NAME}: a camera sends faces and vehicles only")
    at = message.at
    time = at.strftime("%Y%m%d%H%M%S") if isinstance(at, datetime) else at
    number = message.id.split("-")[1]
    if message.kind == "passage":
        face: dict[str, Any] = {
            "FaceID": number,
            "DeviceID": message.native,
            "ShotTime": time,
            "SubImageList": {"SubImageInfoObject": []},
        }
        return _viid_body({"FaceListObject": {"FaceObject": [face]}})
    vehicle = {
        "MotorVehicleID": number,
        "DeviceID": message.native,
        "PassTime": time,
        "PlateNo": message.data.get("plate", ""),
    }
    return _viid_body({"MotorVehicleListObject": {"MotorVehicleObject": [vehicle]}})


def _viid_body(value: dict[str, Any]) -> PushBody:
    return PushBody("application/viid+json", encode_json(value))


PUSH = PushFormat(
    name=NAME,
    title="Video image library (GA/T 1400)",
    parse=parse,
    render=render,
    answer_type="application/viid+json",
    answer=b'{"ResponseStatusListObject":{"ResponseStatusObject":[{"StatusCode":"0","StatusString":"OK"}]}}',
)
