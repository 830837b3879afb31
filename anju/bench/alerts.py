"""`anju bench alert-latency`: seconds from the MQTT publish of a smoke event to its alert.

Every part is real: mosquitto, an ingest worker, watch, PostgreSQL, Redis and the API. A client
keeps a stream open and notes when each alert is in it. Each event comes from a detector of its own,
so each is an alert. All times are taken on one clock, in this process. The benchmark runs under
load and in a storm of alerts.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from analytics.policy import load_policy
from anju.bench.ingest import BenchFailed, fresh, go, part, seconds, start_workers
from anju.bench.publisher import ESTATE, Load, join, packet, publish_command
from anju.demo import embedded
from anju.processes import Child, answers, free_port, start_anju, wait_for
from anju.register_files import import_rows
from api.passwords import make_user
from domain import wire
from domain.access import Role
from domain.calendar import DEFAULT_ZONE
from store.alerts import lists
from store.alerts.lists import AlertFilter
from store.database.connection import Connection, connect
from store.database.migration import Level
from store.register import places

MARKER = "marker"
STORM_ESTATES = 10
STORM_GATEWAYS = 20
STORM_DEVICES = 250
#: Events of one message in a storm.
TOGETHER = 50


@dataclass(slots=True)
class AlertTiming:
    """What was measured.

    `spans` are seconds from the publish to the stream, one an event. The counts after it describe
    what a storm left on the screen.
    """

    spans: list[float] = field(default_factory=list)
    missing: int = 0
    offered: float = 0.0
    gateways: int = 0
    folds: int = 0
    rows: int = 0
    others: int = 0


@dataclass(slots=True)
class BenchSite:
    """A running site and a stream that is open on it."""

    dsn: str
    port: int
    children: list[Child]
    seen: dict[int, float]


def measure(
    admin_dsn: str, level: Level, home: Path, *, rate: int, events: int, every_s: float
) -> AlertTiming:
    """Send smoke events beside `rate` readings a second and note when each is in the stream."""
    with _site(admin_dsn, level, home, {ESTATE: [(MARKER, events)]}) as site:
        load = Load(port=site.port, messages=int(rate * (events * every_s + 6)), rate=rate)
        with part(publish_command(load)) as publisher:
            go(publisher)
            time.sleep(3)
            line = _connect(site.port)
            sent = dict[str, float]()
            began = time.monotonic()
            for n in range(events):
                time.sleep(max(0.0, began + n * every_s - time.monotonic()))
                _publish_smoke(line, ESTATE, MARKER, n, n + 1, sent)
            timing = _collect(site, sent)
            timing.offered = load.messages / seconds(publisher)
        return timing


def storm(admin_dsn: str, level: Level, home: Path, *, smokes: int = 5) -> AlertTiming:
    """Send smoke events in the middle of a storm.

    200 gateways fall silent at once, and their 50,000 devices report that they are offline.
    """
    estates = {
        f"storm-{n:02d}": [(f"gw-{n:02d}-{g:02d}", STORM_DEVICES) for g in range(STORM_GATEWAYS)]
        for n in range(STORM_ESTATES)
    }
    with _site(admin_dsn, level, home, estates | {ESTATE: [(MARKER, smokes)]}) as site:
        packets = list(_storm(estates))
        line = _connect(site.port)
        marker = _connect(site.port)
        sent = dict[str, float]()
        for n in range(smokes):
            share = packets[len(packets) * n // smokes : len(packets) * (n + 1) // smokes]
            half = len(share) // 2
            line.sendall(b"".join(share[:half]))
            _publish_smoke(marker, ESTATE, MARKER, n, n + 1, sent)
            line.sendall(b"".join(share[half:]))
            time.sleep(0.3)
        timing = _collect(site, sent)
        with connect(site.dsn, autocommit=True) as connection:
            _wait_quiet(connection, site)
            every_alert = _every_alert(connection)
            fold_from = load_policy().alarms.fold_from
            folds = lists.list_folds(connection, every_alert, fold_from)
            singles = lists.list_alerts(connection, every_alert, limit=5_000, fold_from=fold_from)
            rows = lists.list_alerts(connection, every_alert, limit=60_000)
        timing.gateways = sum(row.detector == "gateway_silent" for row in rows)
        timing.others = sum(row.detector not in ("gateway_silent", "hazard:smoke") for row in rows)
        timing.folds = len(folds)
        timing.rows = len(folds) + sum(row.alert_class != "life_safety" for row in singles)
        return timing


def _storm(estates: dict[str, list[tuple[str, int]]]) -> Iterator[bytes]:
    """Yield the packets of a storm: each gateway's devices go offline, then the gateway."""
    now = int(time.time() * 1000)
    mid = 0
    for estate, gateways in estates.items():
        for gateway, count in gateways:
            for first in range(0, count, TOGETHER):
                mid += 1
                numbers = range(first, min(first + TOGETHER, count))
                items = ",".join(_offline_event(_device(gateway, n), n, now) for n in numbers)
                yield packet(
                    wire.up_topic(estate, gateway, wire.Up.EVENTS),
                    _message(mid, now, items),
                    mid % 65_535 + 1,
                )
            state = {"v": 1, "boot": "storm", "online": False, "at": now}
            yield packet(
                wire.up_topic(estate, gateway, wire.Up.STATE),
                json.dumps(state).encode(),
                mid % 65_535 + 1,
            )


