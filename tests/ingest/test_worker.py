"""The ingest process against real servers: stored once and acknowledged, bad neighbours or not, whatever is killed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from anju.embedded import Broker, Redis
from domain.wire import EventItem, ReadingItem, State
from gateway.uplink import NotAcknowledged, Uplink
from ingest.worker import Limits, Poisoned, Worker
from store import ingest_log
from store.connect import connect
from store.live import LiveBus

pytestmark = pytest.mark.real


@contextmanager
def running(worker: Worker) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        worker.stop()
        thread.join(15)
        assert not thread.is_alive()


def wait_for_ingest(broker: Broker) -> None:
    """Wait until ingest is subscribed: what a client without an outbox says before that, nobody hears."""
    with Uplink(broker.address, "es", "gw-2", f"b{time.monotonic_ns()}") as uplink:
        uplink.wait_connected()
        uplink.send_events([])
        uplink.drain(20)


def stored(dsn: str) -> list[tuple[int, float]]:
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT (extract(epoch FROM at) * 1000)::bigint AS at, value FROM readings ORDER BY at"
        ).fetchall()
        assert all(tally.balanced for tally in ingest_log.read_tallies(connection).values())
    return [(row["at"], row["value"]) for row in rows]


def test_what_is_sent_is_stored_once_and_acknowledged(registered: str, broker: Broker, redis: Redis) -> None:
    now = int(time.time() * 1000)
    worker = Worker(dsn=registered, broker=broker.address, bus=LiveBus(redis.url), name="ingest-a")
    with running(worker), Uplink(broker.address, "es", "gw", "boot-1") as uplink:
        uplink.wait_connected()
        for i in range(200):
            uplink.send_readings([ReadingItem(device="wm-1", at=now - 1000 * i, values={"water_m3": float(i)})])
        uplink.send_events(
            [EventItem(device="smoke-1", at=now, id="1", kind="hazard", data={"hazard": "smoke", "state": "on"})]
        )
        uplink.drain(20)
        assert uplink.unacknowledged == 0
    assert len(stored(registered)) == 200
    with connect(registered) as connection:
        state = connection.execute("SELECT online, outbox FROM gateway_state").fetchone()
        assert connection.execute("SELECT count(*) AS n FROM watch_queue").fetchone() == {"n": 1}
    assert state is not None


def test_a_bad_message_never_stops_the_stream(registered: str, broker: Broker) -> None:
    now = int(time.time() * 1000)
    raw = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    raw.connect(broker.address.host, broker.address.port)
    raw.loop_start()
    worker = Worker(dsn=registered, broker=broker.address, bus=LiveBus(None), name="ingest-b")
    with running(worker), Uplink(broker.address, "es", "gw", "boot-2") as uplink:
        uplink.wait_connected()
        wait_for_ingest(broker)
        for i in range(30):
            raw.publish("anju/v1/es/gw/up/readings", b"\x00\xff{" + bytes([i]), qos=1).wait_for_publish(5)
            raw.publish("anju/v1/other/gw/up/readings", json.dumps({"v": 1, "items": [i]}), qos=1)
            uplink.send_readings([ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})])
        uplink.drain(20)
    raw.disconnect()
    raw.loop_stop()
    assert len(stored(registered)) == 30
    with connect(registered) as connection:
        found = connection.execute(
            "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY reason"
        ).fetchall()
    assert [(r["reason"], r["n"]) for r in found] == [("unknown_gateway", 30), ("unreadable", 30)]


def test_a_retained_message_is_nothing_new(registered: str, broker: Broker) -> None:
    now = int(time.time() * 1000)
    raw = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    raw.connect(broker.address.host, broker.address.port)
    raw.loop_start()
    body = json.dumps({"v": 1, "items": [{"device": "wm-1", "at": now, "values": {"water_m3": 1}}]})
    raw.publish("anju/v1/es/gw/up/readings", body, qos=1, retain=True).wait_for_publish(5)
    worker = Worker(dsn=registered, broker=broker.address, bus=LiveBus(None), name="ingest-c")
    with running(worker), Uplink(broker.address, "es", "gw", "boot-3") as uplink:
        uplink.wait_connected()
        uplink.send_readings([ReadingItem(device="wm-1", at=now - 5, values={"water_m3": 1.0})])
        uplink.drain(20)
    raw.publish("anju/v1/es/gw/up/readings", b"", qos=1, retain=True).wait_for_publish(5)
    raw.disconnect()
    raw.loop_stop()
    assert [at for at, _ in stored(registered)] == [now - 5]


def test_a_gap_is_asked_for_and_goes_on_record(registered: str, broker: Broker) -> None:
    now = int(time.time() * 1000)
    asked = threading.Event()
    raw = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    raw.on_message = lambda _c, _u, m: asked.set() if json.loads(m.payload)["missing"] == [2] else None
    raw.connect(broker.address.host, broker.address.port)
    raw.subscribe("anju/v1/es/gw/down/backfill", qos=1)
    raw.loop_start()

    def send(seq: int) -> None:
        items = [{"device": "wm-1", "at": now - seq, "values": {"water_m3": 1}}]
        raw.publish(
            "anju/v1/es/gw/up/readings", json.dumps({"v": 1, "boot": "b-gap", "seq": seq, "items": items}), qos=1
        )

    worker = Worker(
        dsn=registered, broker=broker.address, bus=LiveBus(None), name="ingest-d", limits=Limits(gap_after_s=0.3)
    )
    with running(worker):
        wait_for_ingest(broker)
        send(1)
        send(3)
        assert asked.wait(10)
    raw.disconnect()
    raw.loop_stop()
    with connect(registered) as connection:
        assert connection.execute("SELECT seq, filled_at FROM gaps").fetchall() == [{"seq": 2, "filled_at": None}]


def test_an_unregistered_gateway_is_told_nothing_and_loses_nothing(registered: str, broker: Broker) -> None:
    worker = Worker(dsn=registered, broker=broker.address, bus=LiveBus(None), name="ingest-e")
    with running(worker), Uplink(broker.address, "es", "stranger", "boot-5") as uplink:
        uplink.wait_connected()
        uplink.send_readings([ReadingItem(device="wm-1", at=int(time.time() * 1000), values={"water_m3": 1.0})])
        with pytest.raises(NotAcknowledged, match="is gateway 'stranger' registered"):
            uplink.drain(2)
    with connect(registered) as connection:
        assert {r["reason"] for r in connection.execute("SELECT reason FROM quarantine")} == {"unknown_gateway"}


def test_too_much_that_cannot_be_stored_stops_the_consumer_loudly(registered: str, broker: Broker) -> None:
    with connect(registered) as connection:
        connection.execute("ALTER TABLE readings ADD CONSTRAINT broken CHECK (value < 0)")
        connection.commit()
    worker = Worker(
        dsn=registered,
        broker=broker.address,
        bus=LiveBus(None),
        name="ingest-f",
        limits=Limits(poison_in_a_row=3, batch_messages=1),
    )
    failure: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except Poisoned as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with Uplink(broker.address, "es", "gw", "boot-6") as uplink:
        uplink.wait_connected()
        for i in range(5):
            uplink.send_readings([ReadingItem(device="wm-1", at=int(time.time() * 1000) - i, values={"water_m3": 1.0})])
        thread.join(20)
    worker.stop()
    assert failure and "in a row" in str(failure[0])
    with connect(registered) as connection:
        rows = connection.execute("SELECT reason FROM quarantine").fetchall()
    assert [r["reason"] for r in rows] == ["unstorable", "unstorable"]
    assert State(v=1, online=True, at=1).online


def test_a_full_queue_lets_go_of_the_broker_and_takes_it_up_again(
    registered: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database blocks while messages come: memory stays bounded, the broker keeps the session, and nothing is lost."""
    monkeypatch.setattr("gateway.uplink.RESEND_S", 2.0)
    now = int(time.time() * 1000)
    worker = Worker(
        dsn=registered,
        broker=broker.address,
        bus=LiveBus(None),
        name="ingest-g",
        limits=Limits(queue_messages=40, batch_messages=20),
    )
    with (
        connect(registered) as blocker,
        running(worker),
        Uplink(broker.address, "es", "gw", "boot-7", window=600) as uplink,
    ):
        uplink.wait_connected()
        uplink.send_readings([ReadingItem(device="wm-1", at=now, values={"water_m3": 1.0})])
        uplink.drain(20)
        blocker.execute("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")
        for i in range(1, 500):
            uplink.send_readings([ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})])
        deadline = time.monotonic() + 10
        while not worker._full.is_set() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert worker._full.is_set() and len(worker._queue) < 500
        blocker.rollback()
        uplink.drain(40)
        while worker._full.is_set() and time.monotonic() < deadline + 40:
            time.sleep(0.05)
        assert not worker._full.is_set(), "it never took the broker up again"
    assert len(stored(registered)) == 500
