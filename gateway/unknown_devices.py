"""Devices that are not configured, and messages that were rejected: counted, for `anju gateway
check`.

Only names and reasons are kept, never a body: it may hold a person.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass

from domain.rejection import Rejected
from gateway.outbox import Outbox, OutboxEntry

#: Notes that are kept, the newest ones.
MAX_NOTES = 100
#: How often the notes are stored.
SAVE_INTERVAL_S = 2.0


@dataclass(slots=True)
class _Note:
    """How often something was noted, and when last (ms)."""

    count: int = 0
    last_at: int = 0


class UnknownDevices:
    """The notes. Thread-safe."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._notes: OrderedDict[str, _Note] = OrderedDict()
        self._saved_at = 0.0
        self._changed = False

    def note_device(self, source: str, native: str, what: str) -> None:
        """Note a device that is not configured."""
        self._note(f"{source}: {what} {native!r} is not configured")

    def note_rejection(self, source: str, rejected: Rejected) -> None:
        """Note something that could not be read."""
        self._note(f"{source}: {rejected.reason}: {rejected.detail[:200]}")

    def _note(self, text: str) -> None:
        with self._lock:
            note = self._notes.pop(text, _Note())
            note.count += 1
            note.last_at = int(time.time() * 1000)
            self._notes[text] = note
            while len(self._notes) > MAX_NOTES:
                self._notes.popitem(last=False)
            self._changed = True

    def save(self) -> None:
        """Store the notes where they changed, at most every `SAVE_INTERVAL_S`.

        Raises: sqlite3.Error.
        """
        with self._lock:
            now = time.monotonic()
            if not self._changed or now - self._saved_at < SAVE_INTERVAL_S:
                return
            self._changed = False
            self._saved_at = now
            notes = [[text, asdict(note)] for text, note in self._notes.items()]
        self._outbox.put([OutboxEntry(memory={"unknown_devices": json.dumps(notes)})])
