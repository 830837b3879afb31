"""The meaning of a frame's bytes in lines for a person: `anju decode` prints them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from devices.polls.mbus import record_item
from devices.protocols import cjt188, dlt645, gb26875, mbus, mbus_records, modbus
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Lines for a person, and whether the bytes hold a frame at all."""

    lines: list[str]
    understood: bool


def explain(protocol: str, data: bytes) -> Explanation:
    """Explain one frame, or several in a row as a capture has them.

    `protocol` is a key of `CODECS`; KeyError for any other.
    """
    codec = CODECS[protocol]
    stream = FrameStream(codec)
    items = stream.feed(data) + stream.flush()
    frames = [item for item in items if not isinstance(item, Rejected)]
    if not frames:
        rejected = codec.decode(data)
        line = f"refused, {rejected.reason}: {rejected.detail}"
        return Explanation(lines=[line], understood=False)

    explain_content = _EXPLAINERS[protocol.partition("-")[0]]
    lines: list[str] = []
    for frame in frames:
        lines.append(_show_fields(frame))
        lines += explain_content(frame)
    if stream.trailing:
        lines.append(f"{stream.trailing} bytes after the last frame belong to none")
    return Explanation(lines=lines, understood=True)


def _show_fields(message: Any) -> str:
    """Write a message's fields, bytes in hex as in every manual."""
    names = getattr(message, "__struct_fields__", None)
    if names is None:
        names = [field.name for field in fields(message)]
    shown = [f"{name} {_show_value(getattr(message, name))}" for name in names]
    return f"{type(message).__name__}: {', '.join(shown)}"


def _show_value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex(" ").upper() or "none"
    return str(value)


def _show_result(result: object) -> str:
    return result.detail if isinstance(result, Rejected) else str(result)


def _explain_dlt645(frame: dlt645.Dlt645Frame) -> list[str]:
    clock = dlt645.broadcast_time(frame)
    if clock is not None:
        return [f"sets the time to {clock}"]
    if not frame.is_reply:
        query = frame.identifier or f"control {frame.control:02X}H"
        return [f"asks meter {frame.address} for {query}"]
    if frame.control == dlt645.READ_ADDRESS | dlt645.REPLY:
        return [f"address {frame.data[::-1].hex()}"]
    data = dlt645.reply_data(frame)
    if isinstance(data, Rejected):
        return [data.detail]
    values = dlt645.decode_values(frame.identifier or "", data)
    return [f"{frame.identifier}: {_show_result(values)}"]


def _explain_cjt188(frame: cjt188.Cjt188Frame) -> list[str]:
    identifier = f"identifier {frame.identifier}"
    lines = [f"{identifier}, byte order of {frame.edition}, exchange {frame.serial}"]
    is_data = frame.is_reply and frame.identifier == cjt188.DATA
    if is_data or frame.is_refusal:
        lines.append(_show_result(cjt188.decode_measured(frame)))
    return lines


def _explain_gb26875(frame: gb26875.Gb26875Frame) -> list[str]:
    if not frame.unit:
        return [f"sent {frame.at}"]
    unit = gb26875.decode_unit(frame.unit)
    if isinstance(unit, Rejected):
        return [unit.detail]
    lines = [f"sent {frame.at}, type {unit.kind}"]
    lines += [_explain_object(item) for item in unit.objects]
    return lines


def _explain_object(item: gb26875.InformationObject) -> str:
    text = _show_fields(item)
    state = getattr(item, "state", None)
    if state is not None:
        is_transmitter = isinstance(item, gb26875.TransmitterState)
        names = gb26875.TRANSMITTER_BITS if is_transmitter else gb26875.STATE_BITS
        bits = sorted(gb26875.bit_names(state, names))
        text += f" = {', '.join(bits) or 'none'}"
    stamp = getattr(item, "stamp", b"")
    if stamp:
        text += f" at {gb26875.decode_time(stamp)}"
    return text


def _explain_mbus(frame: mbus.MbusFrame) -> list[str]:
    if frame.information is None:
        return []
    telegram = mbus.decode_telegram(frame)
    if isinstance(telegram, Rejected):
        return [telegram.detail]
    meter = f"meter {telegram.identity} of {telegram.maker or '?'}"
    header = f"{meter}, medium {telegram.medium:02X}H, status {telegram.status:02X}H"
    return [header, *map(_explain_record, telegram.records)]


def _explain_record(record: mbus_records.MbusRecord) -> str:
    item = record_item(record) or record.block.hex()
    uom = record.unit.uom if record.unit else ""
    return f"{item}: {record.content} {uom}".rstrip()


def _explain_modbus(frame: modbus.ModbusFrame) -> list[str]:
    request = modbus.decode_request(frame)
    if isinstance(request, Rejected):
        return []
    return [f"as a request: {request}"]


_EXPLAINERS: dict[str, Callable[[Any], list[str]]] = {
    "dlt645": _explain_dlt645,
    "cjt188": _explain_cjt188,
    "gb26875": _explain_gb26875,
    "mbus": _explain_mbus,
    "modbus": _explain_modbus,
}
