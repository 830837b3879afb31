"""DL/T 645-2007, the electricity meter on an RS-485 bus (and the read frames of its 1997 edition).

A frame (clause 5.2) is `68 A0…A5 68 C L DATA CS 16`, with wake-up bytes FE before it: the address
is twelve BCD digits, low byte first, every data byte has 33H added, CS is the sum of all bytes from
the first 68H modulo 256. Control codes are those of clause 7; identifiers and their formats those
of annex A. The 1997 edition has the same link layer with controls 01H/81H and identifiers of two
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from devices.protocols.framing import (
    NEED_DATA,
    SKIP_BYTE,
    Codec,
    FrameBoundary,
    decode_bcd,
    encode_bcd,
    reject,
    trailer_fault,
)
from domain.rejection import Reason, Rejected

NAME = "dlt645"

#: Clause 7: control codes of the master.
SET_TIME = 0x08
READ = 0x11
READ_MORE = 0x12
READ_ADDRESS = 0x13
READ_1997 = 0x01
#: Bits of a control code that the meter adds, to reply or to refuse.
REPLY = 0x80
REFUSAL = 0xC0
#: Clause 5.2.2: every meter takes a broadcast and none answers; the wildcard asks for the address.
BROADCAST = "999999999999"
ANY = "AAAAAAAAAAAA"
WAKE_UP = b"\xfe\xfe\xfe\xfe"
#: Clause 5.2.5: a read has at most 200 bytes of data, a write 50. The length byte bounds the rest.
LONGEST = 12 + 255

#: The sender adds 33H to every data byte, the receiver subtracts it.
_SHIFT = bytes((n + 0x33) % 256 for n in range(256))
_UNSHIFT = bytes((n - 0x33) % 256 for n in range(256))


class Dlt645Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame: the address as printed on the meter, the control code, the data without 33H."""

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
    def identifier(self) -> str | None:
        """The data identifier in the standard's notation; None where the frame has none.

        It is `00010000` in the 2007 edition and `9010` in that of 1997.
        """
        if self.control & REFUSAL == REFUSAL:
            return None
        code = self.control & 0x1F
        if code in (READ, READ_MORE) and len(self.data) >= 4:
            return self.data[3::-1].hex().upper()
        if code == READ_1997 and len(self.data) >= 2:
            return self.data[1::-1].hex().upper()
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dlt645Format:
    """The format of one identifier's values (annex A).

    A value has `size` bytes with `decimals` digits after the point; `signed` puts a sign into the
    top bit. `digits` is how many of the bytes hold the number where a time follows it: a demand
    carries the time at which it was reached.
    """

    size: int
    decimals: int
    signed: bool = False
    digits: int | None = None


def _next_frame(data: bytes) -> FrameBoundary[Dlt645Frame]:
    start = data.find(0x68)
    if start:
        return FrameBoundary(start if start > 0 else len(data))
    if len(data) < 8:
        return NEED_DATA
    if data[7] != 0x68:
        return SKIP_BYTE
    if len(data) < 10:
        return NEED_DATA
    size = 12 + data[9]
    if len(data) < size:
        return NEED_DATA
    fault = trailer_fault(NAME, data, 0, size)
    if fault is not None:
        return FrameBoundary(1, fault)
    frame = Dlt645Frame(
        address=data[6:0:-1].hex().upper(),
        control=data[8],
        data=data[10 : size - 2].translate(_UNSHIFT),
    )
    return FrameBoundary(size, frame)


def _encode(frame: Dlt645Frame) -> bytes:
    head = b"\x68" + bytes.fromhex(frame.address)[::-1] + b"\x68"
    if len(head) != 8 or len(frame.data) > 255:
        raise ValueError(f"{NAME}: an address has 12 digits and data at most 255 bytes")
    body = head + bytes((frame.control, len(frame.data))) + frame.data.translate(_SHIFT)
    checksum = sum(body) & 0xFF
    return body + bytes((checksum, 0x16))


CODEC: Codec[Dlt645Frame] = Codec(
    name=NAME, next_frame=_next_frame, encode=_encode, longest=LONGEST
)

# Messages -----------------------------------------------------------------------------------------


def read_request(address: str, identifier: str) -> Dlt645Frame:
    """Request one identifier from a meter.

    Four hex digits make it a request of the 1997 edition.
    """
    return Dlt645Frame(
        address=address, control=_read_control(identifier), data=_encode_identifier(identifier)
    )


def read_reply(address: str, identifier: str, data: bytes) -> Dlt645Frame:
    """Reply to a read request with the values' bytes."""
    return Dlt645Frame(
        address=address,
        control=_read_control(identifier) | REPLY,
        data=_encode_identifier(identifier) + data,
    )


def _read_control(identifier: str) -> int:
    return READ_1997 if len(identifier) == 4 else READ


def _encode_identifier(identifier: str) -> bytes:
    return bytes.fromhex(identifier)[::-1]


