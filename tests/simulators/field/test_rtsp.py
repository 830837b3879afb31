"""The simulated camera answers as a camera does, and breaks off when it is cut."""

from __future__ import annotations

import asyncio
import contextlib

from simulators.field.rtsp import PACKET, TOGETHER, RtspCamera


def test_it_describes_plays_and_breaks_off() -> None:
    async def work() -> None:
        camera = RtspCamera(bytes(range(188)) * 100, 1.0)
        await camera.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", camera.port)
        for number, method in enumerate(("OPTIONS", "DESCRIBE", "SETUP"), 1):
            writer.write(f"{method} {camera.url} RTSP/1.0\r\nCSeq: {number}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"RTSP/1.0 200 OK\r\nCSeq: %d" % number)
            if method == "DESCRIBE":
                assert b"m=video 0 RTP/AVP 33" in await reader.readuntil(b"track1\r\n")
        writer.write(f"PLAY {camera.url} RTSP/1.0\r\nCSeq: 4\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        head = await reader.readexactly(16)
        assert (
            head[:2] == b"$\0"
            and int.from_bytes(head[2:4], "big") == 12 + PACKET * TOGETHER
            and camera.plays == 1
        )
        camera.break_off()
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        refused, _ = await asyncio.open_connection("127.0.0.1", camera.port)
        with contextlib.suppress(ConnectionError):
            assert await refused.read(1) == b""
        await camera.stop()

    asyncio.run(work())
