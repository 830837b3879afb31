"""Ten thousand hazards while watchers, Redis, ingest and PostgreSQL are killed: ten thousand
alerts, none twice.

Every part is real and killed with SIGKILL in the middle; every event comes from a detector of its
own, so each is one alert with one occurrence, and one line on its record.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from anju.demo import embedded
from anju.processes import Child, start_anju
from domain.wire import EventItem
from gateway.outbox import Outbox
from gateway.uplink import Uplink
from store.database import connection as store_connect
from store.database.connection import connect
from store.database.migration import Level, migrate
from tests.conftest import SEED
from tests.ingest.conftest import register

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(600)]
HAZARDS, TOGETHER = 10_000, 25


class Crew:
    """Two watchers and an ingest worker, with the servers that they need."""

    def __init__(self, home: Path) -> None:
        self.home, self.made = home, 0
        self.postgres = embedded.start_postgres(home / "pg")
        self.broker = embedded.start_broker(home / "mq")
        self.redis = embedded.start_redis(home / "redis")
        self.dsn = embedded.make_database(self.postgres, "watched")
        migrate(self.dsn, level=Level.PLAIN)
        with connect(self.dsn) as connection:
            register(connection)
            connection.execute(
                "INSERT INTO devices (estate_id, gateway_id, code, kind, profile) SELECT "
                "g.estate_id, g.id, 's-' || n, 'detector', "
                "'smoke-detector' FROM gateways g, generate_series(1, %s) n WHERE g.code = 'gw'",
                [HAZARDS],
            )
        self.ingest = self.start("ingest")
        self.watchers = [self.start("analytics"), self.start("analytics")]
        self.done: list[str] = []

    def start(self, name: str) -> Child:
        self.made += 1
        settings = {
            "ANJU_DSN": self.dsn,
            "ANJU_BROKER_PORT": str(self.broker.address.port),
            "ANJU_REDIS_URL": self.redis.url,
            "ANJU_FACTS_EVERY_S": "3600",
            "ANJU_INGEST_NAME": f"w-{self.made}",
        }
        return start_anju(name, [name], self.home / f"{name}-{self.made}.log", settings)

    def kill_watcher(self, which: int) -> None:
        self.watchers[which].kill()
        self.watchers[which] = self.start("analytics")

    def kill_ingest(self) -> None:
        self.ingest.kill()
        self.ingest = self.start("ingest")

    def kill_redis(self) -> None:
        self.redis.child.kill()
        time.sleep(1)
        self.redis = embedded.start_redis(
            self.home / "redis", port=int(self.redis.url.rsplit(":", 1)[1].split("/")[0])
        )

    def kill_postgres(self) -> None:
        with store_connect.connect(self.dsn, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            ).fetchall()
        self.postgres.child.kill()
        for row in rows:
            with suppress(ProcessLookupError):
                os.kill(row["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.postgres = embedded.start_postgres(self.home / "pg", port=self.postgres.port)
                return
            except embedded.ChildFailed:
                assert time.monotonic() < deadline
                time.sleep(0.3)

    def stop(self) -> None:
        for child in (
            *self.watchers,
            self.ingest,
            self.redis.child,
            self.broker.child,
            self.postgres.child,
        ):
            child.stop()
        embedded.remove_root_place(self.home / "pg")


def counted(dsn: str) -> int:
    try:
        with connect(dsn) as connection:
            # The gateway itself may be told of as silent for a moment: only the hazards count.
            row = connection.execute(
                "SELECT count(*) AS n FROM alerts WHERE detector = 'hazard:smoke'"
            ).fetchone()
            return int(row["n"]) if row else 0
    except store_connect.Unavailable:
        return -1


def test_ten_thousand_hazards_are_ten_thousand_alerts_whatever_is_killed(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    crew = Crew(tmp_path)
    try:
        begun = threading.Event()

        def talk() -> None:
            with Uplink(
                crew.broker.address, "es", "gw", Outbox(None, "boot-1"), window=100
            ) as uplink:
                uplink.wait_connected()
                for first in range(1, HAZARDS + 1, TOGETHER):
                    now = int(time.time() * 1000)
                    uplink.send_events(
                        [
                            EventItem(
                                device=f"s-{n}",
                                at=now,
                                id=f"e{n}",
                                kind="hazard",
                                data={"hazard": "smoke", "state": "on"},
                            )
                            for n in range(first, first + TOGETHER)
                        ]
                    )
                    begun.set()
                    time.sleep(0.05)
                uplink.drain(240)

        talker = threading.Thread(target=talk)
        talker.start()
        assert begun.wait(30)
        faults = [
            lambda: crew.kill_watcher(0),
            lambda: crew.kill_watcher(1),
            crew.kill_redis,
            crew.kill_postgres,
            crew.kill_ingest,
            lambda: crew.kill_watcher(0),
            lambda: crew.kill_watcher(1),
            crew.kill_postgres,
        ]
        for fault in faults:
            time.sleep(rng.uniform(0.5, 2.5))
            before = counted(crew.dsn)
            fault()
            crew.done.append(f"{before}")
        talker.join(300)
        assert not talker.is_alive()
        deadline = time.monotonic() + 120
        while counted(crew.dsn) < HAZARDS and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(2)
        print(f"alerts at each kill: {', '.join(crew.done)}")
        assert int(crew.done[-1]) > 0 or int(crew.done[-2]) > 0, (
            "the kills were in the middle of it"
        )
        with connect(crew.dsn) as connection:
            row = connection.execute(
                "WITH a AS (SELECT * FROM alerts WHERE detector = 'hazard:smoke') SELECT "
                "count(*) AS alerts, "
                "count(DISTINCT subject_id) AS subjects, sum(occurrences)::integer AS times, "
                "(SELECT count(*) FROM alert_occurrences o JOIN a ON a.id = o.alert_id) AS kept, "
                "(SELECT count(*) FROM alert_changes c JOIN a ON a.id = c.alert_id WHERE c.step "
                "= 'raised') AS raised, "
                "(SELECT count(*) FROM watch_queue) AS waiting, (SELECT count(*) FROM events) AS "
                "events FROM a"
            ).fetchone()
        assert row == {
            "alerts": HAZARDS,
            "subjects": HAZARDS,
            "times": HAZARDS,
            "kept": HAZARDS,
            "raised": HAZARDS,
            "waiting": 0,
            "events": HAZARDS,
        }
    finally:
        crew.stop()
