"""A lane that this worker holds by lease, driven by a thread of its own."""

from __future__ import annotations

import threading
import time

import structlog

from ingest.lane import IngestLane
from ingest.link import Link

log = structlog.get_logger()

#: How long the thread sleeps while its lease has run out.
EXPIRED_PAUSE_S = 0.05


class LeasedLane:
    """A lane and its thread. The lane reads only until `valid_until`, monotonic seconds."""

    def __init__(self, name: str, lane: IngestLane, link: Link) -> None:
        self.name = name
        self.lane = lane
        self.link = link
        self.valid_until = 0.0
        #: What ended the thread; None while it runs, and after `stop`.
        self.failure: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lane-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Write what is buffered, acknowledge it, and let go of the broker."""
        self._stopping.set()
        self.link.wake()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
            self.lane.close()
        except BaseException as error:
            self.failure = error
            # The worker raises it, so that its traceback is printed once.
            log.error("lane_failed", lease=self.name, error=repr(error)[:300])
        finally:
            self.link.close()

    def _step(self) -> None:
        if time.monotonic() <= self.valid_until:
            self.link.wait(self.lane.step())
            return
        # Another worker may hold the lease by now. The broker lets only one read a session, and
        # two would throw each other out in turn.
        self.link.drop()
        self._stopping.wait(EXPIRED_PAUSE_S)
