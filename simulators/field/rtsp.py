"""A camera that speaks RTSP (RFC 2326).

It sends a film as MPEG transport stream over RTP (RFC 2250), interleaved in its TCP connection. It
can be cut off, refuse, stand still, or send noise.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from dataclasses import dataclass, field

#: Bytes of a transport packet, and packets in one RTP packet.
PACKET = 188
TOGETHER = 7
PAYLOAD_TYPE = 33


@dataclass
class RtspCamera:
    """One camera.

    `film` is a transport stream that lasts `seconds`; it is sent at its own pace, again and again.
    """

    film: bytes
    seconds: float
    host: str = "127.0.0.1"
    port: int = 0
    cut: bool = False
    still: bool = False
    rubbish: bool = False
    #: How often somebody asked for the stream.
    plays: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; `port` is the one found where it was 0."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        self.break_off()
        if self._server is not None:
            self._server.close()

    def break_off(self) -> None:
        """Cut the cable: connections break and new ones are refused until `mend`."""
        self.cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        """Join the cable again."""
        self.cut = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"rtsp://{self.host}:{self.port}/stream"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            writer.transport.abort()
            return
        self._open.add(writer)
        sending: asyncio.Task[None] | None = None
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                if request[:1] == b"$":
                    continue
                lines = request.decode("latin-1").split("\r\n")
                method, url = lines[0].split()[:2]
                number = next(
                    (
                        line.partition(":")[2].strip()
                        for line in lines
                        if line.lower().startswith("cseq:")
                    ),
                    "0",
                )
                writer.write(self._answer(method, url, number))
                await writer.drain()
                if method == "PLAY":
                    self.plays += 1
                    sending = asyncio.ensure_future(self._send(writer))
                if method == "TEARDOWN":
                    return
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            return
        finally:
            if sending is not None:
                sending.cancel()
            self._open.discard(writer)
            writer.close()

    def _answer(self, method: str, url: str, number: str) -> bytes:
        head = [f"RTSP/1.0 200 OK\r\nCSeq: {number}"]
        body = ""
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif method == "DESCRIBE":
            body = (
                f"v=0\r\no=- 1 1 IN IP4 {self.host}\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP "
                f"{PAYLOAD_TYPE}\r\na=control:track1\r\n"
            )
            head += [
                f"Content-Base: {url}/",
                "Content-Type: application/sdp",
                f"Content-Length: {len(body)}",
            ]
        elif method == "SETUP":
            head += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 7;timeout=60"]
        elif method in ("PLAY", "TEARDOWN", "GET_PARAMETER"):
            head.append("Session: 7")
        return ("\r\n".join(head) + "\r\n\r\n" + body).encode()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        size = PACKET * TOGETHER
        begun = loop.time()
        sent = 0
        for number in itertools.count():
            at = (number * size) % max(len(self.film) - size, 1)
            part = self.film[at - at % PACKET : at - at % PACKET + size]
            if self.rubbish:
                part = bytes(b ^ 0x5A for b in part)
            while self.still:
                await asyncio.sleep(0.05)
            stamp = int((loop.time() - begun) * 90_000) & 0xFFFFFFFF
            packet = struct.pack(">BBHII", 0x80, PAYLOAD_TYPE, number & 0xFFFF, stamp, 7) + part
            try:
                writer.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                await writer.drain()
            except OSError:
                return
            sent += len(part)
            await asyncio.sleep(
                max(0.0, begun + sent / len(self.film) * self.seconds - loop.time())
            )
