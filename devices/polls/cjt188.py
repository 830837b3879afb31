"""Polling CJ/T 188 meters: one question, 901FH, carries the total, the clock and the status word.

Items are `total_m3`, `month_m3`, `total_kwh`, `power_kw`, `flow_m3_h`, `supply_c`, `return_c`, `working_h` and `status`. The
profile's options name the meter type and the edition whose byte order the meter wants; makers differ in the bits of
the status, so those are the profile's alarm map.
"""

from __future__ import annotations

from datetime import datetime

from devices.mapping import CLOCK
from devices.polls.asking import Fields, Poll, PollQuery, no_command
from devices.profiles import Profile
from devices.protocols import cjt188 as wire
from domain.rejection import Rejected

_ITEMS = frozenset(
    (
        "total_m3",
        "month_m3",
        "month_kwh",
        "total_kwh",
        "power_kw",
        "flow_m3_h",
        "supply_c",
        "return_c",
        "working_h",
        "status",
    )
)


def _address(text: str) -> str:
    digits = text.strip().zfill(14)
    if not digits.isdecimal() or len(digits) != 14:
        raise ValueError(f"address {text!r}: a CJ/T 188 address has up to fourteen digits")
    return digits


def _options(profile: Profile) -> tuple[int, int]:
    return int(profile.options.get("meter_type", wire.COLD_WATER)), int(
        profile.options.get("edition", 2018)
    )


def _check(profile: Profile) -> None:
    meter_type, edition = _options(profile)
    if not 0x10 <= meter_type <= 0x49 or edition not in (2004, 2018):
        raise ValueError("options: meter_type lies between 0x10 and 0x49, edition is 2004 or 2018")
    for item in [p.item for p in profile.points.values() if p.item] + [
        a.item for a in profile.alarms
    ]:
        if item not in _ITEMS:
            raise ValueError(f"item {item!r}: use one of {', '.join(sorted(_ITEMS))}")


def _asks(profile: Profile, address: str, slow: bool) -> list[PollQuery]:  # noqa: ARG001
    meter_type, edition = _options(profile)

    def read(frame: wire.Cjt188Frame) -> Fields:
        if frame.address != address or not frame.is_reply:
            return None
        found = wire.measured(frame)
        if isinstance(found, Rejected):
            return found
        fields: dict[str, object] = {
            name: value for name, value in found.quantities.items() if value is not None
        }
        if found.status is not None:
            fields["status"] = found.status
        if found.clock is not None:
            fields[CLOCK] = found.clock
        return fields

    request = wire.read_request(meter_type, address, edition=edition)
    return [PollQuery(request=wire.WAKE_UP + wire.CODEC.encode(request), read=read, what=wire.DATA)]


def _written(address: str) -> object:
    def read(frame: wire.Cjt188Frame) -> Fields:
        if frame.address != address or not frame.is_reply:
            return None
        if frame.control & wire.REFUSAL == wire.REFUSAL:
            refusal = wire.measured(frame)
            return refusal if isinstance(refusal, Rejected) else {}
        return {} if frame.control == wire.WRITE | wire.REPLY else None

    return read


def _write(profile: Profile, address: str, identifier: str, value: bytes) -> PollQuery:
    meter_type, edition = _options(profile)
    request = wire.write_request(meter_type, address, identifier, value, edition=edition)
    read = _written(address)
    return PollQuery(request=wire.WAKE_UP + wire.CODEC.encode(request), read=read, what=identifier)  # type: ignore[arg-type]


def _set_clock(profile: Profile, address: str, now: datetime) -> PollQuery | None:
    return _write(profile, address, wire.CLOCK, wire.clock_bytes(now))


def _command(profile: Profile, address: str, name: str, argument: str) -> PollQuery:
    word = {"open": wire.VALVE_OPEN, "close": wire.VALVE_CLOSE}.get(argument)
    if name != "valve" or word is None or "valve" not in profile.commands:
        raise no_command(profile, name, argument)
    return _write(profile, address, wire.VALVE, word)


POLL = Poll(
    name="cjt188",
    codec=wire.CODEC,
    address=_address,
    check=_check,
    asks=_asks,
    set_clock=_set_clock,
    command=_command,
)
