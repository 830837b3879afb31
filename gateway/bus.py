"""A half-duplex line behind a serial server: one question at a time, answers awaited, the line left quiet between two.

Whoever answers late, twice or in another's place is told from the answer itself: a frame that is not the question's
answer is passed over, and two different answers to one question mean that an address is used twice. A line that cannot
be reached is tried again with growing pauses; what failed and why is noted per device.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from devices.mapping import apply_profile
from devices.polls import POLLS
from devices.polls.query import PollQuery
from devices.profiles import Profile
from devices.protocols.framing import FrameStream
from domain.calendar import HOUR_MS
from domain.rejection import Reason, Rejected
from domain.wire import Command, CommandResult, EventItem
from gateway.clock import GatewayClock
from gateway.config import BusTable, Config, DeviceTable
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import Intake
from gateway.outbox import DeviceContact, OutboxEntry
from gateway.schedule import Schedule, ScheduledPoll

log = structlog.get_logger()

#: A device is offline for the server after this many polls in a row without an answer.
OFFLINE_AFTER = 3
#: Pauses between two attempts to reach a line, seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
#: How long after its time an answer is waited to end by silence; a line that never falls silent is broken.
LONGEST_CHATTER_S = 1.0
#: A device's clock is set at most this often, and not within this long of midnight, when it freezes its registers.
SET_CLOCK_EVERY_MS = HOUR_MS
AROUND_MIDNIGHT_MIN = 10


class LineDown(Exception):
    """The line cannot be used now; the message says why."""


@dataclass(slots=True)
class _Line:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A command that waits for the line."""

    command: Command
    report: Callable[[CommandResult, str], Awaitable[None]]


