"""Exactly once through kills: ingest, broker, PostgreSQL and Redis die at any instant, and nothing is lost or doubled.

The gateways keep what they sent until the server's own acknowledgement; every test ends with the law of conservation.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anju import embedded
from anju.processes import Child, start_anju
from domain.wire import EventItem, ReadingItem
from gateway import sender
from gateway.uplink import Uplink
from store import ingest_log
from store.connect import connect
from store.migrate import Level, migrate
from tests.conftest import SEED
from tests.ingest.conftest import register

pytestmark = [pytest.mark.real, pytest.mark.long]
MESSAGES, KILLS = 1500, 10


class Site:
    """A whole server side whose every part can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.postgres = embedded.start_postgres(home / "pg")
        self.broker = embedded.start_broker(home / "mq")
        self.redis = embedded.start_redis(home / "redis")
        self.dsn = embedded.make_database(self.postgres, "faults")
        migrate(self.dsn, level=Level.PLAIN)
        with connect(self.dsn) as connection:
            register(connection)
        self.ingest: Child = self.start_ingest()

    def start_ingest(self) -> Child:
        environment = {
            "ANJU_DSN": self.dsn,
            "ANJU_BROKER_PORT": str(self.broker.address.port),
            "ANJU_REDIS_URL": self.redis.url,
        }
        return start_anju("ingest", ["ingest"], self.home / "ingest.log", environment)

    def kill_ingest(self) -> None:
        self.ingest.kill()
        self.ingest = self.start_ingest()

    def kill_broker(self) -> None:
        self.broker.child.kill()
        self.broker = embedded.start_broker(self.home / "mq", port=self.broker.address.port)

    def kill_postgres(self) -> None:
        self.postgres.child.kill()
        time.sleep(0.3)
        self.postgres = embedded.start_postgres(self.home / "pg", port=self.postgres.port)

    def kill_redis(self) -> None:
        self.redis.child.kill()
        self.redis = embedded.start_redis(self.home / "redis", port=int(self.redis.url.rsplit(":", 1)[1].split("/")[0]))

    def stop(self) -> None:
        for child in (self.ingest, self.redis.child, self.broker.child, self.postgres.child):
            child.stop()
        embedded.remove_root_place(self.home / "pg")


def test_nothing_is_lost_or_doubled_whatever_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "RESEND_S", 2.0)
    site, rng = Site(tmp_path), random.Random(SEED)
    start, sent = int(time.time() * 1000) - 10_000_000, threading.Event()

    def send(gateway: str, device: str) -> None:
        with Uplink(site.broker.address, "es", gateway, "boot-1", window=32) as uplink:
            uplink.wait_connected()
            for i in range(MESSAGES):
                at = start + 1000 * i
                if i % 10 == 0 and gateway == "gw":
                    uplink.send_events(
                        [
                            EventItem(
                                device="smoke-1",
                                at=at,
                                id=str(i),
                                kind="hazard",
                                data={"hazard": "smoke", "state": "on"},
                            )
                        ]
                    )
                uplink.send_readings(
                    [ReadingItem(device=device, at=at + k, values={"water_m3": i + k / 10}) for k in range(3)]
                )
                if not sent.is_set():
                    time.sleep(0.012)
            uplink.drain(60)

    threads = [threading.Thread(target=send, args=pair) for pair in (("gw", "wm-1"), ("gw-2", "wm-2"))]
    try:
        for thread in threads:
            thread.start()
        kills: list[Callable[[], None]] = [site.kill_ingest, site.kill_broker, site.kill_postgres, site.kill_redis]
        done = []
        for n in range(KILLS):
            time.sleep(rng.uniform(0.4, 1.6))
            kill = kills[n % 4] if n < 4 else rng.choice(kills)
            kill()
            done.append(kill.__name__)
        sent.set()
        for thread in threads:
            thread.join(240)
            assert not thread.is_alive(), "the outboxes did not empty"
        with connect(site.dsn) as connection:
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM readings) AS readings, (SELECT count(*) FROM events) AS events, "
                "(SELECT count(DISTINCT event_id) FROM events) AS distinct_events, "
                "(SELECT count(*) FROM watch_queue) AS queued, (SELECT count(*) FROM quarantine) AS quarantined"
            ).fetchone()
            tallies = ingest_log.read_tallies(connection)
            progress = connection.execute(
                "SELECT kind, upto, also FROM gateway_progress ORDER BY kind, upto"
            ).fetchall()
        print(f"kills: {done}; {counts}")
        assert counts == {"readings": 2 * 3 * MESSAGES, "events": MESSAGES // 10, "distinct_events": MESSAGES // 10,
                          "queued": MESSAGES // 10, "quarantined": 0}  # fmt: skip
        assert all(tally.balanced for tally in tallies.values())
        assert sum(t.stored for (_, kind), t in tallies.items() if kind == "readings") == 2 * 3 * MESSAGES
        assert [(r["upto"], r["also"]) for r in progress if r["kind"] == "readings"] == [(MESSAGES, [])] * 2
    finally:
        sent.set()
        site.stop()


def test_a_database_that_is_away_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "RESEND_S", 2.0)
    site = Site(tmp_path)
    try:
        site.postgres.child.kill()
        start = int(time.time() * 1000) - 1_000_000
        with Uplink(site.broker.address, "es", "gw", "boot-1", window=2000) as uplink:
            uplink.wait_connected()
            for i in range(400):
                uplink.send_readings([ReadingItem(device="wm-1", at=start + i, values={"water_m3": float(i)})])
            time.sleep(6)
            assert uplink.unacknowledged == 400, "acknowledged without a database"
            site.postgres = embedded.start_postgres(tmp_path / "pg", port=site.postgres.port)
            uplink.drain(60)
        with connect(site.dsn) as connection:
            assert connection.execute("SELECT count(*) AS n FROM readings").fetchone() == {"n": 400}
            assert all(tally.balanced for tally in ingest_log.read_tallies(connection).values())
    finally:
        site.stop()
