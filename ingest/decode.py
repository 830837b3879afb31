"""Bytes to values: the wire contract read strictly, piece by piece where a message does not fit.

`decode` is pure and never raises. A message that fits is read in one go. One that does not is taken
apart item by item and value by value. So a bad piece is refused with its reason, and its siblings
are kept. A refused piece carries bytes that `decode` reads again, a whole message with that piece
alone; so it can be replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from domain import wire
from domain.ids import valid_event_id, valid_id, valid_point
from domain.measures import MEASURES
from domain.rejection import Reason, Rejected
from domain.wire import (
    Birth,
    CommandResult,
    DeviceCondition,
    Direction,
    EventItem,
    EventKind,
    Events,
    Hazard,
    HazardState,
    Method,
    Outcome,
    ReadingItem,
    Readings,
    State,
    Topic,
    Up,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPiece:
    """A part of a message that is refused, as bytes that can be replayed."""

    payload: bytes
    why: Rejected


@dataclass(slots=True, kw_only=True)
class Decoded:
    """What a message held.

    `devices`, `at`, `names` and `values` are readings as columns of one length; `at` is ms UTC.
    `received` counts every value and event, also those that are refused.
    """

    topic: Topic
    boot: str | None = None
    seq: int | None = None
    replayed: bool = False
    sent_at: int | None = None
    received: int = 0
    devices: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    events: list[EventItem] = field(default_factory=list)
    state: State | None = None
    birth: Birth | None = None
    refused: list[RefusedPiece] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loose:
    """A message whose items are not looked at yet."""

    items: list[msgspec.Raw]
    v: Any = None
    boot: str | None = None
    seq: int | None = None
    replayed: bool = False
    sent_at: Any = None


_READINGS = msgspec.json.Decoder(Readings)
_EVENTS = msgspec.json.Decoder(Events)
_STATE = msgspec.json.Decoder(State)
_BIRTH = msgspec.json.Decoder(Birth)
_LOOSE = msgspec.json.Decoder(_Loose)
_ANY = msgspec.json.Decoder()
_EVENT_ITEM = msgspec.json.Decoder(EventItem)
_FAILS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError, OverflowError)

#: Fields of an event that would hold a person, not a token. They are dropped before anything is
#: stored.
PERSONAL = frozenset(
    {
        "name",
        "person_name",
        "id_number",
        "id_card_number",
        "phone",
        "image",
        "picture",
        "photo",
        "face",
        "face_image",
        "embedding",
        "feature",
        "template",
        "plate_number",
        "plate_no",
    }
)
_MAX_TEXT = 500
_MAX_SEQ = 2**53
_MAX_COUNT = 2**31 - 1


def decode(topic_text: str, payload: bytes, now_ms: int) -> Decoded | Rejected:
    """Read one message; a Rejected means that it is refused whole."""
    topic = wire.parse_up_topic(topic_text)
    if topic is None:
        return Rejected(
            reason=Reason.BAD_TOPIC,
            detail=f"topic {topic_text[:200]!r} is not anju/v1/<estate>/<gateway>/up/<kind>",
        )
    if not valid_id(topic.estate) or not valid_id(topic.gateway):
        return Rejected(
            reason=Reason.BAD_TOPIC,
            detail=f"topic {topic_text[:200]!r}: ids are 2 to 40 of a-z, 0-9 and hyphen",
        )
    if len(payload) > wire.MAX_BYTES:
        return Rejected(
            reason=Reason.TOO_LARGE,
            detail=f"{len(payload)} bytes; the limit is {wire.MAX_BYTES}: send fewer items",
        )
    if topic.up in (Up.READINGS, Up.EVENTS):
        return _decode_items(topic, payload, now_ms)
    return _decode_status(topic, payload, now_ms)


def _decode_items(topic: Topic, payload: bytes, now_ms: int) -> Decoded | Rejected:
    """Read a message of items in one go; one that does not fit as a whole is taken apart."""
    message: Readings | Events
    try:
        message = _READINGS.decode(payload) if topic.up is Up.READINGS else _EVENTS.decode(payload)
    except _FAILS:
        return _take_apart(topic, payload, now_ms)
    wrong = _envelope_fault(message.v, message.boot, message.seq, len(message.items))
    if wrong:
        return wrong
    found = Decoded(
        topic=topic,
        boot=message.boot,
        seq=message.seq,
        replayed=message.replayed,
        sent_at=message.sent_at,
    )
    for item in message.items:
        if isinstance(item, ReadingItem):
            _add_reading(found, item, now_ms)
        else:
            _add_event(found, item, now_ms)
    return found


def _add_reading(found: Decoded, item: ReadingItem, now_ms: int) -> None:
    wrong = _id_and_time_fault(item.device, item.at, now_ms)
    if wrong is None and not 0 < len(item.values) <= wire.MAX_VALUES:
        wrong = Rejected(
            reason=Reason.BAD_SHAPE,
            detail=f"device {item.device}: 1 to {wire.MAX_VALUES} values, not {len(item.values)}",
        )
    if wrong:
        found.received += 1
        found.refused.append(RefusedPiece(payload=as_message(item), why=wrong))
        return
    found.received += len(item.values)
    for name, value in item.values.items():
        fault = _value_fault(item.device, name, value)
        if fault:
            piece = reading_as_message(item.device, item.at, name, value)
            found.refused.append(RefusedPiece(payload=piece, why=fault))
            continue
        found.devices.append(item.device)
        found.at.append(item.at)
        found.names.append(name)
        found.values.append(float(value))


def _add_event(found: Decoded, item: EventItem, now_ms: int) -> None:
    found.received += 1
    clean = EventItem(
        device=item.device,
        at=item.at,
        id=item.id,
        kind=item.kind,
        data=_without_personal(item.data),
    )
    wrong = _id_and_time_fault(item.device, item.at, now_ms) or _event_fault(clean)
    if wrong:
        found.refused.append(RefusedPiece(payload=as_message(clean), why=wrong))
    else:
        found.events.append(clean)


def _decode_status(topic: Topic, payload: bytes, now_ms: int) -> Decoded | Rejected:
    found = Decoded(topic=topic, received=1)
    try:
        if topic.up is Up.STATE:
            found.state = _STATE.decode(payload)
        else:
            found.birth = _BIRTH.decode(payload)
    except _FAILS as error:
        return Rejected(reason=Reason.UNREADABLE, detail=f"{topic.up}: {str(error)[:300]}")
    status = found.state or found.birth
    assert status is not None
    wrong = _envelope_fault(status.v, status.boot, None, 0) or _time_fault(
        "this message", status.at, now_ms
    )
    if (
        wrong is None
        and found.birth is not None
        and any(
            not valid_id(d.device) or not all(valid_point(p) for p in d.points)
            for d in found.birth.devices
        )
    ):
        wrong = Rejected(
            reason=Reason.BAD_ID, detail="birth: a device or point does not fit the grammar of ids"
        )
    return wrong or _status_fault(found) or found


def _status_fault(found: Decoded) -> Rejected | None:
    """Find what no table can hold in a state or a birth."""
    if found.state is not None:
        for name in ("clock_offset_ms", "outbox", "lost"):
            number = getattr(found.state, name)
            if number is not None and not -_MAX_COUNT <= number <= _MAX_COUNT:
                return Rejected(
                    reason=Reason.BAD_VALUE,
                    detail=f"state: {name} {str(number)[:40]} is no count or milliseconds",
                )
    if found.birth is not None:
        if len(found.birth.devices) > wire.MAX_ITEMS:
            return Rejected(
                reason=Reason.TOO_LARGE,
                detail=f"birth: {len(found.birth.devices)} devices; the limit is {wire.MAX_ITEMS}",
            )
        if not all(_storable(device.profile, 0) for device in found.birth.devices):
            return Rejected(
                reason=Reason.BAD_SHAPE,
                detail=f"birth: a profile holds a NUL or is over {_MAX_TEXT} characters",
            )
    return None


def _take_apart(topic: Topic, payload: bytes, now_ms: int) -> Decoded | Rejected:
    """Read a message that does not fit as a whole, item by item."""
    try:
        loose = _LOOSE.decode(payload)
    except _FAILS as error:
        return Rejected(reason=Reason.UNREADABLE, detail=f"{topic.up}: {str(error)[:300]}")
    wrong = _envelope_fault(loose.v, loose.boot, loose.seq, len(loose.items))
    if wrong:
        return wrong
    found = Decoded(topic=topic, boot=loose.boot, seq=loose.seq, replayed=loose.replayed)
    found.sent_at = loose.sent_at if type(loose.sent_at) is int else None
    for raw in loose.items:
        if topic.up is Up.EVENTS:
            try:
                item = _EVENT_ITEM.decode(raw)
            except _FAILS as error:
                _refuse_raw(found, bytes(raw), f"event: {str(error)[:300]}")
                continue
            _add_event(found, item, now_ms)
        else:
            _add_loose_reading(found, bytes(raw), now_ms)
    return found


def _add_loose_reading(found: Decoded, raw: bytes, now_ms: int) -> None:
    try:
        item = _ANY.decode(raw)
    except _FAILS as error:
        _refuse_raw(found, raw, f"reading: {str(error)[:300]}")
        return
    if not (
        isinstance(item, dict)
        and isinstance(item.get("device"), str)
        and type(item.get("at")) is int
        and isinstance(item.get("values"), dict)
    ):
        _refuse_raw(
            found,
            raw,
            "reading: needs device (text), at (whole milliseconds) and values (an object)",
        )
        return
    _add_reading(
        found, ReadingItem(device=item["device"], at=item["at"], values=item["values"]), now_ms
    )


def _refuse_raw(found: Decoded, raw: bytes, detail: str) -> None:
    found.received += 1
    payload = b'{"v":1,"items":[' + raw + b"]}"
    found.refused.append(
        RefusedPiece(payload=payload, why=Rejected(reason=Reason.BAD_SHAPE, detail=detail))
    )


def as_message(item: object) -> bytes:
    """Wrap one item as a message of its own, to be kept and replayed.

    The envelope is left out, so that a resend gives the same bytes, and quarantine knows it again.
    """
    return msgspec.json.encode({"v": wire.VERSION, "items": [item]}, order="deterministic")


def reading_as_message(device: str, at: int, name: str, value: Any) -> bytes:
    """Wrap one value as a message of its own, to be kept and replayed."""
    return as_message({"device": device, "at": at, "values": {name: value}})


def _envelope_fault(v: Any, boot: str | None, seq: int | None, items: int) -> Rejected | None:
    if type(v) is not int or v != wire.VERSION:
        return Rejected(
            reason=Reason.BAD_VERSION,
            detail=f"v is {v!r}; this server speaks version {wire.VERSION}",
        )
    if boot is not None and not valid_id(boot):
        return Rejected(
            reason=Reason.BAD_ID, detail=f"boot {boot[:60]!r} does not fit the grammar of ids"
        )
    if seq is not None and (boot is None or not 0 < seq <= _MAX_SEQ):
        return Rejected(
            reason=Reason.BAD_SHAPE,
            detail=f"seq {seq} needs a boot and must lie between 1 and 2^53",
        )
    if items > wire.MAX_ITEMS:
        return Rejected(
            reason=Reason.TOO_LARGE, detail=f"{items} items; the limit is {wire.MAX_ITEMS}"
        )
    return None


def _id_and_time_fault(device: str, at: int, now_ms: int) -> Rejected | None:
    if not valid_id(device):
        return Rejected(
            reason=Reason.BAD_ID,
            detail=f"device {device[:60]!r}: ids are 2 to 40 of a-z, 0-9 and hyphen",
        )
    return _time_fault(f"device {device}", at, now_ms)


def _time_fault(subject: str, at: int, now_ms: int) -> Rejected | None:
    if at < wire.EARLIEST_MS:
        return Rejected(
            reason=Reason.BAD_TIME,
            detail=f"{subject}: at {at} lies before 2001 or reads as seconds; "
            "send milliseconds, UTC",
        )
    if at > now_ms + wire.AHEAD_MS:
        return Rejected(
            reason=Reason.CLOCK_AHEAD,
            detail=f"{subject}: at {at} is {(at - now_ms) // 1000} s ahead of the server; "
            "set its clock",
        )
    return None


def _value_fault(device: str, name: str, value: Any) -> Rejected | None:
    if not valid_point(name):
        return Rejected(
            reason=Reason.BAD_ID,
            detail=f"device {device}: {name[:60]!r} does not fit the grammar of values",
        )
    if type(value) not in (int, float) or not _finite(value):
        return Rejected(
            reason=Reason.BAD_VALUE,
            detail=f"device {device}: {name} is {str(value)[:60]!r}, not a finite number",
        )
    measure = MEASURES.get(name)
    if measure is not None and not measure.low <= value <= measure.high:
        return Rejected(
            reason=Reason.BAD_VALUE,
            detail=f"device {device}: {name} {value} lies outside "
            f"{measure.low:g} to {measure.high:g} {measure.uom}",
        )
    return None


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        # A whole number of hundreds of digits.
        return False


def _without_personal(data: dict[str, Any]) -> dict[str, Any]:
    dropped = sorted(key for key in data if key.lower() in PERSONAL)
    if not dropped:
        return data
    return {**{k: v for k, v in data.items() if k not in dropped}, "dropped": dropped}


_VOCABULARIES: dict[str, dict[str, tuple[type, bool]]] = {
    EventKind.PASSAGE: {
        "method": (Method, True),
        "outcome": (Outcome, True),
        "direction": (Direction, False),
    },
    EventKind.PLATE: {"direction": (Direction, False)},
    EventKind.HAZARD: {"hazard": (Hazard, True), "state": (HazardState, True)},
    EventKind.DEVICE: {"condition": (DeviceCondition, True), "state": (HazardState, True)},
    EventKind.COMMAND: {"result": (CommandResult, True)},
}


def _event_fault(item: EventItem) -> Rejected | None:
    words = _VOCABULARIES.get(item.kind)
    if words is None:
        return Rejected(
            reason=Reason.BAD_EVENT,
            detail=f"device {item.device}: unknown kind {item.kind[:60]!r}; "
            f"use {', '.join(_VOCABULARIES)}",
        )
    if not valid_event_id(item.id):
        return Rejected(
            reason=Reason.BAD_ID,
            detail=f"device {item.device}: an event's id is 1 to 80 printable characters",
        )
    for name, (vocabulary, needed) in words.items():
        word = item.data.get(name)
        if word is None and not needed:
            continue
        allowed = [member.value for member in vocabulary]  # type: ignore[attr-defined]
        if word not in allowed:
            return Rejected(
                reason=Reason.BAD_EVENT,
                detail=f"device {item.device}: {item.kind} {name} is {str(word)[:60]!r}; "
                f"use {', '.join(allowed)}",
            )
    if not _storable(item.data, 0):
        return Rejected(
            reason=Reason.BAD_EVENT,
            detail=f"device {item.device}: data holds a NUL, "
            f"a text over {_MAX_TEXT} characters or is nested too deep",
        )
    return None


def _storable(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT and "\x00" not in value
    if isinstance(value, dict):
        return (
            depth < 6
            and len(value) <= 64
            and all(_storable(k, 0) and _storable(v, depth + 1) for k, v in value.items())
        )
    if isinstance(value, list):
        return depth < 6 and len(value) <= 64 and all(_storable(v, depth + 1) for v in value)
    return not isinstance(value, float) or math.isfinite(value)
