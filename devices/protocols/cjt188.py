"""CJ/T 188, water, gas and heat meters on RS-485 or M-Bus, in the byte orders of its 2004 and 2018 editions.

A frame (clause 5) is `68 T A0…A6 C L DI DI SER DATA CS 16`: T says what is metered, the address is fourteen BCD
digits, low byte first, CS the sum of all bytes from 68H modulo 256; nothing is added to the data. The editions differ
in the order of the two bytes of the data identifier: 901FH goes out as `90 1F` in 2004 and as `1F 90` in 2018. Which
one a meter speaks is seen from the bytes, since the high byte of every identifier is one of a few.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from devices.protocols.framing import MORE, Codec, FrameBoundary, bcd, end_fault, refused, to_bcd
from domain.rejection import Reason, Rejected

NAME = "cjt188"

#: Clause 6.1: meter types.
COLD_WATER, HOT_WATER, DRINKING_WATER, GREY_WATER, HEAT, COOLING, GAS = (
    0x10,
    0x11,
    0x12,
    0x13,
    0x20,
    0x21,
    0x30,
)
#: Clause 6.3: control codes; the meter answers with 80H added, and with C0H added where it refuses.
READ, READ_ADDRESS, WRITE, WRITE_ADDRESS = 0x01, 0x03, 0x04, 0x15
REPLY, REFUSAL = 0x80, 0xC0
#: Data identifiers: measured data, address, set the clock, valve.
DATA, ADDRESS, CLOCK, VALVE = "901F", "810A", "A015", "A017"
VALVE_OPEN, VALVE_CLOSE = b"\x55", b"\x99"
ANY = "AAAAAAAAAAAAAA"
WAKE_UP = b"\xfe\xfe\xfe"
LONGEST = 13 + 255
#: High bytes of the identifiers of either edition (table of annex A).
_HIGH = frozenset((0x81, 0x90, 0xA0, 0xD1, 0xD2))


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
    def edition(self) -> int:
        """2018 where the identifier goes out low byte first, else 2004."""
        low_first = len(self.data) >= 2 and self.data[1] in _HIGH and self.data[0] not in _HIGH
        return 2018 if low_first else 2004

    @property
    def identifier(self) -> str | None:
        """The data identifier in the standard's notation, `901F`; a refusal has none."""
        if self.control & REFUSAL == REFUSAL or len(self.data) < 3:
            return None
        pair = self.data[:2]
        return (pair if self.edition == 2004 else pair[::-1]).hex().upper()

    @property
    def serial(self) -> int | None:
        """The number of the exchange, which a reply repeats."""
        if self.control & REFUSAL == REFUSAL:
            return self.data[0] if self.data else None
        return self.data[2] if len(self.data) >= 3 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cjt188Value:
    """What 901FH carries. Quantities by name in m³, kWh, kW, m³/h, °C and h; None where the meter shows no number.

    `status` is None where a maker leaves it out.
    """

    quantities: dict[str, float | None]
    clock: datetime | None
    status: int | None


def _cut(data: bytes) -> FrameBoundary[Cjt188Frame]:
    start = data.find(0x68)
    if start:
        return FrameBoundary(start if start > 0 else len(data))
    if len(data) < 11:
        return MORE
    size = 13 + data[10]
    if len(data) < size:
        return MORE
    fault = end_fault(NAME, data, 0, size)
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
    body = (
        bytes((0x68, frame.meter_type))
        + address
        + bytes((frame.control, len(frame.data)))
        + frame.data
    )
    return body + bytes((sum(body) & 0xFF, 0x16))


CODEC: Codec[Cjt188Frame] = Codec(name=NAME, cut=_cut, encode=_encode, longest=LONGEST)

# Messages ------------------------------------------------------------------------------------------------------------


def identifier_bytes(identifier: str, edition: int) -> bytes:
    """Write an identifier in an edition's order."""
    pair = bytes.fromhex(identifier)
    return pair if edition == 2004 else pair[::-1]


def read_request(
    meter_type: int, address: str, identifier: str = DATA, *, serial: int = 0, edition: int = 2018
) -> Cjt188Frame:
    """Ask a meter for one identifier."""
    control = READ_ADDRESS if identifier == ADDRESS else READ
    data = identifier_bytes(identifier, edition) + bytes((serial,))
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
    data = identifier_bytes(identifier, edition) + bytes((serial,)) + value
    return Cjt188Frame(meter_type=meter_type, address=address, control=WRITE, data=data)


def reply(request: Cjt188Frame, meter_type: int, address: str, value: bytes = b"") -> Cjt188Frame:
    """Answer a request, in its own byte order and with its number."""
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


def clock_bytes(now: datetime) -> bytes:
    """Write a time as seven bytes of BCD, seconds first."""
    return bytes.fromhex(now.strftime("%Y%m%d%H%M%S"))[::-1]


def clock_of(data: bytes) -> datetime | None:
    """Read seven bytes of BCD; None where they name no time that exists."""
    digits = data[::-1].hex()
    if len(data) != 7 or not digits.isdecimal():
        return None
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None


