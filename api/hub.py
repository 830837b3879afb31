"""One reader of the record of changes for all open streams.

The live bus wakes it, and it asks the database once for all of them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

import structlog

from api.cursors import Cursors
from store.access import scope
from store.alerts import changes
from store.alerts.changes import AlertUpdate
from store.database.connection import Pool, PoolTimeout, Unavailable
from store.live.bus import ALERTS_CHANNEL, LiveBus

log = structlog.get_logger()
#: Updates that are kept for slow streams.
KEPT = 20_000


class SequenceGaps:
    """Sequence numbers below the newest that have not been seen.

    A change draws its number before its transaction commits, so a lower number may appear after a
    higher one. A gap is closed when every transaction has ended that was running a second after the
    gap was first seen: then nobody is left who could fill it.
    """

    SETTLE_S = 1.0
    #: How far below the newest number gaps are watched. A sequence that was set higher, or a huge
    #: batch
    #: that rolled back, leaves numbers that nobody will fill.
    MAX_WATCHED = 20_000

    def __init__(self) -> None:
        #: When each gap was first seen, and the transaction id that all must have passed to close
        #: it.
        self.open: dict[int, tuple[float, int | None]] = {}

    def note(self, after: int, seen: list[int], oldest_xid: int, next_xid: int, now: float) -> int:
        """Note the numbers that a look found beyond `after`; returns the highest number known now.

        `oldest_xid` is the oldest running transaction, `next_xid` the first that has not begun.
        """
        for number in seen:
            self.open.pop(number, None)
        for number, (first_seen, closing_xid) in list(self.open.items()):
            if closing_xid is None and now - first_seen >= self.SETTLE_S:
                self.open[number] = (first_seen, next_xid)
            elif closing_xid is not None and oldest_xid >= closing_xid:
                del self.open[number]
        highest = max(seen, default=after)
        seen_numbers = set(seen)
        for number in range(max(after + 1, highest - self.MAX_WATCHED), highest):
            if number not in seen_numbers:
                self.open[number] = (now, None)
        return max(after, highest)

    def safe(self, highest: int) -> int:
        """Return the number up to which nothing can be missing any more."""
        return min(self.open, default=highest + 1) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedUpdate:
    """An update for the streams, and the number up to which nothing is missing once it was sent."""

    update: AlertUpdate
    safe: int


class Hub:
    """Keeps the latest updates and wakes the streams.

    A place counts the updates that have ever passed.
    """

    def __init__(self, bus: LiveBus, pool: Pool) -> None:
        #: Open streams.
        self.streams = 0
        #: The number up to which nothing is missing among the updates that have passed.
        self.safe = 0
        #: Enciphers numbers for readers; known from the first look on.
        self.cursors: Cursors | None = None
        self._bus = bus
        self._pool = pool
        self._gaps = SequenceGaps()
        self._kept: deque[StreamedUpdate] = deque(maxlen=KEPT)
        self._passed = 0
        self._high: int | None = None
        #: As `safe`, with the updates that were read and have not passed yet.
        self._known_safe = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._condition = asyncio.Condition()
        self._stopping = threading.Event()
        self._looking = threading.Lock()

    def start(self) -> None:
        """Begin to listen; called on the event loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, name="hub", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopping.set()

    def place(self) -> int:
        """Return the place where a stream that begins now begins."""
        if self._high is None:
            self.look()
        return self._passed

    def word(self, number: int) -> str:
        """Return the word for a sequence number; empty while nothing has been read yet."""
        return self.cursors.word(number) if self.cursors is not None else ""

    def since(self, place: int) -> list[StreamedUpdate] | None:
        """Return the updates that passed since a place; None where they are no longer kept."""
        behind = self._passed - place
        kept = list(self._kept)
        if behind > len(kept):
            return None
        return kept[len(kept) - behind :]

    async def wait(self, place: int, timeout_s: float) -> bool:
        """Wait until something has passed since a place; False after `timeout_s`."""
        async with self._condition:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._condition.wait_for(lambda: self._passed > place)
            except TimeoutError:
                return False
        return True

    def look(self) -> None:
        """Read once what has changed, and hand it to every stream.

        It is also called after a person's own step, so that the step is seen without a bus.
        """
        with self._looking:
            try:
                streamed = self._read_updates()
            except (*Unavailable, PoolTimeout) as error:
                log.warning("database_away", error=str(error).strip()[:200])
                return
        if streamed and self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._hand_over(streamed), self._loop)

    def _read_updates(self) -> list[StreamedUpdate]:
        with self._pool.connection() as connection:
            scope.enter_everywhere(connection)
            if self.cursors is None:
                self.cursors = Cursors(changes.read_cursor_secret(connection))
            if self._high is None:
                self._high = changes.last_sequence_number(connection)
                self._known_safe = self._high
                self.safe = self._high
            found = changes.look_at_updates(connection, self._high, sorted(self._gaps.open))
        seen = [update.seq for update in found.updates]
        now = time.monotonic()
        self._high = self._gaps.note(self._high, seen, found.oldest_xid, found.next_xid, now)
        safe_before = self._known_safe
        self._known_safe = self._gaps.safe(self._high)
        streamed = [StreamedUpdate(update=update, safe=safe_before) for update in found.updates]
        if streamed:
            # Only with the last of them all of them have been sent.
            streamed[-1] = replace(streamed[-1], safe=self._known_safe)
        return streamed

    async def _hand_over(self, streamed: list[StreamedUpdate]) -> None:
        async with self._condition:
            self._kept.extend(streamed)
            self._passed += len(streamed)
            self.safe = streamed[-1].safe
            self._condition.notify_all()

    def _listen(self) -> None:
        for _ in self._bus.wakes(ALERTS_CHANNEL):
            if self._stopping.is_set():
                return
            try:
                self.look()
            except Exception:
                # Every open page depends on this thread, so it logs what is wrong and goes on.
                log.exception("hub_failed")
                time.sleep(1.0)
