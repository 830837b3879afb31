"""How a simulated meter answers in its protocol.

A request's frame goes in and the answer's frame comes out; None where the meter stays silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devices.protocols import cjt188, dlt645, mbus, mbus_records, modbus
from devices.protocols.framing import Codec
from domain.calendar import HOUR_MS
from domain.rejection import Rejected
from simulators.field.meters import Fault, SimulatedMeter


def _dlt645(
    meter: SimulatedMeter, frame: dlt645.Dlt645Frame, now_ms: int
) -> dlt645.Dlt645Frame | None:
    if frame.control == dlt645.SET_TIME and frame.address == dlt645.BROADCAST:
        time = dlt645.broadcast_time(frame)
        if time is not None:
            meter.set_clock(time, now_ms)
        return None
    if frame.control == dlt645.READ_ADDRESS and frame.address in (dlt645.ANY, meter.address):
        return dlt645.address_reply(meter.address)
    identifier = frame.identifier
    if frame.address != meter.address or identifier is None or frame.is_reply:
        return None
    return (
        dlt645.read_reply(meter.address, identifier, data)
        if (data := _value(meter, identifier, now_ms))
        else (dlt645.error_reply(frame))
    )


def _value(meter: SimulatedMeter, identifier: str, now_ms: int) -> bytes | None:
    clock = meter.clock(now_ms)
    if identifier in ("00010000", "9010"):
        return dlt645.encode_values(identifier, meter.read(now_ms))
    if identifier == dlt645.DATE:
        return dlt645.encode_date(clock)
    if identifier == dlt645.TIME:
        return dlt645.encode_time(clock)
    if identifier in dlt645.STATUS_WORDS:
        low = identifier == dlt645.STATUS_WORDS[0] and meter.has(Fault.LOW_BATTERY, now_ms)
        return (4 if low else 0).to_bytes(2, "little")
    if identifier == dlt645.FREEZE_TIME:
        return dlt645.encode_freeze_time(clock.replace(hour=0, minute=0))
    if identifier == "05060101":
        return dlt645.encode_values("05060101", meter.shown(now_ms))
    load = 230.0 + (now_ms // HOUR_MS) % 7
    fixed = {"02010100": load, "02020100": 1.234, "02030000": 0.2871, "02060000": 0.987}.get(
        identifier
    )
    return None if fixed is None else dlt645.encode_values(identifier, fixed)


def _cjt188(
    meter: SimulatedMeter, frame: cjt188.Cjt188Frame, now_ms: int
) -> cjt188.Cjt188Frame | None:
    if frame.address not in (meter.address, cjt188.ANY) or frame.is_reply:
        return None
    kind = frame.meter_type
    if frame.identifier == cjt188.DATA:
        status = (0 if meter.valve_open else 1) | (4 if meter.has(Fault.LOW_BATTERY, now_ms) else 0)
        what = cjt188.Cjt188Measured(
            quantities={"total_m3": meter.read(now_ms), "month_m3": 0.0},
            clock=meter.clock(now_ms),
            status=status,
        )
        return cjt188.reply(frame, kind, meter.address, cjt188.encode_measured(kind, what))
    if frame.control == cjt188.WRITE and frame.identifier == cjt188.VALVE:
        meter.valve_open = frame.data[3:4] == cjt188.VALVE_OPEN
        return cjt188.reply(frame, kind, meter.address, b"\0\0")
    if frame.control == cjt188.WRITE and frame.identifier == cjt188.CLOCK:
        time = cjt188.decode_clock(frame.data[3:10])
        if time is not None:
            meter.set_clock(time, now_ms)
        return cjt188.reply(frame, kind, meter.address)
    return cjt188.error_reply(frame, kind, meter.address)


def _mbus(meter: SimulatedMeter, frame: mbus.MbusFrame, now_ms: int) -> mbus.MbusFrame | None:
    if frame.address != int(meter.address) or frame.control not in (
        mbus.REQ_UD2,
        mbus.REQ_UD2_TOGGLED,
        mbus.SND_NKE,
    ):
        return None
    if frame.control == mbus.SND_NKE:
        return mbus.ACK
    serial = "99999999" if meter.has(Fault.SWAPPED, now_ms) else meter.serial
    litres = round(meter.read(now_ms) * 1000)
    telegram = mbus.MbusTelegram(
        identity=serial,
        maker="ANJ",
        version=1,
        medium=7,
        access=meter.requests % 256,
        status=4 if meter.has(Fault.LOW_BATTERY, now_ms) else 0,
        records=(
            mbus_records.bcd_record(b"\x13", litres),
            mbus_records.time_record(meter.clock(now_ms)),
        ),
    )
    return mbus.user_data_reply(frame.address, telegram)


def _modbus(
    meter: SimulatedMeter, frame: modbus.ModbusFrame, now_ms: int
) -> modbus.ModbusFrame | None:
    if frame.device != int(meter.address):
        return None
    request = modbus.decode_request(frame)
    if isinstance(request, Rejected):
        return modbus.exception_reply(frame, 1)
    table = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}.get(frame.pdu[0], "")
    if frame.pdu[0] == 5:
        meter.valve_open = bool(request.bits and request.bits[0])
        return frame
    if table == "holding" and request.address == 0 and request.count == 2:
        where = modbus.ModbusRegister(table="holding", address=0, type="uint32")
        return modbus.read_reply(frame, where, round(meter.read(now_ms) * 1000))
    if table == "holding" and request.address == 4:
        where = modbus.ModbusRegister(table="holding", address=4)
        return modbus.read_reply(frame, where, 1.0 if meter.has(Fault.LOW_BATTERY, now_ms) else 0.0)
    if table == "coil" and request.address == 0:
        return modbus.read_reply(
            frame, modbus.ModbusRegister(table="coil", address=0), float(meter.valve_open)
        )
    return modbus.exception_reply(frame)


#: By protocol: how requests are read, how answers are written, how a meter answers.
PROTOCOLS: dict[str, tuple[Codec[Any], Codec[Any], Callable[[SimulatedMeter, Any, int], Any]]] = {
    "dlt645": (dlt645.CODEC, dlt645.CODEC, _dlt645),
    "cjt188": (cjt188.CODEC, cjt188.CODEC, _cjt188),
    "mbus": (mbus.CODEC, mbus.CODEC, _mbus),
    "modbus-rtu": (modbus.RTU_REQUESTS, modbus.RTU, _modbus),
    "modbus-tcp": (modbus.TCP, modbus.TCP, _modbus),
}