# Values --------------------------------------------------------------------------------------------------------------

#: Annex A: unit codes, as the factor to kWh, kW, m³ or m³/h.
_UNITS: dict[int, tuple[str, float]] = {
    0x02: ("kwh", 1e-3),
    0x05: ("kwh", 1.0),
    0x08: ("kwh", 1e3),
    0x0A: ("kwh", 1e5),
    0x01: ("kwh", 1 / 3.6e6),
    0x0B: ("kwh", 1 / 3600),
    0x0E: ("kwh", 1 / 3.6),
    0x11: ("kwh", 1000 / 3.6),
    0x13: ("kwh", 1e5 / 3.6),
    0x14: ("kw", 1e-3),
    0x17: ("kw", 1.0),
    0x1A: ("kw", 1e3),
    0x29: ("m3", 1e-3),
    0x2C: ("m3", 1.0),
    0x32: ("m3_h", 1e-3),
    0x35: ("m3_h", 1.0),
}
_CODE_OF = {"kwh": 0x05, "kw": 0x17, "m3": 0x2C, "m3_h": 0x35}

#: 901FH: quantity, its uom, digits after the point; five bytes each with the unit, three for temperatures and hours.
_VOLUME = (("total_m3", "m3", 2), ("month_m3", "m3", 2))
_HEAT = (
    ("month_kwh", "kwh", 2),
    ("total_kwh", "kwh", 2),
    ("power_kw", "kw", 2),
    ("flow_m3_h", "m3_h", 4),
    ("total_m3", "m3", 2),
)
_HEAT_REST = (("supply_c", 2), ("return_c", 2), ("working_h", 0))


def measured(frame: Cjt188Frame) -> Cjt188Value | Rejected:
    """Read the reply to 901FH; its layout follows the meter's type.

    A refusal of the meter and a frame that is no such reply are Rejected.
    """
    if frame.control & REFUSAL == REFUSAL:
        word = int.from_bytes(frame.data[1:3], "little")
        return refused(
            NAME, Reason.DEVICE_REFUSED, f"meter {frame.address} refuses, status {word:04X}H"
        )
    if frame.control != READ | REPLY or frame.identifier != DATA:
        return refused(
            NAME,
            Reason.NOT_UNDERSTOOD,
            f"control {frame.control:02X}H, {frame.identifier}: no reply to 901FH",
        )
    body, heat = frame.data[3:], frame.meter_type & 0xF0 == HEAT
    layout = _HEAT if heat else _VOLUME
    size = 5 * len(layout) + (9 if heat else 0) + 9
    if not heat and 5 <= len(body) < size:
        # Some makers send the total alone, or the total and the month.
        amounts = {
            name: _amount(body[5 * n : 5 * n + 5], uom, decimals)
            for n, (name, uom, decimals) in enumerate(layout)
            if len(body) >= 5 * n + 5
        }
        return Cjt188Value(quantities=amounts, clock=None, status=None)
    if len(body) < size:
        return refused(
            NAME,
            Reason.BAD_FRAME,
            f"901FH of type {frame.meter_type:02X}H has {len(body)} bytes, not {size}",
        )
    found: dict[str, float | None] = {}
    for n, (name, uom, decimals) in enumerate(layout):
        found[name] = _amount(body[5 * n : 5 * n + 5], uom, decimals)
    at = 5 * len(layout)
    if heat:
        for n, (name, decimals) in enumerate(_HEAT_REST):
            digits = bcd(body[at + 3 * n : at + 3 * n + 3])
            found[name] = None if digits is None else digits / 10**decimals
        at += 9
    return Cjt188Value(
        quantities=found,
        clock=clock_of(body[at : at + 7]),
        status=int.from_bytes(body[at + 7 : at + 9], "little"),
    )


def _amount(data: bytes, uom: str, decimals: int) -> float | None:
    digits, unit = bcd(data[:4]), _UNITS.get(data[4])
    if digits is None or unit is None or unit[0] != uom:
        return None
    return float(digits * unit[1] / 10**decimals)


def measured_bytes(meter_type: int, what: Cjt188Value) -> bytes:
    """Write what 901FH carries, as a meter of a type would.

    Raises: ValueError for an amount that does not fit.
    """
    heat = meter_type & 0xF0 == HEAT
    out = b""
    for name, uom, decimals in _HEAT if heat else _VOLUME:
        amount = what.quantities.get(name)
        digits = b"\xff" * 4 if amount is None else to_bcd(round(amount * 10**decimals), 4)
        out += digits + bytes((_CODE_OF[uom],))
    if heat:
        for name, decimals in _HEAT_REST:
            amount = what.quantities.get(name)
            out += b"\xff" * 3 if amount is None else to_bcd(round(amount * 10**decimals), 3)
    return (
        out
        + (clock_bytes(what.clock) if what.clock else b"\xff" * 7)
        + (what.status or 0).to_bytes(2, "little")
    )
