"""Polling DL/T 645 meters: one query per identifier.

Clock, status words and the daily freeze are queried slowly.

An item is a data identifier (`00010000`). For a block of values the value's place in it follows
(`0201FF00.1`). Status words are read as whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from devices.mapping import CLOCK, FREEZE, FrozenValue
from devices.polls.query import (
    PolledProtocol,
    PollQuery,
    ReplyFields,
    alarm_only_items,
    decimal_address,
    point_items,
    profile_items,
)
from devices.profiles import FreezeRegister, Profile
from devices.protocols import dlt645 as wire
from domain.rejection import Rejected

#: Identifiers whose replies are parts of one value; `_combine` puts them together.
_PARTS = (wire.DATE, wire.TIME, wire.FREEZE_TIME)


def _address(text: str) -> str:
    address = decimal_address(text, 12, "a DL/T 645 address has up to twelve digits")
    if address == wire.BROADCAST:
        raise ValueError(f"address {text!r}: is the broadcast address, which no meter answers")
    return address


def _identifier_of(item: str) -> str:
    return item.partition(".")[0].upper()


def _identifiers_of(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(_identifier_of, items)))


def _check(profile: Profile) -> None:
    for item in profile_items(profile):
        _check_item(item)


def _check_item(item: str) -> None:
    identifier, _, place = item.upper().partition(".")
    bytes.fromhex(identifier)
    if len(identifier) not in (4, 8):
        raise ValueError(
            f"item {item!r}: an identifier has eight hex digits, or four in the 1997 edition"
        )
    int(place or 0)
    if identifier not in wire.STATUS_WORDS and wire.format_of(identifier) is None:
        table = "the table of DL/T 645-2007, annex A"
        raise ValueError(f"item {item!r}: identifier {identifier} is not in {table}")


def _queries(profile: Profile, address: str, slow: bool) -> list[PollQuery]:
    identifiers = _identifiers_of(point_items(profile))
    if slow:
        identifiers += _identifiers_of(alarm_only_items(profile))
        if profile.options.get("clock", True):
            identifiers += [wire.DATE, wire.TIME]
        if profile.freeze is not None:
            identifiers += [profile.freeze.time, profile.freeze.item]
    return [_read(address, identifier) for identifier in identifiers]


def _read(address: str, identifier: str) -> PollQuery:
    def read(frame: wire.Dlt645Frame) -> ReplyFields:
        if frame.address != address or not frame.is_reply:
            return None
        if not frame.is_refusal and frame.identifier != identifier:
            return None
        data = wire.reply_data(frame)
        return data if isinstance(data, Rejected) else _fields(identifier, data)

    request = wire.WAKE_UP + wire.CODEC.encode(wire.read_request(address, identifier))
    return PollQuery(request=request, read=read, what=identifier)


def _fields(identifier: str, data: bytes) -> ReplyFields:
    if identifier in _PARTS:
        return {identifier: data}
    if identifier in wire.STATUS_WORDS:
        return {identifier: int.from_bytes(data, "little")}
    values = wire.decode_values(identifier, data)
    if isinstance(values, Rejected):
        return values
    fields: dict[str, Any] = {}
    for place, value in enumerate(values):
        if value is not None:
            fields[f"{identifier}.{place}"] = value
    if values[0] is not None:
        fields[identifier] = values[0]
    return fields


def _combine(profile: Profile, fields: dict[str, Any]) -> dict[str, Any]:
    """Put the parts of the clock and of the freeze together."""
    date = fields.pop(wire.DATE, None)
    time = fields.pop(wire.TIME, None)
    if isinstance(date, bytes) and isinstance(time, bytes):
        clock = wire.decode_clock(date, time)
        if clock is not None:
            fields[CLOCK] = clock
    if profile.freeze is not None:
        frozen = _combine_freeze(profile.freeze, fields)
        if frozen is not None:
            fields[FREEZE] = frozen
    return fields


def _combine_freeze(register: FreezeRegister, fields: dict[str, Any]) -> FrozenValue | None:
    time = fields.pop(register.time, None)
    value = fields.get(register.item)
    if not isinstance(time, bytes) or not isinstance(value, float):
        return None
    at = wire.decode_freeze_time(time)
    return None if at is None else FrozenValue(at=at, value=value)


def _set_clock(_profile: Profile, _address: str, local_time: datetime) -> PollQuery | None:
    request = wire.WAKE_UP + wire.CODEC.encode(wire.set_time(local_time))
    return PollQuery(request=request, read=None, what="broadcast time")


POLL = PolledProtocol(
    name="dlt645",
    codec=wire.CODEC,
    address=_address,
    check=_check,
    queries=_queries,
    set_clock=_set_clock,
    combine=_combine,
)
