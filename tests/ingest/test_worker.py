"""The ingest process against real servers: stored once and acknowledged, bad neighbours or not,
whatever is killed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from anju.demo.embedded import Broker, Redis
from domain.wire import EventItem, ReadingItem, State
from gateway.outbox import Outbox
from gateway.uplink import NotAcknowledged, Uplink
from ingest.gaps import GapLimits
from ingest.lane import READINGS
from ingest.poison import Poisoned
from ingest.worker import Limits, Worker
from store.database.connection import connect
from store.ingest import log
from store.live.bus import LiveBus

pytestmark = pytest.mark.real


@contextmanager
def running(worker: Worker, *, late: bool = False) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        if not late:
            # What a client without an outbox says before that, nobody hears.
            until(
                lambda: bool(worker.lanes) and all(lane.link.up for lane in worker.lanes.values())
            )
        yield thread
    finally:
        worker.stop()
        thread.join(15)
        assert not thread.is_alive()


def stored(dsn: str) -> list[tuple[int, float]]:
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT (extract(epoch FROM at) * 1000)::bigint AS at, value FROM readings ORDER BY at"
        ).fetchall()
        assert all(tally.balanced for tally in log.read_tallies(connection).values())
    return [(row["at"], row["value"]) for row in rows]


def test_what_is_sent_is_stored_once_and_acknowledged(
    registered: str, broker: Broker, redis: Redis
) -> None:
    now = int(time.time() * 1000)
    worker = Worker(
        dsn=registered, broker=broker.address, bus=LiveBus(redis.url), name="w-a", group="g-a"
    )
    with running(worker), Uplink(broker.address, "es", "gw", Outbox(None, "boot-1")) as uplink:
        uplink.wait_connected()
        for i in range(200):
            uplink.send_readings(
                [ReadingItem(device="wm-1", at=now - 1000 * i, values={"water_m3": float(i)})]
            )
        uplink.send_events(
            [
                EventItem(
                    device="smoke-1",
                    at=now,
                    id="1",
                    kind="hazard",
                    data={"hazard": "smoke", "state": "on"},
                )
            ]
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
    worker = Worker(
        dsn=registered, broker=broker.address, bus=LiveBus(None), name="w-b", group="g-b"
    )
    with running(worker), Uplink(broker.address, "es", "gw", Outbox(None, "boot-2")) as uplink:
        uplink.wait_connected()
        for i in range(30):
            raw.publish(
                "anju/v1/es/gw/up/readings", b"\x00\xff{" + bytes([i]), qos=1
            ).wait_for_publish(5)
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
    worker = Worker(
        dsn=registered, broker=broker.address, bus=LiveBus(None), name="w-c", group="g-c"
    )
    with running(worker), Uplink(broker.address, "es", "gw", Outbox(None, "boot-3")) as uplink:
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
    raw.on_message = lambda _c, _u, m: (
        asked.set() if json.loads(m.payload)["missing"] == [2] else None
    )
    raw.connect(broker.address.host, broker.address.port)
    raw.subscribe("anju/v1/es/gw/down/backfill", qos=1)
    raw.loop_start()

    def send(seq: int) -> None:
        items = [{"device": "wm-1", "at": now - seq, "values": {"water_m3": 1}}]
        raw.publish(
            "anju/v1/es/gw/up/readings",
            json.dumps({"v": 1, "boot": "b-gap", "seq": seq, "items": items}),
            qos=1,
        )

    worker = Worker(
        dsn=registered,
        broker=broker.address,
        bus=LiveBus(None),
        name="w-d",
        group="g-d",
        limits=Limits(gaps=GapLimits(after_s=0.3)),
    )
    with running(worker):
        send(1)
        send(3)
        assert asked.wait(10)
    raw.disconnect()
    raw.loop_stop()
    with connect(registered) as connection:
        assert connection.execute("SELECT first_seq, last_seq FROM gaps").fetchall() == [
            {"first_seq": 2, "last_seq": 2}
        ]


def test_an_unregistered_gateway_is_told_nothing_and_loses_nothing(
    registered: str, broker: Broker
) -> None:
    worker = Worker(
        dsn=registered, broker=broker.address, bus=LiveBus(None), name="w-e", group="g-e"
    )
    with (
        running(worker),
        Uplink(broker.address, "es", "stranger", Outbox(None, "boot-5")) as uplink,
    ):
        uplink.wait_connected()
        uplink.send_readings(
            [ReadingItem(device="wm-1", at=int(time.time() * 1000), values={"water_m3": 1.0})]
        )
        with pytest.raises(NotAcknowledged, match="is gateway 'stranger' registered"):
            uplink.drain(2)
    with connect(registered) as connection:
        assert {r["reason"] for r in connection.execute("SELECT reason FROM quarantine")} == {
            "unknown_gateway"
        }


def test_too_much_that_cannot_be_stored_stops_the_consumer_loudly(
    registered: str, broker: Broker
) -> None:
    with connect(registered) as connection:
        connection.execute("ALTER TABLE readings ADD CONSTRAINT broken CHECK (value < 0)")
        connection.commit()
    worker = Worker(
        dsn=registered,
        broker=broker.address,
        bus=LiveBus(None),
        name="w-f",
        group="g-f",
        limits=Limits(
            unstorable_in_a_row=3,
            readings=replace(READINGS, buffer=replace(READINGS.buffer, max_messages=1)),
        ),
    )
    failure: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except Poisoned as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with Uplink(broker.address, "es", "gw", Outbox(None, "boot-6")) as uplink:
        uplink.wait_connected()
        for i in range(5):
            uplink.send_readings(
                [
                    ReadingItem(
                        device="wm-1", at=int(time.time() * 1000) - i, values={"water_m3": 1.0}
                    )
                ]
            )
        thread.join(20)
    worker.stop()
    assert failure and "in a row" in str(failure[0])
    with connect(registered) as connection:
        rows = connection.execute("SELECT reason FROM quarantine").fetchall()
    assert [r["reason"] for r in rows] == ["unstorable", "unstorable"]
    assert State(v=1, online=True, at=1).online


def test_a_database_that_blocks_stops_the_reading_and_fills_nothing(
    registered: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database blocks while messages come: one batch is in memory, the rest stays at the
    broker, and nothing is lost.
    """
    monkeypatch.setattr("gateway.sender.RESEND_S", 2.0)
    monkeypatch.setattr("ingest.write.BATCH_SECONDS", 2.0)
    now = int(time.time() * 1000)
    worker = Worker(
        dsn=registered,
        broker=broker.address,
        bus=LiveBus(None),
        name="w-g",
        group="g-g",
        limits=Limits(
            readings=replace(
                READINGS, buffer=replace(READINGS.buffer, max_messages=20), retry_s=0.2
            )
        ),
    )
    most = 0
    with (
        connect(registered) as blocker,
        running(worker),
        Uplink(broker.address, "es", "gw", Outbox(None, "boot-7"), window=600) as uplink,
    ):
        uplink.wait_connected()
        uplink.send_readings([ReadingItem(device="wm-1", at=now, values={"water_m3": 1.0})])
        uplink.drain(20)
        blocker.execute("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")
        for i in range(1, 500):
            uplink.send_readings([ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})])
        lane, deadline, away = worker.lanes["readings-0"].lane, time.monotonic() + 8, False
        while time.monotonic() < deadline:
            most, away = max(most, lane.buffered), away or lane.failures > 0
            time.sleep(0.01)
        assert away, "the deadline did not cut the connection"
        blocker.rollback()
        uplink.drain(40)
    assert most < 500 and len(stored(registered)) == 500


