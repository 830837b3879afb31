"""DL/T 645-2007, the electricity meter on an RS-485 bus (and the read frames of its 1997 edition).

A frame (clause 5.2) is `68 A0…A5 68 C L DATA CS 16`, with wake-up bytes FE before it: the address is twelve BCD
digits, low byte first, every data byte has 33H added, CS is the sum of all bytes from the first 68H modulo 256. Control
codes are those of clause 7; identifiers and their formats those of annex A. The 1997 edition has the same link layer
with controls 01H/81H and identifiers of two bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from devices.protocols.framing import MORE, Codec, FrameBoundary, bcd, end_fault, refused, to_bcd
from domain.rejection import Reason, Rejected

NAME = "dlt645"

#: Clause 7: control codes of the master; the meter answers with 80H added, and with C0H added where it refuses.
READ, READ_MORE, READ_ADDRESS, SET_TIME, READ_1997 = 0x11, 0x12, 0x13, 0x08, 0x01
REPLY, REFUSAL, MORE_FOLLOWS = 0x80, 0xC0, 0x20
#: Clause 5.2.2: every meter listens to this one, and answers none of it; the wildcard asks for the address.
BROADCAST, ANY = "999999999999", "AAAAAAAAAAAA"
WAKE_UP = b"\xfe\xfe\xfe\xfe"
#: Clause 5.2.5: a read has at most 200 bytes of data, a write 50. The length byte bounds the rest.
LONGEST = 12 + 255

_SHIFT = bytes((n + 0x33) % 256 for n in range(256))
_UNSHIFT = bytes((n - 0x33) % 256 for n in range(256))


class Dlt645Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame: the address as printed on the meter, the control code, and the data without its 33H."""

    address: str
    control: int
    data: bytes = b""

    @property
    def is_reply(self) -> bool:
        """Tell whether a meter sent it."""
        return bool(self.control & REPLY)

    @property
    def identifier(self) -> str | None:
        """The data identifier in the standard's notation (`00010000`; `9010` in the 1997 edition)."""
        code = self.control & 0x1F
        if self.control & REFUSAL == REFUSAL:
            return None
        if code in (READ, READ_MORE) and len(self.data) >= 4:
            return self.data[3::-1].hex().upper()
        if code == READ_1997 and len(self.data) >= 2:
            return self.data[1::-1].hex().upper()
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """The format of one identifier (annex A): digits after the point, bytes of one value, a sign in the top bit.

    `digits` is how many of the bytes hold the number, where a time follows it (a demand has the time that it was reached).
    """

    size: int
    decimals: int
    signed: bool = False
    digits: int | None = None


def _cut(data: bytes) -> FrameBoundary[Dlt645Frame]:
    start = data.find(0x68)
    if start:
        return FrameBoundary(start if start > 0 else len(data))
    if len(data) < 8:
        return MORE
    if data[7] != 0x68:
        return FrameBoundary(1)
    if len(data) < 10:
        return MORE
    size = 12 + data[9]
    if len(data) < size:
        return MORE
    fault = end_fault(NAME, data, 0, size)
    if fault is not None:
        return FrameBoundary(1, fault)
    return FrameBoundary(
        size,
        Dlt645Frame(
            address=data[6:0:-1].hex().upper(),
            control=data[8],
            data=data[10 : size - 2].translate(_UNSHIFT),
        ),
    )


def _encode(frame: Dlt645Frame) -> bytes:
    head = b"\x68" + bytes.fromhex(frame.address)[::-1] + b"\x68"
    if len(head) != 8 or len(frame.data) > 255:
        raise ValueError(f"{NAME}: an address has 12 digits and data at most 255 bytes")
    body = head + bytes((frame.control, len(frame.data))) + frame.data.translate(_SHIFT)
    return body + bytes((sum(body) & 0xFF, 0x16))


CODEC: Codec[Dlt645Frame] = Codec(name=NAME, cut=_cut, encode=_encode, longest=LONGEST)

# Messages ------------------------------------------------------------------------------------------------------------


def read_request(address: str, identifier: str) -> Dlt645Frame:
    """Ask a meter for one identifier; four hex digits make it a request of the 1997 edition."""
    control = READ_1997 if len(identifier) == 4 else READ
    return Dlt645Frame(address=address, control=control, data=bytes.fromhex(identifier)[::-1])


def read_reply(address: str, identifier: str, data: bytes) -> Dlt645Frame:
    """Answer a read."""
    control = READ_1997 if len(identifier) == 4 else READ
    return Dlt645Frame(
        address=address, control=control | REPLY, data=bytes.fromhex(identifier)[::-1] + data
    )


