"""A lane reads only while its lease is valid; what ends its thread is kept for the worker."""

from __future__ import annotations

import threading
import time
from typing import Any

from ingest.downlink import Downlink
from ingest.gaps import GapLimits
from ingest.leased_lane import LeasedLane


class FakeLane:
    """Counts its steps; fails when it is told to."""

    def __init__(self) -> None:
        self.steps = 0
        self.closed = False
        self.failing = False
        self.stepped = threading.Event()

    def step(self) -> float:
        if self.failing:
            raise ZeroDivisionError
        self.steps += 1
        self.stepped.set()
        return 0.01

    def close(self) -> None:
        self.closed = True


class FakeLink:
    """Counts how often it was let go."""

    def __init__(self) -> None:
        self.drops = 0
        self.dropped = threading.Event()
        self.is_open = True

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def drop(self) -> None:
        self.drops += 1
        self.dropped.set()

    def wake(self) -> None:
        return

    def close(self) -> None:
        self.is_open = False


def make() -> tuple[LeasedLane, FakeLane, FakeLink]:
    lane: Any = FakeLane()
    link: Any = FakeLink()
    return LeasedLane("readings-0", lane, link), lane, link


def test_it_reads_while_the_lease_is_valid() -> None:
    leased, lane, link = make()
    leased.valid_until = time.monotonic() + 60
    leased.start()
    assert lane.stepped.wait(5)
    leased.stop()
    assert lane.closed and not link.is_open and link.drops == 0 and leased.failure is None


def test_it_lets_go_when_the_lease_has_run_out() -> None:
    leased, lane, link = make()
    leased.valid_until = time.monotonic() - 1
    leased.start()
    assert link.dropped.wait(5)
    leased.stop()
    assert lane.steps == 0 and lane.closed


def test_what_ends_the_thread_is_kept() -> None:
    leased, lane, link = make()
    lane.failing = True
    leased.valid_until = time.monotonic() + 60
    leased.start()
    leased._thread.join(5)
    assert isinstance(leased.failure, ZeroDivisionError) and not link.is_open


def test_the_downlink_does_nothing_while_another_worker_is_the_one() -> None:
    asked = threading.Event()

    def is_ours() -> bool:
        asked.set()
        return False

    stopping = threading.Event()
    downlink = Downlink(
        dsn="host=127.0.0.1 port=1",
        publish=lambda _topic, _payload: None,
        is_ours=is_ours,
        gaps=GapLimits(),
        every_s=0.01,
        stopping=stopping,
    )
    downlink.start()
    assert asked.wait(5), "it never looked"
    stopping.set()
