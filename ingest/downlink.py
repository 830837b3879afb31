"""What goes down to the gateways of all lanes: commands that are due, and requests for gaps.

One worker does it, the one that holds the lease of events. It has a thread of its own, since the
door lists of a city take longer than a lease lasts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ingest.commands import Dispatcher
from ingest.gaps import GapLimits, ask_for_gaps
from store.database.connection import Connection, Deadline, Unavailable, connect

#: How long one round may keep the database busy before its connection is cut.
ROUND_SECONDS = 90.0


@dataclass(slots=True, kw_only=True)
class Downlink:
    """Sends what is due while this worker is the one to do it."""

    dsn: str
    #: Takes a topic and a payload.
    publish: Callable[[str, bytes], None]
    #: Whether this worker holds the lease of events.
    is_ours: Callable[[], bool]
    gaps: GapLimits
    every_s: float
    stopping: threading.Event
    _dispatcher: Dispatcher = field(init=False)

    def __post_init__(self) -> None:
        self._dispatcher = Dispatcher(self.publish)

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="downlink", daemon=True).start()

    def _run(self) -> None:
        while not self.stopping.wait(self.every_s):
            if not self.is_ours():
                continue
            with suppress(*Unavailable), connect(self.dsn, statement_s=60) as connection:
                self._send_while_ours(connection)

    def _send_while_ours(self, connection: Connection) -> None:
        pause = min(self.every_s, self.gaps.after_s)
        while self.is_ours() and not self.stopping.wait(pause):
            with Deadline(connection, ROUND_SECONDS):
                self._dispatcher.step(connection, time.monotonic())
                ask_for_gaps(connection, self.publish, self.gaps)
