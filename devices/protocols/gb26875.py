"""GB/T 26875.3-2011: the fire user device (用户信息传输装置) reports a fire alarm system over TCP.

The device connects. A frame (clause 6) is `40 40 | serial 2 | version 2 | time 6 | source 6 |
destination 6 | length 2 | command 1 | application unit | checksum 1 | 23 23`; numbers go low byte
first, times as second, minute, hour, day, month, year; the checksum is the sum from the serial to
the end of the unit, modulo 256. What the device sends must be confirmed (command 3), or it sends
again. Texts are GBK.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from devices.protocols.framing import NEED_DATA, Codec, FrameBoundary, checksum_fault, reject
from domain.rejection import Reason, Rejected

NAME = "gb26875"

#: Table 2: commands.
CONTROL = 1
SEND = 2
CONFIRM = 3
REQUEST = 4
ANSWER = 5
DENY = 6
#: Table 4: types of the application unit, as far as they are decoded.
SYSTEM_STATE = 1
PART_STATE = 2
ANALOG = 3
OPERATION = 4
SYSTEM_CLOCK = 8
TRANSMITTER_STATE = 21
TRANSMITTER_OPERATION = 24
TRANSMITTER_CLOCK = 28
READ_CLOCK = 88
INITIALISE = 89
SET_CLOCK = 90
INSPECT_POST = 91
#: Clause 6.2: the unit has at most 1024 bytes.
LONGEST_UNIT = 1024
LONGEST = 30 + LONGEST_UNIT
#: Bytes of a part's description.
DESCRIPTION = 31

_START = b"@@"
_END = b"##"


class Gb26875Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame. Addresses are twelve hex digits, high byte first.

    `stamp` is the sender's time as it was sent.
    """

    serial: int
    command: int
    source: str
    destination: str
    stamp: bytes = bytes(6)
    version: bytes = b"\x01\x01"
    unit: bytes = b""

    @property
    def at(self) -> datetime | None:
        """The sender's local time; None where it names no time that exists."""
        return decode_time(self.stamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemState:
    """Type 1 (clause 8.2.1.1): the state of a fire system, bits as in `STATE_BITS`."""

    system_type: int
    system: int
    state: int
    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """Type 2 (clause 8.2.1.2): the state of a part: a detector, a button, a pump."""

    system_type: int
    system: int
    part_type: int
    part: str
    state: int
    text: str
    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalogValue:
    """Type 3 (clause 8.2.1.3): a measured value of a part.

    `value` in steps of the quantity's resolution.
    """

    system_type: int
    system: int
    part_type: int
    part: str
    quantity: int
    value: int
    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction:
    """Type 4 and 24 (clauses 8.2.1.4, 8.2.1.10): what an operator did; type 24 has no system."""

    flags: int
    operator: int
    stamp: bytes
    system_type: int | None = None
    system: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmitterState:
    """Type 21 (clause 8.2.1.8): the state of the user device itself, as in `TRANSMITTER_BITS`."""

    state: int
    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Gb26875Clock:
    """Types 28 and 90: a time that is reported or set."""

    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RawObject:
    """An object of any other type, as its bytes: 查岗 (91) carries its time limit in minutes."""

    data: bytes


InformationObject = (
    SystemState
    | PartState
    | AnalogValue
    | OperatorAction
    | TransmitterState
    | Gb26875Clock
    | RawObject
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gb26875Unit:
    """An application unit: its type and its information objects."""

    kind: int
    objects: tuple[InformationObject, ...]


#: Tables 5 and 6; a part has the first nine.
STATE_BITS = (
    "normal",
    "fire",
    "fault",
    "shielded",
    "supervised",
    "started",
    "feedback",
    "delayed",
    "power_fault",
    "backup_power_fault",
    "bus_fault",
    "manual",
    "configuration_changed",
    "reset",
)
#: Table 8.
TRANSMITTER_BITS = (
    "normal",
    "fire",
    "fault",
    "power_fault",
    "backup_power_fault",
    "link_fault",
    "line_fault",
)
#: Table 9: what an operator did.
OPERATION_BITS = (
    "reset",
    "silence",
    "manual_alarm",
    "alarm_cleared",
    "self_test",
    "post_confirmed",
    "test",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalogQuantity:
    """What an analog value measures: the point, and the step of a value in the point's uom."""

    point: str
    step: float


#: Table 7: analog quantities by number, with their resolution in °C, MPa, kPa, %LEL, V, A.
QUANTITIES = {
    3: AnalogQuantity(point="temperature_c", step=0.1),
    4: AnalogQuantity(point="pressure_kpa", step=100.0),
    5: AnalogQuantity(point="pressure_kpa", step=0.1),
    6: AnalogQuantity(point="gas_lel_pct", step=0.1),
    8: AnalogQuantity(point="voltage_v", step=0.1),
    9: AnalogQuantity(point="current_a", step=0.1),
}


def _next_frame(data: bytes) -> FrameBoundary[Gb26875Frame]:
    start = data.find(_START)
    if start < 0:
        return _skip_without_start(data)
    if start:
        return FrameBoundary(start)
    if len(data) < 26:
        return NEED_DATA
    length = int.from_bytes(data[24:26], "little")
    if length > LONGEST_UNIT:
        detail = f"a unit of {length} bytes; the limit is {LONGEST_UNIT}"
        return FrameBoundary(1, reject(NAME, Reason.BAD_FRAME, detail))
    size = 30 + length
    if len(data) < size:
        return NEED_DATA
    if data[size - 2 : size] != _END:
        return FrameBoundary(1, reject(NAME, Reason.BAD_FRAME, "does not end with ##"))
    fault = checksum_fault(NAME, data[2 : size - 3], data[size - 3])
    if fault is not None:
        return FrameBoundary(1, fault)
    frame = Gb26875Frame(
        serial=int.from_bytes(data[2:4], "little"),
        version=data[4:6],
        stamp=data[6:12],
        source=data[17:11:-1].hex(),
        destination=data[23:17:-1].hex(),
        command=data[26],
        unit=data[27 : size - 3],
    )
    return FrameBoundary(size, frame)


def _skip_without_start(data: bytes) -> FrameBoundary[Gb26875Frame]:
    """Skip a buffer that holds no start; its last byte may be the first half of one."""
    size = len(data)
    if data.endswith(b"@"):
        size -= 1
    return FrameBoundary(size) if size else NEED_DATA


def _encode(frame: Gb26875Frame) -> bytes:
    source = bytes.fromhex(frame.source)[::-1]
    destination = bytes.fromhex(frame.destination)[::-1]
    if len(source) != 6 or len(destination) != 6:
        raise ValueError(f"{NAME}: an address has 6 bytes")
    if len(frame.stamp) != 6 or len(frame.version) != 2:
        raise ValueError(f"{NAME}: a time has 6 bytes, a version 2")
    if len(frame.unit) > LONGEST_UNIT:
        raise ValueError(f"{NAME}: a unit has at most {LONGEST_UNIT} bytes")
    head = frame.serial.to_bytes(2, "little") + frame.version + frame.stamp + source + destination
    length = len(frame.unit).to_bytes(2, "little")
    body = head + length + bytes((frame.command,)) + frame.unit
    checksum = sum(body) & 0xFF
    return _START + body + bytes((checksum,)) + _END


CODEC: Codec[Gb26875Frame] = Codec(
    name=NAME, next_frame=_next_frame, encode=_encode, longest=LONGEST
)

# Application units --------------------------------------------------------------------------------

#: Bytes of one object, by type of the unit.
_SIZES = {
    SYSTEM_STATE: 10,
    PART_STATE: 46,
    ANALOG: 16,
    OPERATION: 10,
    SYSTEM_CLOCK: 8,
    TRANSMITTER_STATE: 7,
    TRANSMITTER_OPERATION: 8,
    TRANSMITTER_CLOCK: 6,
    SET_CLOCK: 6,
}


def decode_unit(data: bytes) -> Gb26875Unit | Rejected:
    """Decode an application unit: type, number of objects, objects.

    An object of a type that is not decoded is kept as its bytes. A length that does not fit is
    Rejected.
    """
    if len(data) < 2:
        detail = f"an application unit of {len(data)} bytes has no type and count"
        return reject(NAME, Reason.BAD_FRAME, detail)
    kind = data[0]
    count = data[1]
    body = data[2:]
    size = _SIZES.get(kind)
    if size is None:
        return Gb26875Unit(kind=kind, objects=(RawObject(data=body),))
    if len(body) != size * count:
        detail = f"type {kind}: {count} objects have {size * count} bytes, not {len(body)}"
        return reject(NAME, Reason.BAD_FRAME, detail)
    decode = _DECODERS[kind]
    objects = tuple(decode(body[start : start + size]) for start in range(0, len(body), size))
    return Gb26875Unit(kind=kind, objects=objects)


def _decode_system_state(data: bytes) -> SystemState:
    return SystemState(
        system_type=data[0],
        system=data[1],
        state=int.from_bytes(data[2:4], "little"),
        stamp=data[4:10],
    )


def _decode_part_state(data: bytes) -> PartState:
    return PartState(
        system_type=data[0],
        system=data[1],
        part_type=data[2],
        part=data[3:7].hex(),
        state=int.from_bytes(data[7:9], "little"),
        text=_decode_text(data[9:40]),
        stamp=data[40:46],
    )


def _decode_analog(data: bytes) -> AnalogValue:
    return AnalogValue(
        system_type=data[0],
        system=data[1],
        part_type=data[2],
        part=data[3:7].hex(),
        quantity=data[7],
        value=int.from_bytes(data[8:10], "little", signed=True),
        stamp=data[10:16],
    )


def _decode_operation(data: bytes) -> OperatorAction:
    return OperatorAction(
        system_type=data[0], system=data[1], flags=data[2], operator=data[3], stamp=data[4:10]
    )


def _decode_transmitter_operation(data: bytes) -> OperatorAction:
    return OperatorAction(flags=data[0], operator=data[1], stamp=data[2:8])


def _decode_transmitter_state(data: bytes) -> TransmitterState:
    return TransmitterState(state=data[0], stamp=data[1:7])


def _decode_raw(data: bytes) -> RawObject:
    return RawObject(data=data)


def _decode_clock(data: bytes) -> Gb26875Clock:
    return Gb26875Clock(stamp=data)


_DECODERS: dict[int, Callable[[bytes], InformationObject]] = {
    SYSTEM_STATE: _decode_system_state,
    PART_STATE: _decode_part_state,
    ANALOG: _decode_analog,
    OPERATION: _decode_operation,
    SYSTEM_CLOCK: _decode_raw,
    TRANSMITTER_STATE: _decode_transmitter_state,
    TRANSMITTER_OPERATION: _decode_transmitter_operation,
    TRANSMITTER_CLOCK: _decode_clock,
    SET_CLOCK: _decode_clock,
}


def encode_unit(unit: Gb26875Unit) -> bytes:
    """Encode an application unit.

    Raises: ValueError for what does not fit.
    """
    count = len(unit.objects) if unit.kind in _SIZES else 1
    return bytes((unit.kind, count)) + b"".join(map(_encode_object, unit.objects))


def _encode_object(item: InformationObject) -> bytes:
    match item:
        case SystemState():
            head = bytes((item.system_type, item.system))
            return head + item.state.to_bytes(2, "little") + item.stamp
        case PartState():
            state = item.state.to_bytes(2, "little")
            return _encode_part(item) + state + _encode_text(item.text) + item.stamp
        case AnalogValue():
            value = item.value.to_bytes(2, "little", signed=True)
            return _encode_part(item) + bytes((item.quantity,)) + value + item.stamp
        case OperatorAction():
            return _encode_operation(item)
        case TransmitterState():
            return bytes((item.state,)) + item.stamp
        case Gb26875Clock():
            return item.stamp
        case RawObject():
            return item.data


def _encode_part(item: PartState | AnalogValue) -> bytes:
    return bytes((item.system_type, item.system, item.part_type)) + bytes.fromhex(item.part)


def _encode_operation(item: OperatorAction) -> bytes:
    action = bytes((item.flags, item.operator)) + item.stamp
    if item.system_type is None or item.system is None:
        return action
    return bytes((item.system_type, item.system)) + action


def _decode_text(data: bytes) -> str:
    """Decode a text field: GBK, ended by the first NUL.

    A byte that is none of it becomes U+FFFD.
    """
    return data.split(b"\0", 1)[0].decode("gb18030", "replace")


def _encode_text(text: str) -> bytes:
    """Encode a text field; a text that is too long is cut between characters."""
    data = text.encode("gb18030", "replace")
    while len(data) > DESCRIPTION:
        text = text[:-1]
        data = text.encode("gb18030", "replace")
    return data.ljust(DESCRIPTION, b"\0")


# Messages -----------------------------------------------------------------------------------------


def encode_time(at: datetime) -> bytes:
    """Encode a local time: second, minute, hour, day, month, two digits of the year."""
    return bytes((at.second, at.minute, at.hour, at.day, at.month, at.year % 100))


def decode_time(stamp: bytes) -> datetime | None:
    """Decode a local time; None where the bytes name no time that exists."""
    try:
        second, minute, hour, day, month, year = stamp
        return datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None


def confirm(frame: Gb26875Frame, at: datetime) -> Gb26875Frame:
    """Confirm a frame: its own serial, and its addresses exchanged (clause 6.4)."""
    return Gb26875Frame(
        serial=frame.serial,
        version=frame.version,
        command=CONFIRM,
        source=frame.destination,
        destination=frame.source,
        stamp=encode_time(at),
    )


def set_clock(serial: int, source: str, destination: str, at: datetime) -> Gb26875Frame:
    """Set the device's clock (type 90)."""
    stamp = encode_time(at)
    unit = Gb26875Unit(kind=SET_CLOCK, objects=(Gb26875Clock(stamp=stamp),))
    return Gb26875Frame(
        serial=serial,
        command=CONTROL,
        source=source,
        destination=destination,
        stamp=stamp,
        unit=encode_unit(unit),
    )


def bit_names(word: int, names: tuple[str, ...]) -> frozenset[str]:
    """Name the bits of a word that are set; `names` are those of bit 0 and up."""
    return frozenset(name for bit, name in enumerate(names) if word >> bit & 1)
