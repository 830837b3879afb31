"""Polling CJ/T 188 meters: one query, 901FH, carries the total, the clock and the status word.

Items are the quantities of 901FH and `status`; `_ITEMS` lists them. The profile's options name the
meter type and the edition whose byte order the meter wants. Makers differ in the bits of the
status, so the profile's alarm map names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.mapping import CLOCK
from devices.polls.query import (
    PolledProtocol,
    PollQuery,
    ReplyFields,
    decimal_address,
    profile_items,
    unknown_command,
)
from devices.profiles import Profile
from devices.protocols import cjt188 as wire
from domain.rejection import Rejected

_ITEMS = frozenset((
    "total_m3", "month_m3", "month_kwh", "total_kwh", "power_kw", "flow_m3_h",
    "supply_c", "return_c", "working_h", "status",
))  # fmt: skip
_VALVE_WORDS = {"open": wire.VALVE_OPEN, "close": wire.VALVE_CLOSE}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """A profile's options: the meter type (clause 6.1) and the edition of the byte order."""

    meter_type: int
    edition: int


def _options(profile: Profile) -> _Options:
    meter_type = int(profile.options.get("meter_type", wire.COLD_WATER))
    edition = int(profile.options.get("edition", 2018))
    return _Options(meter_type=meter_type, edition=edition)


def _address(text: str) -> str:
    return decimal_address(text, 14, "a CJ/T 188 address has up to fourteen digits")


def _check(profile: Profile) -> None:
    options = _options(profile)
    if not 0x10 <= options.meter_type <= 0x49 or options.edition not in (2004, 2018):
        raise ValueError("options: meter_type lies between 0x10 and 0x49, edition is 2004 or 2018")
    for item in profile_items(profile):
        if item not in _ITEMS:
            raise ValueError(f"item {item!r}: use one of {', '.join(sorted(_ITEMS))}")


def _queries(profile: Profile, address: str, slow: bool) -> list[PollQuery]:  # noqa: ARG001
    def read(frame: wire.Cjt188Frame) -> ReplyFields:
        if frame.address != address or not frame.is_reply:
            return None
        measured = wire.decode_measured(frame)
        return measured if isinstance(measured, Rejected) else _fields(measured)

    options = _options(profile)
    request = wire.read_request(options.meter_type, address, edition=options.edition)
    return [PollQuery(request=_request_bytes(request), read=read, what=wire.DATA)]


def _request_bytes(request: wire.Cjt188Frame) -> bytes:
    return wire.WAKE_UP + wire.CODEC.encode(request)


def _fields(measured: wire.Cjt188Measured) -> dict[str, Any]:
    fields: dict[str, Any] = measured.known_quantities()
    if measured.status is not None:
        fields["status"] = measured.status
    if measured.clock is not None:
        fields[CLOCK] = measured.clock
    return fields


def _write(profile: Profile, address: str, identifier: str, value: bytes) -> PollQuery:
    def read(frame: wire.Cjt188Frame) -> ReplyFields:
        if frame.address != address or not frame.is_reply:
            return None
        if frame.is_refusal:
            refusal = wire.decode_measured(frame)
            return refusal if isinstance(refusal, Rejected) else {}
        return {} if frame.control == wire.WRITE | wire.REPLY else None

    options = _options(profile)
    request = wire.write_request(
        options.meter_type, address, identifier, value, edition=options.edition
    )
    return PollQuery(request=_request_bytes(request), read=read, what=identifier)


def _set_clock(profile: Profile, address: str, local_time: datetime) -> PollQuery | None:
    return _write(profile, address, wire.CLOCK, wire.encode_clock(local_time))


def _command(profile: Profile, address: str, name: str, argument: str) -> PollQuery:
    value = _VALVE_WORDS.get(argument)
    if name != "valve" or value is None or "valve" not in profile.commands:
        raise unknown_command(profile, name, argument)
    return _write(profile, address, wire.VALVE, value)


POLL = PolledProtocol(
    name="cjt188",
    codec=wire.CODEC,
    address=_address,
    check=_check,
    queries=_queries,
    set_clock=_set_clock,
    command=_command,
)
