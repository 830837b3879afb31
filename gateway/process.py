"""The gateway process: one configuration, one outbox, one uplink, and a task for every line, port and source.

The configuration file is read again when it changes or on SIGHUP. A faulty one is told and left aside; with a good one only
what changed is stopped and started, after the question that is under way, and the outbox and the uplink go on.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import secrets
import signal
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import structlog

from domain.wire import BornDevice, Command
from gateway.bus import SerialBus
from gateway.clock import GatewayClock
from gateway.commands import Commander
from gateway.config import BadConfig, Config, MqttTable, SourceTable, load_config, named
from gateway.enrolment import Renewal, mend
from gateway.faces.door import FaceServer, take_faces
from gateway.faces.tables import FOLDER
from gateway.faces.template_store import Vault, destroy_all
from gateway.fire import FirePort
from gateway.group_commit import GroupCommitWriter
from gateway.intake import Intake
from gateway.outbox import Outbox, OutboxUnusable
from gateway.pushes import PushServer, Receiver
from gateway.sources import MqttSource
from gateway.unknown_devices import UnknownDevices
from gateway.uplink import Uplink
from gateway.vision.camera import Camera
from gateway.vision.fetch import ClipServer

log = structlog.get_logger()

#: After this long a driver that ended is tried again, seconds.
AGAIN_S = 5.0
#: How often the configuration's file is looked at, seconds.
LOOK_S = 1.0


class Driver:
    """A task of the process. One that ends (its port is taken, a bug of ours) is told and tried again after a while."""

    def __init__(self, part: Any, name: str) -> None:
        self.part, self._name = part, name
        self._crash: str | None = None
        self.task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        while True:
            try:
                await self.part.run()
            except Exception as error:
                self._crash = f"stopped by {error!r}"
                log.exception("driver_failed", driver=self._name)
            await asyncio.sleep(AGAIN_S)
            self._crash = None

    @property
    def fault(self) -> str | None:
        """Why it does not serve now, or None."""
        return self._crash or getattr(self.part, "fault", None)

    async def stop(self) -> None:
        """Stop it and wait until it has let go of its line."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def _hold(folder: Path) -> IO[str]:
    """Hold the outbox's folder for this process; the hold ends with it, however it ends.

    Raises: OutboxUnusable where another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / "held").open("a")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutboxUnusable(
            f"outbox {folder}: another gateway process holds it, or it cannot be written: {error}"
        ) from None
    return held


class Gateway:
    """The process. `run` returns when it is told to stop."""

    def __init__(self, path: Path) -> None:
        """Read the configuration and open the outbox.

        Raises: BadConfig, OutboxUnusable.
        """
        self.path, self.config = path, load_config(path)
        self.boot = f"b{secrets.token_hex(5)}"
        table = self.config.table
        clock = table.clock
        self.clock = GatewayClock(speed=clock.speed, start_ms=clock.start_ms, real_ms=clock.real_ms)
        self._lock = _hold(self.config.outbox_path.parent)
        self.outbox = Outbox(
            self.config.outbox_path, self.boot, cap_bytes=table.outbox.max_mb * 1024 * 1024
        )
        self.desk = GroupCommitWriter(self.outbox)
        self.strangers = UnknownDevices(self.outbox)
        self._known: set[str] = set()
        self.intake = Intake(self.config, self.clock, self.outbox, self._known)
        self.commander = Commander(self.desk, self.clock, self._know_people)
        mend(self.config)
        self.uplink = self._make_uplink()
        self._drivers: dict[str, Driver] = {}
        self._stop = asyncio.Event()
        self._look = asyncio.Event()
        self._new_certificate = False
        self._status: dict[str, Any] = {}
        self._tried = self._mtime()

    def _make_uplink(self) -> Uplink:
        table = self.config.table
        return Uplink(
            self.config.broker(),
            table.estate,
            table.gateway,
            self.boot,
            outbox=self.outbox,
            clock=self.clock,
        )

    def _mtime(self) -> int:
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def _know_people(self) -> None:
        """People that Anju put into a terminal come back from it under the same token."""
        lists = self.outbox.recall_all("people/").values()
        self._known.clear()
        self._known.update(token for text in lists for token in json.loads(text))

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._look.set)
        writer = asyncio.ensure_future(self.desk.run())
        self._know_people()
        self._listen_to_commands(loop)
        await asyncio.to_thread(self.uplink.__enter__)
        await self.commander.recover()
        await self._apply(self.config)
        log.info(
            "gateway_up",
            estate=self.config.table.estate,
            gateway=self.config.table.gateway,
            boot=self.boot,
            waiting=self.outbox.items,
            devices=len(self.config.devices()),
        )
        try:
            while not self._stop.is_set():
                await self._housekeeping()
        finally:
            for driver in list(self._drivers.values()):
                await driver.stop()
            await asyncio.to_thread(self.uplink.__exit__, None, None, None)
            writer.cancel()
            self.outbox.close()
            self._lock.close()

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stop.set()
        self._look.set()

    def _renewed(self) -> None:
        """Connect again with the new certificate."""
        self._new_certificate = True
        self._look.set()

    def _listen_to_commands(self, loop: asyncio.AbstractEventLoop) -> None:
        def received(command: Command) -> None:
            loop.call_soon_threadsafe(self.commander.receive, command)

        self.uplink.on_command = received

    async def _housekeeping(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._look.wait()
            asked = True
        except TimeoutError:
            asked = False
        self._look.clear()
        if self._stop.is_set():
            return
        try:
            await asyncio.to_thread(self.strangers.save)
            status = {
                "connected": self.uplink.connected,
                "offset_ms": self.uplink.offset.ms,
                "faults": self._faults(),
            }
            if status != self._status:
                self._status = status
                await asyncio.to_thread(self.outbox.remember, "status", json.dumps(status))
        except sqlite3.Error as error:
            log.error("outbox_refused", error=str(error), hint="free the disk under the outbox")
        if asked or self._mtime() != self._tried:
            await self.reload()

    def _faults(self) -> dict[str, str]:
        return {
            key.partition(" ")[0]: driver.fault
            for key, driver in self._drivers.items()
            if driver.fault
        }

    # Configuration --------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read the configuration again; a faulty one changes nothing."""
        self._tried = self._mtime()
        try:
            config = load_config(self.path)
        except BadConfig as error:
            log.error("config_refused", error=str(error), hint="the last good one stays in use")
            return
        before, after = self.config.table, config.table
        fixed = ("estate", "gateway", "outbox")
        changed = [name for name in fixed if getattr(before, name) != getattr(after, name)]
        if changed or before.clock.speed != after.clock.speed:
            log.error(
                "config_refused",
                error=f"{', '.join(changed) or 'clock.speed'} cannot change while the gateway runs",
                hint="restart it; the outbox keeps everything",
            )
            return
        self.config = config
        if config.broker() != self.uplink.broker or self._new_certificate:
            self._new_certificate = False
            log.info("uplink_changed", host=after.broker.host)
            await asyncio.to_thread(self.uplink.__exit__, None, None, None)
            self.outbox.requeue()
            self.uplink = self._make_uplink()
            self._listen_to_commands(asyncio.get_running_loop())
            await asyncio.to_thread(self.uplink.__enter__)
        await self._apply(config)
        log.info("config_taken", devices=len(config.devices()))

    async def _apply(self, config: Config) -> None:
        """Stop what is no more or changed, start what is new."""
        self.intake = Intake(config, self.clock, self.outbox, self._known)
        vault = self._vault(config)
        wanted = self._parts(config, vault)
        for key in [
            key for key in self._drivers if key not in wanted or self._drivers[key].task.done()
        ]:
            await self._drivers.pop(key).stop()
        for key, make in wanted.items():
            if key not in self._drivers:
                part = make()
                self._drivers[key] = Driver(part, key.partition(" ")[0])
        faces = config.table.faces
        self.commander.faces = None
        if faces is not None and vault is not None:
            self.commander.faces = partial(
                take_faces, vault, frozenset(door.device for door in faces.doors)
            )
        buses = [
            driver.part for driver in self._drivers.values() if isinstance(driver.part, SerialBus)
        ]
        self.commander.use(config, buses)
        born = [
            BornDevice(
                device=device, profile=profile, points=sorted(config.profiles[profile].points)
            )
            for device, (profile, _) in sorted(config.devices().items())
        ]
        self.uplink.birth(born, self.clock.now_ms())

    @staticmethod
    def _vault(config: Config) -> Vault | None:
        """The templates of this gateway; where faces are off, whatever an earlier configuration left is destroyed."""
        faces = config.table.faces
        if faces is not None:
            return Vault(config.folder / FOLDER, config.face_key(), list_days=faces.list_days)
        if (config.folder / FOLDER).is_dir():
            destroy_all(config.folder / FOLDER)
        return None

    def _parts(self, config: Config, vault: Vault | None) -> dict[str, Callable[[], Any]]:
        """Return what the configuration asks for, by a key that changes when anything of it does."""
        table = config.table
        # A profile, the zone or the key of tokens change every part; whatever else changes only its own.
        shared = named(
            [
                table.timezone,
                table.clock,
                [repr(p) for p in config.profiles.values()],
                config.token_key.hex(),
            ]
        )
        tail = f" {hash(shared)} "
        wanted: dict[str, Callable[[], Any]] = {}
        for bus in table.bus:
            wanted[f"bus:{bus.name}{tail}{named(bus)}"] = partial(
                SerialBus,
                table=bus,
                config=config,
                desk=self.desk,
                intake=self.intake,
                clock=self.clock,
            )
        for fire in table.fire:
            wanted[f"fire:{fire.port}{tail}{named(fire)}"] = partial(
                FirePort,
                table=fire,
                config=config,
                desk=self.desk,
                intake=self.intake,
                clock=self.clock,
                strangers=self.strangers,
            )
        if table.push is not None:
            tokens = named(sorted(config.tokens_of.items()))
            receivers = {source.name: self._receiver(source) for source in table.push.sources}
            wanted[f"push:{table.push.port}{tail}{named(table.push)}{tokens}"] = partial(
                PushServer, config, receivers
            )
        for source in table.mqtt:
            wanted[f"mqtt:{source.name}{tail}{named(source)}"] = partial(
                MqttSource, source, config, self._receiver(source)
            )
        for camera in table.camera:
            rules = named([camera, table.vision, config.rules[camera.device]])
            wanted[f"camera:{camera.device}{tail}{rules}"] = partial(
                Camera, table=camera, config=config, desk=self.desk, clock=self.clock
            )
        if table.camera and table.vision.port is not None:
            key = hash(config.secret(table.vision.link_key_file))
            names = named([table.vision, [camera.device for camera in table.camera]])
            wanted[f"clips:{table.vision.port}{tail}{names}{key}"] = partial(ClipServer, config)
        if table.faces is not None and vault is not None:
            secret = hash(
                (config.face_key(), *(config.secret(door.token_file) for door in table.faces.doors))
            )
            wanted[f"faces:{table.faces.port}{tail}{named(table.faces)}{secret}"] = partial(
                FaceServer, config, self.desk, self.clock, vault
            )
        if table.server is not None and table.broker.cert_file is not None:
            wanted[f"renewal{tail}{named([table.server, table.broker])}"] = lambda: Renewal(
                config, self._renewed
            )
        return wanted

    def _receiver(self, source: SourceTable | MqttTable) -> Receiver:
        return Receiver(source, self.desk, self.intake, self.strangers)


def run_gateway(path: Path) -> None:
    """Run a gateway until it is told to stop.

    Raises: BadConfig, OutboxUnusable.
    """

    async def main() -> None:
        await Gateway(path).run()

    asyncio.run(main())
