"""A serial server with a line of simulated meters behind it, and the line's faults."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from devices.protocols.framing import FrameStream
from domain.rejection import Rejected
from simulators.field.answers import PROTOCOLS
from simulators.field.meters import Fault, Now, SimulatedMeter

#: How long what is on its way may still arrive after a cut.
LAST_BYTES_S = 0.1


@dataclass
class Line:
    """One line. `cut` refuses connections and drops those that are open, until it is mended.

    `baud` slows answers to a real line's pace (11 bits a byte); 0 answers at once.
    """

    protocol: str
    meters: list[SimulatedMeter]
    now: Now
    host: str = "127.0.0.1"
    port: int = 0
    baud: int = 0
    seed: int = 1
    cut: bool = False
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; `port` is the one found where it was 0."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._random = random.Random(self.seed)  # noqa: S311

    async def stop(self) -> None:
        """Close everything."""
        self.cut = True
        self._hang_up()
        if self._server is not None:
            self._server.close()

    def break_line(self) -> None:
        """Cut the cable: no meter is heard from now on, and soon the serial server is gone, too.

        An answer that had left its meter has left the line: whatever a meter gave out before the
        cut arrives.
        """
        self.cut = True
        asyncio.get_running_loop().call_later(LAST_BYTES_S, self._hang_up)

    def _hang_up(self) -> None:
        for writer in list(self._open) if self.cut else []:
            writer.transport.abort()

    def mend(self) -> None:
        """Join the cable again."""
        self.cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            writer.transport.abort()
            return
        self._open.add(writer)
        requests, _, _ = PROTOCOLS[self.protocol]
        stream = FrameStream(requests)
        try:
            while data := await reader.read(4096):
                for frame in stream.feed(data):
                    if not isinstance(frame, Rejected):
                        await self._answer(frame, writer)
        except (OSError, ConnectionError):
            return
        finally:
            self._open.discard(writer)
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

    async def _answer(self, frame: object, writer: asyncio.StreamWriter) -> None:
        _, answers, respond = PROTOCOLS[self.protocol]
        now = self.now()
        for meter in self.meters if not self.cut else []:
            if meter.has(Fault.SILENT, now):
                continue
            if meter.has(Fault.SWAPPED, now) and self.protocol in ("dlt645", "cjt188"):
                # The new meter has another address; on M-Bus it was given the old one's and is
                # known by its number.
                continue
            reply = respond(meter, frame, now)
            if reply is None:
                continue
            meter.requests += 1
            data = answers.encode(reply)
            if meter.has(Fault.GARBAGE, now) and self._random.random() < 0.3:
                data = self._random.randbytes(self._random.randint(1, 12)) + data
            if meter.has(Fault.BAD_CHECKSUM, now) and self._random.random() < 0.5:
                data = data[:-2] + bytes(((data[-2] + 1) & 0xFF,)) + data[-1:]
            if self.baud:
                await asyncio.sleep(len(data) * 11 / self.baud)
            writer.write(data)
        await writer.drain()
