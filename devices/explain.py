"""What a frame says, for a person: `anju decode` prints it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from devices.polls.mbus import item_of
from devices.protocols import cjt188, dlt645, gb26875, mbus, modbus
from devices.protocols.framing import Codec, FrameStream
from domain.rejection import Rejected

CODECS: dict[str, Codec[Any]] = {
    "dlt645": dlt645.CODEC,
    "cjt188": cjt188.CODEC,
    "gb26875": gb26875.CODEC,
    "mbus": mbus.CODEC,
    "modbus-rtu": modbus.RTU,
    "modbus-rtu-requests": modbus.RTU_REQUESTS,
    "modbus-tcp": modbus.TCP,
}


def explain(protocol: str, data: bytes) -> tuple[list[str], bool]:
    """Return what the bytes mean, a line each, and whether they hold a frame: several in a row, as a capture has them."""
    stream = FrameStream(CODECS[protocol])
    frames = [item for item in stream.feed(data) + stream.flush() if not isinstance(item, Rejected)]
    if not frames:
        refused = CODECS[protocol].decode(data)
        return [f"refused, {refused.reason}: {refused.detail}"], False
    lines = [
        line
        for frame in frames
        for line in (_plain(frame), *_LINES[protocol.partition("-")[0]](frame))
    ]
    return lines + (
        [f"{stream.trailing} bytes after the last frame belong to none"] if stream.trailing else []
    ), True


def _plain(thing: Any) -> str:
    """Write a message with its bytes in hex, as they stand in every manual."""
    shown = []
    names = getattr(thing, "__struct_fields__", None) or [field.name for field in fields(thing)]
    for name in names:
        value = getattr(thing, name)
        shown.append(
            f"{name} {value.hex(' ').upper() or 'none' if isinstance(value, bytes) else value}"
        )
    return f"{type(thing).__name__}: {', '.join(shown)}"


def _dlt645(frame: dlt645.Dlt645Frame) -> list[str]:
    told = dlt645.time_of(frame)
    if told is not None:
        return [f"sets the time to {told}"]
    if not frame.is_reply:
        return [
            f"asks meter {frame.address} for {frame.identifier or f'control {frame.control:02X}H'}"
        ]
    if frame.control == dlt645.READ_ADDRESS | dlt645.REPLY:
        return [f"address {frame.data[::-1].hex()}"]
    data = dlt645.value_bytes(frame)
    if isinstance(data, Rejected):
        return [data.detail]
    found = dlt645.values(frame.identifier or "", data)
    return [f"{frame.identifier}: {found.detail if isinstance(found, Rejected) else found}"]


def _cjt188(frame: cjt188.Cjt188Frame) -> list[str]:
    said = [
        f"identifier {frame.identifier}, byte order of {frame.edition}, exchange {frame.serial}"
    ]
    if (
        frame.is_reply and frame.identifier == cjt188.DATA
    ) or frame.control & cjt188.REFUSAL == cjt188.REFUSAL:
        found = cjt188.measured(frame)
        said.append(found.detail if isinstance(found, Rejected) else str(found))
    return said


def _gb26875(frame: gb26875.Gb26875Frame) -> list[str]:
    if not frame.unit:
        return [f"sent {frame.at}"]
    unit = gb26875.read_unit(frame.unit)
    if isinstance(unit, Rejected):
        return [unit.detail]
    said = [f"sent {frame.at}, type {unit.kind}"]
    for thing in unit.objects:
        names = (
            gb26875.TRANSMITTER_BITS
            if isinstance(thing, gb26875.TransmitterState)
            else gb26875.STATE_BITS
        )
        state = getattr(thing, "state", None)
        bits = (
            "" if state is None else f" = {', '.join(sorted(gb26875.bits(state, names))) or 'none'}"
        )
        stamp = getattr(thing, "stamp", b"")
        said.append(f"{_plain(thing)}{bits}" + (f" at {gb26875.clock_of(stamp)}" if stamp else ""))
    return said


def _mbus(frame: mbus.MbusFrame) -> list[str]:
    if frame.information is None:
        return []
    telegram = mbus.read_telegram(frame)
    if isinstance(telegram, Rejected):
        return [telegram.detail]
    head = f"meter {telegram.identity} of {telegram.maker or '?'}, medium {telegram.medium:02X}H, status {telegram.status:02X}H"
    return [head] + [
        f"{item_of(record) or record.block.hex()}: {record.content} {record.unit.uom if record.unit else ''}".rstrip()
        for record in telegram.records
    ]


def _modbus(frame: modbus.ModbusFrame) -> list[str]:
    asked = modbus.request_of(frame)
    return [] if isinstance(asked, Rejected) else [f"as a request: {asked}"]


_LINES: dict[str, Any] = {
    "dlt645": _dlt645,
    "cjt188": _cjt188,
    "gb26875": _gb26875,
    "mbus": _mbus,
    "modbus": _modbus,
}
