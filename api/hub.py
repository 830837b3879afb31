"""One listener on the live bus for all open streams: it wakes them, and they ask the database themselves."""

from __future__ import annotations

import asyncio
import threading

from store.live import ALERTS_CHANNEL, LiveBus


class Hub:
    """Wakes streams. `turn` grows with every wake-up, so that none is missed between a look and a wait."""

    def __init__(self, bus: LiveBus) -> None:
        self.turn = 0
        self.streams = 0
        self._bus = bus
        self._loop: asyncio.AbstractEventLoop | None = None
        self._condition = asyncio.Condition()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to listen; called on the event loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, name="hub", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopping.set()

    def poke(self) -> None:
        """Wake every stream, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._wake(), self._loop)

    async def wait(self, seen: int, timeout_s: float) -> bool:
        """Wait for a wake-up after turn `seen`; False after `timeout_s`."""
        async with self._condition:
            try:
                await asyncio.wait_for(self._condition.wait_for(lambda: self.turn > seen), timeout_s)
            except TimeoutError:
                return False
        return True

    async def _wake(self) -> None:
        async with self._condition:
            self.turn += 1
            self._condition.notify_all()

    def _listen(self) -> None:
        for _ in self._bus.wakes(ALERTS_CHANNEL):
            if self._stopping.is_set():
                return
            self.poke()
