"""The port that fire user devices connect to (GB/T 26875.3): what they send is confirmed when it is on disk, not before.

A device that is not confirmed sends again, so nothing is lost where the disk refuses or the device is not configured yet.
A part that the configuration lists speaks as its own device; any other as the fire host, with the part in its data.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog

from devices.protocols import gb26875 as wire
from devices.protocols.framing import FrameStream
from domain.calendar import HOUR_MS
from domain.rejection import Rejected
from domain.wire import EventItem, ReadingItem
from gateway.clock import GatewayClock
from gateway.config import Config, FireDeviceTable, FireTable
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import Intake
from gateway.outbox import DeviceContact, OutboxEntry
from gateway.unknown_devices import UnknownDevices

log = structlog.get_logger()

#: A connection that says nothing for so long is given up; a device reports at least once a day, and most every few minutes.
IDLE_S = 3600.0
#: After this silence half a frame is given up, and what it hid is looked for.
BREAK_S = 2.0
MAX_CONNECTIONS = 200
#: The device's clock is read and set at most this often.
SET_CLOCK_EVERY_MS = HOUR_MS

#: Part types (GB/T 26875.3, table 9 of annex) by the hazard that their alarm means; any other is a fire.
_HAZARD_OF = {
    **dict.fromkeys(range(10, 16), "gas"),
    **dict.fromkeys((16, 17, 18), "electrical"),
    **dict.fromkeys(range(40, 44), "smoke"),
}
_CONDITIONS = {
    "fault": "fault",
    "power_fault": "fault",
    "backup_power_fault": "low_battery",
    "bus_fault": "fault",
    "line_fault": "fault",
    "link_fault": "fault",
}


@dataclass(slots=True)
class FirePort:
    """One listening port. `run` serves it until cancelled."""

    table: FireTable
    config: Config
    desk: GroupCommitWriter
    intake: Intake
    clock: GatewayClock
    strangers: UnknownDevices
    fault: str | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def run(self) -> None:
        """Listen until cancelled."""
        hosts = {host.source: host for host in self.table.devices}
        try:
            server = await asyncio.start_server(
                lambda r, w: self._connection(hosts, r, w), self.table.host, self.table.port
            )
        except OSError as error:
            self.fault = f"port {self.table.port}: {error}"
            log.error("fire_port", fault=self.fault)
            return
        self.fault = None
        try:
            async with server:
                await server.serve_forever()
        finally:
            for writer in list(self._open):
                writer.close()

    async def _connection(
        self,
        hosts: dict[str, FireDeviceTable],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._open.add(writer)
        stream: FrameStream[wire.Gb26875Frame] = FrameStream(wire.CODEC)
        idle = 0.0
        try:
            while idle < IDLE_S:
                try:
                    async with asyncio.timeout(BREAK_S):
                        data = await reader.read(4096)
                except TimeoutError:
                    found, idle = stream.flush(), idle + BREAK_S
                else:
                    if not data:
                        return
                    found, idle = stream.feed(data), 0.0
                for frame in found:
                    if isinstance(frame, Rejected):
                        self.strangers.refused("fire", frame)
                    else:
                        await self._frame(hosts, frame, writer)
        except (OSError, EOFError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    async def _frame(
        self,
        hosts: dict[str, FireDeviceTable],
        frame: wire.Gb26875Frame,
        writer: asyncio.StreamWriter,
    ) -> None:
        if frame.command != wire.SEND:
            return
        host = hosts.get(frame.source)
        if host is None:
            self.strangers.spoke("fire", frame.source, "fire user device")
            return
        unit = wire.decode_unit(frame.unit)
        now = self.clock.now_ms()
        if isinstance(unit, Rejected):
            # It would send this again for ever; it is counted and shown, and confirmed.
            self.strangers.refused("fire", unit)
            entry = OutboxEntry(
                heard=[DeviceContact(device=host.device, at=now, fault=unit.detail)]
            )
        else:
            entry = self.entry(host, frame, unit, now)
        try:
            await self.desk.put(entry)
        except WriteRefused:
            return
        writer.write(wire.CODEC.encode(wire.confirm(frame, self.intake.local(now))))
        await writer.drain()
        await self._discipline(host, frame, now, writer)

    async def _discipline(
        self,
        host: FireDeviceTable,
        frame: wire.Gb26875Frame,
        now: int,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Set the device's clock where what it sends is not of now. A frame told again looks so too; setting is harmless."""
        shown = frame.at
        off = 0 if shown is None else (shown - self.intake.local(now)).total_seconds()
        key = f"clock-set/{host.device}"
        if shown is not None and abs(off) <= self.config.table.clock.max_drift_s:
            return
        if now - int(self.desk.outbox.recall(key) or 0) < SET_CLOCK_EVERY_MS:
            return
        order = wire.set_clock(
            (frame.serial + 1) & 0xFFFF, frame.destination, frame.source, self.intake.local(now)
        )
        writer.write(wire.CODEC.encode(order))
        await writer.drain()
        try:
            await self.desk.put(OutboxEntry(memory={key: str(now)}))
        except WriteRefused:
            return

    # Objects to items -----------------------------------------------------------------------------

    def entry(
        self, host: FireDeviceTable, frame: wire.Gb26875Frame, unit: wire.Gb26875Unit, now: int
    ) -> OutboxEntry:
        """Turn an application unit into what the outbox keeps."""
        items: list[EventItem | ReadingItem] = []
        memory: dict[str, str] = {}
        parts = {(part.system, part.part): part.device for part in host.parts}
        for thing in unit.objects:
            items += self._items(host.device, parts, thing, now, memory)
        # A frame that is told again carries the time of its first telling: only a time near ours, or ahead, is the clock's.
        _, drift, _ = self.intake.instant(frame.at, now)
        heard = [
            DeviceContact(device=device, at=now, said=f"type {unit.kind}")
            for device in {item.device for item in items} - {host.device}
        ]
        heard.append(
            DeviceContact(device=host.device, at=now, said=f"type {unit.kind}", drift_ms=drift)
        )
        return OutboxEntry(items=items, memory=memory, heard=heard)

    def _items(
        self,
        host: str,
        parts: dict[tuple[int, str], str],
        thing: wire.InformationObject,
        now: int,
        memory: dict[str, str],
    ) -> list[EventItem | ReadingItem]:
        if isinstance(thing, wire.PartState):
            device = parts.get((thing.system, thing.part), host)
            where: dict[str, Any] = {
                "system": thing.system,
                "part": thing.part,
                "part_type": thing.part_type,
            }
            if thing.text:
                where["text"] = thing.text
            hazard = _HAZARD_OF.get(thing.part_type, "fire")
            return self._states(
                device, thing.state, wire.STATE_BITS, hazard, where, thing.stamp, now, memory
            )
        if isinstance(thing, wire.SystemState):
            return self._states(
                host,
                thing.state,
                wire.STATE_BITS,
                "fire",
                {"system": thing.system},
                thing.stamp,
                now,
                memory,
            )
        if isinstance(thing, wire.TransmitterState):
            where = {"part": "transmitter"}
            return self._states(
                host, thing.state, wire.TRANSMITTER_BITS, "fire", where, thing.stamp, now, memory
            )
        if isinstance(thing, wire.AnalogValue) and thing.quantity in wire.QUANTITIES:
            quantity = wire.QUANTITIES[thing.quantity]
            at, _, _ = self.intake.instant(wire.decode_time(thing.stamp), now)
            device = parts.get((thing.system, thing.part), host)
            return [
                ReadingItem(
                    device=device,
                    at=at,
                    values={quantity.point: round(thing.value * quantity.step, 6)},
                )
            ]
        if isinstance(thing, wire.OperatorAction):
            done = sorted(wire.bit_names(thing.flags, wire.OPERATION_BITS))
            at, _, _ = self.intake.instant(wire.decode_time(thing.stamp), now)
            data = {
                "condition": "other",
                "state": "test" if "test" in done else "on",
                "operation": done,
                "operator": thing.operator,
            }
            return [
                EventItem(
                    device=host,
                    at=at,
                    id=f"op-{thing.flags}-{thing.operator}-{thing.stamp.hex()}",
                    kind="device",
                    data=data,
                )
            ]
        return []

    def _states(
        self,
        device: str,
        state: int,
        names: tuple[str, ...],
        hazard: str,
        where: dict[str, Any],
        stamp: bytes,
        now: int,
        memory: dict[str, str],
    ) -> list[EventItem | ReadingItem]:
        """One event for each alarm that begins or ends with this state. Bit 0 clear means that the part is being tested."""
        at, _, told = self.intake.instant(wire.decode_time(stamp), now)
        shown = wire.bit_names(state, names)
        place = f"{where.get('system', '-')}-{where.get('part', '-')}"
        alarms: dict[str, tuple[str, dict[str, str]]] = {"fire": ("hazard", {"hazard": hazard})}
        for bit, condition in _CONDITIONS.items():
            if bit in names:
                alarms[bit] = ("device", {"condition": condition})
        items: list[EventItem | ReadingItem] = []
        for bit, (kind, word) in alarms.items():
            key = f"alarm/{device}/{place}/{bit}"
            now_on = "on" if bit in shown else "off"
            if now_on == (self.desk.outbox.recall(key) or "off") and now_on == "off":
                continue
            memory[key] = now_on
            data = {**word, "state": now_on, **where, "bits": sorted(shown)}
            if told is not None:
                data["device_at"] = told
            if now_on == "off" and self.intake.others_hold(
                f"alarm/{device}/", f"/{bit}", key, memory
            ):
                # Another part of the same device still burns: that one is over, the danger is not.
                kind, data = "device", {**data, "condition": "other", "still": bit}
                data.pop("hazard", None)
            # An alarm that is told again (a second frame with the same time) is the same event.
            items.append(
                EventItem(
                    device=device,
                    at=at,
                    id=f"{place}-{bit}-{now_on}-{stamp.hex()}"[:80],
                    kind=kind,
                    data=data,
                )
            )
        return items
