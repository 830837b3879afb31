"""Anything that pushes over HTTP: a terminal, a camera, a platform.

It keeps its messages until they are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

import httpx2

from devices.messages import ReceivedMessage
from devices.pushes import PUSHES


@dataclass
class DeviceSender:
    """One sender of a kind of push. `taken` counts what was answered with 200."""

    kind: str
    url: str
    pause_s: float = 0.3
    taken: int = 0
    waiting: deque[ReceivedMessage] = field(default_factory=deque)
    #: How often each thing is sent over again although it was taken, as terminals with a lost
    #: answer do.
    doubles: int = 0

    def queue(self, message: ReceivedMessage) -> None:
        """Add a message to those that wait."""
        self.waiting.append(message)

    async def run(self) -> None:
        """Send until cancelled, the oldest first, each until it is taken."""
        push = PUSHES[self.kind]
        async with httpx2.AsyncClient(timeout=10) as client:
            while True:
                if not self.waiting:
                    await asyncio.sleep(0.02)
                    continue
                kind, body = push.render(self.waiting[0])
                answer = None
                with contextlib.suppress(httpx2.HTTPError, OSError):
                    answer = await client.post(
                        self.url, content=body, headers={"Content-Type": kind}
                    )
                if answer is None or answer.status_code != 200:
                    await asyncio.sleep(self.pause_s)
                    continue
                for _ in range(self.doubles):
                    with contextlib.suppress(httpx2.HTTPError, OSError):
                        await client.post(self.url, content=body, headers={"Content-Type": kind})
                self.waiting.popleft()
                self.taken += 1
