"""One reader of the record of changes for all open streams: woken by the live bus, it asks the database once for all of them."""

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
#: Changes that are kept for streams that are slow.
KEPT = 20_000


class Gaps:
    """Numbers that were given out before ours and have not been seen yet.

    A change's number is drawn before its transaction commits, so a lower one may appear after a higher. A gap is closed once every
    transaction that was under way a second after the gap was first seen has ended: then nobody is left who could fill it.
    """

    SETTLE_S = 1.0
    #: Numbers behind the newest that are waited for at most: a jump (a sequence that was set, a huge batch that rolled back) is no queue.
    MOST = 20_000

    def __init__(self) -> None:
        self.open: dict[int, tuple[float, int | None]] = {}

    def note(self, after: int, seen: list[int], oldest_xid: int, next_xid: int, now: float) -> int:
        """Take note of what a look found beyond `after`; returns the highest number that is known now."""
        for number in seen:
            self.open.pop(number, None)
        for number, (since, bar) in list(self.open.items()):
            if bar is None and now - since >= self.SETTLE_S:
                self.open[number] = (since, next_xid)
            elif bar is not None and oldest_xid >= bar:
                del self.open[number]
        high = max(seen, default=after)
        found = set(seen)
        self.open |= {
            number: (now, None)
            for number in range(max(after + 1, high - self.MOST), high)
            if number not in found
        }
        return max(after, high)

    def safe(self, high: int) -> int:
        """Return the number below which nothing can be missing any more."""
        return min(self.open, default=high + 1) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedUpdate:
    """An update for the streams, with the number below which nothing is missing once it was sent."""

    update: AlertUpdate
    safe: int


class Hub:
    """Holds the latest changes and wakes streams. A place counts the changes that ever passed.

    `safe` is the number below which nothing is missing among what has passed; each change carries the one that holds once it and
    all before it have been told.
    """

    def __init__(self, bus: LiveBus, pool: Pool) -> None:
        self.streams = 0
        self.safe = 0
        #: Places as readers are told them; known from the first look on.
        self.cursors: Cursors | None = None
        self._bus, self._pool = bus, pool
        self._gaps = Gaps()
        self._kept: deque[StreamedUpdate] = deque(maxlen=KEPT)
        self._passed = 0
        self._high: int | None = None
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
        """Return where a stream that begins now begins."""
        if self._high is None:
            self.look()
        return self._passed

    def word(self, place: int) -> str:
        """Return the word for a place in the record of changes; empty while nothing has been read yet."""
        return self.cursors.word(place) if self.cursors is not None else ""

    def since(self, place: int) -> list[StreamedUpdate] | None:
        """Return the changes that passed since a place; None where they are no longer kept."""
        passed, kept = self._passed, list(self._kept)
        behind = passed - place
        return None if behind > len(kept) else kept[len(kept) - behind :] if behind else []

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
        """Ask once for what has changed, and hand it to every stream; after a person's own step, so that it is seen without a bus too."""
        with self._looking:
            try:
                with self._pool.connection() as connection:
                    scope.enter_everywhere(connection)
                    if self.cursors is None:
                        self.cursors = Cursors(changes.read_cursor_secret(connection))
                    if self._high is None:
                        self._high = self._known_safe = self.safe = changes.last_sequence_number(
                            connection
                        )
                    found = changes.look_at_updates(connection, self._high, sorted(self._gaps.open))
            except (*Unavailable, PoolTimeout) as error:
                log.warning("database_away", error=str(error).strip()[:200])
                return
            seen = [update.seq for update in found.updates]
            self._high = self._gaps.note(
                self._high, seen, found.oldest_xid, found.next_xid, time.monotonic()
            )
            before, self._known_safe = self._known_safe, self._gaps.safe(self._high)
            streamed = [StreamedUpdate(update=update, safe=before) for update in found.updates]
            if streamed:
                streamed[-1] = replace(streamed[-1], safe=self._known_safe)
        if streamed and self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._hand_over(streamed), self._loop)

    async def _hand_over(self, rows: list[StreamedUpdate]) -> None:
        async with self._condition:
            self._kept.extend(rows)
            self._passed += len(rows)
            self.safe = rows[-1].safe
            self._condition.notify_all()

    def _listen(self) -> None:
        for _ in self._bus.wakes(ALERTS_CHANNEL):
            if self._stopping.is_set():
                return
            try:
                self.look()
            except Exception:
                # Every open page hangs on this thread: it says what is wrong and goes on.
                log.exception("hub_failed")
                time.sleep(1.0)