def test_workers_share_the_leases_and_take_over_from_one_that_stops(
    registered: str, broker: Broker
) -> None:
    now = int(time.time() * 1000)
    made = [
        Worker(
            dsn=registered,
            broker=broker.address,
            bus=LiveBus(None),
            name=f"w-h{i}",
            group="g-h",
            readings=3,
            limits=Limits(lease_s=2.0, tick_s=0.2),
        )
        for i in range(2)
    ]
    with Uplink(broker.address, "es", "gw", Outbox(None, "boot-8"), window=400) as uplink:
        uplink.wait_connected()
        with running(made[0]):
            until(lambda: len(made[0].lanes) == 4)
            with running(made[1], late=True):
                until(lambda: sorted(len(worker.lanes) for worker in made) == [2, 2])
                held = [set(worker.lanes) for worker in made]
                assert not held[0] & held[1] and held[0] | held[1] == {
                    "events",
                    "readings-0",
                    "readings-1",
                    "readings-2",
                }
                for i in range(300):
                    uplink.send_readings(
                        [ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})]
                    )
                uplink.drain(20)
                made[0].stop()
                until(lambda: len(made[1].lanes) == 4)
                for i in range(300, 400):
                    uplink.send_readings(
                        [ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})]
                    )
                uplink.drain(20)
    assert len(stored(registered)) == 400
    with connect(registered) as connection:
        rows = connection.execute("SELECT holder FROM ingest_leases").fetchall()
        assert connection.execute("SELECT count(*) AS n FROM gaps").fetchone() == {"n": 0}
    assert {row["holder"] for row in rows} == {None}


def test_leases_that_are_not_wanted_any_more_are_emptied_and_ended(
    registered: str, broker: Broker
) -> None:
    now, limits = int(time.time() * 1000), Limits(lease_s=1.0, tick_s=0.1)
    with Uplink(broker.address, "es", "gw", Outbox(None, "boot-9"), window=400) as uplink:
        uplink.wait_connected()
        with running(
            Worker(
                dsn=registered,
                broker=broker.address,
                bus=LiveBus(None),
                name="w-i",
                group="g-i",
                readings=3,
                limits=limits,
            )
        ):
            uplink.send_readings([ReadingItem(device="wm-1", at=now, values={"water_m3": 1.0})])
            uplink.drain(20)
        # Nobody reads now: the broker shares these between the sessions of all three.
        for i in range(1, 61):
            uplink.send_readings([ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})])
        fewer = Worker(
            dsn=registered,
            broker=broker.address,
            bus=LiveBus(None),
            name="w-j",
            group="g-i",
            readings=2,
            limits=limits,
        )
        with running(fewer):
            uplink.drain(20)
            until(lambda: sorted(fewer.lanes) == ["events", "readings-0", "readings-1"])
            for i in range(61, 91):
                uplink.send_readings(
                    [ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})]
                )
            uplink.drain(10)
    assert len(stored(registered)) == 91


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
