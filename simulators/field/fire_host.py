"""A simulated fire user device, which repeats each message until it is confirmed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

from devices.protocols import gb26875 as wire
from devices.protocols.framing import FrameStream
from domain.rejection import Rejected
from simulators.field.meters import ZONE, Now


@dataclass
class FireHost:
    """One device. `pending` are frames that nobody has confirmed."""

    source: str
    port: int
    now: Now
    host: str = "127.0.0.1"
    centre: str = "000000000001"
    again_s: float = 1.0
    clock_ms: int = 0
    confirmed: int = 0
    clock_set: int = 0
    pending: OrderedDict[int, wire.Gb26875Frame] = field(default_factory=OrderedDict)
    _serial: int = 0

    def local(self) -> datetime:
        """Return the device's own local time."""
        return datetime.fromtimestamp((self.now() + self.clock_ms) / 1000, ZONE).replace(
            tzinfo=None
        )

    def part(
        self, part: str, state: int, text: str, *, system: int = 1, part_type: int = 40
    ) -> None:
        """Let a part change its state."""
        stamp = wire.encode_time(self.local())
        thing = wire.PartState(
            system_type=1,
            system=system,
            part_type=part_type,
            part=part,
            state=state,
            text=text,
            stamp=stamp,
        )
        self._queue(wire.Gb26875Unit(kind=wire.PART_STATE, objects=(thing,)))

    def transmitter(self, state: int) -> None:
        """Tell the device's own state."""
        thing = wire.TransmitterState(state=state, stamp=wire.encode_time(self.local()))
        self._queue(wire.Gb26875Unit(kind=wire.TRANSMITTER_STATE, objects=(thing,)))

    def _queue(self, unit: wire.Gb26875Unit) -> None:
        self._serial = (self._serial + 1) & 0xFFFF
        self.pending[self._serial] = wire.Gb26875Frame(
            serial=self._serial,
            command=wire.SEND,
            source=self.source,
            destination=self.centre,
            stamp=wire.encode_time(self.local()),
            unit=wire.encode_unit(unit),
        )

    async def run(self) -> None:
        """Connect and talk until cancelled; a lost connection is made again."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    await self._talk(reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(0.3)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = FrameStream(wire.CODEC)
        sent: dict[int, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            for serial, frame in list(self.pending.items()):
                if loop.time() - sent.get(serial, -1e9) > self.again_s:
                    writer.write(wire.CODEC.encode(frame))
                    sent[serial] = loop.time()
            await writer.drain()
            try:
                async with asyncio.timeout(0.05):
                    data = await reader.read(4096)
            except TimeoutError:
                continue
            if not data:
                return
            for answer in stream.feed(data):
                if isinstance(answer, Rejected):
                    continue
                if (
                    answer.command == wire.CONFIRM
                    and self.pending.pop(answer.serial, None) is not None
                ):
                    self.confirmed += 1
                elif answer.command == wire.CONTROL and answer.unit[:1] == bytes((wire.SET_CLOCK,)):
                    self.clock_ms = 0
                    self.clock_set = self.clock_set + 1