def error_reply(request: Dlt645Frame, error: int = 0x02) -> Dlt645Frame:
    """Refuse a request; bit 1 of the error word says that there is no such data (clause 7.1.4)."""
    control = (request.control & 0x1F) | REFUSAL
    return Dlt645Frame(address=request.address, control=control, data=bytes((error,)))


def address_reply(address: str) -> Dlt645Frame:
    """Reply with the meter's own address."""
    data = bytes.fromhex(address)[::-1]
    return Dlt645Frame(address=address, control=READ_ADDRESS | REPLY, data=data)


def set_time(local_time: datetime, address: str = BROADCAST) -> Dlt645Frame:
    """Set the clocks of a whole line (clause 7.1.8).

    A meter follows once a day, by at most 5 minutes.
    """
    digits = local_time.strftime("%y%m%d%H%M%S")
    return Dlt645Frame(address=address, control=SET_TIME, data=bytes.fromhex(digits)[::-1])


def broadcast_time(frame: Dlt645Frame) -> datetime | None:
    """Return the local time that a broadcast sets; None where the frame is no such broadcast."""
    if frame.control != SET_TIME or len(frame.data) != 6:
        return None
    return _parse_time(frame.data[::-1].hex())


def reply_data(frame: Dlt645Frame) -> bytes | Rejected:
    """Return the bytes that follow the identifier in a read reply.

    A refusal of the meter and a frame that is no read reply are Rejected.
    """
    if frame.is_refusal:
        error_word = frame.data[0] if frame.data else 0
        detail = f"meter {frame.address} refuses: {_error_text(error_word)}"
        return reject(NAME, Reason.DEVICE_REFUSED, detail)
    identifier = frame.identifier
    if not frame.is_reply or identifier is None:
        detail = f"control {frame.control:02X}H with {len(frame.data)} bytes is no read reply"
        return reject(NAME, Reason.NOT_UNDERSTOOD, detail)
    return frame.data[len(identifier) // 2 :]


#: Clause 7.1.4: bits of the error word.
_ERRORS = (
    "other error",
    "no such data",
    "wrong password or not authorised",
    "baud rate cannot change",
    "too many yearly zones",
    "too many daily periods",
    "too many tariffs",
)


def _error_text(error_word: int) -> str:
    errors = [text for bit, text in enumerate(_ERRORS) if error_word >> bit & 1]
    return ", ".join(errors) or f"error {error_word:02X}H"


# Values -------------------------------------------------------------------------------------------


def format_of(identifier: str) -> Dlt645Format | None:
    """Return the format of an identifier's values; None where this codec does not know it."""
    if len(identifier) == 4:
        return _format_of_1997(identifier)
    group = identifier[:2]
    if group == "00":
        return _ENERGY
    if group == "01":
        return _DEMAND
    if group == "02" and not identifier.startswith("0280"):
        return _INSTANT.get(identifier[:4])
    if group == "05" and identifier[4:6] == "01":
        return _ENERGY
    return _SINGLE.get(identifier)


def _format_of_1997(identifier: str) -> Dlt645Format | None:
    if identifier.startswith("B6"):
        return _B6_1997.get(identifier[2])
    return _ENERGY_1997.get(identifier[:2])


#: Energy in kWh, demand in kW with the time at which it was reached.
_ENERGY = Dlt645Format(size=4, decimals=2)
_DEMAND = Dlt645Format(size=8, decimals=4, digits=3)
#: Table A.3, instantaneous quantities: V, A, kW, kvar, kVA, power factor, angle.
_INSTANT: dict[str, Dlt645Format] = {
    "0201": Dlt645Format(size=2, decimals=1),
    "0202": Dlt645Format(size=3, decimals=3, signed=True),
    "0203": Dlt645Format(size=3, decimals=4, signed=True),
    "0204": Dlt645Format(size=3, decimals=4, signed=True),
    "0205": Dlt645Format(size=3, decimals=4, signed=True),
    "0206": Dlt645Format(size=2, decimals=3, signed=True),
    "0207": Dlt645Format(size=2, decimals=1),
}
_SINGLE: dict[str, Dlt645Format] = {
    "02800001": Dlt645Format(size=3, decimals=3, signed=True),  # neutral current, A
    "02800002": Dlt645Format(size=2, decimals=2),  # grid frequency, Hz
    "02800003": Dlt645Format(size=3, decimals=4, signed=True),  # mean power of the last minute, kW
    "02800004": Dlt645Format(size=3, decimals=4, signed=True),  # active demand, kW
    "02800005": Dlt645Format(size=3, decimals=4, signed=True),  # reactive demand, kvar
    "02800006": Dlt645Format(size=3, decimals=4, signed=True),  # apparent demand, kVA
    "0280000A": Dlt645Format(size=4, decimals=0),  # minutes on battery
    "02800007": Dlt645Format(size=2, decimals=1, signed=True),  # temperature inside the meter, °C
    "02800008": Dlt645Format(size=2, decimals=2),  # clock battery, V
    "02800009": Dlt645Format(size=2, decimals=2),  # reading battery, V
    "03110000": Dlt645Format(size=3, decimals=0),  # times that the supply failed
}
#: DL/T 645-1997, table of annex A by the first byte: energy, voltage/current/power/power factor by
#: second digit.
_ENERGY_1997: dict[str, Dlt645Format] = {
    "90": Dlt645Format(size=4, decimals=2),
    "91": Dlt645Format(size=4, decimals=2),
    "94": Dlt645Format(size=4, decimals=2),
}
_B6_1997 = {
    "1": Dlt645Format(size=2, decimals=0),
    "2": Dlt645Format(size=2, decimals=2),
    "3": Dlt645Format(size=3, decimals=4),
    "4": Dlt645Format(size=2, decimals=2),
    "5": Dlt645Format(size=2, decimals=3),
}


def decode_values(identifier: str, data: bytes) -> list[float | None] | Rejected:
    """Decode the values of an identifier: one, or several where it names a block.

    None stands for a value that the meter does not have (FF, or nibbles that are no digits). An
    identifier without a format and a length that does not fit are Rejected.
    """
    value_format = format_of(identifier)
    if value_format is None:
        return reject(NAME, Reason.NOT_UNDERSTOOD, f"identifier {identifier} is not in the table")
    size = value_format.size
    if not data or len(data) % size:
        detail = f"{identifier} has {len(data)} bytes, not a multiple of {size}"
        return reject(NAME, Reason.BAD_FRAME, detail)
    length = value_format.digits or size
    starts = range(0, len(data), size)
    return [_decode_number(data[start : start + length], value_format) for start in starts]


def _decode_number(data: bytes, value_format: Dlt645Format) -> float | None:
    negative = value_format.signed and bool(data[-1] & 0x80)
    if negative and data != b"\xff" * len(data):
        data = data[:-1] + bytes((data[-1] & 0x7F,))
    digits = decode_bcd(data)
    if digits is None:
        return None
    if negative:
        digits = -digits
    return float(digits / 10**value_format.decimals)


def encode_values(identifier: str, *numbers: float) -> bytes:
    """Encode the values of an identifier as a meter would.

    Raises: ValueError for an identifier without a format, or a value that does not fit.
    """
    value_format = format_of(identifier)
    if value_format is None:
        raise ValueError(f"{NAME}: identifier {identifier} is not in the table")
    return b"".join(_encode_number(identifier, number, value_format) for number in numbers)


def _encode_number(identifier: str, number: float, value_format: Dlt645Format) -> bytes:
    steps = round(number * 10**value_format.decimals)
    if value_format.digits is not None:
        # FF stands for a time that the meter does not have.
        no_time = b"\xff" * (value_format.size - value_format.digits)
        return encode_bcd(steps, value_format.digits) + no_time
    if not value_format.signed:
        if number < 0:
            raise ValueError(f"{NAME}: {identifier} has no sign")
        return encode_bcd(steps, value_format.size)
    digits = bytearray(encode_bcd(abs(steps), value_format.size))
    if digits[-1] & 0x80:
        raise ValueError(f"{NAME}: {number} does not fit {identifier}")
    if number < 0:
        digits[-1] |= 0x80
    return bytes(digits)


#: Identifiers of the clock (table A.5): date with weekday, time of day.
DATE = "04000101"
TIME = "04000102"
#: Identifier of the time of the daily freeze.
FREEZE_TIME = "05060001"
#: Identifiers of the status words 1 to 7 (table A.5).
STATUS_WORDS = tuple(f"0400050{number}" for number in range(1, 8))


def encode_date(at: datetime) -> bytes:
    """Encode 04000101: YYMMDDWW, Sunday is 0."""
    weekday = at.isoweekday() % 7
    return bytes.fromhex(f"{at:%y%m%d}0{weekday}")[::-1]


def encode_time(at: datetime) -> bytes:
    """Encode 04000102: hhmmss."""
    return bytes.fromhex(at.strftime("%H%M%S"))[::-1]


def encode_freeze_time(at: datetime) -> bytes:
    """Encode 05060001: YYMMDDhhmm."""
    return bytes.fromhex(at.strftime("%y%m%d%H%M"))[::-1]


def decode_clock(date: bytes, time: bytes) -> datetime | None:
    """Decode a meter's clock from its date and time; None where they name no time that exists."""
    if len(date) != 4 or len(time) != 3:
        return None
    digits = date[::-1].hex()[:6] + time[::-1].hex()
    return _parse_time(digits)


def decode_freeze_time(data: bytes) -> datetime | None:
    """Decode the time of a freeze; None where the bytes name no time that exists."""
    if len(data) != 5:
        return None
    return _parse_time(data[::-1].hex())


def _parse_time(digits: str) -> datetime | None:
    """Parse YYMMDDhhmm or YYMMDDhhmmss of this century; None for a time that does not exist."""
    if not digits.isdecimal():
        return None
    try:
        return datetime.fromisoformat(f"20{digits[:6]}T{digits[6:]}")
    except ValueError:
        return None
