"""GA/T 1400, the video image library interface: face and vehicle objects, without their images.

A face object says that somebody stood there, not who: it becomes a passage by an unknown person. A vehicle object's plate
becomes a token. Registration and keep-alive are answered by the gateway (GA/T 1400.4-2017, 6.2).
"""

from __future__ import annotations

from typing import Any

from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage, Tokenizer
from devices.pushes.body import (
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


def parse(content_type: str, body: bytes, tokens: Tokenizer) -> list[ReceivedMessage] | Rejected:
    """Read the objects of one request."""
    found = read_body(NAME, content_type, body)
    if isinstance(found, Rejected):
        return found
    for name in ("KeepaliveObject", "RegisterObject", "UnRegisterObject"):
        if isinstance(found.get(name), dict):
            return [ReceivedHeartbeat(native=text_of(found[name].get("DeviceID")) or "-")]
    heard: list[ReceivedMessage] = []
    known = False
    for outer, inner, make in (
        ("FaceListObject", "FaceObject", _face),
        ("MotorVehicleListObject", "MotorVehicleObject", _vehicle),
    ):
        rows = nested(found, outer, inner)
        if rows is None:
            rows = nested(found, inner)
        if rows is None:
            continue
        known = True
        heard += [
            make(row, tokens)
            for row in (rows if isinstance(rows, list) else [rows])
            if isinstance(row, dict)
        ]
    return (
        heard
        if known
        else not_understood(NAME, "neither faces nor vehicles; other objects are not read")
    )


def _face(row: dict[str, Any], tokens: Tokenizer) -> ReceivedMessage:  # noqa: ARG001
    data = {"method": "face", "outcome": "unknown", "direction": "unknown"}
    at = time_of(row.get("ShotTime")) or time_of(row.get("FaceAppearTime"))
    number = event_id("f", text_of(row.get("FaceID")), text_of(row.get("ShotTime")))
    return ReceivedEvent(
        native=text_of(row.get("DeviceID")) or "-", at=at, id=number, kind="passage", data=data
    )


def _vehicle(row: dict[str, Any], tokens: Tokenizer) -> ReceivedMessage:
    data: dict[str, Any] = {"direction": "unknown"}
    plate = text_of(row.get("PlateNo"))
    if plate:
        data["plate"] = tokens("plate", plate)
    at = time_of(row.get("PassTime")) or time_of(row.get("AppearTime"))
    number = event_id("v", text_of(row.get("MotorVehicleID")), text_of(row.get("PassTime")))
    return ReceivedEvent(
        native=text_of(row.get("DeviceID")) or "-", at=at, id=number, kind="plate", data=data
    )


def render(heard: ReceivedMessage) -> tuple[str, bytes]:
    """Write an object as a camera sends it.

    Raises: ValueError for what it cannot say.
    """
    if isinstance(heard, ReceivedHeartbeat):
        return "application/viid+json", encode_json({"KeepaliveObject": {"DeviceID": heard.native}})
    if not isinstance(heard, ReceivedEvent):
        raise ValueError(f"{NAME}: a camera sends faces and vehicles only")
    at = (
        heard.at.strftime("%Y%m%d%H%M%S")
        if heard.at is not None and not isinstance(heard.at, int)
        else heard.at
    )
    number = heard.id.split("-")[1]
    if heard.kind == "passage":
        face: dict[str, Any] = {
            "FaceID": number,
            "DeviceID": heard.native,
            "ShotTime": at,
            "SubImageList": {"SubImageInfoObject": []},
        }
        return "application/viid+json", encode_json({"FaceListObject": {"FaceObject": [face]}})
    vehicle = {
        "MotorVehicleID": number,
        "DeviceID": heard.native,
        "PassTime": at,
        "PlateNo": heard.data.get("plate", ""),
    }
    return "application/viid+json", encode_json(
        {"MotorVehicleListObject": {"MotorVehicleObject": [vehicle]}}
    )


PUSH = PushFormat(
    name=NAME,
    title="Video image library (GA/T 1400)",
    parse=parse,
    render=render,
    answer_type="application/viid+json",
    answer=b'{"ResponseStatusListObject":{"ResponseStatusObject":[{"StatusCode":"0","StatusString":"OK"}]}}',
)
