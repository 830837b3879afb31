"""CJ/T 188, water, gas and heat meters on RS-485 or M-Bus, in the byte orders of its 2004 and 2018
editions.

A frame (clause 5) is `68 T A0…A6 C L DI DI SER DATA CS 16`: T says what is metered, the address is
fourteen BCD digits, low byte first, CS the sum of all bytes from 68H modulo 256; nothing is added
to the data. The editions differ in the order of the two bytes of the data identifier: 901FH goes
out as `90 1F` in 2004 and as `1F 90` in 2018. Which one a meter speaks is seen from the bytes,
since the high byte of every identifier is one of a few.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec

from devices.protocols.framing import (
    NEED_DATA,
    Codec,
    FrameBoundary,
    decode_bcd,
    encode_bcd,
    reject,
    trailer_fault,
)
from domain.rejection import Reason, Rejected

NAME = "cjt188"

#: Clause 6.1: meter types.
COLD_WATER = 0x10
HOT_WATER = 0x11
DRINKING_WATER = 0x12
GREY_WATER = 0x13
HEAT = 0x20
COOLING = 0x21
GAS = 0x30
#: Clause 6.3: control codes of the master.
READ = 0x01
READ_ADDRESS = 0x03
WRITE = 0x04
WRITE_ADDRESS = 0x15
#: Bits of a control code that the meter adds, to reply or to refuse.
REPLY = 0x80
REFUSAL = 0xC0
#: Data identifiers: measured data, address, set the clock, valve.
DATA = "901F"
ADDRESS = "810A"
CLOCK = "A015"
VALVE = "A017"
#: Values of the valve's identifier.
VALVE_OPEN = b"\x55"
VALVE_CLOSE = b"\x99"
ANY = "AAAAAAAAAAAAAA"
WAKE_UP = b"\xfe\xfe\xfe"
LONGEST = 13 + 255
#: High bytes of the identifiers of either edition (table of annex A).
_HIGH_BYTES = frozenset((0x81, 0x90, 0xA0, 0xD1, 0xD2))


class Cjt188Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame: the meter's type and address as printed on it, the control code, and the data."""

    meter_type: int
    address: str
    control: int
    data: bytes = b""

    @property
    def is_reply(self) -> bool:
        """Tell whether a meter sent it."""
        return bool(self.control & REPLY)

    @property
    def is_refusal(self) -> bool:
        """Tell whether a meter refuses a request with it."""
        return self.control & REFUSAL == REFUSAL

    @property
    def edition(self) -> int:
        """2018 where the identifier goes out low byte first, else 2004."""
        data = self.data
        low_byte_first = len(data) >= 2 and data[1] in _HIGH_BYTES and data[0] not in _HIGH_BYTES
        return 2018 if low_byte_first else 2004

    @property
    def identifier(self) -> str | None:
        """The data identifier in the standard's notation, `901F`; a refusal has none."""
        data = self.data
        if self.control & REFUSAL == REFUSAL or len(data) < 3:
            return None
        pair = data[1::-1] if self.edition == 2018 else data[:2]
        return pair.hex().upper()

    @property
    def serial(self) -> int | None:
        """The number of the exchange (SER), which a reply repeats.

        None where the frame is too short.
        """
        position = 0 if self.is_refusal else 2
        return self.data[position] if len(self.data) > position else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cjt188Measured:
    """The measured data of 901FH.

    `quantities` are in the uom that their names end in (m³, kWh, kW, m³/h, °C, h); None where the
    meter shows no number. `clock` is the meter's local time. `status` is None where a maker leaves
    it out.
    """

    quantities: dict[str, float | None]
    clock: datetime | None
    status: int | None

    def known_quantities(self) -> dict[str, float]:
        """Return the quantities that have a number."""
        return {name: value for name, value in self.quantities.items() if value is not None}


def _next_frame(data: bytes) -> FrameBoundary[Cjt188Frame]:
    start = data.find(0x68)
    if start:
        return FrameBoundary(start if start > 0 else len(data))
    if len(data) < 11:
        return NEED_DATA
    size = 13 + data[10]
    if len(data) < size:
        return NEED_DATA
    fault = trailer_fault(NAME, data, 0, size)
    if fault is not None:
        return FrameBoundary(1, fault)
    frame = Cjt188Frame(
        meter_type=data[1],
        address=data[8:1:-1].hex().upper(),
        control=data[9],
        data=data[11 : size - 2],
    )
    return FrameBoundary(size, frame)


def _encode(frame: Cjt188Frame) -> bytes:
    address = bytes.fromhex(frame.address)[::-1]
    if len(address) != 7 or len(frame.data) > 255:
        raise ValueError(f"{NAME}: an address has 14 digits and data at most 255 bytes")
    head = bytes((0x68, frame.meter_type)) + address
    body = head + bytes((frame.control, len(frame.data))) + frame.data
    checksum = sum(body) & 0xFF
    return body + bytes((checksum, 0x16))


