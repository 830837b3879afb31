"""The uplink over a real broker: what waits is sent, what is acknowledged is forgotten, the
server's clock is measured.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from anju.demo.embedded import Broker, Redis
from domain.wire import EventItem, ReadingItem, Up
from gateway.clock import ClockOffset, GatewayClock
from gateway.outbox import Outbox, OutboxEntry
from gateway.uplink import Uplink
from ingest.worker import Worker
from store.database.connection import connect
from store.live.bus import LiveBus
from tests.ingest.conftest import register


def test_of_several_answers_the_shortest_way_is_believed() -> None:
    offset = ClockOffset()
    assert offset.ms is None
    offset.answered(1000, 500, 2000)
    assert offset.ms == 1000
    offset.answered(3000, 2900, 3020)
    assert offset.ms == 110
    offset.answered(9000, 1, 8000)
    assert offset.ms == 110


def test_a_clock_that_runs_faster() -> None:
    real = int(time.time() * 1000)
    clock = GatewayClock(speed=600.0, start_ms=1_790_000_000_000, real_ms=real - 1000)
    assert 1_790_000_600_000 <= clock.now_ms() < 1_790_000_900_000
    assert clock.real_seconds(600_000) == 1.0
    assert abs(GatewayClock().now_ms() - real) < 1000


@pytest.mark.real
def test_what_waits_on_disk_is_sent_and_forgotten_when_it_is_stored(
    dsn: str, broker: Broker, redis: Redis, tmp_path: Path
) -> None:
    with connect(dsn) as connection:
        register(connection)
    at = int(time.time() * 1000) - 60_000
    before = Outbox(tmp_path / "o.sqlite", "b1")
    before.put(
        [
            OutboxEntry(
                items=[
                    ReadingItem(device="wm-1", at=at + n, values={"water_m3": 1.0 + n})
                    for n in range(1200)
                ]
            )
        ]
    )
    assert before.next(Up.READINGS, at) is not None
    before.close()
    worker = Worker(
        dsn=dsn, broker=broker.address, bus=LiveBus(redis.url), name="w-uplink", group="g-uplink"
    )
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    box = Outbox(tmp_path / "o.sqlite", "b2")
    try:
        with Uplink(broker.address, "es", "gw", box) as uplink:
            uplink.wait_connected()
            box.put(
                [
                    OutboxEntry(
                        items=[
                            EventItem(
                                device="smoke-1",
                                at=at,
                                id="e1",
                                kind="hazard",
                                data={"hazard": "smoke", "state": "on"},
                            )
                        ]
                    )
                ]
            )
            uplink.drain(30)
            deadline = time.monotonic() + 10
            while uplink.offset.ms is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert uplink.offset.ms is not None and abs(uplink.offset.ms) < 1000
        assert (box.items, box.bytes) == (0, 0)
    finally:
        worker.stop()
        thread.join(20)
    with connect(dsn) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM readings) AS r, (SELECT count(*) FROM events) AS e"
        ).fetchone()
        boots = {r["boot"] for r in connection.execute("SELECT boot FROM gateway_progress")}
        state = connection.execute(
            "SELECT clock_offset_ms, outbox, lost FROM gateway_state"
        ).fetchone()
    assert (
        row == {"r": 1200, "e": 1}
        and boots == {"b1", "b2"}
        and state is not None
        and state["lost"] is None
    )
