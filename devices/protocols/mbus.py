"""Wired M-Bus (EN 13757-2 link layer, EN 13757-3 application layer): heat, water and electricity meters on two wires.

Three kinds of frames: the single byte E5 (acknowledge), the short frame `10 C A CS 16` and the long frame
`68 L L 68 C A CI DATA CS 16`. A meter's answer (CI 72H, or 73H for the older fixed structure; 76H and 77H with the high
byte first) is a header and data records; a record is an information block (DIF, DIFEs, VIF, VIFEs) that says what follows,
and the value. Records keep their bytes, so that what is not understood is kept and written again as it was.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime

import msgspec

from devices.protocols.framing import MORE, Codec, FrameBoundary, bcd, end_fault, refused, to_bcd
from devices.protocols.mbus_units import MbusUnit, unit_of
from domain.rejection import Reason, Rejected

NAME = "mbus"

#: Link control: initialise, ask for user data (with the frame count bit either way), send user data, the answer.
INITIALISE, ASK, ASK_TOGGLED, SEND, ANSWER = 0x40, 0x5B, 0x7B, 0x53, 0x08
#: Control information: a report of an error; variable and fixed structure, low and high byte first.
ERROR = 0x70
VARIABLE, FIXED, VARIABLE_HIGH, FIXED_HIGH = 0x72, 0x73, 0x76, 0x77
#: A meter addressed by its number (secondary address), and the broadcast that nobody answers.
SELECTED, BROADCAST = 0xFD, 0xFF
LONGEST = 261


class MbusFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame. A short one has no `information`; the single byte E5 has nothing at all (`control` None)."""

    control: int | None = None
    address: int = 0
    information: int | None = None
    data: bytes = b""


#: The answer to a command.
ACK = MbusFrame()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One data record as its bytes: the information block, and the value with its length byte where it has one."""

    block: bytes
    value: bytes
    function: str = "instantaneous"
    storage: int = 0
    tariff: int = 0
    subunit: int = 0
    unit: MbusUnit | None = None
    #: A finite number in `unit.uom`, a datetime, a text; None where the meter shows none (digits that are not decimal).
    content: float | datetime | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telegram:
    """A meter's answer. `identity` is the number on the meter; `rest` are bytes special to its maker."""

    identity: str
    maker: str
    version: int
    medium: int
    access: int
    status: int
    records: tuple[Record, ...]
    more_follow: bool = False
    rest: bytes = b""


def _cut(data: bytes) -> FrameBoundary[MbusFrame]:
    first = data[0]
    if first == 0xE5:
        return FrameBoundary(1, ACK)
    if first == 0x10:
        if len(data) < 5:
            return MORE
        if data[4] != 0x16 or (data[1] + data[2]) & 0xFF != data[3]:
            return FrameBoundary(1)
        return FrameBoundary(5, MbusFrame(control=data[1], address=data[2]))
    if first != 0x68:
        return FrameBoundary(1)
    if len(data) < 4:
        return MORE
    length = data[1]
    if data[2] != length or data[3] != 0x68 or length < 3:
        return FrameBoundary(1)
    size = length + 6
    if len(data) < size:
        return MORE
    fault = end_fault(NAME, data, 4, size)
    if fault is not None:
        return FrameBoundary(1, fault)
    return FrameBoundary(
        size,
        MbusFrame(control=data[4], address=data[5], information=data[6], data=data[7 : size - 2]),
    )


def _encode(frame: MbusFrame) -> bytes:
    if frame.control is None:
        return b"\xe5"
    if frame.information is None:
        return bytes(
            (0x10, frame.control, frame.address, (frame.control + frame.address) & 0xFF, 0x16)
        )
    body = bytes((frame.control, frame.address, frame.information)) + frame.data
    if len(body) > 255:
        raise ValueError(f"{NAME}: a long frame has at most 252 bytes of data")
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


CODEC: Codec[MbusFrame] = Codec(name=NAME, cut=_cut, encode=_encode, longest=LONGEST)


def ask(address: int) -> MbusFrame:
    """Ask a meter for its data (REQ_UD2)."""
    return MbusFrame(control=ASK, address=address)


