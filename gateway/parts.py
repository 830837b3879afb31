"""The parts that a configuration asks for: one for every line, port, source and camera.

A part's key changes when anything of its configuration does. So a reload stops and starts only the
parts whose keys are gone or new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from gateway.bus import SerialBus
from gateway.clock import GatewayClock
from gateway.config import Config, fingerprint
from gateway.config_tables import MqttTable, SourceTable
from gateway.enrolment import CertificateRenewal
from gateway.faces.door import FaceServer
from gateway.faces.template_store import Vault
from gateway.fire import FirePort
from gateway.group_commit import GroupCommitWriter
from gateway.intake import Intake
from gateway.pushes import PushReceiver, PushServer
from gateway.sources import MqttSource
from gateway.unknown_devices import UnknownDevices
from gateway.vision.camera import Camera
from gateway.vision.fetch import ClipServer


class Part(Protocol):
    """Something that serves until it is cancelled."""

    async def run(self) -> None:
        """Serve until cancelled."""


#: Makes a part when it is to be started.
PartFactory = Callable[[], Part]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartServices:
    """What the parts of a process share."""

    outbox_writer: GroupCommitWriter
    intake: Intake
    clock: GatewayClock
    unknown_devices: UnknownDevices
    certificate_renewed: Callable[[], None]


def plan_parts(
    config: Config, services: PartServices, vault: Vault | None
) -> dict[str, PartFactory]:
    """Return the parts of a configuration, by key.

    A key's first word names the part in the logs.
    """
    return _Plan(config, services).make(vault)


class _Plan:
    """Collects the parts of one configuration."""

    def __init__(self, config: Config, services: PartServices) -> None:
        self._config = config
        self._table = config.table
        self._services = services
        self._parts: dict[str, PartFactory] = {}
        # A profile, the zone, the clock or the key of tokens changes every part.
        shared = [
            self._table.timezone,
            self._table.clock,
            [repr(profile) for profile in config.profiles.values()],
            config.token_key.hex(),
        ]
        self._shared = hash(fingerprint(shared))

    def make(self, vault: Vault | None) -> dict[str, PartFactory]:
        self._add_buses()
        self._add_fire_ports()
        self._add_push_server()
        self._add_mqtt_sources()
        self._add_cameras()
        self._add_clip_server()
        if vault is not None:
            self._add_face_server(vault)
        self._add_renewal()
        return self._parts

    def _add(self, name: str, configuration: Any, make: PartFactory) -> None:
        self._parts[f"{name} {self._shared} {fingerprint(configuration)}"] = make

    def _receiver(self, source: SourceTable | MqttTable) -> PushReceiver:
        services = self._services
        return PushReceiver(
            source, services.outbox_writer, services.intake, services.unknown_devices
        )

    def _add_buses(self) -> None:
        for bus in self._table.bus:
            make = partial(
                SerialBus,
                table=bus,
                config=self._config,
                outbox_writer=self._services.outbox_writer,
                intake=self._services.intake,
                clock=self._services.clock,
            )
            self._add(f"bus:{bus.name}", bus, make)

    def _add_fire_ports(self) -> None:
        for fire in self._table.fire:
            make = partial(
                FirePort,
                table=fire,
                config=self._config,
                outbox_writer=self._services.outbox_writer,
                intake=self._services.intake,
                clock=self._services.clock,
                unknown_devices=self._services.unknown_devices,
            )
            self._add(f"fire:{fire.port}", fire, make)

    def _add_push_server(self) -> None:
        push = self._table.push
        if push is None:
            return
        receivers = {source.name: self._receiver(source) for source in push.sources}
        tokens = sorted(self._config.tokens_of.items())
        self._add(f"push:{push.port}", [push, tokens], partial(PushServer, self._config, receivers))

    def _add_mqtt_sources(self) -> None:
        for source in self._table.mqtt:
            make = partial(MqttSource, source, self._config, self._receiver(source))
            self._add(f"mqtt:{source.name}", source, make)

    def _add_cameras(self) -> None:
        for camera in self._table.camera:
            make = partial(
                Camera,
                table=camera,
                config=self._config,
                outbox_writer=self._services.outbox_writer,
                clock=self._services.clock,
            )
            rules = self._config.rules[camera.device]
            self._add(f"camera:{camera.device}", [camera, self._table.vision, rules], make)

    def _add_clip_server(self) -> None:
        vision = self._table.vision
        if not self._table.camera or vision.port is None:
            return
        devices = [camera.device for camera in self._table.camera]
        key = hash(self._config.secret(vision.link_key_file))
        self._add(f"clips:{vision.port}", [vision, devices, key], partial(ClipServer, self._config))

    def _add_face_server(self, vault: Vault) -> None:
        faces = self._table.faces
        if faces is None:
            return
        door_tokens = [self._config.secret(door.token_file) for door in faces.doors]
        secrets = hash((self._config.face_key(), *door_tokens))
        make = partial(
            FaceServer, self._config, self._services.outbox_writer, self._services.clock, vault
        )
        self._add(f"faces:{faces.port}", [faces, secrets], make)

    def _add_renewal(self) -> None:
        server = self._table.server
        broker = self._table.broker
        if server is None or broker.cert_file is None:
            return
        make = partial(CertificateRenewal, self._config, self._services.certificate_renewed)
        self._add("renewal", [server, broker], make)
