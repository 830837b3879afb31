"""The gateway's one configuration file: TOML, read into types, checked as a whole before anything of it is used.

Every fault names the table, the field and the fix. docs/gateway.md describes the file.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from devices.polls import POLLS, check
from devices.profiles import BadProfile, Profile, load_profiles
from devices.pushes import PUSHES
from domain.broker import BrokerAddress
from domain.calendar import DEFAULT_ZONE
from domain.errors import UserError
from domain.ids import valid_id
from gateway.faces.tables import FacesTable
from gateway.tables import Table as _Table
from gateway.vision.rules import BadRules, Rules, load_rules
from gateway.vision.tables import CameraTable, VisionTable


class BadConfig(UserError):
    """The configuration is wrong; the message is one line that names where and how to mend it."""


class BrokerTable(_Table):
    """Where the server's broker is. With `ca_file` the connection is TLS, with `cert_file` and `key_file` mutual."""

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
    """How far a device's clock may be off before it is set and reported; for testers, another clock of the gateway."""

    max_drift_s: int = 60
    speed: float = 1.0
    start_ms: int = 0
    real_ms: int = 0


class ControlTable(_Table):
    """How a terminal is spoken to (ISAPI over HTTP with digest log-in), for doors and lists of credentials."""

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
    """A part of a fire system that is a device of its own: which system, which part (eight hex digits)."""

    device: str
    part: str
    system: int = 1


class FireDeviceTable(_Table):
    """A fire user device. `source` is its address, twelve hex digits; parts that are not listed speak as the device."""

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
    """A sender of pushes. `token_file` holds the secret that stands in its address: /push/<name>/<token>."""

    name: str
    kind: str
    devices: list[DeviceTable]
    token_file: str | None = None
    #: A platform speaks for many devices and must not be refused for one that is unknown; a terminal keeps its event.
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
    #: File with the key under which people, cards and plates become tokens; the same on every gateway of an estate.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration that holds together."""

    table: ConfigTable
    folder: Path
    zone: ZoneInfo
    profiles: dict[str, Profile]
    token_key: bytes
    tokens_of: dict[str, str] = field(default_factory=dict)
    rules: dict[str, Rules] = field(default_factory=dict)

    def broker(self) -> BrokerAddress:
        """Return the broker's address, with its password."""
        b = self.table.broker
        return BrokerAddress(
            host=b.host,
            port=b.port,
            protocol=b.protocol,
            username=b.username,
            password=self.secret(b.password_file),
            ca_file=self._path(b.ca_file),
            cert_file=self._path(b.cert_file),
            key_file=self._path(b.key_file),
        )

    def secret(self, name: str | None) -> str | None:
        """Read a secret's file; None where none is named."""
        return None if name is None else (self.folder / name).read_text("utf-8").strip()

    def _path(self, name: str | None) -> str | None:
        return None if name is None else str(self.folder / name)

    @property
    def outbox_path(self) -> Path:
        """Where the outbox's file lies."""
        return self.folder / self.table.outbox.folder / "outbox.sqlite"

    def devices(self) -> dict[str, tuple[str, str]]:
        """Return every device with its profile and where it is spoken to."""
        found: dict[str, tuple[str, str]] = {}
        for bus in self.table.bus:
            found.update(
                {
                    d.device: (d.profile, f"bus {bus.name} at {bus.at}, address {d.address}")
                    for d in bus.devices
                }
            )
        for fire in self.table.fire:
            for host in fire.devices:
                found[host.device] = (host.profile, f"fire port {fire.port}, source {host.source}")
                found.update(
                    {
                        p.device: ("smoke-detector", f"part {p.part} of {host.device}")
                        for p in host.parts
                    }
                )
        for source in self.sources():
            found.update(
                {
                    d.device: (d.profile, f"{source.kind} {source.name}, {d.address}")
                    for d in source.devices
                }
            )
        found.update(
            {
                c.device: (c.profile, f"camera at {c.url.rpartition('@')[2]}")
                for c in self.table.camera
            }
        )
        if self.table.faces is not None:
            # A door that a terminal speaks for as well stands there already.
            for door in self.table.faces.doors:
                found.setdefault(door.device, (door.profile, f"faces port {self.table.faces.port}"))
        return found

    def face_key(self) -> bytes:
        """Read the key that wraps the keys of faces."""
        assert self.table.faces is not None
        return bytes.fromhex(self.secret(self.table.faces.key_file) or "")

    def sources(self) -> list[SourceTable | MqttTable]:
        """Return everything that pushes."""
        return self.table.sources()


