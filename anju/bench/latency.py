"""`anju bench latency`: from the MQTT publish to the row, and to the live bus, under load.

Beside the load one gateway sends a reading and a hazard every few milliseconds, each numbered.
Another connection asks the database for the highest number that is committed, and a subscriber
listens to the bus. All of it stands on one clock.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from anju.bench.ingest import (
    BenchFailed,
    fresh,
    go,
    part,
    seconds,
    start_workers,
    wait_stored,
    warm_ms,
)
from anju.bench.publisher import DEVICES, ESTATE, GATEWAYS, Load, join, packet, publish_command
from anju.demo import embedded
from anju.processes import Child
from anju.register_files import import_rows
from domain import wire
from store.database import health
from store.database.connection import connect
from store.database.migration import Level
from store.ingest import progress
from store.live.bus import EVENTS_CHANNEL, LiveBus

MARKER = "marker"
METER = "marker-meter"
SMOKE = "marker-smoke"


@dataclass(slots=True)
class LatencySpans:
    """What was measured, seconds."""

    to_row: list[float] = field(default_factory=list)
    to_bus: list[float] = field(default_factory=list)
    sent: int = 0
    offered: float = 0.0
    reached: float = 0.0


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(
    admin_dsn: str, level: Level, home: Path, *, rate: int, seconds_long: int, every_s: float
) -> LatencySpans:
    """Measure at a load of `rate` messages a second."""
    home.mkdir(parents=True, exist_ok=True)
    broker = embedded.start_broker(home / "broker")
    redis = embedded.start_redis(home / "redis")
    children: list[Child] = []
    try:
        with fresh(admin_dsn, level) as dsn:
            _register_marker(dsn)
            children, _ = start_workers(dsn, broker, home, 1, "auto", {"ANJU_REDIS_URL": redis.url})
            port = broker.address.port
            with connect(dsn, autocommit=True) as connection:
                warm = Load(port=port, messages=GATEWAYS * DEVICES, boot="warm", base_ms=warm_ms())
                with part(publish_command(warm)) as publisher:
                    go(publisher)
                    wait_stored(connection, warm.readings, children)
                load = Load(port=port, messages=rate * seconds_long, rate=rate)
                with part(publish_command(load)) as publisher:
                    before = health.count_stored(connection)
                    go(publisher)
                    began = time.perf_counter()
                    found = _mark(dsn, port, LiveBus(redis.url), seconds_long, every_s)
                    found.offered = load.messages / seconds(publisher)
                    wait_stored(connection, before + load.readings + found.sent, children)
                    found.reached = load.readings / (time.perf_counter() - began)
                return found
    finally:
        for child in [*children, redis.child, broker.child]:
            child.stop()


def _register_marker(dsn: str) -> None:
    device = {"estate": ESTATE, "gateway": MARKER, "profile": "smoke-detector", "kind": "detector"}
    with connect(dsn) as connection:
        report = import_rows(
            connection,
            {
                "gateways": [{"estate": ESTATE, "code": MARKER}],
                "devices": [device | {"code": code} for code in (METER, SMOKE)],
            },
        )
    if report.errors:
        raise BenchFailed(str(report.errors[0]))


@dataclass(slots=True)
class _Sightings:
    """When each marker was sent and seen, by its number, monotonic seconds."""

    sent_at: dict[int, float] = field(default_factory=dict)
    in_table_at: dict[int, float] = field(default_factory=dict)
    on_bus_at: dict[int, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def complete(self) -> bool:
        """Whether every marker was seen in the table and on the bus."""
        return min(len(self.in_table_at), len(self.on_bus_at)) >= len(self.sent_at)

    def watch_table(self, dsn: str) -> None:
        """Note when markers are committed, until it is over."""
        known = 0
        with connect(dsn, autocommit=True) as connection:
            while not self.over.is_set():
                highest = progress.highest_stored(connection, MARKER, "readings")
                now = time.monotonic()
                for number in range(known + 1, highest + 1):
                    self.in_table_at[number] = now
                known = max(known, highest)
                time.sleep(0.002)

    def watch_bus(self, bus: LiveBus) -> None:
        """Note when markers reach the bus, until it is over."""
        for message in bus.messages(EVENTS_CHANNEL):
            now = time.monotonic()
            for _, event_id in json.loads(message) if message else []:
                self.on_bus_at[int(event_id)] = now
            if self.over.is_set():
                return


def _mark(dsn: str, port: int, bus: LiveBus, seconds_long: int, every_s: float) -> LatencySpans:
    """Send markers, and note when each is seen.

    Raises: BenchFailed where one is not seen.
    """
    seen = _Sightings()
    threading.Thread(target=seen.watch_table, args=(dsn,), daemon=True).start()
    threading.Thread(target=seen.watch_bus, args=(bus,), daemon=True).start()
    time.sleep(0.5)
    line = join(port, "marker")
    threading.Thread(target=_swallow, args=(line,), daemon=True).start()
    until = time.monotonic() + seconds_long - 1.5
    for number in itertools.count(1):
        if time.monotonic() > until:
            break
        packets = _marker_packets(number, int(time.time() * 1000))
        seen.sent_at[number] = time.monotonic()
        line.sendall(packets)
        time.sleep(every_s)
    deadline = time.monotonic() + 20
    while not seen.complete and time.monotonic() < deadline:
        time.sleep(0.02)
    seen.over.set()
    if not seen.complete:
        raise BenchFailed(
            f"of {len(seen.sent_at)} markers {len(seen.in_table_at)} reached the table "
            f"and {len(seen.on_bus_at)} the bus"
        )
    return LatencySpans(
        to_row=[seen.in_table_at[number] - at for number, at in seen.sent_at.items()],
        to_bus=[seen.on_bus_at[number] - at for number, at in seen.sent_at.items()],
        sent=len(seen.sent_at),
    )


def _marker_packets(number: int, at: int) -> bytes:
    """Make the packets of one marker: a reading, and a hazard."""
    head = f'{{"v":1,"boot":"marker-1","seq":{number},"sent_at":{at},"replayed":false,"items":['
    reading = f'{head}{{"device":"{METER}","at":{at},"values":{{"odd_{number % 7}":{number}}}}}]}}'
    event = (
        f'{head}{{"device":"{SMOKE}","at":{at},"id":"{number}","kind":"hazard",'
        '"data":{"hazard":"smoke","state":"on"}}]}'
    )
    readings_topic = wire.up_topic(ESTATE, MARKER, wire.Up.READINGS)
    events_topic = wire.up_topic(ESTATE, MARKER, wire.Up.EVENTS)
    return packet(readings_topic, reading.encode(), number * 2 % 65535 + 1) + packet(
        events_topic, event.encode(), number * 2 % 65535 + 2
    )


def _swallow(line: object) -> None:
    """Take the broker's answers, which nobody needs."""
    try:
        while line.recv(4096):  # type: ignore[attr-defined]
            pass
    except OSError:
        return
