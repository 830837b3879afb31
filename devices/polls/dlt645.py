"""Polling DL/T 645 meters: one question per identifier; clock, status words and the daily freeze are asked slowly.

An item is a data identifier (`00010000`), for a block with the value's place in it (`0201FF00.1`); status words read as
whole numbers.
"""

from __future__ import annotations

from datetime import datetime

from devices.mapping import CLOCK, FREEZE
from devices.polls.asking import Fields, Poll, PollQuery, slow_items
from devices.profiles import Profile
from devices.protocols import dlt645 as wire
from domain.rejection import Rejected


def _address(text: str) -> str:
    digits = text.strip().zfill(12)
    if not digits.isdecimal() or len(digits) != 12 or digits == wire.BROADCAST:
        raise ValueError(f"address {text!r}: a DL/T 645 address has up to twelve digits")
    return digits


def _split(item: str) -> tuple[str, int]:
    identifier, _, index = item.partition(".")
    return identifier.upper(), int(index or 0)


def _check(profile: Profile) -> None:
    for item in [p.item for p in profile.points.values() if p.item] + [
        a.item for a in profile.alarms
    ]:
        identifier, _ = _split(item)
        bytes.fromhex(identifier)
        if len(identifier) not in (4, 8):
            raise ValueError(
                f"item {item!r}: an identifier has eight hex digits, or four in the 1997 edition"
            )
        if identifier not in wire.STATUS_WORDS and wire.item_of(identifier) is None:
            raise ValueError(
                f"item {item!r}: identifier {identifier} is not in the table of DL/T 645-2007, annex A"
            )


def _asks(profile: Profile, address: str, slow: bool) -> list[PollQuery]:
    asks: list[PollQuery] = []
    for identifier in dict.fromkeys(_split(p.item)[0] for p in profile.points.values() if p.item):
        asks.append(_read(address, identifier))
    if not slow:
        return asks
    asks += [
        _read(address, identifier)
        for identifier in dict.fromkeys(_split(i)[0] for i in slow_items(profile))
    ]
    if profile.options.get("clock", True):
        asks += [_read(address, wire.DATE), _read(address, wire.TIME)]
    if profile.freeze is not None:
        asks += [_read(address, profile.freeze.time), _read(address, profile.freeze.item)]
    return asks


def _read(address: str, identifier: str) -> PollQuery:
    def read(frame: wire.Dlt645Frame) -> Fields:
        if frame.address != address or not frame.is_reply:
            return None
        refusal = frame.control & wire.REFUSAL == wire.REFUSAL
        if not refusal and frame.identifier != identifier:
            return None
        data = wire.value_bytes(frame)
        if isinstance(data, Rejected):
            return data
        return _fields(identifier, data)

    return PollQuery(
        request=wire.WAKE_UP + wire.CODEC.encode(wire.read_request(address, identifier)),
        read=read,
        what=identifier,
    )


def _fields(identifier: str, data: bytes) -> Fields:
    if identifier in (wire.DATE, wire.TIME, wire.FREEZE_TIME):
        # Parts of one value; `_combine` puts them together.
        return {identifier: data}
    if identifier in wire.STATUS_WORDS:
        return {identifier: int.from_bytes(data, "little")}
    values = wire.values(identifier, data)
    if isinstance(values, Rejected):
        return values
    fields: dict[str, object] = {
        f"{identifier}.{n}": value for n, value in enumerate(values) if value is not None
    }
    if values[0] is not None:
        fields[identifier] = values[0]
    return fields


def _combine(profile: Profile, fields: dict[str, object]) -> dict[str, object]:
    """Put the parts of the clock and of the freeze together."""
    date, time = fields.pop(wire.DATE, None), fields.pop(wire.TIME, None)
    if isinstance(date, bytes) and isinstance(time, bytes):
        clock = wire.clock(date, time)
        if clock is not None:
            fields[CLOCK] = clock
    if profile.freeze is not None:
        raw, value = fields.pop(profile.freeze.time, None), fields.get(profile.freeze.item)
        at = wire.freeze_time(raw) if isinstance(raw, bytes) else None
        if at is not None and isinstance(value, float):
            fields[FREEZE] = (at, value)
    return fields


def _set_clock(profile: Profile, address: str, now: datetime) -> PollQuery | None:  # noqa: ARG001
    return PollQuery(
        request=wire.WAKE_UP + wire.CODEC.encode(wire.set_time(now)),
        read=None,
        what="broadcast time",
    )


POLL = Poll(
    name="dlt645",
    codec=wire.CODEC,
    address=_address,
    check=_check,
    asks=_asks,
    set_clock=_set_clock,
    combine=_combine,
)
