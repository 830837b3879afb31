"""Wired M-Bus (EN 13757-2 link layer, EN 13757-3 application layer): heat, water and electricity
meters on two wires.

Three kinds of frames: the single byte E5 (acknowledge), the short frame `10 C A CS 16` and the long
frame `68 L L 68 C A CI DATA CS 16`. A meter's reply is a header and data records. Its CI is 72H for
the variable structure, or 73H for the older fixed one; 76H and 77H are the same with the high byte
first. A record is an information block (DIF, DIFEs, VIF, VIFEs) that says what follows, and the
value. Records keep their bytes, so that what is not understood is encoded again as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from devices.protocols.mbus_records import (
    MbusRecord,
    decode_record,
    scale_number,
)
from devices.protocols.mbus_units import MbusUnit
from domain.rejection import Reason, Rejected

NAME = "mbus"

#: EN 13757-2, link control: initialise, request user data (with the frame count bit either way),
#: send and reply.
SND_NKE = 0x40
REQ_UD2 = 0x5B
REQ_UD2_TOGGLED = 0x7B
SND_UD = 0x53
RSP_UD = 0x08
#: Control information (CI): select a meter, report an error, variable and fixed structure.
SELECT = 0x52
ERROR = 0x70
VARIABLE = 0x72
FIXED = 0x73
VARIABLE_HIGH = 0x76
FIXED_HIGH = 0x77
#: Addresses: a meter selected by its number (secondary address), and the broadcast that nobody
#: answers.
SELECTED = 0xFD
BROADCAST = 0xFF
LONGEST = 261

_VARIABLE_HEADER = 12
_FIXED_SIZE = 16
#: DIFs without a record: idle filler; the rest is the maker's; the same, and a further telegram
#: follows.
_FILLER = 0x2F
_MAKER_DATA = 0x0F
_MORE_FOLLOWS = 0x1F


class MbusFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame. A short one has no `information`.

    The single byte E5 has nothing at all (`control` None).
    """

    control: int | None = None
    address: int = 0
    information: int | None = None
    data: bytes = b""


#: The reply to a command.
ACK = MbusFrame()


@dataclass(frozen=True, slots=True, kw_only=True)
class MbusTelegram:
    """A meter's reply. `identity` is the number on the meter.

    `rest` are bytes special to its maker.
    """

    identity: str
    maker: str
    version: int
    medium: int
    access: int
    status: int
    records: tuple[MbusRecord, ...]
    more_follow: bool = False
    rest: bytes = b""


def _next_frame(data: bytes) -> FrameBoundary[MbusFrame]:
    first = data[0]
    if first == 0xE5:
        return FrameBoundary(1, ACK)
    if first == 0x10:
        return _next_short_frame(data)
    if first == 0x68:
        return _next_long_frame(data)
    return SKIP_BYTE


def _next_short_frame(data: bytes) -> FrameBoundary[MbusFrame]:
    if len(data) < 5:
        return NEED_DATA
    control = data[1]
    address = data[2]
    if data[4] != 0x16 or (control + address) & 0xFF != data[3]:
        return SKIP_BYTE
    return FrameBoundary(5, MbusFrame(control=control, address=address))


def _next_long_frame(data: bytes) -> FrameBoundary[MbusFrame]:
    if len(data) < 4:
        return NEED_DATA
    length = data[1]
    if data[2] != length or data[3] != 0x68 or length < 3:
        return SKIP_BYTE
    size = length + 6
    if len(data) < size:
        return NEED_DATA
    fault = trailer_fault(NAME, data, 4, size)
    if fault is not None:
        return FrameBoundary(1, fault)
    frame = MbusFrame(
        control=data[4], address=data[5], information=data[6], data=data[7 : size - 2]
    )
    return FrameBoundary(size, frame)


def _encode(frame: MbusFrame) -> bytes:
    if frame.control is None:
        return b"\xe5"
    if frame.information is None:
        checksum = (frame.control + frame.address) & 0xFF
        return bytes((0x10, frame.control, frame.address, checksum, 0x16))
    body = bytes((frame.control, frame.address, frame.information)) + frame.data
    length = len(body)
    if length > 255:
        raise ValueError(f"{NAME}: a long frame has at most 252 bytes of data")
    checksum = sum(body) & 0xFF
    return bytes((0x68, length, length, 0x68)) + body + bytes((checksum, 0x16))


CODEC: Codec[MbusFrame] = Codec(name=NAME, next_frame=_next_frame, encode=_encode, longest=LONGEST)


def request_user_data(address: int) -> MbusFrame:
    """Request a meter's data (REQ_UD2)."""
    return MbusFrame(control=REQ_UD2, address=address)


def select_meter(identity: str) -> MbusFrame:
    """Select a meter by its number, whoever made it.

    It acknowledges, and replies at FDH from then on.

    Raises: ValueError for a number of more than eight digits.
    """
    any_maker = b"\xff\xff\xff\xff"
    data = encode_bcd(int(identity), 4) + any_maker
    return MbusFrame(control=SND_UD, address=SELECTED, information=SELECT, data=data)


# Decoding -----------------------------------------------------------------------------------------