def error_reply(request: Dlt645Frame, error: int = 0x02) -> Dlt645Frame:
    """Refuse a request; bit 1 of the error word says that there is no such data (clause 7.1.4)."""
    return Dlt645Frame(
        address=request.address, control=(request.control & 0x1F) | REFUSAL, data=bytes((error,))
    )


def address_request() -> Dlt645Frame:
    """Ask the only meter on a line for its address."""
    return Dlt645Frame(address=ANY, control=READ_ADDRESS)


def address_reply(address: str) -> Dlt645Frame:
    """Tell one's address."""
    return Dlt645Frame(
        address=address, control=READ_ADDRESS | REPLY, data=bytes.fromhex(address)[::-1]
    )


def set_time(now: datetime, address: str = BROADCAST) -> Dlt645Frame:
    """Set the clocks of a whole line (clause 7.1.8): local time; a meter follows once a day, by at most 5 minutes."""
    return Dlt645Frame(
        address=address, control=SET_TIME, data=bytes.fromhex(now.strftime("%y%m%d%H%M%S"))[::-1]
    )


def time_of(frame: Dlt645Frame) -> datetime | None:
    """Return the local time that a broadcast sets."""
    if frame.control != SET_TIME or len(frame.data) != 6:
        return None
    return _when(frame.data[::-1].hex(), "%Y%m%d%H%M%S")