CODEC: Codec[Cjt188Frame] = Codec(
    name=NAME, next_frame=_next_frame, encode=_encode, longest=LONGEST
)

# Messages -----------------------------------------------------------------------------------------


def encode_identifier(identifier: str, edition: int) -> bytes:
    """Encode an identifier in the byte order of an edition."""
    pair = bytes.fromhex(identifier)
    return pair if edition == 2004 else pair[::-1]


def read_request(
    meter_type: int, address: str, identifier: str = DATA, *, serial: int = 0, edition: int = 2018
) -> Cjt188Frame:
    """Request one identifier from a meter."""
    control = READ_ADDRESS if identifier == ADDRESS else READ
    data = encode_identifier(identifier, edition) + bytes((serial,))
    return Cjt188Frame(meter_type=meter_type, address=address, control=control, data=data)


def write_request(
    meter_type: int,
    address: str,
    identifier: str,
    value: bytes,
    *,
    serial: int = 0,
    edition: int = 2018,
) -> Cjt188Frame:
    """Write one identifier: the clock, the valve."""
    data = encode_identifier(identifier, edition) + bytes((serial,)) + value
    return Cjt188Frame(meter_type=meter_type, address=address, control=WRITE, data=data)


def reply(request: Cjt188Frame, meter_type: int, address: str, value: bytes = b"") -> Cjt188Frame:
    """Reply to a request, in its own byte order and with its number."""
    return Cjt188Frame(
        meter_type=meter_type,
        address=address,
        control=request.control | REPLY,
        data=request.data[:3] + value,
    )


def error_reply(
    request: Cjt188Frame, meter_type: int, address: str, status: int = 0
) -> Cjt188Frame:
    """Refuse a request."""
    data = bytes((request.serial or 0,)) + status.to_bytes(2, "little")
    return Cjt188Frame(
        meter_type=meter_type,
        address=address,
        control=(request.control & 0x3F) | REFUSAL,
        data=data,
    )


def encode_clock(local_time: datetime) -> bytes:
    """Encode a time as seven bytes of BCD, seconds first."""
    return bytes.fromhex(local_time.strftime("%Y%m%d%H%M%S"))[::-1]


def decode_clock(data: bytes) -> datetime | None:
    """Decode seven bytes of BCD; None where they name no time that exists."""
    digits = data[::-1].hex()
    if len(data) != 7 or not digits.isdecimal():
        return None
    try:
        return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}")
    except ValueError:
        return None


# Values -------------------------------------------------------------------------------------------


class _Unit(NamedTuple):
    """A unit code's uom, and the factor from the unit to it."""

    uom: str
    factor: float


class _Amount(NamedTuple):
    """A quantity of 901FH in five bytes: four of BCD and a unit code."""

    name: str
    uom: str
    decimals: int


class _Number(NamedTuple):
    """A quantity of 901FH in three bytes of BCD, without a unit code."""

    name: str
    decimals: int


#: Annex A: unit codes.
_UNITS = {
    0x02: _Unit("kwh", 1e-3),
    0x05: _Unit("kwh", 1.0),
    0x08: _Unit("kwh", 1e3),
    0x0A: _Unit("kwh", 1e5),
    0x01: _Unit("kwh", 1 / 3.6e6),
    0x0B: _Unit("kwh", 1 / 3600),
    0x0E: _Unit("kwh", 1 / 3.6),
    0x11: _Unit("kwh", 1000 / 3.6),
    0x13: _Unit("kwh", 1e5 / 3.6),
    0x14: _Unit("kw", 1e-3),
    0x17: _Unit("kw", 1.0),
    0x1A: _Unit("kw", 1e3),
    0x29: _Unit("m3", 1e-3),
    0x2C: _Unit("m3", 1.0),
    0x32: _Unit("m3_h", 1e-3),
    0x35: _Unit("m3_h", 1.0),
}
_CODE_OF = {"kwh": 0x05, "kw": 0x17, "m3": 0x2C, "m3_h": 0x35}
_AMOUNT_SIZE = 5
_NUMBER_SIZE = 3
_CLOCK_SIZE = 7
_STATUS_SIZE = 2

#: 901FH of water and gas meters.
_VOLUME_AMOUNTS = (_Amount("total_m3", "m3", 2), _Amount("month_m3", "m3", 2))
#: 901FH of heat and cooling meters: amounts, then numbers.
_HEAT_AMOUNTS = (
    _Amount("month_kwh", "kwh", 2),
    _Amount("total_kwh", "kwh", 2),
    _Amount("power_kw", "kw", 2),
    _Amount("flow_m3_h", "m3_h", 4),
    _Amount("total_m3", "m3", 2),
)
_HEAT_NUMBERS = (_Number("supply_c", 2), _Number("return_c", 2), _Number("working_h", 0))


