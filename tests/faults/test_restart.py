"""A rolling restart: workers are replaced one after the other while alarms come, and none waits
longer than two seconds.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anju.demo.embedded import Broker, Redis
from anju.processes import Child, start_anju
from domain.wire import EventItem
from gateway.outbox import Outbox
from gateway.uplink import Uplink
from store.database.connection import connect
from tests.conftest import SEED

pytestmark = [pytest.mark.real, pytest.mark.long]
PROMISED_S, KILLED_S = 2.0, 6.0


def delays(dsn: str) -> list[float]:
    """Return for each event how long it was from the device's instant to the row."""
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM recorded_at - at)::float8 AS s FROM events ORDER BY at"
        ).fetchall()
    return [row["s"] for row in rows]


class Crew:
    """Two workers that are replaced while a gateway reports an alarm every few milliseconds."""

    def __init__(self, home: Path, dsn: str, broker: Broker, redis: Redis) -> None:
        self.home, self.dsn, self.broker, self.redis = home, dsn, broker, redis
        self.made = 0
        self.workers = [self.start(), self.start()]
        self.over = threading.Event()
        self.sent = 0

    def start(self) -> Child:
        self.made += 1
        environment = {
            "ANJU_DSN": self.dsn,
            "ANJU_BROKER_PORT": str(self.broker.address.port),
            "ANJU_REDIS_URL": self.redis.url,
            "ANJU_INGEST_READINGS": "2",
            "ANJU_INGEST_NAME": f"w-{self.made}",
            "ANJU_INGEST_GROUP": self.home.name.replace("_", "-")[:30],
        }
        return start_anju("ingest", ["ingest"], self.home / f"w-{self.made}.log", environment)

    def holders(self) -> set[str]:
        with connect(self.dsn) as connection:
            rows = connection.execute(
                "SELECT holder FROM ingest_leases WHERE expires_at > now()"
            ).fetchall()
        return {row["holder"] for row in rows}

    def talk(self) -> None:
        dice = random.Random(SEED)
        with Uplink(
            self.broker.address, "es", "gw", Outbox(None, f"b{time.time_ns()}"), window=2000
        ) as uplink:
            uplink.wait_connected()
            while not self.over.is_set():
                self.sent += 1
                data = {"hazard": "smoke", "state": "on"}
                uplink.send_events(
                    [
                        EventItem(
                            device="smoke-1",
                            at=int(time.time() * 1000),
                            id=f"{self.sent}",
                            kind="hazard",
                            data=data,
                        )
                    ]
                )
                time.sleep(dice.uniform(0.005, 0.02))
            uplink.drain(60)

    def play(self, replace: Callable[[int], None]) -> list[float]:
        """Replace each worker twice while the gateway talks; returns how long each event took."""
        deadline = time.monotonic() + 20
        while len(self.holders()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
        thread = threading.Thread(target=self.talk)
        thread.start()
        try:
            for n in (0, 1, 0, 1):
                time.sleep(1.5)
                replace(n)
                deadline = time.monotonic() + 20
                while len(self.holders()) < 2:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
        finally:
            self.over.set()
            thread.join(90)
            for worker in self.workers:
                worker.stop()
        return delays(self.dsn)

    def restart(self, n: int) -> None:
        self.workers[n].stop()
        self.workers[n] = self.start()

    def kill(self, n: int) -> None:
        self.workers[n].kill()
        self.workers[n] = self.start()


@pytest.mark.parametrize(("how", "most_s"), [("restart", PROMISED_S), ("kill", KILLED_S)])
def test_workers_are_replaced(
    registered: str, broker: Broker, redis: Redis, tmp_path: Path, how: str, most_s: float
) -> None:
    crew = Crew(tmp_path, registered, broker, redis)
    took = crew.play(getattr(crew, how))
    assert len(took) == crew.sent > 200
    print(
        f"{how}: {len(took)} events, the longest {max(took):.2f} s, median "
        f"{sorted(took)[len(took) // 2]:.3f} s"
    )
    assert max(took) < most_s
