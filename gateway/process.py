"""The gateway process: one configuration, one outbox, one uplink, and a task for every part.

The configuration file is read again when it changes or on SIGHUP. A faulty one is reported and
changes nothing. With a good one only the changed parts are stopped and started, after the query
that is under way; the outbox and the uplink continue.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import secrets
import signal
import sqlite3
from functools import partial
from pathlib import Path
from typing import IO, Any

import structlog

from domain.wire import BornDevice, Command
from gateway.bus import SerialBus
from gateway.clock import GatewayClock
from gateway.commands import CommandExecutor
from gateway.config import Config, load_config
from gateway.config_tables import BadConfig, ConfigTable
from gateway.enrolment import finish_renewal
from gateway.faces.door import take_faces
from gateway.faces.tables import FOLDER
from gateway.faces.template_store import Vault, destroy_all
from gateway.group_commit import GroupCommitWriter
from gateway.intake import Intake
from gateway.outbox import Outbox
from gateway.outbox_file import OutboxUnusable
from gateway.parts import Part, PartServices, plan_parts
from gateway.unknown_devices import UnknownDevices
from gateway.uplink import Uplink

log = structlog.get_logger()

#: A part that ended is started again after this, seconds.
RESTART_S = 5.0
#: How often the configuration's file is looked at, seconds.
CHECK_INTERVAL_S = 1.0
#: Tables of the configuration that cannot change while the gateway runs.
_FIXED_TABLES = ("estate", "gateway", "outbox")


class PartTask:
    """The task of one part.

    A part that ends (its port is taken, a bug of ours) is started again.
    """

    def __init__(self, part: Part, name: str) -> None:
        self.part = part
        self.name = name
        self._crash: str | None = None
        self._task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        while True:
            try:
                await self.part.run()
            except Exception as error:
                self._crash = f"stopped by {error!r}"
                log.exception("part_failed", part=self.name)
            await asyncio.sleep(RESTART_S)
            self._crash = None

    @property
    def done(self) -> bool:
        """Tell whether the task itself has ended."""
        return self._task.done()

    @property
    def fault(self) -> str | None:
        """Why the part does not serve now, or None."""
        return self._crash or getattr(self.part, "fault", None)

    async def stop(self) -> None:
        """Stop the part and wait until it has closed its line."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def _lock_folder(folder: Path) -> IO[str]:
    """Lock the outbox's folder for this process; the lock ends with the process.

    Raises: OutboxUnusable where another process has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        problem = "another gateway process holds it, or it cannot be written"
        raise OutboxUnusable(f"outbox {folder}: {problem}: {error}") from None
    return lock


class Gateway:
    """The process. `run` returns when it is told to stop."""

    def __init__(self, path: Path) -> None:
        """Read the configuration and open the outbox.

        Raises: BadConfig, OutboxUnusable.
        """
        self.path = path
        self.config = load_config(path)
        self.boot = f"b{secrets.token_hex(5)}"
        table = self.config.table
        self.clock = GatewayClock(
            speed=table.clock.speed, start_ms=table.clock.start_ms, real_ms=table.clock.real_ms
        )
        self._folder_lock = _lock_folder(self.config.outbox_path.parent)
        cap_bytes = table.outbox.max_mb * 1024 * 1024
        self.outbox = Outbox(self.config.outbox_path, self.boot, cap_bytes=cap_bytes)
        self.outbox_writer = GroupCommitWriter(self.outbox)
        self.unknown_devices = UnknownDevices(self.outbox)
        self._own_people: set[str] = set()
        self._executor = CommandExecutor(self.outbox_writer, self.clock, self._recall_own_people)
        finish_renewal(self.config)
        self.uplink = self._make_uplink()
        self._tasks: dict[str, PartTask] = {}
        self._stop = asyncio.Event()
        self._woken = asyncio.Event()
        self._has_new_certificate = False
        self._status: dict[str, Any] = {}
        self._loaded_mtime = self._read_mtime()

    def _make_uplink(self) -> Uplink:
        table = self.config.table
        return Uplink(
            self.config.broker(),
            table.estate,
            table.gateway,
            self.outbox,
            clock=self.clock,
        )

    def _read_mtime(self) -> int:
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def _recall_own_people(self) -> None:
        """Recall the people whom Anju put into a terminal.

        It reports them under the same tokens.
        """
        lists = self.outbox.recall_all("people/").values()
        self._own_people.clear()
        self._own_people.update(token for text in lists for token in json.loads(text))

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._woken.set)
        writer_task = asyncio.ensure_future(self.outbox_writer.run())
        self._recall_own_people()
        self._receive_commands(loop)
        await asyncio.to_thread(self.uplink.__enter__)
        await self._executor.recover()
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
                await self._maintain()
        finally:
            for task in list(self._tasks.values()):
                await task.stop()
            await asyncio.to_thread(self.uplink.__exit__, None, None, None)
            writer_task.cancel()
            self.outbox.close()
            self._folder_lock.close()

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stop.set()
        self._woken.set()

    def _note_renewal(self) -> None:
        """Connect again with the new certificate at the next round."""
        self._has_new_certificate = True
        self._woken.set()

    def _receive_commands(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the uplink's commands over to the executor, from its thread to ours."""

        def receive(command: Command) -> None:
            loop.call_soon_threadsafe(self._executor.receive, command)

        self.uplink.on_command = receive

    async def _maintain(self) -> None:
        """Wait a while; then store the status, and read the configuration where it changed."""
        was_woken = True
        try:
            async with asyncio.timeout(CHECK_INTERVAL_S):
                await self._woken.wait()
        except TimeoutError:
            was_woken = False
        self._woken.clear()
        if self._stop.is_set():
            return
        try:
            await self._store_status()
        except sqlite3.Error as error:
            log.error("outbox_refused", error=str(error), hint="free the disk under the outbox")
        if was_woken or self._read_mtime() != self._loaded_mtime:
            await self.reload()

    async def _store_status(self) -> None:
        """Store what `anju gateway check` shows of the process.

        Raises: sqlite3.Error.
        """
        await asyncio.to_thread(self.unknown_devices.save)
        tasks = self._tasks.values()
        status = {
            "connected": self.uplink.connected,
            "offset_ms": self.uplink.offset.ms,
            "faults": {task.name: task.fault for task in tasks if task.fault},
        }
        if status != self._status:
            self._status = status
            await asyncio.to_thread(self.outbox.remember, "status", json.dumps(status))

    # Configuration --------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read the configuration again; a faulty one changes nothing."""
        self._loaded_mtime = self._read_mtime()
        try:
            config = load_config(self.path)
        except BadConfig as error:
            log.error("config_refused", error=str(error), hint="the last good one stays in use")
            return
        changed = _changed_fixed_tables(self.config.table, config.table)
        if changed:
            log.error(
                "config_refused",
                error=f"{', '.join(changed)} cannot change while the gateway runs",
                hint="restart it; the outbox keeps everything",
            )
            return
        self.config = config
        if config.broker() != self.uplink.broker or self._has_new_certificate:
            await self._reconnect()
        await self._apply(config)
        log.info("config_applied", devices=len(config.devices()))

    async def _reconnect(self) -> None:
        """Replace the uplink by one with the present broker and certificate."""
        self._has_new_certificate = False
        log.info("uplink_changed", host=self.config.table.broker.host)
        await asyncio.to_thread(self.uplink.__exit__, None, None, None)
        self.outbox.requeue()
        self.uplink = self._make_uplink()
        self._receive_commands(asyncio.get_running_loop())
        await asyncio.to_thread(self.uplink.__enter__)

    async def _apply(self, config: Config) -> None:
        """Stop the parts that are gone or changed, start the new ones."""
        vault = _open_vault(config)
        services = PartServices(
            outbox_writer=self.outbox_writer,
            intake=Intake(config, self.clock, self.outbox, self._own_people),
            clock=self.clock,
            unknown_devices=self.unknown_devices,
            certificate_renewed=self._note_renewal,
        )
        planned = plan_parts(config, services, vault)
        for key, task in list(self._tasks.items()):
            if key not in planned or task.done:
                del self._tasks[key]
                await task.stop()
        for key, make in planned.items():
            if key not in self._tasks:
                name = key.partition(" ")[0]
                self._tasks[key] = PartTask(make(), name)
        self._prepare_executor(config, vault)
        self.uplink.birth(_born_devices(config), self.clock.now_ms())

    def _prepare_executor(self, config: Config, vault: Vault | None) -> None:
        """Give the executor the lines, the terminals and the doors of a configuration."""
        faces = config.table.faces
        self._executor.faces = None
        if faces is not None and vault is not None:
            doors = frozenset(door.device for door in faces.doors)
            self._executor.faces = partial(take_faces, vault, doors)
        parts = [task.part for task in self._tasks.values()]
        buses = [part for part in parts if isinstance(part, SerialBus)]
        self._executor.apply_config(config, buses)


def _changed_fixed_tables(before: ConfigTable, after: ConfigTable) -> list[str]:
    changed = [name for name in _FIXED_TABLES if getattr(before, name) != getattr(after, name)]
    if before.clock.speed != after.clock.speed:
        changed.append("clock.speed")
    return changed


def _born_devices(config: Config) -> list[BornDevice]:
    """List the devices of a configuration for the birth message."""
    return [
        BornDevice(
            device=device,
            profile=place.profile,
            points=sorted(config.profiles[place.profile].points),
        )
        for device, place in sorted(config.devices().items())
    ]


def _open_vault(config: Config) -> Vault | None:
    """Open this gateway's templates.

    Where faces are off, destroy what an earlier configuration left.
    """
    folder = config.folder / FOLDER
    faces = config.table.faces
    if faces is not None:
        return Vault(folder, config.face_key(), list_days=faces.list_days)
    if folder.is_dir():
        destroy_all(folder)
    return None


def run_gateway(path: Path) -> None:
    """Run a gateway until it is told to stop.

    Raises: BadConfig, OutboxUnusable.
    """

    async def main() -> None:
        await Gateway(path).run()

    asyncio.run(main())
