"""A half-duplex line behind a serial server: one query at a time, its reply awaited, then silence.

A reply that comes late, twice or in another's place is told from the reply itself: a frame that
does not answer the query is passed over. Two different replies to one query mean that an address is
used twice. A line that cannot be reached is tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog

from devices.polls.query import PollQuery
from devices.protocols.framing import Codec, FrameStream
from domain.rejection import Reason, Rejected
from gateway.config_tables import BusTable

log = structlog.get_logger()

#: Pauses between two attempts to reach a line, seconds.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
#: A line must fall silent within this long after the time-out; one that does not is broken.
LONGEST_CHATTER_S = 1.0
CONNECT_TIMEOUT_S = 5.0
#: How often late bytes are discarded before a query is sent all the same.
MAX_DISCARDS = 16


class LineDown(Exception):
    """The line cannot be used now; the message says why."""


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Reply:
    """Collects what is received after one query."""

    def __init__(self, query: PollQuery) -> None:
        assert query.read is not None
        self._read = query.read
        self.result: dict[str, Any] | Rejected | None = None
        self.noise: Rejected | None = None
        self.conflict = False

    def take(self, frame: Any) -> None:
        """Take a frame, or the rejection of something that was none."""
        if isinstance(frame, Rejected):
            self.noise = frame
            return
        fields = self._read(frame)
        if fields is None:
            return
        if isinstance(self.result, dict) and fields != self.result:
            self.conflict = True
        self.result = fields


class SerialLine:
    """One line. `fault` says why it cannot be used, or is None."""

    def __init__(self, table: BusTable, codec: Codec[Any]) -> None:
        self._table = table
        self._codec = codec
        self._connection: _Connection | None = None
        self._pause_s = FIRST_PAUSE_S
        self.fault: str | None = None

    def next_pause(self) -> float:
        """Return how long to wait before the next attempt (s), and double it for the one after."""
        pause = self._pause_s
        self._pause_s = min(pause * 2, LONGEST_PAUSE_S)
        return pause

    def close(self) -> None:
        """Close the connection; the next query opens another."""
        if self._connection is not None:
            self._connection.writer.close()
            self._connection = None

    async def query(self, query: PollQuery) -> dict[str, Any] | Rejected:
        """Send a query and return its reply's fields; repeat it where nothing or noise is received.

        Raises: LineDown.
        """
        reply: dict[str, Any] | Rejected = {}
        for _ in range(1 + self._table.retries):
            reply = await self._query_once(query)
            if not isinstance(reply, Rejected) or reply.reason is Reason.DEVICE_REFUSED:
                return reply
        return reply

    async def _query_once(self, query: PollQuery) -> dict[str, Any] | Rejected:
        connection = await self._connect()
        try:
            await self._discard_late_bytes(connection)
            connection.writer.write(query.request)
            await connection.writer.drain()
            if query.read is None:
                await asyncio.sleep(self._table.quiet_ms / 1000)
                return {}
            return await self._receive(connection, query)
        except (OSError, EOFError) as error:
            self.close()
            why = str(error) or "the serial server hung up"
            raise LineDown(f"{self._table.at}: {why}") from None

    async def _receive(
        self, connection: _Connection, query: PollQuery
    ) -> dict[str, Any] | Rejected:
        """Wait for the reply, then until the line is quiet."""
        loop = asyncio.get_running_loop()
        stream: FrameStream[Any] = FrameStream(self._codec)
        reply = _Reply(query)
        quiet_s = self._table.quiet_ms / 1000
        deadline = loop.time() + self._table.timeout_ms / 1000
        while not reply.conflict:
            has_reply = reply.result is not None
            now = loop.time()
            if now >= (deadline + LONGEST_CHATTER_S if has_reply else deadline):
                break
            data = await _read(connection, quiet_s if has_reply else deadline - now)
            for frame in stream.feed(data) if data else stream.flush():
                reply.take(frame)
            if not data:
                break
        if reply.result is None:
            # Time is up: search what half a frame hides.
            for frame in stream.flush():
                if not isinstance(frame, Rejected):
                    reply.take(frame)
        return self._judge(query, reply, stream.skipped)

    def _judge(self, query: PollQuery, reply: _Reply, skipped: int) -> dict[str, Any] | Rejected:
        if reply.conflict:
            detail = "two different answers: another device on this line has the same address"
            return Rejected(reason=Reason.CONFLICT, detail=detail)
        if reply.result is not None:
            return reply.result
        if reply.noise is not None:
            return reply.noise
        detail = f"no answer to {query.what} within {self._table.timeout_ms} ms"
        if skipped:
            detail += f"; {skipped} bytes of noise"
        return Rejected(reason=Reason.TRUNCATED, detail=detail)

    async def _discard_late_bytes(self, connection: _Connection) -> None:
        """Discard what is late for an earlier query; a line that never stops is spoken over."""
        for _ in range(MAX_DISCARDS):
            if not await _read(connection, 0.001):
                return

    async def _connect(self) -> _Connection:
        if self._connection is not None:
            return self._connection
        host, _, port = self._table.at.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(host, int(port))
        except (OSError, TimeoutError) as error:
            why = str(error) or f"no answer within {CONNECT_TIMEOUT_S:.0f} s"
            raise LineDown(f"{self._table.at} cannot be reached: {why}") from None
        self._connection = _Connection(reader, writer)
        self._pause_s = FIRST_PAUSE_S
        if self.fault is not None:
            log.info("line_up", bus=self._table.name)
        self.fault = None
        return self._connection


async def _read(connection: _Connection, seconds: float) -> bytes:
    """Read what is received within some seconds; empty where nothing is.

    Raises: EOFError where the peer closed the connection.
    """
    # Not asyncio.wait_for: before Python 3.12 it swallows a cancellation that comes with data.
    try:
        async with asyncio.timeout(max(seconds, 0.001)):
            data = await connection.reader.read(4096)
    except TimeoutError:
        return b""
    if not data:
        raise EOFError
    return data
