"""Where drivers hand over what they heard: many at once, one synced transaction for all of them.

A driver awaits `put` and answers its device only after that, so that what a device is told is taken
is on disk. While one transaction is being written the next hand-overs gather, so a slow disk makes
larger transactions and not a queue.
"""

from __future__ import annotations

import asyncio
import sqlite3

import structlog

from gateway.outbox import Outbox, OutboxEntry

log = structlog.get_logger()

#: Entries in one transaction.
MAX_ENTRIES = 500


class WriteRefused(Exception):
    """The disk did not take it.

    The device must not be told that it did; it is asked or will send again.
    """


class GroupCommitWriter:
    """The asyncio side of an outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._waiting: list[tuple[OutboxEntry, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    async def put(self, *entries: OutboxEntry) -> None:
        """Put entries down; returns when they are on disk.

        Raises: Refused.
        """
        if not entries:
            return
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in entries]
        self._waiting += zip(entries, futures, strict=True)
        self._arrived.set()
        await asyncio.gather(*futures)

    async def run(self) -> None:
        """Write what is handed over, until cancelled."""
        while True:
            await self._arrived.wait()
            taken = self._waiting[:MAX_ENTRIES]
            self._waiting = self._waiting[MAX_ENTRIES:]
            if not self._waiting:
                self._arrived.clear()
            try:
                await asyncio.to_thread(self.outbox.put, [entry for entry, _ in taken])
                fault: Exception | None = None
            except sqlite3.Error as error:
                log.error(
                    "outbox_refused",
                    error=str(error),
                    entries=len(taken),
                    hint="free the disk under the outbox",
                )
                fault = WriteRefused(str(error))
            for _, future in taken:
                if future.done():
                    continue
                if fault is None:
                    future.set_result(None)
                else:
                    future.set_exception(fault)
