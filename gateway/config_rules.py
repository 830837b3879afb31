"""The rules of a configuration that its types alone do not hold.

Every fault names the table, the field and the fix.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from devices.polls import POLLS, check
from devices.profiles import BadProfile, Profile
from devices.pushes import PUSHES
from domain.ids import valid_id
from gateway.config_tables import (
    PART_PROFILE,
    BadConfig,
    BusTable,
    ConfigTable,
    DeviceTable,
    FireTable,
    SourceTable,
)
from gateway.vision.rules import BadRules, Rules, load_rules

#: The longest interval of a device's polls, 31 days in seconds.
LONGEST_INTERVAL_S = 86_400 * 31


class ConfigCheck:
    """The rules that types alone do not hold."""

    def __init__(
        self, where: str, folder: Path, table: ConfigTable, profiles: dict[str, Profile]
    ) -> None:
        self.where = where
        self.folder = folder
        self.table = table
        self.profiles = profiles
        self.seen: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.token_key = b""
        self.rules: dict[str, Rules] = {}

    def run(self) -> None:
        """Check the whole configuration.

        Raises: BadConfig.
        """
        table = self.table
        for name, value in (("estate", table.estate), ("gateway", table.gateway)):
            self._id(name, value)
        if (
            not 1 <= table.outbox.max_mb <= 1_000_000
            or table.clock.max_drift_s < 1
            or not 0 < table.clock.speed <= 100_000
        ):
            self.fail(
                "outbox.max_mb lies between 1 and 1000000, clock.max_drift_s is at least 1, "
                "clock.speed above 0"
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
                    "token_key_file: the key has at least 16 bytes; "
                    "make one with `anju gateway token-key`"
                )

    def fail(self, message: str) -> NoReturn:
        """Refuse the configuration.

        Raises: BadConfig.
        """
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
            fix = f"did you mean {near[0]}?" if near else "add a file to profiles"
            self.fail(f"{place}: device {code!r}: there is no profile {profile!r}; {fix}")
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
        protocols = {self._bus_device(place, device) for device in bus.devices}
        if len(protocols) > 1:
            spoken = ", ".join(sorted(protocols))
            self.fail(f"{place}: one line speaks one protocol, not {spoken}")
        addresses: set[str] = set()
        for device in bus.devices:
            address = self._bus_address(place, device)
            if address in addresses:
                self.fail(f"{place}: address {device.address!r} stands twice")
            addresses.add(address)

    def _bus_device(self, place: str, device: DeviceTable) -> str:
        """Check a device of a line; return its protocol."""
        profile = self._device(place, device.device, device.profile)
        place = f"{place}: device {device.device!r}"
        if profile.protocol is None or profile.protocol not in POLLS:
            polled = f"one with a protocol of {', '.join(POLLS)} is needed"
            self.fail(f"{place}: profile {profile.key!r} is not polled; {polled}")
        if device.every_s is not None and not 1 <= device.every_s <= LONGEST_INTERVAL_S:
            self.fail(f"{place}: every_s lies between 1 and {LONGEST_INTERVAL_S}")
        return profile.protocol

    def _bus_address(self, place: str, device: DeviceTable) -> str:
        """Check a device's address on a line; return it as the protocol writes it."""
        protocol = POLLS[str(self.profiles[device.profile].protocol)]
        try:
            return protocol.address(device.address)
        except ValueError as error:
            self.fail(f"{place}: device {device.device!r}: {error}")

    def _fire(self, fire: FireTable) -> None:
        self._port("fire: port", fire.port)
        for host in fire.devices:
            place = f"fire device {host.device!r}"
            self._device(place, host.device, host.profile)
            if len(host.source) != 12 or not _hex(host.source):
                self.fail(f"{place}: source {host.source!r}: twelve hex digits")
            for part in host.parts:
                self._device(f"{place}: part", part.device, PART_PROFILE)
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
                "token_key_file is needed where something is pushed: "
                "people, cards and plates become tokens under it"
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
                f"{place}: the token has at least 16 characters; "
                "make one with `anju gateway token-key`"
            )
        self.tokens[source.name] = token


def _hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)