def _publish_smoke(
    line: socket.socket, estate: str, gateway: str, device: int, seq: int, sent: dict[str, float]
) -> None:
    at = int(time.time() * 1000)
    item = (
        f'{{"device":"{_device(gateway, device)}","at":{at},"id":"s{device}",'
        '"kind":"hazard","data":{"hazard":"smoke","state":"on"}}'
    )
    raw = packet(
        wire.up_topic(estate, gateway, wire.Up.EVENTS), _message(seq, at, item), seq % 65_535 + 1
    )
    sent[f"s{device}"] = time.monotonic()
    line.sendall(raw)


def _offline_event(device: str, number: int, at: int) -> str:
    return (
        f'{{"device":"{device}","at":{at},"id":"o{number}",'
        '"kind":"device","data":{"condition":"offline","state":"on"}}'
    )


def _message(seq: int, at: int, items: str) -> bytes:
    head = f'{{"v":1,"boot":"b-1","seq":{seq},"sent_at":{at},"replayed":false'
    return f'{head},"items":[{items}]}}'.encode()


def _device(gateway: str, n: int) -> str:
    return f"{gateway}-d{n:04d}"


def _connect(port: int) -> socket.socket:
    line = join(port, f"bench-{time.monotonic_ns()}")

    def swallow() -> None:
        try:
            while line.recv(65_536):
                pass
        except OSError:
            return

    threading.Thread(target=swallow, daemon=True).start()
    return line


def _collect(site: BenchSite, sent: dict[str, float]) -> AlertTiming:
    """Wait until every event is in the stream, or nothing more comes."""
    deadline = time.monotonic() + 30
    found: dict[str, int] = {}
    with connect(site.dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            rows = lists.list_alerts(
                connection, _every_alert(connection, "hazard:smoke"), limit=10_000
            )
            found = {str(row.evidence["event"]): row.id for row in rows}
            if set(found) == set(sent) and set(found.values()) <= set(site.seen):
                break
            time.sleep(0.5)
    seen = {event: site.seen[alert] for event, alert in found.items() if alert in site.seen}
    return AlertTiming(
        spans=[seen[event] - at for event, at in sent.items() if event in seen],
        missing=len(sent) - len(seen),
    )


def _wait_quiet(connection: Connection, site: BenchSite) -> None:
    """Wait until the queue is worked off and every delay has passed."""
    until = time.monotonic() + 75
    while time.monotonic() < until:
        for child in site.children:
            child.check()
        time.sleep(1)
    connection.rollback()


def _every_alert(connection: Connection, detector: str | None = None) -> AlertFilter:
    estates = tuple(places.estate_ids(connection))
    classes = frozenset({"life_safety", "hazard", "data", "welfare"})
    return AlertFilter(estates=estates, classes=classes, detector=detector)


@contextmanager
def _site(
    admin_dsn: str, level: Level, home: Path, estates: dict[str, list[tuple[str, int]]]
) -> Iterator[BenchSite]:
    """Start every part, and a client that listens."""
    home.mkdir(parents=True, exist_ok=True)
    broker = embedded.start_broker(home / "broker")
    redis = embedded.start_redis(home / "redis")
    children: list[Child] = []
    try:
        with fresh(admin_dsn, level) as dsn:
            password = _register(dsn, estates)
            more = {"ANJU_REDIS_URL": redis.url}
            ingest, _ = start_workers(dsn, broker, home, 1, "auto", more)
            port = free_port()
            settings = {"ANJU_DSN": dsn, "ANJU_API_PORT": str(port), **more}
            children = [
                *ingest,
                *(
                    start_anju(name, [name], home / f"{name}.log", settings)
                    for name in ("analytics", "api")
                ),
            ]
            wait_for(lambda: answers(port), children[-1])
            seen: dict[int, float] = {}
            listening = threading.Event()
            threading.Thread(
                target=_listen, args=(port, password, seen, listening), daemon=True
            ).start()
            if not listening.wait(20):
                raise BenchFailed("the stream did not open")
            time.sleep(2)
            yield BenchSite(dsn=dsn, port=broker.address.port, children=children, seen=seen)
            for child in reversed(children):
                child.stop()
    finally:
        for child in [*reversed(children), redis.child, broker.child]:
            child.stop()


def _register(dsn: str, estates: dict[str, list[tuple[str, int]]]) -> str:
    with connect(dsn) as connection:
        for estate, gateways in estates.items():
            devices = [
                {
                    "estate": estate,
                    "gateway": gateway,
                    "code": _device(gateway, n),
                    "kind": "detector",
                    "profile": "smoke-detector",
                }
                for gateway, count in gateways
                for n in range(count)
            ]
            sheets = {
                "gateways": [{"estate": estate, "code": gateway} for gateway, _ in gateways],
                "devices": devices,
            }
            if estate != ESTATE:
                sheets = {
                    "estates": [{"code": estate, "name": estate, "timezone": DEFAULT_ZONE}],
                    **sheets,
                }
            report = import_rows(connection, sheets)
            if report.errors:
                raise BenchFailed(str(report.errors[0]))
        password = make_user(connection, "bench", Role.ADMINISTRATOR, must_change_password=False)
        connection.commit()
    return password


def _listen(port: int, password: str, seen: dict[int, float], listening: threading.Event) -> None:
    """Hold a stream open, and note when each alert was first in it."""
    home = f"http://127.0.0.1:{port}/api/v1"
    with httpx2.Client(timeout=None, trust_env=False) as client:
        token = client.post(f"{home}/session", json={"name": "bench", "password": password}).json()[
            "token"
        ]
        try:
            with client.stream(
                "GET", f"{home}/stream", headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: hello"):
                        listening.set()
                    elif line.startswith("data: ") and '"alert"' in line:
                        seen.setdefault(json.loads(line[6:])["alert"], time.monotonic())
        except httpx2.HTTPError:
            # The site is taken down under us.
            return
