"""Data records of an M-Bus telegram (EN 13757-3): the information block, and the value in its
coding.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from datetime import datetime

from devices.protocols.framing import decode_bcd, encode_bcd, reject
from devices.protocols.mbus_units import MbusUnit, decode_vif
from domain.rejection import Reason, Rejected

_NAME = "mbus"

#: Codings of a value, the low four bits of a DIF (EN 13757-3).
_NO_DATA = 0x00
_REAL = 0x05
_READOUT = 0x08
_BCD = 0x09
_VARIABLE_LENGTH = 0x0D
#: Bytes of a value by its coding; the variable length has a length byte of its own.
_LENGTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 8, 8: 0, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
_FUNCTIONS = ("instantaneous", "maximum", "minimum", "error")
#: A block has at most ten DIFEs, and a VIF with at most ten VIFEs.
_MOST_DIFES = 10
_MOST_VIFS = 11
_EXTENSION = 0x80
_PLAIN_TEXT_VIF = 0x7C

#: What a value holds: a finite number, a local time or a text.
RecordContent = float | datetime | str


@dataclass(frozen=True, slots=True, kw_only=True)
class MbusRecord:
    """One data record as its bytes: the information block, and the value with its length byte where
    it has one.

    `content` is a finite number in `unit.uom`, a local time or a text; None where the meter shows
    none, such as digits that are not decimal.
    """

    block: bytes
    value: bytes
    function: str = "instantaneous"
    storage: int = 0
    tariff: int = 0
    subunit: int = 0
    unit: MbusUnit | None = None
    content: RecordContent | None = None


@dataclass(slots=True)
class _DataField:
    """The data information field: coding and function from the DIF, numbers from the DIF and its
    DIFEs.
    """

    coding: int
    function: str
    storage: int
    tariff: int
    subunit: int
    end: int


@dataclass(slots=True)
class _ValueField:
    """The value information field: VIF and VIFEs, and the unit in plain text of VIF 7CH."""

    vifs: bytes
    unit_text: str
    end: int


def decode_record(data: bytes, start: int, *, low_first: bool) -> MbusRecord | Rejected:
    """Decode the record that starts at a byte of a telegram.

    `low_first` says the byte order of values. A record that the telegram's end cuts off is
    Rejected.
    """
    data_field = _decode_data_field(data, start)
    if data_field is None:
        return _cut_off(start, "breaks off in its DIFE")
    value_field = _decode_value_field(data, data_field.end)
    if value_field is None:
        return _cut_off(start, "breaks off in its VIF")

    value_start = value_field.end
    length = _LENGTHS.get(data_field.coding, 0)
    value_end = value_start + length
    if data_field.coding == _VARIABLE_LENGTH:
        if value_start >= len(data):
            return _cut_off(start, "has no length")
        length = _variable_length(data[value_start])
        value_end = value_start + 1 + length
    if value_end > len(data):
        return _cut_off(start, f"has {length} bytes and the frame ends before")

    value = data[value_start:value_end]
    unit = decode_vif(value_field.vifs, value_field.unit_text)
    return MbusRecord(
        block=data[start:value_start],
        value=value,
        function=data_field.function,
        storage=data_field.storage,
        tariff=data_field.tariff,
        subunit=data_field.subunit,
        unit=unit,
        content=_decode_content(data_field.coding, value, unit, low_first=low_first),
    )


def _cut_off(start: int, problem: str) -> Rejected:
    return reject(_NAME, Reason.BAD_FRAME, f"the record at byte {start} {problem}")


def _decode_data_field(data: bytes, start: int) -> _DataField | None:
    """Decode the DIF and its DIFEs; None where they break off.

    The DIF has the lowest bit of the storage number. Each DIFE adds four bits of it, two of the
    tariff, one of the subunit.
    """
    dif = data[start]
    storage = dif >> 6 & 1
    tariff = 0
    subunit = 0
    position = start + 1
    extended = dif & _EXTENSION
    count = 0
    while extended:
        if position >= len(data) or count == _MOST_DIFES:
            return None
        dife = data[position]
        storage |= (dife & 0x0F) << (4 * count + 1)
        tariff |= (dife >> 4 & 3) << (2 * count)
        subunit |= (dife >> 6 & 1) << count
        extended = dife & _EXTENSION
        count += 1
        position += 1
    return _DataField(
        coding=dif & 0x0F,
        function=_FUNCTIONS[dif >> 4 & 3],
        storage=storage,
        tariff=tariff,
        subunit=subunit,
        end=position,
    )


def _decode_value_field(data: bytes, start: int) -> _ValueField | None:
    """Decode the VIF and its VIFEs; None where they break off.

    After VIF 7CH the unit follows in plain text, last character first.
    """
    vifs = bytearray()
    unit_text = ""
    position = start
    while True:
        if position >= len(data) or len(vifs) == _MOST_VIFS:
            return None
        vif = data[position]
        position += 1
        vifs.append(vif)
        if len(vifs) == 1 and vif & 0x7F == _PLAIN_TEXT_VIF:
            size = data[position] if position < len(data) else 0
            position += 1
            unit_text = data[position : position + size][::-1].decode("latin-1")
            position += size
        if not vif & _EXTENSION:
            return _ValueField(vifs=bytes(vifs), unit_text=unit_text, end=position)


def _variable_length(lvar: int) -> int:
    """Return the bytes after a length byte (EN 13757-3, table 5): text, BCD of either sign, binary,
    long binary.
    """
    if lvar < 0xC0:
        return lvar
    if lvar < 0xF0:
        return lvar & 0x0F
    if lvar <= 0xF4:
        return 4 * (lvar - 0xEC)
    return {0xF5: 48, 0xF6: 64}.get(lvar, 0)


def _decode_content(
    coding: int, raw: bytes, unit: MbusUnit | None, *, low_first: bool
) -> RecordContent | None:
    if coding == _VARIABLE_LENGTH:
        return _decode_variable_content(raw, low_first=low_first)
    if coding in (_NO_DATA, _READOUT):
        return None
    value = raw if low_first else raw[::-1]
    if unit is not None and unit.is_time:
        return _decode_time(value)
    number = _decode_number(coding, value)
    if number is None:
        return None
    if unit is not None and unit.is_text and unit.power == 0:
        return str(int(number))
    return scale_number(number, unit)


def _decode_number(coding: int, value: bytes) -> float | None:
    """Decode a real, a signed BCD or a signed integer, low byte first.

    None where it is no finite number.
    """
    if coding == _REAL:
        real = float(struct.unpack("<f", value)[0])
        return real if math.isfinite(real) else None
    if coding >= _BCD:
        return _decode_signed_bcd(value)
    return int.from_bytes(value, "little", signed=True)


def _decode_variable_content(raw: bytes, *, low_first: bool) -> float | str | None:
    lvar = raw[0]
    body = raw[1:] if low_first else raw[:0:-1]
    if lvar < 0xC0:
        return body[::-1].decode("latin-1")
    if lvar < 0xE0:
        digits = decode_bcd(body)
        if digits is None:
            return None
        return float(-digits if lvar >= 0xD0 else digits)
    if len(body) > 8:
        # A key or a signature, no quantity.
        return body[::-1].hex().upper()
    if not body:
        return None
    return float(int.from_bytes(body, "little", signed=True))


def scale_number(number: float, unit: MbusUnit | None) -> float:
    """Turn steps of a unit into its uom."""
    if unit is None:
        return float(number)
    # A negative power divides: 742 / 10⁴ is the 0.0742 that the meter shows, 742 × 10⁻⁴ is not.
    scaled = number / 10**-unit.power if unit.power < 0 else number * 10**unit.power
    return float(scaled * unit.factor)


def _decode_signed_bcd(value: bytes) -> int | None:
    """Decode BCD where an F as the highest digit is a minus (EN 13757-3, annex B)."""
    if value and value[-1] >> 4 == 0x0F:
        digits = decode_bcd(value[:-1] + bytes((value[-1] & 0x0F,)))
        return None if digits is None else -digits
    return decode_bcd(value)


def _decode_time(value: bytes) -> datetime | None:
    """Decode a local time of type G, F or I (EN 13757-3).

    None where it is invalid or does not exist.

    Type G is a date in two bytes, type F adds hour and minute before it, type I adds the second
    before those.
    """
    try:
        if len(value) == 2:
            return _decode_date(value)
        if len(value) == 4:
            return _decode_type_f(value)
        if len(value) == 6:
            return _decode_type_i(value)
    except ValueError:
        return None
    return None


def _decode_type_f(value: bytes) -> datetime | None:
    is_invalid = value[0] & 0x80
    if is_invalid:
        return None
    minute = value[0] & 0x3F
    hour = value[1] & 0x1F
    date = _decode_date(value[2:4], hundreds=value[1] >> 5 & 3)
    return date.replace(hour=hour, minute=minute)


def _decode_type_i(value: bytes) -> datetime | None:
    is_invalid = value[1] & 0x80
    if is_invalid:
        return None
    second = value[0] & 0x3F
    minute = value[1] & 0x3F
    hour = value[2] & 0x1F
    return _decode_date(value[3:5]).replace(hour=hour, minute=minute, second=second)


def _decode_date(value: bytes, hundreds: int = 0) -> datetime:
    """Decode day, month and two digits of the year from two bytes.

    ValueError for a day that does not exist.

    Without the hundreds a year up to 80 is of this century, a later one of the last (annex A).
    """
    day = value[0] & 0x1F
    month = value[1] & 0x0F
    year = (value[0] & 0xE0) >> 5 | (value[1] & 0xF0) >> 1
    century = 2000 if year <= 80 else 1900
    if hundreds:
        century = 1900 + 100 * hundreds
    return datetime(century + year, month, day)  # noqa: DTZ001


def bcd_record(vif: bytes, number: int, *, size: int = 4) -> MbusRecord:
    """Encode a record of `size` bytes of BCD, as household meters send it.

    `number` is in steps of the VIF's power of ten. Raises: ValueError for a number that does not
    fit.
    """
    coding = {1: 0x09, 2: 0x0A, 3: 0x0B, 4: 0x0C, 6: 0x0E}[size]
    value = encode_bcd(number, size)
    unit = decode_vif(vif, "")
    content = _decode_content(coding, value, unit, low_first=True)
    return MbusRecord(block=bytes((coding,)) + vif, value=value, unit=unit, content=content)


def time_record(at: datetime) -> MbusRecord:
    """Encode a record with the meter's local time (type F), to the minute."""
    year = at.year % 100
    day = at.day | (year & 7) << 5
    month = at.month | (year >> 3) << 4
    value = bytes((at.minute, at.hour, day, month))
    unit = decode_vif(b"\x6d", "")
    return MbusRecord(block=b"\x04\x6d", value=value, unit=unit, content=_decode_time(value))
