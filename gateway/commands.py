"""What comes down from people: a valve, a door, a list of who may pass. Each under an audit id, done at most once.

A command may arrive several times. That it was begun is on disk before anything is done, so after a kill it is reported as
`unknown` and never done again by itself. The report is a `command` event, and as safe as any other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from domain.calendar import DAY_MS
from domain.wire import Command, CommandKind, CommandResult, EventItem
from gateway.bus import SerialBus
from gateway.clock import GatewayClock
from gateway.config import Config, DeviceTable
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.outbox import OutboxEntry
from gateway.terminals import Terminal, TerminalFailed

log = structlog.get_logger()

_STARTED = "started"
#: Done commands are remembered so long; a command expires far earlier.
KEEP_MS = 30 * DAY_MS


class Commander:
    """Carries commands out. Lives as long as the process; `use` gives it the present configuration's lines and terminals."""

    def __init__(
        self, desk: GroupCommitWriter, clock: GatewayClock, tokens_changed: Callable[[], None]
    ) -> None:
        self._desk, self._clock, self._tokens_changed = desk, clock, tokens_changed
        self._buses: dict[str, SerialBus] = {}
        self._doors: dict[str, tuple[DeviceTable, Terminal]] = {}
        self._running: set[asyncio.Task[None]] = set()
        #: What settles a door's list of consents, where faces are turned on: from device and argument to what is told.
        self.faces: Callable[[str, dict[str, Any], int], dict[str, Any]] | None = None

    def use(self, config: Config, buses: list[SerialBus]) -> None:
        """Take up a configuration."""
        self._buses = {device: bus for bus in buses for device in bus.devices}
        for _, terminal in self._doors.values():
            self._spawn(terminal.close())
        self._doors = {
            table.device: (table, Terminal(config, table.control))
            for source in config.sources()
            for table in source.devices
            if table.control is not None
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def recover(self) -> None:
        """Report what was under way when the process was killed, and forget what is old."""
        now = self._clock.now_ms()
        for key, value in self._desk.outbox.recall_all("command/").items():
            state, _, rest = value.partition(" ")
            at, _, device = rest.partition(" ")
            if state == _STARTED:
                await self._report(
                    device,
                    key.removeprefix("command/"),
                    CommandResult.UNKNOWN,
                    "the gateway was stopped while it acted; look at the device",
                )
            elif now - int(at or 0) > KEEP_MS:
                self._desk.outbox.forget(key)

    def receive(self, command: Command) -> None:
        """Take a command; returns at once."""
        self._spawn(self._carry_out(command))

    async def _carry_out(self, command: Command) -> None:
        key = f"command/{command.id}"
        if self._desk.outbox.recall(key) is not None:
            return
        now = self._clock.now_ms()
        begun = OutboxEntry(memory={key: f"{_STARTED} {now} {command.device}"})
        if now > command.expires_at:
            await self._report(
                command.device, command.id, CommandResult.EXPIRED, "it came too late"
            )
            return
        try:
            await self._desk.put(begun)
        except WriteRefused:
            return  # The server sends it again.
        bus, door = self._buses.get(command.device), self._doors.get(command.device)

        if command.command == CommandKind.FACES:
            await self._faces(command, now)
            return

        async def report(result: CommandResult, detail: str) -> None:
            await self._report(command.device, command.id, result, detail)

        if bus is not None and command.command == CommandKind.VALVE:
            bus.ask(command, report)
        elif door is not None and command.command in (CommandKind.DOOR, CommandKind.CREDENTIALS):
            await self._at_the_door(command, *door)
        else:
            what = (
                "cannot do that"
                if bus or door
                else "is not behind this gateway, or has no `control` in its configuration"
            )
            await report(CommandResult.REFUSED, f"device {command.device!r} {what}")

    async def _at_the_door(self, command: Command, table: DeviceTable, terminal: Terminal) -> None:
        try:
            if command.command == CommandKind.DOOR:
                await terminal.open_door(int(command.argument.get("door", 1)))
                detail = "the terminal confirmed"
            else:
                people = [
                    row
                    for row in command.argument.get("people", [])
                    if isinstance(row, dict) and row.get("person")
                ]
                key = f"people/{table.device}"
                ours = set(json.loads(self._desk.outbox.recall(key) or "[]"))
                wanted = {str(row["person"]) for row in people}
                # Written before the first is put, so that whoever is in the terminal by us is known as ours.
                await self._desk.put(OutboxEntry(memory={key: json.dumps(sorted(ours | wanted))}))
                put, removed = await terminal.set_people(people, ours)
                await self._desk.put(OutboxEntry(memory={key: json.dumps(sorted(wanted))}))
                self._tokens_changed()
                detail = f"{len(people)} people, {put} put, {removed} removed"
        except (TerminalFailed, WriteRefused, ValueError, TypeError, KeyError) as error:
            await self._report(command.device, command.id, CommandResult.FAILED, str(error)[:200])
            return
        await self._report(command.device, command.id, CommandResult.DONE, detail)

    async def _faces(self, command: Command, now: int) -> None:
        """Settle a list of consents. Where faces are not turned on nothing is held, and that is told like any other state."""
        settled: dict[str, Any] = {"held": [], "destroyed": [], "refused": []}
        if self.faces is not None:
            try:
                settled = await asyncio.to_thread(self.faces, command.device, command.argument, now)
            except (OSError, ValueError) as error:
                await self._report(
                    command.device, command.id, CommandResult.FAILED, str(error)[:200]
                )
                return
        detail = ", ".join(f"{len(subjects)} {what}" for what, subjects in settled.items())
        await self._report(command.device, command.id, CommandResult.DONE, detail, settled)

    async def _report(
        self,
        device: str,
        command: str,
        result: CommandResult,
        detail: str,
        more: dict[str, Any] | None = None,
    ) -> None:
        now = self._clock.now_ms()
        data = {"command": command, "result": str(result), "detail": detail, **(more or {})}
        event = EventItem(
            device=device, at=now, id=f"command-{command}"[:80], kind="command", data=data
        )
        try:
            await self._desk.put(
                OutboxEntry(
                    items=[event], memory={f"command/{command}": f"{result} {now} {device}"}
                )
            )
            log.info("command", id=command, device=device, result=str(result), detail=detail)
        except WriteRefused:
            log.error("command_not_reported", id=command, result=str(result))