def load_config(path: Path) -> Config:
    """Read and check a configuration.

    Raises: BadConfig.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: cannot be read: {error}") from None
    return parse_config(text, path.parent, str(path))


def parse_config(text: str, folder: Path, where: str) -> Config:
    """Read and check a configuration's text; files that it names lie in `folder`.

    Raises: BadConfig.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{where}: not TOML: {error}") from None
    try:
        table = msgspec.convert(raw, ConfigTable)
    except msgspec.ValidationError as error:
        raise BadConfig(f"{where}: {_told(str(error))}") from None
    try:
        zone = ZoneInfo(table.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadConfig(
            f"{where}: timezone {table.timezone!r}: use a zone like Asia/Shanghai"
        ) from None
    try:
        profiles = load_profiles(folder / table.profiles if table.profiles else None)
    except (BadProfile, OSError) as error:
        raise BadConfig(f"{where}: {error}") from None
    checker = _Check(where, folder, table, profiles)
    checker.run()
    return Config(
        table=table,
        folder=folder,
        zone=zone,
        profiles=profiles,
        token_key=checker.token_key,
        tokens_of=checker.tokens,
        rules=checker.rules,
    )


def _told(message: str) -> str:
    """Add a near match to msgspec's own words for an unknown field."""
    if "unknown field" in message:
        name = message.split("`")[1]
        known = sorted({f for t in _Table.__subclasses__() for f in t.__struct_fields__})
        near = get_close_matches(name, known, 1)
        return message + (f"; did you mean {near[0]}?" if near else "; remove it")
    return message


class _Check:
    """The rules that types alone do not hold."""

    def __init__(
        self, where: str, folder: Path, table: ConfigTable, profiles: dict[str, Profile]
    ) -> None:
        self.where, self.folder, self.table, self.profiles = where, folder, table, profiles
        self.seen: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.token_key = b""
        self.rules: dict[str, Rules] = {}

    def run(self) -> None:
        table = self.table
        for name, value in (("estate", table.estate), ("gateway", table.gateway)):
            self._id(name, value)
        if (
            not 1 <= table.outbox.max_mb <= 1_000_000
            or table.clock.max_drift_s < 1
            or not 0 < table.clock.speed <= 100_000
        ):
            self.fail(
                "outbox.max_mb lies between 1 and 1000000, clock.max_drift_s is at least 1, clock.speed above 0"
            )
        for name in ("password_file", "ca_file", "cert_file", "key_file"):
            self._file(f"broker.{name}", getattr(table.broker, name))
        if (table.broker.cert_file is None) != (table.broker.key_file is None):
            self.fail("broker: cert_file and key_file go together")
        for bus in table.bus:
            self._bus(bus)
        for fire in table.fire:
            self._fire(fire)
        self._pushes()
        self._cameras()
        self._faces()
        if table.token_key_file is not None:
            self._file("token_key_file", table.token_key_file)
            self.token_key = (self.folder / table.token_key_file).read_bytes().strip()
            if len(self.token_key) < 16:
                self.fail(
                    "token_key_file: the key has at least 16 bytes; make one with `anju gateway token-key`"
                )

    def fail(self, message: str) -> None:
        raise BadConfig(f"{self.where}: {message}")

    def _id(self, name: str, value: str) -> None:
        if not valid_id(value):
            self.fail(f"{name} {value!r}: 2 to 40 lower-case letters, digits or hyphens")

    def _file(self, name: str, value: str | None) -> None:
        if value is not None and not (self.folder / value).is_file():
            self.fail(f"{name}: there is no file {value!r} beside the configuration")

    def _port(self, name: str, value: int) -> None:
        if not 1 <= value <= 65_535:
            self.fail(f"{name} {value}: a port lies between 1 and 65535")

    def _device(self, place: str, code: str, profile: str) -> Profile:
        self._id(f"{place}: device", code)
        if code in self.seen:
            self.fail(f"{place}: device {code!r} stands at {self.seen[code]} already")
        self.seen[code] = place
        found = self.profiles.get(profile)
        if found is None:
            near = get_close_matches(profile, sorted(self.profiles), 1)
            self.fail(
                f"{place}: device {code!r}: there is no profile {profile!r}; "
                f"{'did you mean ' + near[0] + '?' if near else 'add a file to profiles'}"
            )
        assert found is not None
        try:
            check(found)
        except BadProfile as error:
            self.fail(f"{place}: {error}")
        return found

    def _bus(self, bus: BusTable) -> None:
        place = f"bus {bus.name!r}"
        host, _, port = bus.at.rpartition(":")
        if not host or not port.isdecimal():
            self.fail(f"{place}: at {bus.at!r}: write host:port of the serial server")
        self._port(f"{place}: at", int(port))
        if (
            not 10 <= bus.timeout_ms <= 60_000
            or not 0 <= bus.quiet_ms <= 5_000
            or not 0 <= bus.retries <= 5
        ):
            self.fail(f"{place}: timeout_ms 10 to 60000, quiet_ms 0 to 5000, retries 0 to 5")
        protocols, addresses = set(), set()
        for device in bus.devices:
            profile = self._device(place, device.device, device.profile)
            if profile.protocol not in POLLS:
                self.fail(
                    f"{place}: device {device.device!r}: profile {profile.key!r} is not polled; one with a protocol of "
                    f"{', '.join(POLLS)} is needed"
                )
            protocols.add(profile.protocol)
            try:
                address = POLLS[str(profile.protocol)].address(device.address)
            except ValueError as error:
                self.fail(f"{place}: device {device.device!r}: {error}")
            if address in addresses:
                self.fail(f"{place}: address {device.address!r} stands twice")
            addresses.add(address)
            if device.every_s is not None and not 1 <= device.every_s <= 86_400 * 31:
                self.fail(
                    f"{place}: device {device.device!r}: every_s lies between 1 and {86_400 * 31}"
                )
        if len(protocols) > 1:
            self.fail(
                f"{place}: one line speaks one protocol, not {', '.join(sorted(map(str, protocols)))}"
            )

    def _fire(self, fire: FireTable) -> None:
        self._port("fire: port", fire.port)
        for host in fire.devices:
            place = f"fire device {host.device!r}"
            self._device(place, host.device, host.profile)
            if len(host.source) != 12 or not _hex(host.source):
                self.fail(f"{place}: source {host.source!r}: twelve hex digits")
            for part in host.parts:
                self._device(f"{place}: part", part.device, "smoke-detector")
                if len(part.part) != 8 or not _hex(part.part):
                    self.fail(f"{place}: part {part.part!r}: eight hex digits")

    def _pushes(self) -> None:
        if self.table.push is not None:
            self._port("push: port", self.table.push.port)
        sources = self.table.sources()
        names = set()
        for source in sources:
            place = f"source {source.name!r}"
            self._id("source: name", source.name)
            if source.name in names:
                self.fail(f"{place}: stands twice")
            names.add(source.name)
            if source.kind not in PUSHES:
                self.fail(f"{place}: kind {source.kind!r}: use one of {', '.join(sorted(PUSHES))}")
            for device in source.devices:
                self._device(place, device.device, device.profile)
            if isinstance(source, SourceTable):
                self._token(place, source)
            else:
                self._port(f"{place}: port", source.port)
        if any(source.devices for source in sources) and self.table.token_key_file is None:
            self.fail(
                "token_key_file is needed where something is pushed: people, cards and plates become tokens under it"
            )

    def _cameras(self) -> None:
        fault = self.table.vision.fault()
        if fault is not None:
            self.fail(fault)
        self._file("vision: link_key_file", self.table.vision.link_key_file)
        if self.table.camera and find_spec("cv2") is None:
            self.fail(
                "camera: opencv-python is not installed; install Anju with its extra `vision`"
            )
        for camera in self.table.camera:
            place = f"camera {camera.device!r}"
            self._device(place, camera.device, camera.profile)
            if not camera.url.startswith(("rtsp://", "rtsps://")):
                self.fail(f"{place}: url: use rtsp:// or rtsps://")
            self._file(f"{place}: password_file", camera.password_file)
            self._file(f"{place}: rules", camera.rules)
            try:
                self.rules[camera.device] = (
                    load_rules(self.folder / camera.rules) if camera.rules else Rules()
                )
            except BadRules as error:
                self.fail(f"{place}: {error}")

    def _faces(self) -> None:
        faces = self.table.faces
        if faces is None:
            return
        self._port("faces: port", faces.port)
        for name in faces.files():
            self._file("faces", name)
        fault = faces.fault(self.folder)
        if fault is not None:
            self.fail(fault)
        for door in faces.doors:
            if door.device not in self.seen:
                self._device(f"faces: door {door.device!r}", door.device, door.profile)

    def _token(self, place: str, source: SourceTable) -> None:
        if source.token_file is None:
            self.fail(f"{place}: token_file is needed: a sender without a secret could be anybody")
        self._file(f"{place}: token_file", source.token_file)
        token = (self.folder / str(source.token_file)).read_text("utf-8").strip()
        if len(token) < 16:
            self.fail(
                f"{place}: the token has at least 16 characters; make one with `anju gateway token-key`"
            )
        self.tokens[source.name] = token


def _hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)


def named(value: Any) -> str:
    """Return what a part of the configuration is told apart by when it is read again."""
    return msgspec.json.encode(value, order="deterministic").decode()
