"""The devices of one half-duplex line: polled in turn, obeying commands, their clocks kept right.

What failed and why is noted per device. A device that stays silent is reported offline.
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
from devices.profiles import Profile
from domain.rejection import Reason, Rejected
from domain.wire import Command, CommandResult, EventItem
from gateway.clock import GatewayClock
from gateway.config import Config
from gateway.config_tables import BusTable, DeviceTable
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import Intake
from gateway.line import LineDown, SerialLine
from gateway.outbox import DeviceContact, OutboxEntry
from gateway.schedule import Schedule, ScheduledPoll

log = structlog.get_logger()

#: A device is offline for the server after this many polls in a row without a reply.
OFFLINE_AFTER = 3
#: A device's clock is set at most this often, and not this close to midnight, when it freezes its
#: registers.
SET_CLOCK_INTERVAL_MS = 3_600_000
AROUND_MIDNIGHT_MIN = 10
MINUTES_OF_DAY = 1440
#: The longest wait before the schedule is looked at again, seconds.
LONGEST_WAIT_S = 5.0

#: Reports what became of a command.
CommandReporter = Callable[[CommandResult, str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BusDevice:
    """A device of the line: its configuration, profile, and address as the protocol writes it."""

    table: DeviceTable
    profile: Profile
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _PendingCommand:
    """A command that waits for the line."""

    command: Command
    report: CommandReporter


@dataclass(slots=True, kw_only=True)
class _PollResult:
    """What a poll has collected: fields, queries without a value, and the time of the first reply
    (ms).
    """

    started_at: int
    at: int
    with_slow: bool
    fields: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class _PollFailed(Exception):
    """The device did not give what was needed; the message says why."""


class SerialBus:
    """One line and its devices. `run` serves it until it is cancelled."""

    def __init__(
        self,
        *,
        table: BusTable,
        config: Config,
        outbox_writer: GroupCommitWriter,
        intake: Intake,
        clock: GatewayClock,
    ) -> None:
        self._table = table
        self._outbox_writer = outbox_writer
        self._intake = intake
        self._clock = clock
        self._max_drift_ms = config.table.clock.max_drift_s * 1000
        self._commands: list[_PendingCommand] = []
        self._woken = asyncio.Event()
        self.devices: dict[str, BusDevice] = {}
        polls = [self._add_device(device, config) for device in table.devices]
        self._schedule = Schedule(polls)
        self._line = SerialLine(table, self._protocol.codec)

    def _add_device(self, table: DeviceTable, config: Config) -> ScheduledPoll:
        """Add a device of the configuration; return its place in the schedule."""
        profile = config.profiles[table.profile]
        # The configuration's check holds a line to one protocol.
        self._protocol = POLLS[str(profile.protocol)]
        address = self._protocol.address(table.address)
        self.devices[table.device] = BusDevice(table=table, profile=profile, address=address)
        every_ms = (table.every_s or profile.expected_interval_s) * 1000
        poll = ScheduledPoll(
            device=table.device,
            every_ms=every_ms,
            slow_every_ms=max(every_ms, profile.slow_interval_s * 1000),
        )
        remembered = self._outbox_writer.outbox.recall(f"poll/{table.device}")
        Schedule.recall(poll, remembered, self._clock.now_ms())
        return poll

    @property
    def fault(self) -> str | None:
        """Why the line cannot be used, or None."""
        return self._line.fault

    def enqueue(self, command: Command, report: CommandReporter) -> None:
        """Let a command use the line next."""
        self._commands.append(_PendingCommand(command=command, report=report))
        self._woken.set()

    async def run(self) -> None:
        """Serve the line until cancelled.

        A query under way ends by its time-out and is not doubled.
        """
        try:
            while True:
                await self._step()
        finally:
            self._line.close()
            for pending in self._commands:
                await pending.report(
                    CommandResult.FAILED, "the line was taken out of service before its turn"
                )

    async def _step(self) -> None:
        """Execute a command, or poll the device that is due, or wait for either."""
        if self._commands:
            await self._execute(self._commands.pop(0))
            return
        now = self._clock.now_ms()
        poll = self._schedule.next(now)
        if poll is not None:
            await self._poll(poll)
        else:
            await self._wait(self._clock.real_seconds(self._schedule.wait_ms(now)))

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(seconds, 0.001), LONGEST_WAIT_S)):
                await self._woken.wait()

    # One device -----------------------------------------------------------------------------------

    async def _poll(self, poll: ScheduledPoll) -> None:
        device = self.devices[poll.device]
        try:
            result = await self._collect(poll, device)
            _check_serial(device, result.fields)
        except _PollFailed as error:
            await self._note_failure(poll, str(error))
            return
        except LineDown as error:
            await self._note_line_failure(poll, str(error))
            return
        await self._store(poll, result, self._make_entry(poll, device, result))

    async def _collect(self, poll: ScheduledPoll, device: BusDevice) -> _PollResult:
        """Make the device's queries, the slow ones too where they are due.

        Raises: _PollFailed, LineDown.
        """
        now = self._clock.now_ms()
        result = _PollResult(started_at=now, at=now, with_slow=poll.slow(now))
        protocol = self._protocol
        queries = protocol.queries(device.profile, device.address, result.with_slow)
        needed = len(protocol.queries(device.profile, device.address, False))
        for number, query in enumerate(queries):
            reply = await self._line.query(query)
            if not isinstance(reply, Rejected):
                # The first reply holds the register; later ones must not make it younger.
                if not result.fields:
                    result.at = self._clock.now_ms()
                result.fields.update(reply)
                continue
            is_refused = reply.reason is Reason.DEVICE_REFUSED and bool(result.fields)
            if number < needed and not is_refused:
                raise _PollFailed(reply.detail)
            # Only alarms and clocks need this value, or the device does not have it.
            result.missing.append(query.what)
        result.fields = protocol.combine(device.profile, result.fields)
        return result

    def _make_entry(
        self, poll: ScheduledPoll, device: BusDevice, result: _PollResult
    ) -> OutboxEntry:
        memory = self._schedule.answered(poll, result.started_at, slow=result.with_slow)
        values = apply_profile(device.profile, result.fields)
        entry = self._intake.convert_values(poll.device, values, at=result.at, memory=memory)
        if self._is_offline(poll.device):
            online = _offline_event(poll.device, result.at, state="off")
            memory = {**entry.memory, _offline_key(poll.device): "off"}
            entry = replace(entry, items=[*entry.items, online], memory=memory)
        if result.missing:
            contact = entry.contacts[0]
            summary = f"{contact.summary}; nothing for {', '.join(result.missing)}"
            entry = replace(entry, contacts=[replace(contact, summary=summary)])
        return entry

    async def _store(self, poll: ScheduledPoll, result: _PollResult, entry: OutboxEntry) -> None:
        try:
            await self._outbox_writer.put(entry)
        except WriteRefused:
            # The slot stays open: the device is polled again when the disk takes something.
            poll.done -= 1
            if result.with_slow:
                poll.slow_done -= 1
            self._schedule.failed(poll, self._clock.now_ms())
            return
        drifts = (contact.drift_ms for contact in entry.contacts)
        drift_ms = next((drift for drift in drifts if drift is not None), 0)
        if abs(drift_ms) > self._max_drift_ms and self._table.set_clock:
            await self._set_clock(poll.device)

    async def _note_failure(self, poll: ScheduledPoll, why: str) -> None:
        now = self._clock.now_ms()
        self._schedule.failed(poll, now)
        items = []
        memory = {}
        if poll.failures >= OFFLINE_AFTER and not self._is_offline(poll.device):
            items.append(_offline_event(poll.device, now, state="on", why=why[:200]))
            memory[_offline_key(poll.device)] = "on"
        contact = DeviceContact(device=poll.device, at=now, fault=why[:300])
        with suppress(WriteRefused):
            await self._outbox_writer.put(
                OutboxEntry(items=items, memory=memory, contacts=[contact])
            )

    def _is_offline(self, device: str) -> bool:
        return self._outbox_writer.outbox.recall(_offline_key(device)) == "on"

    async def _note_line_failure(self, poll: ScheduledPoll, why: str) -> None:
        """Note that the whole line is down: every device waits, and none of them is blamed."""
        if self._line.fault is None:
            log.warning("line_down", bus=self._table.name, why=why)
        self._line.fault = why
        contact = DeviceContact(
            device=poll.device,
            at=self._clock.now_ms(),
            fault=f"line {self._table.name}: {why}",
        )
        with suppress(WriteRefused):
            await self._outbox_writer.put(OutboxEntry(contacts=[contact]))
        jitter = random.uniform(0.8, 1.2)  # noqa: S311
        await self._wait(self._line.next_pause() * jitter)

    async def _set_clock(self, device: str) -> None:
        """Set clocks by the gateway's: with a broadcast where the protocol has one."""
        now = self._clock.now_ms()
        local_time = self._intake.local(now)
        key = f"clock-set/{self._table.name}/{device}"
        last_set = int(self._outbox_writer.outbox.recall(key) or 0)
        minute = local_time.hour * 60 + local_time.minute
        from_midnight = min(minute, MINUTES_OF_DAY - minute)
        if now - last_set < SET_CLOCK_INTERVAL_MS or from_midnight < AROUND_MIDNIGHT_MIN:
            return
        target = self.devices[device]
        query = self._protocol.set_clock(target.profile, target.address, local_time)
        if query is None:
            return
        try:
            await self._line.query(query)
            await self._outbox_writer.put(OutboxEntry(memory={key: str(now)}))
            log.info("clock_set", bus=self._table.name, device=device)
        except (LineDown, WriteRefused) as error:
            log.warning("clock_not_set", device=device, why=str(error))

    # Commands -------------------------------------------------------------------------------------

    async def _execute(self, pending: _PendingCommand) -> None:
        """Execute a command, unless it expired while the line was busy."""
        command = pending.command
        if self._clock.now_ms() > command.expires_at:
            await pending.report(CommandResult.EXPIRED, "the line was not free in time")
            return
        device = self.devices[command.device]
        argument = str(command.argument.get("to", ""))
        try:
            query = self._protocol.command(
                device.profile, device.address, command.command, argument
            )
        except ValueError as error:
            await pending.report(CommandResult.REFUSED, str(error))
            return
        try:
            reply = await self._line.query(query)
        except LineDown as error:
            await pending.report(CommandResult.FAILED, str(error))
            return
        except asyncio.CancelledError:
            why = "the line was taken out of service while it acted; look at the device"
            await pending.report(CommandResult.UNKNOWN, why)
            raise
        if isinstance(reply, Rejected):
            await pending.report(CommandResult.FAILED, reply.detail)
        else:
            await pending.report(CommandResult.DONE, "confirmed by the device")


def _check_serial(device: BusDevice, fields: dict[str, Any]) -> None:
    """Compare the number of the meter that replied with the configured one.

    Raises: _PollFailed.
    """
    expected = device.table.serial
    if expected is None or "serial" not in fields or str(fields["serial"]) == expected:
        return
    meter = f"another meter answers at address {device.address}: number {fields['serial']}"
    fix = "if it was swapped, give the new one a device of its own"
    raise _PollFailed(f"{meter}, not {expected}; {fix}")


def _offline_event(device: str, at: int, *, state: str, why: str | None = None) -> EventItem:
    data = {"condition": "offline", "state": state}
    if why is not None:
        data["why"] = why
    return EventItem(device=device, at=at, id=f"offline-{state}-{at}", kind="device", data=data)


def _offline_key(device: str) -> str:
    """Name the memory of whether a device is offline for the server."""
    return f"alarm/{device}/offline"
