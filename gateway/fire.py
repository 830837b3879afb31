"""The port to which fire user devices connect (GB/T 26875.3).

What they send is confirmed when it is on disk, not before. A device that is not confirmed sends
again, so nothing is lost where the disk refuses or the device is not configured yet.
"""

from __future__ import annotations

import asyncio

import structlog

from devices.protocols import gb26875 as wire
from devices.protocols.framing import FrameStream
from domain.rejection import Rejected
from gateway.clock import GatewayClock
from gateway.config import Config
from gateway.config_tables import FireDeviceTable, FireTable
from gateway.fire_units import convert_unit
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import Intake
from gateway.outbox import DeviceContact, OutboxEntry
from gateway.unknown_devices import UnknownDevices

log = structlog.get_logger()

#: A connection is closed after this silence; a device reports at least once a day, and most report
#: every few minutes.
IDLE_S = 3600.0
#: After this silence half a frame is given up, and what it hid is searched for.
BREAK_S = 2.0
MAX_CONNECTIONS = 200
#: The device's clock is set at most this often.
SET_CLOCK_INTERVAL_MS = 3_600_000


class FirePort:
    """One listening port.

    `run` serves it until cancelled; `fault` says why it does not, or is None.
    """

    def __init__(
        self,
        *,
        table: FireTable,
        config: Config,
        outbox_writer: GroupCommitWriter,
        intake: Intake,
        clock: GatewayClock,
        unknown_devices: UnknownDevices,
    ) -> None:
        self._table = table
        self._max_drift_s = config.table.clock.max_drift_s
        self._outbox_writer = outbox_writer
        self._intake = intake
        self._clock = clock
        self._unknown_devices = unknown_devices
        self._hosts = {host.source: host for host in table.devices}
        self._connections: set[asyncio.StreamWriter] = set()
        self.fault: str | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        port = self._table.port
        try:
            server = await asyncio.start_server(self._serve, self._table.host, port)
        except OSError as error:
            self.fault = f"port {port}: {error}"
            log.error("fire_port", fault=self.fault)
            return
        self.fault = None
        try:
            async with server:
                await server.serve_forever()
        finally:
            for connection in list(self._connections):
                connection.close()

    async def _serve(self, reader: asyncio.StreamReader, connection: asyncio.StreamWriter) -> None:
        """Serve one connection until its device closes it or falls silent."""
        if len(self._connections) >= MAX_CONNECTIONS:
            connection.close()
            return
        self._connections.add(connection)
        try:
            await self._receive(reader, connection)
        except (OSError, EOFError):
            return
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _receive(
        self, reader: asyncio.StreamReader, connection: asyncio.StreamWriter
    ) -> None:
        stream: FrameStream[wire.Gb26875Frame] = FrameStream(wire.CODEC)
        idle_s = 0.0
        while idle_s < IDLE_S:
            try:
                async with asyncio.timeout(BREAK_S):
                    data = await reader.read(4096)
            except TimeoutError:
                items = stream.flush()
                idle_s += BREAK_S
            else:
                if not data:
                    return
                items = stream.feed(data)
                idle_s = 0.0
            for item in items:
                if isinstance(item, Rejected):
                    self._unknown_devices.note_rejection("fire", item)
                else:
                    await self._handle_frame(item, connection)

    async def _handle_frame(
        self, frame: wire.Gb26875Frame, connection: asyncio.StreamWriter
    ) -> None:
        """Store what a device sends, then confirm it."""
        if frame.command != wire.SEND:
            return
        host = self._hosts.get(frame.source)
        if host is None:
            self._unknown_devices.note_device("fire", frame.source, "fire user device")
            return
        now = self._clock.now_ms()
        try:
            await self._outbox_writer.put(self._make_entry(host, frame, now))
        except WriteRefused:
            return
        confirmation = wire.confirm(frame, self._intake.local(now))
        connection.write(wire.CODEC.encode(confirmation))
        await connection.drain()
        await self._set_clock(host, frame, now, connection)

    def _make_entry(self, host: FireDeviceTable, frame: wire.Gb26875Frame, now: int) -> OutboxEntry:
        unit = wire.decode_unit(frame.unit)
        if isinstance(unit, Rejected):
            # It is counted, shown and confirmed: unconfirmed it would be sent for ever.
            self._unknown_devices.note_rejection("fire", unit)
            contact = DeviceContact(device=host.device, at=now, fault=unit.detail)
            return OutboxEntry(contacts=[contact])
        # A frame that is sent again carries its first time: only a time near ours, or ahead, is
        # the clock's.
        drift_ms = self._intake.resolve_time(frame.at, now).drift_ms
        return convert_unit(unit, host=host, intake=self._intake, now=now, drift_ms=drift_ms)

    async def _set_clock(
        self,
        host: FireDeviceTable,
        frame: wire.Gb26875Frame,
        now: int,
        connection: asyncio.StreamWriter,
    ) -> None:
        """Set the device's clock where the time of its frame is off.

        A frame that is sent again looks so too; setting is harmless.
        """
        local_time = self._intake.local(now)
        if frame.at is not None:
            drift_s = (frame.at - local_time).total_seconds()
            if abs(drift_s) <= self._max_drift_s:
                return
        key = f"clock-set/{host.device}"
        last_set = int(self._outbox_writer.outbox.recall(key) or 0)
        if now - last_set < SET_CLOCK_INTERVAL_MS:
            return
        serial = (frame.serial + 1) & 0xFFFF
        order = wire.set_clock(serial, frame.destination, frame.source, local_time)
        connection.write(wire.CODEC.encode(order))
        await connection.drain()
        try:
            await self._outbox_writer.put(OutboxEntry(memory={key: str(now)}))
        except WriteRefused:
            return
