"""The wire contract, version 1 (docs/design.md), as types: what goes up and down.

These dataclasses are the one source. Ingest decodes into them, gateways and simulators encode from
them, and `docs/wire/` (JSON Schema, AsyncAPI) is generated from them. The decoder keeps unknown
fields aside and never refuses them. Times are integer milliseconds, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

VERSION = 1
ROOT = "anju/v1"

#: 2001-09-09 in milliseconds. A time below it reads as seconds, or as a clock that was never set,
#: and is refused.
EARLIEST_MS = 1_000_000_000_000
#: How far a device's clock may run ahead of the server before its time is held to be wrong.
AHEAD_MS = 5 * 60 * 1000
#: Limits of one message; a larger one is quarantined whole.
MAX_BYTES = 256 * 1024
MAX_ITEMS = 5000
MAX_VALUES = 64


class Up(StrEnum):
    """The last level of a topic that a gateway publishes to."""

    READINGS = "readings"
    EVENTS = "events"
    STATE = "state"
    BIRTH = "birth"


class Down(StrEnum):
    """The last level of a topic that a gateway subscribes to."""

    ACK = "ack"
    BACKFILL = "backfill"
    COMMAND = "command"
    TIME = "time"


class EventKind(StrEnum):
    """What a device can say has happened."""

    PASSAGE = "passage"
    PLATE = "plate"
    HAZARD = "hazard"
    DEVICE = "device"
    COMMAND = "command"


class Method(StrEnum):
    """How a passage was asked for; no modality is privileged."""

    FACE = "face"
    CARD = "card"
    CODE = "code"
    QR = "qr"
    ID_CARD = "id_card"
    FINGERPRINT = "fingerprint"
    GAIT = "gait"
    PHONE = "phone"
    REMOTE = "remote"
    BUTTON = "button"


class Outcome(StrEnum):
    """What the door answered."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Direction(StrEnum):
    """Which way someone went."""

    IN = "in"
    OUT = "out"
    UNKNOWN = "unknown"


class Hazard(StrEnum):
    """Dangers that a detector or a camera reports.

    `other` carries a vendor's own word in `detail`.
    """

    SMOKE = "smoke"
    FIRE = "fire"
    GAS = "gas"
    ELECTRICAL = "electrical"
    FLOOD = "flood"
    FIRE_LANE_BLOCKED = "fire_lane_blocked"
    EXIT_BLOCKED = "exit_blocked"
    EBIKE_IN_LIFT = "ebike_in_lift"
    FALLING_OBJECT = "falling_object"
    PERSON_TRAPPED = "person_trapped"
    SOS = "sos"
    OTHER = "other"


#: Hazards that endanger a life now: latched, never shelved by an operator, on screen within a
#: second (docs/design.md).
LIFE_SAFETY = frozenset(
    {
        Hazard.SMOKE,
        Hazard.FIRE,
        Hazard.GAS,
        Hazard.ELECTRICAL,
        Hazard.FLOOD,
        Hazard.PERSON_TRAPPED,
        Hazard.SOS,
    }
)


class HazardState(StrEnum):
    """A hazard's state; `test` is a drill or a button held by an engineer and raises nothing."""

    ON = "on"
    OFF = "off"
    TEST = "test"


class DeviceCondition(StrEnum):
    """What a device says of itself."""

    TAMPER = "tamper"
    LOW_BATTERY = "low_battery"
    FAULT = "fault"
    FORCED = "forced"
    HELD_OPEN = "held_open"
    OFFLINE = "offline"
    MAGNETIC = "magnetic"
    VALVE = "valve"
    CLOCK = "clock"
    OTHER = "other"


class CommandResult(StrEnum):
    """What became of a command; `unknown` where the gateway was stopped while it acted."""

    DONE = "done"
    EXPIRED = "expired"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"


class CommandKind(StrEnum):
    """What can be asked of a device from above."""

    VALVE = "valve"
    DOOR = "door"
    CREDENTIALS = "credentials"
    FACES = "faces"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingItem:
    """Values of one device at one instant, each a finite number named with its uom."""

    device: str
    at: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventItem:
    """Something that a device says has happened; `id` is unique within the device."""

    device: str
    at: int
    id: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """A message on `up/readings`."""

    v: int
    items: list[ReadingItem]
    boot: str | None = None
    seq: int | None = None
    sent_at: int | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """A message on `up/events`."""

    v: int
    items: list[EventItem]
    boot: str | None = None
    seq: int | None = None
    sent_at: int | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A message on `up/state`: the gateway's last known condition, and its last will.

    In a last will `online` is false. `clock_offset_ms` is gateway minus server. `outbox` counts
    what waits there, `lost` what its disk cap has cost since it was new.
    """

    v: int
    online: bool
    at: int
    boot: str | None = None
    clock_offset_ms: int | None = None
    outbox: int | None = None
    lost: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BornDevice:
    """One device in a birth message. The register says where it is mounted, not the gateway."""

    device: str
    profile: str
    points: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """A message on `up/birth`: what a gateway has behind it since it started."""

    v: int
    boot: str
    at: int
    devices: list[BornDevice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """A message on `down/ack`, sent after the commit.

    All numbers up to `upto` are stored or quarantined, and so are those in `also`.
    """

    v: int
    kind: str
    boot: str
    upto: int
    also: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """A message on `down/backfill`: the server misses these numbers and asks for them again."""

    v: int
    kind: str
    boot: str
    missing: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """A message on `down/time`, the answer to a `state`.

    It holds the server's clock, and the `at` of the state that it answers.
    """

    v: int
    at: int
    echo: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A message on `down/command`: what a person asked of a device, until it expires.

    `id` is its audit id. It may come more than once. A gateway acts on an id once, and reports with
    a `command` event of that id.
    """

    v: int
    id: str
    device: str
    command: str
    expires_at: int
    argument: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic taken apart."""

    estate: str
    gateway: str
    up: Up


def up_topic(estate: str, gateway: str, up: Up) -> str:
    """Name the topic that a gateway publishes to."""
    return f"{ROOT}/{estate}/{gateway}/up/{up}"


def down_topic(estate: str, gateway: str, down: Down) -> str:
    """Name the topic that a gateway reads."""
    return f"{ROOT}/{estate}/{gateway}/down/{down}"


def parse_up_topic(topic: str) -> Topic | None:
    """Take an `up` topic apart; None where it is not one."""
    levels = topic.split("/")
    if len(levels) != 6 or "/".join(levels[:2]) != ROOT or levels[4] != "up":
        return None
    try:
        up = Up(levels[5])
    except ValueError:
        return None
    return Topic(estate=levels[2], gateway=levels[3], up=up)
