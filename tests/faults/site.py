"""A whole site whose every part can be killed, stopped, cut off or starved, and the books that are
kept of what it was given.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from anju.demo import embedded
from anju.demo.embedded import Postgres
from anju.processes import Child, ChildFailed, start, start_anju
from store.database.connection import connect
from store.database.migration import Level, migrate
from store.ingest import log
from tests.conftest import ROOT
from tests.faults.proxy import Proxy
from tests.faults.talker import read
from tests.ingest.conftest import register

TALKERS = (("gw", "wm-1", "smoke-1"), ("gw-2", "wm-2", "smoke-2"))
WORKERS = 2
#: The database's disk where it is to be filled, MB.
DISK_MB = 420


class Site:
    """Two gateways, a broker, two ingest workers, PostgreSQL and Redis, with proxies between."""

    def __init__(self, home: Path, seed: int, *, small_disk: bool = False) -> None:
        self.home, self.rng, self.small_disk = home, random.Random(seed), small_disk
        self.done: list[str] = []
        self.pg_place = embedded.root_place(home / "pg")
        if small_disk:
            self.pg_place.mkdir(mode=0o711, exist_ok=True)
            subprocess.run(
                [
                    "mount",
                    "-t",
                    "tmpfs",
                    "-o",
                    f"size={DISK_MB}m,mode=0711",
                    "tmpfs",
                    str(self.pg_place),
                ],
                check=True,
            )
        self.postgres = self.start_postgres()
        self.broker = embedded.start_broker(home / "mq")
        self.redis = embedded.start_redis(home / "redis")
        self.dsn = embedded.make_database(self.postgres, "faults")
        migrate(self.dsn, level=Level.PLAIN)
        with connect(self.dsn) as connection:
            register(connection)
            connection.execute(
                "INSERT INTO devices (estate_id, gateway_id, code, kind, profile) SELECT "
                "g.estate_id, g.id, 'smoke-2', 'detector', 'smoke-detector' "
                "FROM gateways g WHERE g.code = 'gw-2'"
            )
        self.to_broker = [Proxy(self.broker.address.port) for _ in TALKERS]
        self.ingest_to_broker = Proxy(self.broker.address.port)
        self.ingest_to_database = Proxy(self.postgres.port)
        self.workers: list[Child] = [self.start_worker(n) for n in range(WORKERS)]
        self.talkers: list[Child] = [self.start_talker(n) for n in range(len(TALKERS))]

    # Parts ---------------------------------------------------------------------------------------

    def start_postgres(self, port: int | None = None) -> Postgres:
        """Start PostgreSQL; one that was just killed may still hold its memory for a moment."""
        options = (
            {"max_wal_size": "96MB", "min_wal_size": "64MB", "shared_buffers": "64MB"}
            if self.small_disk
            else {}
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                return embedded.start_postgres(self.home / "pg", port=port, options=options)
            except ChildFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def start_worker(self, number: int) -> Child:
        environment = {
            "ANJU_DSN": self.dsn.replace(
                f":{self.postgres.port}/", f":{self.ingest_to_database.port}/"
            ),
            "ANJU_BROKER_PORT": str(self.ingest_to_broker.port),
            "ANJU_REDIS_URL": self.redis.url,
            "ANJU_INGEST_READINGS": "2",
            "ANJU_INGEST_NAME": f"w-{number}-{time.monotonic_ns() % 10**9}",
        }
        return start_anju(
            f"ingest-{number}", ["ingest"], self.home / f"ingest-{number}.log", environment
        )

    def start_talker(self, number: int) -> Child:
        gateway, device, smoke = TALKERS[number]
        home = self.home / gateway
        home.mkdir(exist_ok=True)
        given = {
            "home": str(home),
            "port": self.to_broker[number].port,
            "gateway": gateway,
            "device": device,
            "smoke": smoke,
            "seed": number,
        }
        return start(
            f"talker-{gateway}",
            [sys.executable, "-m", "tests.faults.talker", json.dumps(given)],
            home / "log",
            env={"PYTHONPATH": str(ROOT)},
        )

    # Faults --------------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        n = self.rng.randrange(WORKERS)
        self.workers[n].kill()
        self.workers[n] = self.start_worker(n)

    def kill_talker(self) -> None:
        n = self.rng.randrange(len(TALKERS))
        self.talkers[n].kill()
        self.talkers[n] = self.start_talker(n)

    def kill_broker(self) -> None:
        self.broker.child.kill()
        self.broker = embedded.start_broker(self.home / "mq", port=self.broker.address.port)

    def kill_postgres(self) -> None:
        backends = self.backends()
        self.postgres.child.kill()
        for pid in backends:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.postgres = self.start_postgres(self.postgres.port)

    def kill_backend(self) -> None:
        """One backend dies, and PostgreSQL throws everybody out."""
        backends = [pid for pid in self.backends() if b"faults" in command_line(pid)]
        if backends:
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(backends), signal.SIGKILL)

    def kill_redis(self) -> None:
        port = int(self.redis.url.rsplit(":", 1)[1].split("/")[0])
        self.redis.child.kill()
        self.redis = embedded.start_redis(self.home / "redis", port=port)

    def backends(self) -> list[int]:
        """List PostgreSQL's child processes."""
        parent = self.postgres.child.process.pid
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, IndexError, ValueError):
                if (
                    entry.name.isdigit()
                    and int(
                        (entry / "stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()[1]
                    )
                    == parent
                ):
                    found.append(int(entry.name))
        return found

    def stop_some(self) -> None:
        """SIGSTOP: it answers nothing, and is not dead."""
        victim = self.rng.choice(
            (*self.workers, self.broker.child, self.redis.child, self.postgres.child)
        )
        pids = [victim.process.pid, *(self.backends() if victim is self.postgres.child else [])]
        self.done[-1] += f" {victim.name}"
        for number, wait in ((signal.SIGSTOP, self.rng.uniform(0.3, 4.0)), (signal.SIGCONT, 0.0)):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(wait)

    def trouble_on_a_line(self) -> None:
        proxy = self.rng.choice((*self.to_broker, self.ingest_to_broker, self.ingest_to_database))
        self.rng.choice((proxy.cut, proxy.swallow, proxy.slow))(self.rng.uniform(0.2, 3.0))

    def fill_disk(self) -> None:
        """Fill the database's disk, let it suffer, and make room again."""
        ballast = self.pg_place / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(b"\0" * 65536)
        time.sleep(self.rng.uniform(1.0, 3.0))
        ballast.unlink()
        if self.postgres.child.process.poll() is not None:
            self.postgres = self.start_postgres(self.postgres.port)

    def faults(self) -> list[Callable[[], None]]:
        """Return what can befall it; the likelier the more often it stands there."""
        kills = [
            self.kill_worker,
            self.kill_broker,
            self.kill_postgres,
            self.kill_backend,
            self.kill_talker,
            self.kill_redis,
        ]
        return [
            *kills,
            *kills,
            self.stop_some,
            self.trouble_on_a_line,
            *([self.fill_disk] * 4 if self.small_disk else []),
        ]

    def suffer(self, kills: int) -> int:
        """Let faults happen until so many processes were killed; returns how many faults there
        were.
        """
        killed = 0
        while killed < kills:
            time.sleep(self.rng.uniform(0.1, 0.7))
            fault = self.rng.choice(self.faults())
            self.done.append(fault.__name__)
            fault()
            killed += fault.__name__.startswith("kill")
            if self.postgres.child.process.poll() is not None:
                self.postgres = self.start_postgres(self.postgres.port)
        return len(self.done)

    # The reckoning -------------------------------------------------------------------------------

    def settle(self, seconds: float = 120.0) -> None:
        """Stop talking, and wait until every outbox is empty."""
        for gateway, _, _ in TALKERS:
            (self.home / gateway / "quiet").touch()
        deadline = time.monotonic() + seconds
        while not all((self.home / gateway / "empty").exists() for gateway, _, _ in TALKERS):
            assert time.monotonic() < deadline, f"the outboxes did not empty after {self.done}"
            time.sleep(0.1)

    def check(self) -> dict[str, int]:
        """Hold the database against the journals: everything that an outbox took is there, once,
        and nothing else.
        """
        with connect(self.dsn) as connection:
            readings = {
                (row["code"], row["at"]): row["value"]
                for row in connection.execute(
                    "SELECT d.code, (extract(epoch FROM r.at) * 1000)::bigint AS at, r.value "
                    "FROM readings r "
                    "JOIN points p ON p.id = r.point_id JOIN devices d ON d.id = p.device_id"
                )
            }
            stored = connection.execute("SELECT count(*) AS n FROM readings").fetchone()
            events = [
                (row["code"], row["event_id"])
                for row in connection.execute(
                    "SELECT d.code, e.event_id FROM events e JOIN devices d ON d.id = e.device_id"
                )
            ]
            watched = connection.execute(
                "SELECT count(*) AS n, count(DISTINCT (device_id, event_id)) AS d FROM watch_queue"
            ).fetchone()
            kept = [
                item
                for row in connection.execute("SELECT reason, payload FROM quarantine")
                for item in json.loads(bytes(row["payload"]))["items"]
            ]
            tallies = log.read_tallies(connection)
            gaps = connection.execute("SELECT * FROM gaps").fetchall()
            seats = connection.execute("SELECT count(*) AS n FROM ingest_leases").fetchone()
        assert stored == {"n": len(readings)}, "a reading without its point"
        ahead = {(item["device"], item["at"]) for item in kept if "values" in item}
        ahead_events = {(item["device"], item["id"]) for item in kept if "id" in item}
        known_events, must = set(events), 0
        may_readings, may_events = set(), set()
        for gateway, _, _ in TALKERS:
            waiting: list[Any] = []
            for row in read(self.home / gateway / "journal"):
                if "taken" not in row:
                    waiting.append(row)
                    (may_events if row["id"] else may_readings).add(
                        (row["device"], row["id"] or row["at"])
                    )
                    continue
                # What stands before this line was taken by the outbox; a kill leaves intents
                # without one, which may be there.
                for one in (one for one in waiting if one["n"] > row["taken"] - 10):
                    must += 1
                    if one["id"]:
                        assert (one["device"], one["id"]) in known_events | ahead_events, (
                            f"lost {one}"
                        )
                    else:
                        (value,) = one["values"].values()
                        key = (one["device"], one["at"])
                        assert readings.get(key) == value or key in ahead, f"lost {one}"
                waiting = []
        assert len(events) == len(set(events)) and set(events) <= may_events, (
            "an event twice, or one that nobody gave"
        )
        assert set(readings) <= may_readings, "a reading that nobody gave"
        assert watched is not None and watched["n"] == watched["d"] == len(events), (
            "a hazard told twice or never"
        )
        assert all(tally.balanced for tally in tallies.values())
        counted = sum(
            tally.stored for (_, kind), tally in tallies.items() if kind in ("readings", "events")
        )
        assert counted == len(readings) + len(events)
        assert sum(tally.quarantined for tally in tallies.values()) == len(kept)
        assert gaps == [] and seats == {"n": 3}
        return {
            "must": must,
            "readings": len(readings),
            "events": len(events),
            "quarantined": len(kept),
            "duplicates": sum(tally.duplicates for tally in tallies.values()),
        }

    def stop(self) -> None:
        for child in (
            *self.talkers,
            *self.workers,
            self.redis.child,
            self.broker.child,
            self.postgres.child,
        ):
            with suppress(ProcessLookupError):
                os.kill(child.process.pid, signal.SIGCONT)
            child.stop(5)
        for proxy in (*self.to_broker, self.ingest_to_broker, self.ingest_to_database):
            proxy.close()
        if self.small_disk:
            subprocess.run(["umount", "-l", str(self.pg_place)], check=False)
        embedded.remove_root_place(self.home / "pg")


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def may_mount() -> bool:
    """Tell whether a small disk can be made here."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and Path("/var/tmp").is_dir()