def select(identity: str) -> MbusFrame:
    """Address a meter by its number, whoever made it; it acknowledges, and answers at FDH from then on."""
    data = to_bcd(int(identity), 4) + b"\xff\xff\xff\xff"
    return MbusFrame(control=SEND, address=SELECTED, information=0x52, data=data)


# Reading -------------------------------------------------------------------------------------------------------------


def read_telegram(frame: MbusFrame) -> Telegram | Rejected:
    """Read a meter's answer."""
    if frame.information in (VARIABLE, VARIABLE_HIGH):
        return _variable(frame.data, "little" if frame.information == VARIABLE else "big")
    if frame.information in (FIXED, FIXED_HIGH):
        return _fixed(frame.data, "little" if frame.information == FIXED else "big")
    if frame.information == ERROR:
        number = frame.data[0] if frame.data else 0
        return refused(
            NAME, Reason.DEVICE_REFUSED, f"meter {frame.address} reports application error {number}"
        )
    return refused(
        NAME,
        Reason.NOT_UNDERSTOOD,
        f"control information {frame.information!r} is no answer of a meter",
    )


def _variable(d: bytes, order: str) -> Telegram | Rejected:
    if len(d) < 12:
        return refused(NAME, Reason.BAD_FRAME, f"the header has 12 bytes, not {len(d)}")
    little = order == "little"
    number = d[0:4] if little else d[3::-1]
    code = int.from_bytes(d[4:6], "little" if little else "big")
    records: list[Record] = []
    at, more = 12, False
    while at < len(d):
        dif = d[at]
        if dif == 0x2F:
            # Idle filler.
            at += 1
            continue
        if dif & 0x0F == 0x0F:
            # 0FH and 1FH: the rest is special to the maker; 1FH says that a further telegram follows.
            more = dif == 0x1F
            break
        found = _record(d, at, little)
        if isinstance(found, Rejected):
            return found
        at += len(found.block) + len(found.value)
        records.append(found)
    return Telegram(
        identity=number[::-1].hex().upper(),
        maker=maker_text(code),
        version=d[6],
        medium=d[7],
        access=d[8],
        status=d[9],
        records=tuple(records),
        more_follow=more,
        rest=d[at:],
    )


_FUNCTIONS = ("instantaneous", "maximum", "minimum", "error")
#: Bytes of a value by the low four bits of its DIF; D has a length byte of its own.
_LENGTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 8, 8: 0, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}


def _record(d: bytes, at: int, little: bool) -> Record | Rejected:
    start, dif = at, d[at]
    storage, tariff, subunit = dif >> 6 & 1, 0, 0
    extended, n = bool(dif & 0x80), 0
    at += 1
    while extended:
        if at >= len(d) or n == 10:
            return refused(
                NAME, Reason.BAD_FRAME, f"the record at byte {start} breaks off in its DIFE"
            )
        dife = d[at]
        storage |= (dife & 0x0F) << (4 * n + 1)
        tariff |= (dife >> 4 & 3) << (2 * n)
        subunit |= (dife >> 6 & 1) << n
        extended, n, at = bool(dife & 0x80), n + 1, at + 1
    vifs, custom = bytearray(), ""
    extended = True
    while extended:
        if at >= len(d) or len(vifs) == 11:
            return refused(
                NAME, Reason.BAD_FRAME, f"the record at byte {start} breaks off in its VIF"
            )
        vifs.append(d[at])
        at += 1
        if len(vifs) == 1 and vifs[0] & 0x7F == 0x7C:
            # The unit in plain text follows, last character first.
            size = d[at] if at < len(d) else 0
            custom, at = d[at + 1 : at + 1 + size][::-1].decode("latin-1"), at + 1 + size
        extended = bool(vifs[-1] & 0x80)
    coding = dif & 0x0F
    prefix, length = 0, _LENGTHS.get(coding, 0)
    if coding == 0x0D:
        if at >= len(d):
            return refused(NAME, Reason.BAD_FRAME, f"the record at byte {start} has no length")
        prefix, length = 1, _variable_length(d[at])
    if at + prefix + length > len(d):
        return refused(
            NAME,
            Reason.BAD_FRAME,
            f"the record at byte {start} has {length} bytes and the frame ends before",
        )
    value = d[at : at + prefix + length]
    unit = unit_of(bytes(vifs), custom)
    return Record(
        block=d[start:at],
        value=value,
        function=_FUNCTIONS[dif >> 4 & 3],
        storage=storage,
        tariff=tariff,
        subunit=subunit,
        unit=unit,
        content=_content(coding, value, unit, little),
    )