class _Layout(NamedTuple):
    """What 901FH holds before the clock and the status; `size` is the whole of it in bytes."""

    amounts: tuple[_Amount, ...]
    numbers: tuple[_Number, ...]
    size: int


def _make_layout(amounts: tuple[_Amount, ...], numbers: tuple[_Number, ...]) -> _Layout:
    quantities = _AMOUNT_SIZE * len(amounts) + _NUMBER_SIZE * len(numbers)
    return _Layout(amounts, numbers, size=quantities + _CLOCK_SIZE + _STATUS_SIZE)


_VOLUME_LAYOUT = _make_layout(_VOLUME_AMOUNTS, ())
_HEAT_LAYOUT = _make_layout(_HEAT_AMOUNTS, _HEAT_NUMBERS)


def _layout_of(meter_type: int) -> _Layout:
    return _HEAT_LAYOUT if meter_type & 0xF0 == HEAT else _VOLUME_LAYOUT


def decode_measured(frame: Cjt188Frame) -> Cjt188Measured | Rejected:
    """Decode the reply to 901FH; its layout follows the meter's type.

    A refusal of the meter and a frame that is no such reply are Rejected.
    """
    if frame.is_refusal:
        status = int.from_bytes(frame.data[1:3], "little")
        detail = f"meter {frame.address} refuses, status {status:04X}H"
        return reject(NAME, Reason.DEVICE_REFUSED, detail)
    if frame.control != READ | REPLY or frame.identifier != DATA:
        detail = f"control {frame.control:02X}H, {frame.identifier}: no reply to 901FH"
        return reject(NAME, Reason.NOT_UNDERSTOOD, detail)

    body = frame.data[3:]
    layout = _layout_of(frame.meter_type)
    if len(body) >= layout.size:
        return _decode_body(body, layout)
    if layout is _VOLUME_LAYOUT and len(body) >= _AMOUNT_SIZE:
        return _decode_short_body(body)
    meter = f"901FH of type {frame.meter_type:02X}H"
    return reject(NAME, Reason.BAD_FRAME, f"{meter} has {len(body)} bytes, not {layout.size}")


def _decode_short_body(body: bytes) -> Cjt188Measured:
    """Decode what some makers of water and gas meters send: the total alone, or the total and the
    month.
    """
    count = len(body) // _AMOUNT_SIZE
    quantities = _decode_amounts(body, _VOLUME_AMOUNTS[:count])
    return Cjt188Measured(quantities=quantities, clock=None, status=None)


def _decode_body(body: bytes, layout: _Layout) -> Cjt188Measured:
    quantities = _decode_amounts(body, layout.amounts)
    position = _AMOUNT_SIZE * len(layout.amounts)
    for name, decimals in layout.numbers:
        digits = decode_bcd(body[position : position + _NUMBER_SIZE])
        quantities[name] = None if digits is None else digits / 10**decimals
        position += _NUMBER_SIZE
    status_start = position + _CLOCK_SIZE
    return Cjt188Measured(
        quantities=quantities,
        clock=decode_clock(body[position:status_start]),
        status=int.from_bytes(body[status_start : status_start + _STATUS_SIZE], "little"),
    )


def _decode_amounts(body: bytes, amounts: tuple[_Amount, ...]) -> dict[str, float | None]:
    quantities: dict[str, float | None] = {}
    position = 0
    for name, uom, decimals in amounts:
        quantities[name] = _decode_amount(body[position : position + _AMOUNT_SIZE], uom, decimals)
        position += _AMOUNT_SIZE
    return quantities


def _decode_amount(data: bytes, uom: str, decimals: int) -> float | None:
    digits = decode_bcd(data[:4])
    unit = _UNITS.get(data[4])
    if digits is None or unit is None or unit.uom != uom:
        return None
    return float(digits * unit.factor / 10**decimals)


def encode_measured(meter_type: int, measured: Cjt188Measured) -> bytes:
    """Encode the measured data of 901FH as a meter of a type would.

    Raises: ValueError for an amount that does not fit.
    """
    layout = _layout_of(meter_type)
    body = b""
    for name, uom, decimals in layout.amounts:
        body += _encode_digits(measured.quantities.get(name), decimals, 4)
        body += bytes((_CODE_OF[uom],))
    for name, decimals in layout.numbers:
        body += _encode_digits(measured.quantities.get(name), decimals, _NUMBER_SIZE)
    clock = encode_clock(measured.clock) if measured.clock else b"\xff" * _CLOCK_SIZE
    status = measured.status or 0
    return body + clock + status.to_bytes(_STATUS_SIZE, "little")


def _encode_digits(value: float | None, decimals: int, size: int) -> bytes:
    """Encode a number in BCD, or FF where the meter has none."""
    if value is None:
        return b"\xff" * size
    return encode_bcd(round(value * 10**decimals), size)
