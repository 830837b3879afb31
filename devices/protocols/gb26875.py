"""GB/T 26875.3-2011, the fire user device (用户信息传输装置) that reports a building's fire alarm system over TCP.

The device connects. A frame (clause 6) is `40 40 | serial 2 | version 2 | time 6 | source 6 | destination 6 | length 2
| command 1 | application unit | checksum 1 | 23 23`; numbers go low byte first, times as second, minute, hour, day,
month, year; the checksum is the sum from the serial to the end of the unit, modulo 256. What the device sends must be
confirmed (command 3), or it sends again. Texts are GBK.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from devices.protocols.framing import MORE, Codec, FrameBoundary, refused, sum_fault
from domain.rejection import Reason, Rejected

NAME = "gb26875"

#: Table 2: commands.
CONTROL, SEND, CONFIRM, REQUEST, ANSWER, DENY = 1, 2, 3, 4, 5, 6
#: Table 4: types of the application unit, as far as they are read.
SYSTEM_STATE, PART_STATE, ANALOG, OPERATION, SYSTEM_CLOCK = 1, 2, 3, 4, 8
TRANSMITTER_STATE, TRANSMITTER_OPERATION, TRANSMITTER_CLOCK = 21, 24, 28
READ_CLOCK, INITIALISE, SET_CLOCK, INSPECT_POST = 88, 89, 90, 91
#: Clause 6.2: the unit has at most 1024 bytes.
LONGEST_UNIT = 1024
LONGEST = 30 + LONGEST_UNIT
DESCRIPTION = 31


class Gb26875Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame. Addresses are twelve hex digits, high byte first; `stamp` is the sender's time as it was sent."""

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
        return clock_of(self.stamp)


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
class Analog:
    """Type 3 (clause 8.2.1.3): a measured value of a part; `value` in steps of the quantity's resolution."""

    system_type: int
    system: int
    part_type: int
    part: str
    quantity: int
    value: int
    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Type 4 and 24 (clauses 8.2.1.4, 8.2.1.10): what an operator did; for type 24 there is no system."""

    flags: int
    operator: int
    stamp: bytes
    system_type: int | None = None
    system: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmitterState:
    """Type 21 (clause 8.2.1.8): the state of the user device itself, bits as in `TRANSMITTER_BITS`."""

    state: int
    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Gb26875Clock:
    """Types 8, 28 and 90: a time that is told or set."""

    stamp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """An object of any other type, as its bytes: 查岗 (91) carries its time limit in minutes."""

    data: bytes


Object = SystemState | PartState | Analog | Operation | TransmitterState | Gb26875Clock | Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Gb26875Unit:
    """An application unit: its type and its information objects."""

    kind: int
    objects: tuple[Object, ...]


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
#: Table 7: what an analog value measures, with its resolution: °C, MPa, kPa, %LEL, V, A.
QUANTITIES: dict[int, tuple[str, float]] = {
    3: ("temperature_c", 0.1),
    4: ("pressure_kpa", 100.0),
    5: ("pressure_kpa", 0.1),
    6: ("gas_lel_pct", 0.1),
    8: ("voltage_v", 0.1),
    9: ("current_a", 0.1),
}


def _cut(data: bytes) -> FrameBoundary[Gb26875Frame]:
    start = data.find(b"@@")
    if start < 0:
        # The last byte may be the first half of a start.
        keep = 1 if data.endswith(b"@") else 0
        return FrameBoundary(len(data) - keep) if len(data) > keep else MORE
    if start:
        return FrameBoundary(start)
    if len(data) < 26:
        return MORE
    length = int.from_bytes(data[24:26], "little")
    if length > LONGEST_UNIT:
        return FrameBoundary(
            1,
            refused(
                NAME, Reason.BAD_FRAME, f"a unit of {length} bytes; the limit is {LONGEST_UNIT}"
            ),
        )
    size = 30 + length
    if len(data) < size:
        return MORE
    if data[size - 2 : size] != b"##":
        return FrameBoundary(1, refused(NAME, Reason.BAD_FRAME, "does not end with ##"))
    fault = sum_fault(NAME, data[2 : size - 3], data[size - 3])
    if fault is not None:
        return FrameBoundary(1, fault)
    return FrameBoundary(
        size,
        Gb26875Frame(
            serial=int.from_bytes(data[2:4], "little"),
            version=data[4:6],
            stamp=data[6:12],
            source=data[17:11:-1].hex(),
            destination=data[23:17:-1].hex(),
            command=data[26],
            unit=data[27 : size - 3],
        ),
    )


def _encode(frame: Gb26875Frame) -> bytes:
    source, destination = bytes.fromhex(frame.source)[::-1], bytes.fromhex(frame.destination)[::-1]
    if (
        len(source) != 6
        or len(destination) != 6
        or len(frame.stamp) != 6
        or len(frame.version) != 2
    ):
        raise ValueError(f"{NAME}: addresses and times have 6 bytes, a version 2")
    if len(frame.unit) > LONGEST_UNIT:
        raise ValueError(f"{NAME}: a unit has at most {LONGEST_UNIT} bytes")
    body = (
        frame.serial.to_bytes(2, "little")
        + frame.version
        + frame.stamp
        + source
        + destination
        + len(frame.unit).to_bytes(2, "little")
        + bytes((frame.command,))
        + frame.unit
    )
    return b"@@" + body + bytes((sum(body) & 0xFF,)) + b"##"


CODEC: Codec[Gb26875Frame] = Codec(name=NAME, cut=_cut, encode=_encode, longest=LONGEST)

# Application units ---------------------------------------------------------------------------------------------------

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


def read_unit(data: bytes) -> Gb26875Unit | Rejected:
    """Read an application unit: type, number of objects, objects."""
    if len(data) < 2:
        return refused(
            NAME,
            Reason.BAD_FRAME,
            f"an application unit of {len(data)} bytes has no type and count",
        )
    kind, count, body = data[0], data[1], data[2:]
    size = _SIZES.get(kind)
    if size is None:
        return Gb26875Unit(kind=kind, objects=(Plain(data=body),))
    if len(body) != size * count:
        return refused(
            NAME,
            Reason.BAD_FRAME,
            f"type {kind}: {count} objects have {size * count} bytes, not {len(body)}",
        )
    return Gb26875Unit(
        kind=kind,
        objects=tuple(_object(kind, body[i : i + size]) for i in range(0, len(body), size)),
    )


def _object(kind: int, d: bytes) -> Object:
    if kind == SYSTEM_STATE:
        return SystemState(
            system_type=d[0], system=d[1], state=int.from_bytes(d[2:4], "little"), stamp=d[4:10]
        )
    if kind == PART_STATE:
        return PartState(
            system_type=d[0],
            system=d[1],
            part_type=d[2],
            part=d[3:7].hex(),
            state=int.from_bytes(d[7:9], "little"),
            text=_text(d[9:40]),
            stamp=d[40:46],
        )
    if kind == ANALOG:
        return Analog(
            system_type=d[0],
            system=d[1],
            part_type=d[2],
            part=d[3:7].hex(),
            quantity=d[7],
            value=int.from_bytes(d[8:10], "little", signed=True),
            stamp=d[10:16],
        )
    if kind == OPERATION:
        return Operation(system_type=d[0], system=d[1], flags=d[2], operator=d[3], stamp=d[4:10])
    if kind == TRANSMITTER_OPERATION:
        return Operation(flags=d[0], operator=d[1], stamp=d[2:8])
    if kind == TRANSMITTER_STATE:
        return TransmitterState(state=d[0], stamp=d[1:7])
    if kind == SYSTEM_CLOCK:
        return Plain(data=d)
    return Gb26875Clock(stamp=d)


def write_unit(unit: Gb26875Unit) -> bytes:
    """Write an application unit.

    Raises: ValueError for what does not fit.
    """
    count = 1 if unit.kind not in _SIZES else len(unit.objects)
    return bytes((unit.kind, count)) + b"".join(_object_bytes(o) for o in unit.objects)


def _object_bytes(o: Object) -> bytes:
    if isinstance(o, SystemState):
        return bytes((o.system_type, o.system)) + o.state.to_bytes(2, "little") + o.stamp
    if isinstance(o, PartState):
        head = bytes((o.system_type, o.system, o.part_type)) + bytes.fromhex(o.part)
        return head + o.state.to_bytes(2, "little") + _text_bytes(o.text) + o.stamp
    if isinstance(o, Analog):
        head = bytes((o.system_type, o.system, o.part_type)) + bytes.fromhex(o.part)
        return head + bytes((o.quantity,)) + o.value.to_bytes(2, "little", signed=True) + o.stamp
    if isinstance(o, Operation):
        head = (
            b"" if o.system_type is None or o.system is None else bytes((o.system_type, o.system))
        )
        return head + bytes((o.flags, o.operator)) + o.stamp
    if isinstance(o, TransmitterState):
        return bytes((o.state,)) + o.stamp
    return o.stamp if isinstance(o, Gb26875Clock) else o.data


def _text(data: bytes) -> str:
    """Read a text field: GBK, ended by the first NUL; a byte that is none of it stays visible as U+FFFD."""
    return data.split(b"\0", 1)[0].decode("gb18030", "replace")


def _text_bytes(text: str) -> bytes:
    data = text.encode("gb18030", "replace")
    while len(data) > DESCRIPTION:
        text = text[:-1]
        data = text.encode("gb18030", "replace")
    return data.ljust(DESCRIPTION, b"\0")


# Messages ------------------------------------------------------------------------------------------------------------


def stamp_of(at: datetime) -> bytes:
    """Write a local time."""
    return bytes((at.second, at.minute, at.hour, at.day, at.month, at.year % 100))


def clock_of(stamp: bytes) -> datetime | None:
    """Read a local time; None where the bytes name no time that exists."""
    try:
        second, minute, hour, day, month, year = stamp
        return datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None


def confirm(frame: Gb26875Frame, at: datetime) -> Gb26875Frame:
    """Confirm a frame: its own serial and addresses the other way round (clause 6.4)."""
    return Gb26875Frame(
        serial=frame.serial,
        version=frame.version,
        command=CONFIRM,
        source=frame.destination,
        destination=frame.source,
        stamp=stamp_of(at),
    )


def set_clock(serial: int, source: str, destination: str, at: datetime) -> Gb26875Frame:
    """Set the device's clock (type 90)."""
    unit = write_unit(Gb26875Unit(kind=SET_CLOCK, objects=(Gb26875Clock(stamp=stamp_of(at)),)))
    return Gb26875Frame(
        serial=serial,
        command=CONTROL,
        source=source,
        destination=destination,
        stamp=stamp_of(at),
        unit=unit,
    )


def inspect_post(
    serial: int, source: str, destination: str, at: datetime, minutes: int
) -> Gb26875Frame:
    """Ask whether somebody is at the post (查岗, type 91): to be answered at the device within some minutes."""
    unit = write_unit(Gb26875Unit(kind=INSPECT_POST, objects=(Plain(data=bytes((minutes,))),)))
    return Gb26875Frame(
        serial=serial,
        command=CONTROL,
        source=source,
        destination=destination,
        stamp=stamp_of(at),
        unit=unit,
    )


def bits(word: int, names: tuple[str, ...]) -> frozenset[str]:
    """Name the bits of a state that are set."""
    return frozenset(name for n, name in enumerate(names) if word >> n & 1)