@dataclass
class SerialBus:
    """One line and its devices. `run` serves it until it is cancelled."""

    table: BusTable
    config: Config
    desk: GroupCommitWriter
    intake: Intake
    clock: GatewayClock
    #: Why the line cannot be used, or None.
    fault: str | None = None
    _line: _Line | None = None
    _pause_s: float = FIRST_PAUSE_S
    _commands: list[_Asked] = field(default_factory=list)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.devices: dict[str, tuple[DeviceTable, Profile, str]] = {}
        turns = []
        now, outbox = self.clock.now_ms(), self.desk.outbox
        for table in self.table.devices:
            profile = self.config.profiles[table.profile]
            self.poll = POLLS[str(profile.protocol)]
            self.devices[table.device] = (table, profile, self.poll.address(table.address))
            every = (table.every_s or profile.expected_interval_s) * 1000
            turn = ScheduledPoll(
                device=table.device,
                every_ms=every,
                slow_every_ms=max(every, profile.slow_interval_s * 1000),
            )
            Schedule.recall(turn, outbox.recall(f"poll/{table.device}"), now)
            turns.append(turn)
        self.schedule = Schedule(turns)

    def ask(
        self, command: Command, report: Callable[[CommandResult, str], Awaitable[None]]
    ) -> None:
        """Let a command have the line next."""
        self._commands.append(_Asked(command=command, report=report))
        self._woken.set()

    async def run(self) -> None:
        """Serve the line until cancelled; a question that is under way is ended by its time-out, never doubled."""
        try:
            while True:
                if self._commands:
                    await self._obey(self._commands.pop(0))
                    continue
                turn = self.schedule.next(self.clock.now_ms())
                if turn is None:
                    await self._wait(
                        self.clock.real_seconds(self.schedule.wait_ms(self.clock.now_ms()))
                    )
                    continue
                await self._serve(turn)
        finally:
            self._hang_up()
            for asked in self._commands:
                await asked.report(
                    CommandResult.FAILED, "the line was taken out of service before its turn"
                )

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(seconds, 0.001), 5.0)):
                await self._woken.wait()

    # One device -----------------------------------------------------------------------------------

    async def _serve(self, turn: ScheduledPoll) -> None:
        table, profile, address = self.devices[turn.device]
        asked = at = self.clock.now_ms()
        slow = turn.slow(asked)
        fields: dict[str, Any] = {}
        missing: list[str] = []
        asks = self.poll.queries(profile, address, slow)
        needed = len(self.poll.queries(profile, address, False)) if slow else len(asks)
        try:
            for n, ask in enumerate(asks):
                answer = await self._ask(ask)
                if not isinstance(answer, Rejected):
                    # The first answer is the register's; what is asked after it must not make it younger.
                    at = at if fields else self.clock.now_ms()
                    fields.update(answer)
                elif n >= needed or (answer.reason is Reason.DEVICE_REFUSED and fields):
                    # It has no such value, or keeps silent when asked for what only alarms and clocks need.
                    missing.append(ask.what)
                else:
                    await self._failed(turn, answer.detail)
                    return
        except LineDown as error:
            await self._line_failed(turn, str(error))
            return
        fields = self.poll.combine(profile, fields)
        if (
            table.serial is not None
            and "serial" in fields
            and str(fields["serial"]) != table.serial
        ):
            await self._failed(
                turn,
                f"another meter answers at address {address}: number {fields['serial']}, not {table.serial}; "
                "if it was swapped, give the new one a device of its own",
            )
            return
        entry = self._entry(turn, profile, fields, asked, at, slow)
        if missing:
            said = replace(
                entry.heard[0], said=f"{entry.heard[0].said}; nothing for {', '.join(missing)}"
            )
            entry = replace(entry, heard=[said])
        await self._store(turn, slow, entry)

    def _entry(
        self,
        turn: ScheduledPoll,
        profile: Profile,
        fields: dict[str, Any],
        asked: int,
        at: int,
        slow: bool,
    ) -> OutboxEntry:
        memory = self.schedule.answered(turn, asked, slow=slow)
        entry = self.intake.said(turn.device, apply_profile(profile, fields), at=at, memory=memory)
        if self.desk.outbox.recall(_offline(turn.device)) == "on":
            back = EventItem(
                device=turn.device,
                at=at,
                id=f"offline-off-{at}",
                kind="device",
                data={"condition": "offline", "state": "off"},
            )
            memory = {**entry.memory, _offline(turn.device): "off"}
            entry = OutboxEntry(items=[*entry.items, back], memory=memory, heard=entry.heard)
        return entry

    async def _store(self, turn: ScheduledPoll, slow: bool, entry: OutboxEntry) -> None:
        try:
            await self.desk.put(entry)
        except WriteRefused:
            # The slot stays open: the device is asked again when the disk takes something.
            turn.done -= 1
            turn.slow_done -= 1 if slow else 0
            self.schedule.failed(turn, self.clock.now_ms())
            return
        drift = next((note.drift_ms for note in entry.heard if note.drift_ms is not None), None)
        if (
            drift is not None
            and abs(drift) > self.config.table.clock.max_drift_s * 1000
            and self.table.set_clock
        ):
            await self._set_clock(turn.device)

    async def _failed(self, turn: ScheduledPoll, why: str) -> None:
        now = self.clock.now_ms()
        self.schedule.failed(turn, now)
        items, memory = [], {}
        if (
            turn.failures >= OFFLINE_AFTER
            and self.desk.outbox.recall(_offline(turn.device)) != "on"
        ):
            items.append(
                EventItem(
                    device=turn.device,
                    at=now,
                    id=f"offline-on-{now}",
                    kind="device",
                    data={"condition": "offline", "state": "on", "why": why[:200]},
                )
            )
            memory[_offline(turn.device)] = "on"
        with suppress(WriteRefused):
            note = DeviceContact(device=turn.device, at=now, fault=why[:300])
            await self.desk.put(OutboxEntry(items=items, memory=memory, heard=[note]))

    async def _line_failed(self, turn: ScheduledPoll, why: str) -> None:
        """The whole line is away: every device waits for it, none of them is blamed, and the first is asked again."""
        if self.fault is None:
            log.warning("line_down", bus=self.table.name, why=why)
        self.fault = why
        now = self.clock.now_ms()
        with suppress(WriteRefused):
            await self.desk.put(
                OutboxEntry(
                    heard=[
                        DeviceContact(
                            device=turn.device, at=now, fault=f"line {self.table.name}: {why}"
                        )
                    ]
                )
            )
        await self._wait(self._pause_s * random.uniform(0.8, 1.2))  # noqa: S311
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    async def _set_clock(self, device: str) -> None:
        """Set clocks by the gateway's: with a broadcast for the whole line where the protocol has one."""
        now = self.clock.now_ms()
        local = self.intake.local(now)
        key = f"clock-set/{self.table.name}/{device}"
        last = int(self.desk.outbox.recall(key) or 0)
        minutes = local.hour * 60 + local.minute
        if now - last < SET_CLOCK_EVERY_MS or min(minutes, 1440 - minutes) < AROUND_MIDNIGHT_MIN:
            return
        _, profile, address = self.devices[device]
        ask = self.poll.set_clock(profile, address, local)
        if ask is None:
            return
        try:
            await self._ask(ask)
            await self.desk.put(OutboxEntry(memory={key: str(now)}))
            log.info("clock_set", bus=self.table.name, device=device)
        except (LineDown, WriteRefused) as error:
            log.warning("clock_not_set", device=device, why=str(error))

    async def _obey(self, asked: _Asked) -> None:
        """Carry a command out, unless it expired while the line was busy."""
        command = asked.command
        _, profile, address = self.devices[command.device]
        if self.clock.now_ms() > command.expires_at:
            await asked.report(CommandResult.EXPIRED, "the line was not free in time")
            return
        try:
            ask = self.poll.command(
                profile, address, command.command, str(command.argument.get("to", ""))
            )
        except ValueError as error:
            await asked.report(CommandResult.REFUSED, str(error))
            return
        try:
            answer = await self._ask(ask)
        except LineDown as error:
            await asked.report(CommandResult.FAILED, str(error))
            return
        except asyncio.CancelledError:
            await asked.report(
                CommandResult.UNKNOWN,
                "the line was taken out of service while it acted; look at the device",
            )
            raise
        if isinstance(answer, Rejected):
            await asked.report(CommandResult.FAILED, answer.detail)
        else:
            await asked.report(CommandResult.DONE, "confirmed by the device")

    # One question ---------------------------------------------------------------------------------

    async def _ask(self, ask: PollQuery) -> dict[str, Any] | Rejected:
        """Ask, again where nothing or nonsense comes.

        Raises: LineDown.
        """
        last: dict[str, Any] | Rejected = {}
        for _ in range(1 + self.table.retries):
            last = await self._ask_once(ask)
            if not isinstance(last, Rejected) or last.reason is Reason.DEVICE_REFUSED:
                return last
        return last

    async def _ask_once(self, ask: PollQuery) -> dict[str, Any] | Rejected:
        line = await self._reach()
        stream: FrameStream[Any] = FrameStream(self.poll.codec)
        try:
            await self._drain(line)
            line.writer.write(ask.request)
            await line.writer.drain()
            if ask.read is None:
                await asyncio.sleep(self.table.quiet_ms / 1000)
                return {}
            return await self._answer(line, stream, ask)
        except (OSError, EOFError) as error:
            self._hang_up()
            raise LineDown(
                f"{self.table.at}: {str(error) or 'the serial server hung up'}"
            ) from None

    async def _answer(
        self, line: _Line, stream: FrameStream[Any], ask: PollQuery
    ) -> dict[str, Any] | Rejected:
        """Wait for the answer, then until the line is quiet."""
        assert ask.read is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.table.timeout_ms / 1000
        found: dict[str, Any] | Rejected | None = None
        noise: Rejected | None = None
        while loop.time() < (deadline if found is None else deadline + LONGEST_CHATTER_S):
            left = (self.table.quiet_ms / 1000) if found is not None else deadline - loop.time()
            data = await self._read(line, left)
            for frame in stream.feed(data) if data else stream.flush():
                if isinstance(frame, Rejected):
                    noise = frame
                    continue
                answer = ask.read(frame)
                if answer is None:
                    continue
                if found is not None and not isinstance(found, Rejected) and answer != found:
                    return Rejected(
                        reason=Reason.CONFLICT,
                        detail="two different answers: another device on this line has the same address",
                    )
                found = answer
            if not data:
                break
        if found is None:
            # Time is up: whatever half a frame hides is looked for.
            for frame in stream.flush():
                answer = None if isinstance(frame, Rejected) else ask.read(frame)
                found = answer if answer is not None else found
        if found is not None:
            return found
        if noise is not None:
            return noise
        what = f"no answer to {ask.what} within {self.table.timeout_ms} ms"
        return Rejected(
            reason=Reason.TRUNCATED,
            detail=what + (f"; {stream.skipped} bytes of noise" if stream.skipped else ""),
        )

    @staticmethod
    async def _read(line: _Line, seconds: float) -> bytes:
        # Not asyncio.wait_for: before Python 3.12 it swallows a cancellation that comes with an answer, and nobody could stop us then.
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                data = await line.reader.read(4096)
        except TimeoutError:
            return b""
        if not data:
            raise EOFError
        return data

    async def _drain(self, line: _Line) -> None:
        """Throw away what came late for an earlier question; a line that never stops talking is spoken over."""
        for _ in range(16):
            if not await self._read(line, 0.001):
                return

    async def _reach(self) -> _Line:
        if self._line is None:
            host, _, port = self.table.at.rpartition(":")
            try:
                async with asyncio.timeout(5.0):
                    reader, writer = await asyncio.open_connection(host, int(port))
            except (OSError, TimeoutError) as error:
                raise LineDown(
                    f"{self.table.at} cannot be reached: {str(error) or 'no answer within 5 s'}"
                ) from None
            self._line, self._pause_s = _Line(reader, writer), FIRST_PAUSE_S
            if self.fault is not None:
                log.info("line_up", bus=self.table.name)
            self.fault = None
        return self._line

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.writer.close()
            self._line = None


def _offline(device: str) -> str:
    """Name what is remembered of a device that is offline for the server."""
    return f"alarm/{device}/offline"
