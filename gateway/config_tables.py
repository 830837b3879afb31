"""The tables of `gateway.toml`, as types: what each may hold, and what it holds when left out."""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.calendar import DEFAULT_ZONE
from domain.errors import UserError
from gateway.faces.tables import FacesTable
from gateway.tables import Table as _Table
from gateway.vision.tables import CameraTable, VisionTable

#: The profile of a part of a fire system.
PART_PROFILE = "smoke-detector"


class BadConfig(UserError):
    """The configuration is wrong; the message is one line that names where and how to mend it."""


class BrokerTable(_Table):
    """Where the server's broker is.

    With `ca_file` the connection is TLS, with `cert_file` and `key_file` mutual.
    """

    host: str = "127.0.0.1"
    port: int = 8883
    protocol: Literal[5, 311] = 5
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class OutboxTable(_Table):
    """Where the outbox lies, and how much it may hold."""

    folder: str = "outbox"
    max_mb: int = 512


class ClockTable(_Table):
    """How far a device's clock may be off before it is set and reported.

    For testers, another clock of the gateway.
    """

    max_drift_s: int = 60
    speed: float = 1.0
    start_ms: int = 0
    real_ms: int = 0


class ControlTable(_Table):
    """How a terminal is spoken to (ISAPI over HTTP with digest log-in), for doors and lists of
    credentials.
    """

    url: str
    username: str = "admin"
    password_file: str | None = None


class DeviceTable(_Table):
    """One device. `address` is its own on a line, or its own name for itself where it pushes."""

    device: str
    profile: str
    address: str
    every_s: int | None = None
    serial: str | None = None
    #: Which way a door's readers, or the device itself, let people go.
    direction: Literal["in", "out", "unknown"] = "unknown"
    readers: dict[str, Literal["in", "out"]] = msgspec.field(default_factory=dict)
    control: ControlTable | None = None


class BusTable(_Table):
    """A half-duplex line behind a serial server, or a Modbus TCP device: one question at a time."""

    name: str
    at: str
    devices: list[DeviceTable]
    timeout_ms: int = 1000
    quiet_ms: int = 30
    retries: int = 1
    set_clock: bool = True


class PartTable(_Table):
    """A part of a fire system that is a device of its own: which system, which part (eight hex
    digits).
    """

    device: str
    part: str
    system: int = 1


class FireDeviceTable(_Table):
    """A fire user device.

    `source` is its address, twelve hex digits; parts that are not listed speak as the device.
    """

    device: str
    source: str
    profile: str = "fire-user-device"
    parts: list[PartTable] = msgspec.field(default_factory=list)


class FireTable(_Table):
    """A port to which fire user devices connect (GB/T 26875.3)."""

    port: int
    host: str = "127.0.0.1"
    devices: list[FireDeviceTable] = msgspec.field(default_factory=list)


class SourceTable(_Table):
    """A sender of pushes.

    `token_file` holds the secret that stands in its address: /push/<name>/<token>.
    """

    name: str
    kind: str
    devices: list[DeviceTable]
    token_file: str | None = None
    #: A platform speaks for many devices and must not be refused for one that is unknown; a
    #: terminal keeps its event.
    platform: bool = False


class PushTable(_Table):
    """The HTTP server for pushes."""

    port: int
    host: str = "127.0.0.1"
    sources: list[SourceTable] = msgspec.field(default_factory=list)


class MqttTable(_Table):
    """A broker on the estate that devices or a LoRaWAN server speak to."""

    name: str
    kind: str
    host: str
    topic: str
    devices: list[DeviceTable]
    port: int = 1883
    username: str | None = None
    password_file: str | None = None


class ServerTable(_Table):
    """Where the API is, for claim and renewal."""

    url: str
    ca_file: str | None = None


class ConfigTable(_Table):
    """The whole file."""

    estate: str
    gateway: str
    timezone: str = DEFAULT_ZONE
    profiles: str | None = None
    #: File with the key under which people, cards and plates become tokens; the same on every
    #: gateway of an estate.
    token_key_file: str | None = None
    broker: BrokerTable = msgspec.field(default_factory=BrokerTable)
    outbox: OutboxTable = msgspec.field(default_factory=OutboxTable)
    clock: ClockTable = msgspec.field(default_factory=ClockTable)
    bus: list[BusTable] = msgspec.field(default_factory=list)
    fire: list[FireTable] = msgspec.field(default_factory=list)
    push: PushTable | None = None
    mqtt: list[MqttTable] = msgspec.field(default_factory=list)
    server: ServerTable | None = None
    vision: VisionTable = msgspec.field(default_factory=VisionTable)
    camera: list[CameraTable] = msgspec.field(default_factory=list)
    faces: FacesTable | None = None

    def sources(self) -> list[SourceTable | MqttTable]:
        """Return everything that pushes."""
        return [*(self.push.sources if self.push else []), *self.mqtt]