def _variable_length(lvar: int) -> int:
    """EN 13757-3, table 5: text, BCD of either sign, binary, long binary."""
    if lvar < 0xC0:
        return lvar
    if lvar < 0xF0:
        return lvar & 0x0F
    return {0xF5: 48, 0xF6: 64}.get(lvar, 4 * (lvar - 0xEC) if lvar <= 0xF4 else 0)


def _content(
    coding: int, raw: bytes, unit: MbusUnit | None, little: bool
) -> float | datetime | str | None:
    if coding == 0x0D:
        return _variable_content(raw, little)
    value = raw if little else raw[::-1]
    if coding in (0, 8):
        return None
    if unit is not None and unit.is_time:
        return _time(value)
    number: float | None
    if coding == 5:
        number = struct.unpack("<f", value)[0]
        number = (
            None if number is None or number != number or abs(number) == float("inf") else number
        )
    elif coding >= 9:
        number = _signed_bcd(value)
    else:
        number = int.from_bytes(value, "little", signed=True)
    if unit is not None and unit.is_text and number is not None and unit.power == 0:
        return str(int(number))
    return None if number is None else _scaled(number, unit)


def _variable_content(raw: bytes, little: bool) -> float | str | None:
    lvar, body = raw[0], raw[1:] if little else raw[:0:-1]
    if lvar < 0xC0:
        return body[::-1].decode("latin-1")
    if 0xC0 <= lvar < 0xE0:
        digits = bcd(body)
        return None if digits is None else float(-digits if lvar >= 0xD0 else digits)
    if len(body) > 8:
        # A key or a signature, no quantity.
        return body[::-1].hex().upper()
    return float(int.from_bytes(body, "little", signed=True)) if body else None


def _scaled(number: float, unit: MbusUnit | None) -> float:
    if unit is None:
        return float(number)
    # A power of ten is divided by, not multiplied with its inverse: 742 / 10⁴ is the 0.0742 that the meter shows.
    scaled = number / 10**-unit.power if unit.power < 0 else number * 10**unit.power
    return float(scaled * unit.factor)


def _signed_bcd(value: bytes) -> int | None:
    """EN 13757-3, annex B: an F as the highest digit is a minus."""
    if value and value[-1] >> 4 == 0x0F:
        digits = bcd(value[:-1] + bytes((value[-1] & 0x0F,)))
        return None if digits is None else -digits
    return bcd(value)


