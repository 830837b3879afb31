"""The gateway's one configuration file: TOML, read into types, checked as a whole before use.

Every fault names the table, the field and the fix. docs/gateway.md describes the file.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from devices.profiles import BadProfile, Profile, load_profiles
from domain.broker import BrokerAddress
from gateway.config_rules import ConfigCheck
from gateway.config_tables import (
    PART_PROFILE,
    BadConfig,
    ConfigTable,
    FireDeviceTable,
    FireTable,
    MqttTable,
    SourceTable,
)
from gateway.tables import Table
from gateway.vision.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlace:
    """A device's profile and where it is reached.

    A part of a fire system reports through its host.
    """

    profile: str
    place: str
    is_part: bool = False


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
        broker = self.table.broker
        return BrokerAddress(
            host=broker.host,
            port=broker.port,
            protocol=broker.protocol,
            username=broker.username,
            password=self.secret(broker.password_file),
            ca_file=self._path(broker.ca_file),
            cert_file=self._path(broker.cert_file),
            key_file=self._path(broker.key_file),
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

    def devices(self) -> dict[str, DevicePlace]:
        """Return the place of every device."""
        places: dict[str, DevicePlace] = {}
        for bus in self.table.bus:
            for device in bus.devices:
                place = f"bus {bus.name} at {bus.at}, address {device.address}"
                places[device.device] = DevicePlace(profile=device.profile, place=place)
        for fire in self.table.fire:
            for host in fire.devices:
                places.update(_fire_places(fire, host))
        for source in self.sources():
            for device in source.devices:
                place = f"{source.kind} {source.name}, {device.address}"
                places[device.device] = DevicePlace(profile=device.profile, place=place)
        for camera in self.table.camera:
            # Without the log-in that may precede the address.
            place = f"camera at {camera.url.rpartition('@')[2]}"
            places[camera.device] = DevicePlace(profile=camera.profile, place=place)
        if self.table.faces is not None:
            for door in self.table.faces.doors:
                # A door with a terminal as well is there already.
                place = f"faces port {self.table.faces.port}"
                places.setdefault(door.device, DevicePlace(profile=door.profile, place=place))
        return places

    def face_key(self) -> bytes:
        """Read the key that wraps the keys of faces."""
        assert self.table.faces is not None
        return bytes.fromhex(self.secret(self.table.faces.key_file) or "")

    def sources(self) -> list[SourceTable | MqttTable]:
        """Return everything that pushes."""
        return self.table.sources()


def _fire_places(fire: FireTable, host: FireDeviceTable) -> dict[str, DevicePlace]:
    place = f"fire port {fire.port}, source {host.source}"
    places = {host.device: DevicePlace(profile=host.profile, place=place)}
    for part in host.parts:
        place = f"part {part.part} of {host.device}"
        places[part.device] = DevicePlace(profile=PART_PROFILE, place=place, is_part=True)
    return places


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
        raise BadConfig(f"{where}: {_explain(str(error))}") from None
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
    check = ConfigCheck(where, folder, table, profiles)
    check.run()
    return Config(
        table=table,
        folder=folder,
        zone=zone,
        profiles=profiles,
        token_key=check.token_key,
        tokens_of=check.tokens,
        rules=check.rules,
    )


def _explain(message: str) -> str:
    """Add a near match to msgspec's own words for an unknown field."""
    if "unknown field" not in message:
        return message
    unknown = message.split("`")[1]
    known = {name for table in Table.__subclasses__() for name in table.__struct_fields__}
    near = get_close_matches(unknown, sorted(known), 1)
    fix = f"did you mean {near[0]}?" if near else "remove it"
    return f"{message}; {fix}"


def fingerprint(value: Any) -> str:
    """Return a text that changes when a part of the configuration does."""
    return msgspec.json.encode(value, order="deterministic").decode()