def decode_telegram(frame: MbusFrame) -> MbusTelegram | Rejected:
    """Decode a meter's reply.

    An error that a meter reports and a frame that is no reply are Rejected.
    """
    information = frame.information
    if information in (VARIABLE, VARIABLE_HIGH):
        return _decode_variable(frame.data, low_first=information == VARIABLE)
    if information in (FIXED, FIXED_HIGH):
        return _decode_fixed(frame.data, low_first=information == FIXED)
    if information == ERROR:
        error = frame.data[0] if frame.data else 0
        detail = f"meter {frame.address} reports application error {error}"
        return reject(NAME, Reason.DEVICE_REFUSED, detail)
    detail = f"control information {information!r} is no answer of a meter"
    return reject(NAME, Reason.NOT_UNDERSTOOD, detail)


def _decode_variable(data: bytes, *, low_first: bool) -> MbusTelegram | Rejected:
    """Decode the variable structure: a header of twelve bytes, then records (EN 13757-3)."""
    if len(data) < _VARIABLE_HEADER:
        detail = f"the header has {_VARIABLE_HEADER} bytes, not {len(data)}"
        return reject(NAME, Reason.BAD_FRAME, detail)
    records: list[MbusRecord] = []
    position = _VARIABLE_HEADER
    more_follow = False
    while position < len(data):
        dif = data[position]
        if dif == _FILLER:
            position += 1
            continue
        if dif & 0x0F == _MAKER_DATA:
            more_follow = dif == _MORE_FOLLOWS
            break
        record = decode_record(data, position, low_first=low_first)
        if isinstance(record, Rejected):
            return record
        position += len(record.block) + len(record.value)
        records.append(record)
    maker = int.from_bytes(data[4:6], "little" if low_first else "big")
    return MbusTelegram(
        identity=_decode_identity(data, low_first=low_first),
        maker=decode_manufacturer(maker),
        version=data[6],
        medium=data[7],
        access=data[8],
        status=data[9],
        records=tuple(records),
        more_follow=more_follow,
        rest=data[position:],
    )


def _decode_identity(data: bytes, *, low_first: bool) -> str:
    number = data[3::-1] if low_first else data[0:4]
    return number.hex().upper()


def decode_manufacturer(code: int) -> str:
    """Decode the maker's three letters (five bits each)."""
    return "".join(chr((code >> shift & 0x1F) + 64) for shift in (10, 5, 0))


def encode_manufacturer(letters: str) -> int:
    """Encode the maker's three letters.

    Raises: ValueError for a text that does not have three characters.
    """
    first, second, third = (ord(letter) - 64 & 0x1F for letter in letters)
    return first << 10 | second << 5 | third


def _decode_fixed(data: bytes, *, low_first: bool) -> MbusTelegram | Rejected:
    """Decode the fixed structure: a number, a status, two counters and their units (EN 1434-3,
    6.3.2).
    """
    if len(data) < _FIXED_SIZE:
        detail = f"the fixed structure has {_FIXED_SIZE} bytes, not {len(data)}"
        return reject(NAME, Reason.BAD_FRAME, detail)
    first_kind = data[6]
    second_kind = data[7]
    medium = first_kind >> 6 | (second_kind >> 6) << 2
    return MbusTelegram(
        identity=_decode_identity(data, low_first=low_first),
        maker="",
        version=0,
        medium=medium,
        access=data[4],
        status=data[5],
        records=(
            _decode_counter(data, 0, low_first=low_first),
            _decode_counter(data, 1, low_first=low_first),
        ),
        rest=data[_FIXED_SIZE:],
    )


def _decode_counter(data: bytes, index: int, *, low_first: bool) -> MbusRecord:
    """Decode a counter of the fixed structure.

    Bit 0 of the status says that counters are binary, bit 1 that they are of a fixed date.
    """
    status = data[5]
    kinds = data[6:8]
    start = 8 + 4 * index
    raw = data[start : start + 4]
    value = raw if low_first else raw[::-1]
    unit_code = kinds[index] & 0x3F
    if unit_code == 0x3E:
        # The first counter's unit, of a fixed date.
        unit_code = kinds[0] & 0x3F
    unit = counter_unit(unit_code)
    digits = int.from_bytes(value, "little") if status & 1 else decode_bcd(value)
    content = None
    if digits is not None and unit is not None:
        content = scale_number(digits, unit)
    return MbusRecord(
        block=kinds[index : index + 1],
        value=raw,
        storage=status >> 1 & 1,
        subunit=index,
        unit=unit,
        content=content,
    )


def counter_unit(code: int) -> MbusUnit | None:
    """Return the unit of a counter of the fixed structure (EN 1434-3, table 8).

    None for an unknown code.
    """
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
    if code == 0x38:
        return MbusUnit(quantity="temperature", uom="°C", power=-3)
    return None


# Encoding -----------------------------------------------------------------------------------------


def user_data_reply(address: int, telegram: MbusTelegram) -> MbusFrame:
    """Encode a meter's reply in the variable structure (RSP_UD).

    Raises: ValueError for an identity or a maker that does not fit.
    """
    header = encode_bcd(int(telegram.identity), 4)
    header += encode_manufacturer(telegram.maker).to_bytes(2, "little")
    header += bytes((telegram.version, telegram.medium, telegram.access, telegram.status))
    signature = b"\0\0"
    body = b"".join(record.block + record.value for record in telegram.records)
    return MbusFrame(
        control=RSP_UD,
        address=address,
        information=VARIABLE,
        data=header + signature + body + telegram.rest,
    )