def _time(value: bytes) -> datetime | None:
    """Types F and G of EN 13757-3: minute, hour, day, year and month, packed; type I adds seconds."""
    second, hundreds = 0, None
    try:
        if len(value) == 2:
            day, rest, minute, hour = value[0], value[1], 0, 0
        elif len(value) == 4:
            minute, hour, day, rest = value[0] & 0x3F, value[1] & 0x1F, value[2], value[3]
            if value[0] & 0x80:
                return None
            hundreds = value[1] >> 5 & 3
        elif len(value) == 6:
            second, minute, hour, day, rest = (
                value[0] & 0x3F,
                value[1] & 0x3F,
                value[2] & 0x1F,
                value[3],
                value[4],
            )
            if value[1] & 0x80:
                return None
        else:
            return None
        year = (day & 0xE0) >> 5 | (rest & 0xF0) >> 1
        # Two digits of a year below 81 are of this century (annex A), unless the hundreds are told.
        century = 1900 + 100 * hundreds if hundreds else (2000 if year <= 80 else 1900)
        return datetime(century + year, rest & 0x0F, day & 0x1F, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None


def maker_text(code: int) -> str:
    """Read the maker's three letters (five bits each)."""
    return "".join(chr((code >> shift & 0x1F) + 64) for shift in (10, 5, 0))


def maker_code(text: str) -> int:
    """Write the maker's three letters."""
    a, b, c = (ord(letter) - 64 & 0x1F for letter in text)
    return a << 10 | b << 5 | c


def _fixed(d: bytes, order: str) -> Telegram | Rejected:
    """The fixed structure: a number, a status, two counters and their units (EN 1434-3, 6.3.2)."""
    if len(d) < 16:
        return refused(NAME, Reason.BAD_FRAME, f"the fixed structure has 16 bytes, not {len(d)}")
    little = order == "little"
    number = d[0:4] if little else d[3::-1]
    status, kinds = d[5], d[6:8]
    records = []
    for n in range(2):
        raw = d[8 + 4 * n : 12 + 4 * n]
        value = raw if little else raw[::-1]
        code = kinds[n] & 0x3F
        # 3EH: the first counter's unit, of a fixed date.
        unit = fixed_unit(kinds[0] & 0x3F if code == 0x3E else code)
        # Bit 0 of the status: binary counters; bit 1: the counters are of a fixed date.
        digits = int.from_bytes(value, "little") if status & 1 else bcd(value)
        content = None if digits is None or unit is None else _scaled(digits, unit)
        records.append(
            Record(
                block=kinds[n : n + 1],
                value=raw,
                storage=1 if status & 2 else 0,
                subunit=n,
                unit=unit,
                content=content,
            )
        )
    medium = kinds[0] >> 6 | (kinds[1] >> 6) << 2
    return Telegram(
        identity=number[::-1].hex().upper(),
        maker="",
        version=0,
        medium=medium,
        access=d[4],
        status=status,
        records=tuple(records),
        rest=d[16:],
    )


def fixed_unit(code: int) -> MbusUnit | None:
    """Name the unit of a counter of the fixed structure (EN 1434-3, table 8)."""
    if 0x02 <= code <= 0x0A:
        return MbusUnit(quantity="energy", uom="Wh", power=code - 0x02)
    if 0x0B <= code <= 0x13:
        return MbusUnit(quantity="energy", uom="J", power=code - 0x0B + 3)
    if 0x14 <= code <= 0x1C:
        return MbusUnit(quantity="power", uom="W", power=code - 0x14)
    if 0x26 <= code <= 0x2E:
        return MbusUnit(quantity="volume", uom="m³", power=code - 0x26 - 6)
    if 0x2F <= code <= 0x37:
        return MbusUnit(quantity="volume_flow", uom="m³/h", power=code - 0x2F - 6)
    return MbusUnit(quantity="temperature", uom="°C", power=-3) if code == 0x38 else None


# Writing -------------------------------------------------------------------------------------------------------------


def answer(address: int, telegram: Telegram) -> MbusFrame:
    """Write a meter's answer in the variable structure."""
    head = to_bcd(int(telegram.identity), 4) + maker_code(telegram.maker).to_bytes(2, "little")
    head += bytes((telegram.version, telegram.medium, telegram.access, telegram.status)) + b"\0\0"
    body = b"".join(record.block + record.value for record in telegram.records)
    return MbusFrame(
        control=ANSWER, address=address, information=VARIABLE, data=head + body + telegram.rest
    )


def bcd_record(vif: bytes, number: int, *, size: int = 4) -> Record:
    """Write a record of BCD digits, as household meters send it: `number` in steps of the VIF's power of ten."""
    coding = {1: 0x09, 2: 0x0A, 3: 0x0B, 4: 0x0C, 6: 0x0E}[size]
    value, unit = to_bcd(number, size), unit_of(vif, "")
    return Record(
        block=bytes((coding,)) + vif,
        value=value,
        unit=unit,
        content=_content(coding, value, unit, True),
    )


def time_record(at: datetime) -> Record:
    """Write a record with the meter's local time (type F)."""
    year = at.year % 100
    value = bytes((at.minute, at.hour, at.day | (year & 7) << 5, at.month | (year >> 3) << 4))
    unit = unit_of(b"\x6d", "")
    return Record(block=b"\x04\x6d", value=value, unit=unit, content=_time(value))