def value_bytes(frame: Dlt645Frame) -> bytes | Rejected:
    """Return what a read reply carries after its identifier.

    A refusal of the meter and a frame that is no read reply are Rejected.
    """
    if frame.control & REFUSAL == REFUSAL:
        word = frame.data[0] if frame.data else 0
        return refused(
            NAME, Reason.DEVICE_REFUSED, f"meter {frame.address} refuses: {_error_text(word)}"
        )
    identifier = frame.identifier
    if not frame.is_reply or identifier is None:
        return refused(
            NAME,
            Reason.NOT_UNDERSTOOD,
            f"control {frame.control:02X}H with {len(frame.data)} bytes is no read reply",
        )
    return frame.data[len(identifier) // 2 :]


_ERRORS = (
    "other error",
    "no such data",
    "wrong password or not authorised",
    "baud rate cannot change",
    "too many yearly zones",
    "too many daily periods",
    "too many tariffs",
)


def _error_text(word: int) -> str:
    return (
        ", ".join(text for bit, text in enumerate(_ERRORS) if word >> bit & 1)
        or f"error {word:02X}H"
    )


# Values --------------------------------------------------------------------------------------------------------------


def item_of(identifier: str) -> Item | None:
    """Return the format of an identifier's values; None where this codec does not know it."""
    if len(identifier) == 4:
        return (
            _B6.get(identifier[2])
            if identifier.startswith("B6")
            else _ITEMS_1997.get(identifier[:2])
        )
    group, kind = identifier[:2], identifier[:4]
    if group == "00":
        return Item(size=4, decimals=2)
    if group == "01":
        return Item(size=8, decimals=4, digits=3)
    if group == "02":
        return _INSTANT.get(kind) or (_SINGLE.get(identifier) if kind == "0280" else None)
    if group == "05" and identifier[4:6] == "01":
        return Item(size=4, decimals=2)
    return _SINGLE.get(identifier)


#: Table A.3, the instantaneous quantities: V, A, kW, kvar, kVA, power factor, angle.
_INSTANT: dict[str, Item] = {
    "0201": Item(size=2, decimals=1), "0202": Item(size=3, decimals=3, signed=True),
    "0203": Item(size=3, decimals=4, signed=True), "0204": Item(size=3, decimals=4, signed=True),
    "0205": Item(size=3, decimals=4, signed=True), "0206": Item(size=2, decimals=3, signed=True),
    "0207": Item(size=2, decimals=1),
}  # fmt: skip
_SINGLE: dict[str, Item] = {
    "02800001": Item(size=3, decimals=3, signed=True),  # neutral current, A
    "02800002": Item(size=2, decimals=2),  # grid frequency, Hz
    "02800003": Item(size=3, decimals=4, signed=True),  # mean power of the last minute, kW
    "02800004": Item(size=3, decimals=4, signed=True),  # active demand, kW
    "02800005": Item(size=3, decimals=4, signed=True),  # reactive demand, kvar
    "02800006": Item(size=3, decimals=4, signed=True),  # apparent demand, kVA
    "0280000A": Item(size=4, decimals=0),  # minutes on battery
    "02800007": Item(size=2, decimals=1, signed=True),  # temperature inside the meter, °C
    "02800008": Item(size=2, decimals=2),  # clock battery, V
    "02800009": Item(size=2, decimals=2),  # reading battery, V
    "03110000": Item(size=3, decimals=0),  # times that the supply failed
}
#: DL/T 645-1997, table of annex A by the first byte: energy, voltage/current/power/power factor by second digit.
_ITEMS_1997: dict[str, Item] = {
    "90": Item(size=4, decimals=2),
    "91": Item(size=4, decimals=2),
    "94": Item(size=4, decimals=2),
}
_B6 = {
    "1": Item(size=2, decimals=0),
    "2": Item(size=2, decimals=2),
    "3": Item(size=3, decimals=4),
    "4": Item(size=2, decimals=2),
    "5": Item(size=2, decimals=3),
}


def values(identifier: str, data: bytes) -> list[float | None] | Rejected:
    """Read the values of an identifier: one, or several where it names a block.

    None stands for a value that the meter does not have (FF, or digits that are none).
    """
    item = item_of(identifier)
    if item is None:
        return refused(NAME, Reason.NOT_UNDERSTOOD, f"identifier {identifier} is not in the table")
    if not data or len(data) % item.size:
        return refused(
            NAME,
            Reason.BAD_FRAME,
            f"{identifier} has {len(data)} bytes, not a multiple of {item.size}",
        )
    return [
        _number(data[i : i + (item.digits or item.size)], item)
        for i in range(0, len(data), item.size)
    ]


def _number(data: bytes, item: Item) -> float | None:
    negative = item.signed and bool(data[-1] & 0x80)
    if negative and data != b"\xff" * len(data):
        data = data[:-1] + bytes((data[-1] & 0x7F,))
    digits = bcd(data)
    if digits is None:
        return None
    return float((-digits if negative else digits) / 10**item.decimals)


def value_data(identifier: str, *numbers: float) -> bytes:
    """Write the values of an identifier as a meter would.

    Raises: ValueError for an identifier without a format, or a value that does not fit.
    """
    item = item_of(identifier)
    if item is None:
        raise ValueError(f"{NAME}: identifier {identifier} is not in the table")
    out = b""
    for number in numbers:
        if item.digits is not None:
            # The time at which it was reached is not known here: FF, as a meter that has none.
            out += to_bcd(round(number * 10**item.decimals), item.digits) + b"\xff" * (
                item.size - item.digits
            )
            continue
        if number < 0 and not item.signed:
            raise ValueError(f"{NAME}: {identifier} has no sign")
        digits = bytearray(to_bcd(round(abs(number) * 10**item.decimals), item.size))
        if item.signed:
            if digits[-1] & 0x80:
                raise ValueError(f"{NAME}: {number} does not fit {identifier}")
            digits[-1] |= 0x80 if number < 0 else 0
        out += bytes(digits)
    return out


#: Clock and status identifiers (tables A.5): date with weekday, time of day, status words 1 to 7, daily freeze time.
DATE, TIME, FREEZE_TIME = "04000101", "04000102", "05060001"
STATUS_WORDS = tuple(f"0400050{n}" for n in range(1, 8))


def date_data(at: datetime) -> bytes:
    """Write 04000101: YYMMDDWW, Sunday is 0."""
    return bytes.fromhex(at.strftime("%y%m%d") + f"0{at.isoweekday() % 7}")[::-1]


def time_data(at: datetime) -> bytes:
    """Write 04000102: hhmmss."""
    return bytes.fromhex(at.strftime("%H%M%S"))[::-1]


def freeze_time_data(at: datetime) -> bytes:
    """Write 05060001: YYMMDDhhmm."""
    return bytes.fromhex(at.strftime("%y%m%d%H%M"))[::-1]


def clock(date: bytes, time: bytes) -> datetime | None:
    """Read a meter's clock from its date and time; None where it shows no time that exists."""
    if len(date) != 4 or len(time) != 3:
        return None
    return _when(date[::-1].hex()[:6] + time[::-1].hex(), "%Y%m%d%H%M%S")


def freeze_time(data: bytes) -> datetime | None:
    """Read the time of a freeze."""
    return _when(data[::-1].hex(), "%Y%m%d%H%M") if len(data) == 5 else None


def _when(digits: str, form: str) -> datetime | None:
    if not digits.isdecimal():
        return None
    try:
        # Two digits of a year are of this century.
        return datetime.strptime("20" + digits, form)  # noqa: DTZ007
    except ValueError:
        return None
