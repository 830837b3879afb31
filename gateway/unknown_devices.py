"""Who spoke that the configuration does not know, and what was refused: counted, the newest kept for `anju gateway check`.

Only names and reasons are kept, never a body: it may hold a person.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict

from domain.rejection import Rejected
from gateway.outbox import Outbox, OutboxEntry

MOST = 100
#: How often the list is put down.
EVERY_S = 2.0


class UnknownDevices:
    """The list. Thread-safe."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox, self._lock = outbox, threading.Lock()
        self._list: OrderedDict[str, dict[str, object]] = OrderedDict()
        self._saved = 0.0
        self._dirty = False

    def spoke(self, source: str, native: str, what: str) -> None:
        """Note a device that is not configured."""
        self._note(f"{source}: {what} {native!r} is not configured")

    def refused(self, source: str, why: Rejected) -> None:
        """Note something that could not be read."""
        self._note(f"{source}: {why.reason}: {why.detail[:200]}")

    def _note(self, text: str) -> None:
        with self._lock:
            entry = self._list.pop(text, {"count": 0})
            self._list[text] = {
                "count": int(str(entry["count"])) + 1,
                "last_at": int(time.time() * 1000),
            }
            while len(self._list) > MOST:
                self._list.popitem(last=False)
            self._dirty = True

    def save(self) -> None:
        """Put the list down where it changed."""
        with self._lock:
            if not self._dirty or time.monotonic() - self._saved < EVERY_S:
                return
            self._dirty, self._saved = False, time.monotonic()
            text = json.dumps(list(self._list.items()))
        self._outbox.put([OutboxEntry(memory={"strangers": text})])
