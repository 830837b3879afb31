"""Commands from people: a valve, a door, a list of who may pass. Each is done at most once.

A command may be received several times. That it was begun is on disk before anything is done, so
after a kill it is reported as `unknown` and not done again. The report is a `command` event, and as
safe as any other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from domain.wire import Command, CommandKind, CommandResult, EventItem
from gateway.bus import SerialBus
from gateway.clock import GatewayClock
from gateway.config import Config
from gateway.config_tables import DeviceTable
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.outbox import OutboxEntry
from gateway.terminals import Terminal, TerminalFailed

log = structlog.get_logger()

_STARTED = "started"
#: Done commands are remembered this long; a command expires far earlier.
KEEP_MS = 30 * 86_400_000

#: Applies a door's list of consents: device, argument of the command and time (ms) to subjects by
#: what became of them.
ConsentApplier = Callable[[str, dict[str, Any], int], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door:
    """A door that can be controlled, and its terminal."""

    table: DeviceTable
    terminal: Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class _CommandState:
    """What is remembered of a command: its result or `started`, the time (ms), the device."""

    state: str
    at: int
    device: str

    @classmethod
    def parse(cls, text: str) -> _CommandState:
        state, _, rest = text.partition(" ")
        at, _, device = rest.partition(" ")
        return cls(state=state, at=int(at or 0), device=device)

    def __str__(self) -> str:
        return f"{self.state} {self.at} {self.device}"


class CommandExecutor:
    """Executes commands. Lives as long as the process; a configuration gives it lines and doors."""

    def __init__(
        self,
        outbox_writer: GroupCommitWriter,
        clock: GatewayClock,
        people_changed: Callable[[], None],
    ) -> None:
        self._outbox_writer = outbox_writer
        self._clock = clock
        self._people_changed = people_changed
        self._buses: dict[str, SerialBus] = {}
        self._doors: dict[str, _Door] = {}
        self._running: set[asyncio.Task[None]] = set()
        #: Set where face recognition is on.
        self.faces: ConsentApplier | None = None

    def apply_config(self, config: Config, buses: list[SerialBus]) -> None:
        """Use the lines and the terminals of a configuration from now on."""
        self._buses = {device: bus for bus in buses for device in bus.devices}
        for door in self._doors.values():
            self._spawn(door.terminal.close())
        self._doors = {
            table.device: _Door(table=table, terminal=Terminal(config, table.control))
            for source in config.sources()
            for table in source.devices
            if table.control is not None
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def recover(self) -> None:
        """Report the commands that were under way when the process was killed; forget old ones."""
        now = self._clock.now_ms()
        for key, text in self._outbox_writer.outbox.recall_all("command/").items():
            remembered = _CommandState.parse(text)
            if remembered.state == _STARTED:
                why = "the gateway was stopped while it acted; look at the device"
                number = key.removeprefix("command/")
                await self._report(remembered.device, number, CommandResult.UNKNOWN, why)
            elif now - remembered.at > KEEP_MS:
                self._outbox_writer.outbox.forget(key)

    def receive(self, command: Command) -> None:
        """Execute a command in a task of its own."""
        self._spawn(self._execute(command))

    async def _execute(self, command: Command) -> None:
        key = _key_of(command.id)
        if self._outbox_writer.outbox.recall(key) is not None:
            return
        now = self._clock.now_ms()
        if now > command.expires_at:
            await self._report_on(command, CommandResult.EXPIRED, "it came too late")
            return
        started = _CommandState(state=_STARTED, at=now, device=command.device)
        try:
            await self._outbox_writer.put(OutboxEntry(memory={key: str(started)}))
        except WriteRefused:
            # The server sends the command again.
            return
        await self._dispatch(command, now)

    async def _dispatch(self, command: Command, now: int) -> None:
        """Hand a command over to the line, the terminal or the face recognition of its device."""
        bus = self._buses.get(command.device)
        door = self._doors.get(command.device)
        kind = command.command
        if kind == CommandKind.FACES:
            await self._apply_consents(command, now)
        elif bus is not None and kind == CommandKind.VALVE:
            bus.enqueue(command, self._reporter_of(command))
        elif door is not None and kind in (CommandKind.DOOR, CommandKind.CREDENTIALS):
            await self._control_door(command, door)
        else:
            why = "is not behind this gateway, or has no `control` in its configuration"
            if bus is not None or door is not None:
                why = "cannot do that"
            detail = f"device {command.device!r} {why}"
            await self._report_on(command, CommandResult.REFUSED, detail)

    def _reporter_of(
        self, command: Command
    ) -> Callable[[CommandResult, str], Coroutine[Any, Any, None]]:
        async def report(result: CommandResult, detail: str) -> None:
            await self._report_on(command, result, detail)

        return report

    async def _control_door(self, command: Command, door: _Door) -> None:
        try:
            if command.command == CommandKind.DOOR:
                await door.terminal.open_door(int(command.argument.get("door", 1)))
                detail = "the terminal confirmed"
            else:
                detail = await self._set_people(command, door)
        except (TerminalFailed, WriteRefused, ValueError, TypeError, KeyError) as error:
            await self._report_on(command, CommandResult.FAILED, str(error)[:200])
            return
        await self._report_on(command, CommandResult.DONE, detail)

    async def _set_people(self, command: Command, door: _Door) -> str:
        """Make a terminal's list the one of a command; return what was done.

        Raises: TerminalFailed, WriteRefused, ValueError, TypeError, KeyError.
        """
        people = [
            person
            for person in command.argument.get("people", [])
            if isinstance(person, dict) and person.get("person")
        ]
        desired = {str(person["person"]) for person in people}
        key = f"people/{door.table.device}"
        ours = set(json.loads(self._outbox_writer.outbox.recall(key) or "[]"))
        # Written before the first is put, so that whoever we put into the terminal is known as
        # ours.
        await self._remember_people(key, ours | desired)
        change = await door.terminal.set_people(people, ours)
        await self._remember_people(key, desired)
        self._people_changed()
        return f"{len(people)} people, {change.put} put, {change.removed} removed"

    async def _remember_people(self, key: str, people: set[str]) -> None:
        await self._outbox_writer.put(OutboxEntry(memory={key: json.dumps(sorted(people))}))

    async def _apply_consents(self, command: Command, now: int) -> None:
        """Apply a list of consents.

        Where face recognition is off nothing is held, and that is reported.
        """
        subjects: dict[str, Any] = {"held": [], "destroyed": [], "refused": []}
        if self.faces is not None:
            try:
                subjects = await asyncio.to_thread(
                    self.faces, command.device, command.argument, now
                )
            except (OSError, ValueError) as error:
                await self._report_on(command, CommandResult.FAILED, str(error)[:200])
                return
        detail = ", ".join(f"{len(names)} {outcome}" for outcome, names in subjects.items())
        await self._report(command.device, command.id, CommandResult.DONE, detail, extra=subjects)

    async def _report_on(self, command: Command, result: CommandResult, detail: str) -> None:
        await self._report(command.device, command.id, result, detail)

    async def _report(
        self,
        device: str,
        command: str,
        result: CommandResult,
        detail: str,
        *,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Put the report of a command into the outbox, and remember its result."""
        now = self._clock.now_ms()
        data = {"command": command, "result": str(result), "detail": detail, **(extra or {})}
        event = EventItem(
            device=device, at=now, id=f"command-{command}"[:80], kind="command", data=data
        )
        done = _CommandState(state=str(result), at=now, device=device)
        try:
            await self._outbox_writer.put(
                OutboxEntry(items=[event], memory={_key_of(command): str(done)})
            )
            log.info("command", id=command, device=device, result=str(result), detail=detail)
        except WriteRefused:
            log.error("command_not_reported", id=command, result=str(result))


def _key_of(command: str) -> str:
    """Name the memory of a command."""
    return f"command/{command}"
