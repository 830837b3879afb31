"""`anju bench ingest`: from a publisher through a real broker and real workers into the table.

In every round, in turn and on the same machine, it measures the limits and the whole. The limits
are what the broker alone delivers, and what COPY alone writes. The whole has one reading a message,
and fifty. Beside them stand the same whole on stock paho, and Node-RED where it is given. Each
figure is a median over the rounds. Each share is taken within a round, since a speed by itself says
little on a shared machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anju.bench.copier import BATCH
from anju.bench.publisher import (
    DEVICES,
    ESTATE,
    GATEWAYS,
    Load,
    command,
    device_code,
    gateway_code,
    prepare,
    publish_command,
)
from anju.demo import embedded
from anju.demo.embedded import Broker
from anju.processes import Child, free_port, start, start_anju, wait_for
from anju.register_files import import_rows
from domain.calendar import DAY_MS, DEFAULT_ZONE, HOUR_MS, from_ms
from domain.errors import UserError
from store.database import health
from store.database.connection import (
    Connection,
    connect,
    drop_database,
    environment,
    exists,
    make_database,
    with_database,
)
from store.database.migration import Level, migrate
from store.database.partitions import Partitions

#: Seconds that one part may take.
PATIENCE_S = 180.0


class BenchFailed(UserError):
    """A part did not finish; the message names it."""


@dataclass(slots=True)
class Figures:
    """What one round measured, per second; `cpu` is µs of processor time per reading, by stage."""

    rates: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, dict[str, float]] = field(default_factory=dict)


def register(dsn: str) -> None:
    """Register the publisher's gateways and devices."""
    devices = [
        {
            "estate": ESTATE,
            "gateway": gateway_code(n // DEVICES),
            "code": device_code(n),
            "kind": "electricity_meter",
            "profile": "electricity-1p-100a",
        }
        for n in range(GATEWAYS * DEVICES)
    ]
    with connect(dsn, statement_s=600) as connection:
        report = import_rows(
            connection,
            {
                "estates": [{"code": ESTATE, "name": ESTATE, "timezone": DEFAULT_ZONE}],
                "gateways": [{"estate": ESTATE, "code": gateway_code(n)} for n in range(GATEWAYS)],
                "devices": devices,
            },
        )
    if report.errors:
        raise BenchFailed(str(report.errors[0]))


@contextmanager
def part(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a part as a process; it prints a line when it is ready, and waits for `go`.

    Raises: BenchFailed where it ends before that.
    """
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise BenchFailed(f"{arguments[2]} ended before it began")
        yield process
    finally:
        process.kill()
        process.wait()


def go(*processes: subprocess.Popen[str]) -> None:
    """Let parts that are ready begin."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def seconds(process: subprocess.Popen[str]) -> float:
    """Wait for a part to end, and return how long it took.

    Raises: BenchFailed where it ends without a result.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchFailed("a part ended without a result")
    return float(json.loads(line)["seconds"])


def broker_alone(home: Path, messages: int) -> float:
    """Publisher → broker → a reader that only counts, QoS 1 both ways: messages a second."""
    broker = embedded.start_broker(home / "broker")
    try:
        load = Load(port=broker.address.port, messages=messages, fixed=True)
        size = len(prepare(replace(load, messages=1))[0])
        counting = command(
            "count", {"port": load.port, "messages": messages, "size": size, "qos": 1}
        )
        with part(counting) as reader, part(publish_command(load)) as publisher:
            go(reader, publisher)
            return messages / seconds(reader)
    finally:
        broker.child.stop()


def copy_alone(dsn: str, batches: int, lanes: int, base_ms: int, *, prepared: bool = True) -> float:
    """Write batches into the table of readings by one writer or more; return rows a second.

    `prepared` batches are bytes laid out before; the others are rows of Python values.
    """
    options = {
        "dsn": dsn,
        "batches": batches // lanes,
        "lanes": lanes,
        "points": GATEWAYS * DEVICES * 2,
        "base_ms": base_ms,
        "prepared": prepared,
    }
    copier = [sys.executable, "-m", "anju.bench.copier"]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(part([*copier, json.dumps({**options, "lane": lane})]))
            for lane in range(lanes)
        ]
        began = time.perf_counter()
        go(*writers)
        for writer in writers:
            seconds(writer)
        return batches // lanes * lanes * BATCH / (time.perf_counter() - began)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def server_cpu_seconds(connection: Connection) -> float:
    """Return the processor time of the database's backends, but the connection's own."""
    pids = health.backend_pids(connection)
    return sum(cpu_seconds(pid) for pid in pids if Path(f"/proc/{pid}").exists())


def stage_seconds(port: int) -> dict[str, float]:
    """Read the processor time of a worker's stages from its metrics."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("ingest_stage_cpu_seconds_total{"):
            stage = line.split('stage="', 1)[1].split('"', 1)[0]
            found[stage] = found.get(stage, 0.0) + float(line.rsplit(" ", 1)[1])
    return found


def warm_ms() -> int:
    """Return the time of readings that only warm up: a day before those that are measured."""
    return int(time.time() * 1000) - 90_000_000


def wait_stored(connection: Connection, expected: int, children: list[Child]) -> None:
    """Wait until so many readings are stored.

    Raises: BenchFailed where it takes longer than PATIENCE_S; ChildFailed where a worker ended.
    """
    deadline = time.monotonic() + PATIENCE_S
    while (stored := health.count_stored(connection)) < expected:
        if time.monotonic() > deadline:
            raise BenchFailed(f"{stored} of {expected} readings are stored after {PATIENCE_S:g} s")
        for child in children:
            child.check()
        time.sleep(0.02)


def start_workers(
    dsn: str,
    broker: Broker,
    home: Path,
    number: int,
    reader: str,
    more: dict[str, str] | None = None,
) -> tuple[list[Child], list[int]]:
    """Start workers, and wait until they hold all leases and have spoken to the broker."""
    ports = [free_port() for _ in range(number)]
    settings = {
        "ANJU_DSN": dsn,
        "ANJU_BROKER_PORT": str(broker.address.port),
        "ANJU_INGEST_READINGS": str(number),
        "ANJU_INGEST_READER": reader,
        "ANJU_INGEST_GROUP": f"bench-{time.monotonic_ns()}",
        **(more or {}),
    }
    children = [
        start_anju(
            "ingest",
            ["ingest"],
            home / f"ingest-{n}.log",
            settings | {"ANJU_METRICS_PORT": str(port)},
        )
        for n, port in enumerate(ports)
    ]
    deadline = time.monotonic() + 30
    logs = [home / f"ingest-{n}.log" for n in range(number)]
    while sum(log.read_text("utf-8").count("broker_connected") for log in logs) < number + 1:
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            raise BenchFailed(f"the workers did not take their leases; see {logs[0]}")
        time.sleep(0.05)
    time.sleep(1.5)
    return children, ports


def whole(
    dsn: str, home: Path, load: dict[str, Any], *, workers: int = 1, reader: str = "auto"
) -> tuple[float, dict[str, float]]:
    """Publisher → broker → workers → the table, acknowledged after the commit.

    Returns readings a second, and µs of processor time per reading by stage.
    """
    broker = embedded.start_broker(home / "broker")
    children: list[Child] = []
    connection = connect(dsn, autocommit=True)
    try:
        for log in home.glob("ingest-*.log"):
            log.unlink()
        children, ports = start_workers(dsn, broker, home, workers, reader)
        # A worker that has run for a minute knows every device. So each speaks once, unmeasured.
        items = load.get("items", 1)
        warm = Load(
            port=broker.address.port,
            messages=GATEWAYS * DEVICES // items,
            items=items,
            values=load.get("values", 1),
            boot="warm",
            base_ms=warm_ms(),
        )
        with part(publish_command(warm)) as publisher:
            go(publisher)
            wait_stored(connection, warm.readings, children)
        measured = Load(port=broker.address.port, **load)
        before = health.count_stored(connection)
        with part(publish_command(measured)) as publisher:
            cpu = {
                "broker": -cpu_seconds(broker.child.process.pid),
                "database": -server_cpu_seconds(connection),
            }
            cpu["workers"] = -sum(cpu_seconds(child.process.pid) for child in children)
            stages = [stage_seconds(port) for port in ports]
            began = time.perf_counter()
            go(publisher)
            wait_stored(connection, before + measured.readings, children)
            took = time.perf_counter() - began
            cpu["broker"] += cpu_seconds(broker.child.process.pid)
            cpu["database"] += server_cpu_seconds(connection)
            cpu["workers"] += sum(cpu_seconds(child.process.pid) for child in children)
            for earlier, port in zip(stages, ports, strict=True):
                for stage, value in stage_seconds(port).items():
                    cpu[stage] = cpu.get(stage, 0.0) + value - earlier.get(stage, 0.0)
        cpu_us = {name: value / measured.readings * 1e6 for name, value in cpu.items()}
        return measured.readings / took, cpu_us
    finally:
        connection.close()
        for child in [*children, broker.child]:
            child.stop()


def peer(folder: Path, dsn: str, home: Path, amount: dict[str, Any]) -> float:
    """Publisher → broker → Node-RED's batched flow → the same table: readings a second."""
    broker = embedded.start_broker(home / "broker")
    port = free_port()
    child = start(
        "node-red",
        [
            folder / "node_modules/.bin/node-red",
            "--settings",
            folder / "settings.js",
            "--userDir",
            home / "node-red",
        ],
        home / "node-red.log",
        env={
            "BENCH_UI_PORT": str(port),
            "BENCH_BROKER_PORT": str(broker.address.port),
            "NODE_PATH": str(folder / "node_modules"),
            **environment(dsn),
        },
    )
    try:
        wait_for(lambda: "node-red" in (home / "broker/broker.log").read_text("utf-8"), child)
        time.sleep(2)
        load = Load(port=broker.address.port, **amount)
        with connect(dsn) as connection:
            # It does not make its tables, as ingest does.
            Partitions(connection).cover(
                connection, from_ms(warm_ms()), from_ms(warm_ms() + 2 * DAY_MS)
            )
        with part(publish_command(load)) as publisher, connect(dsn, autocommit=True) as connection:
            began = time.perf_counter()
            go(publisher)
            stored = 0
            last_stored_at = began
            while True:
                count = health.count_rows(connection)
                now = time.perf_counter()
                if count > stored:
                    stored = count
                    last_stored_at = now
                if count >= load.readings or now - last_stored_at > 5:
                    # It may lose some: what it stored counts, until it stored the last of them.
                    return stored / max(last_stored_at - began, 1e-9)
                time.sleep(0.1)
    finally:
        child.stop()
        broker.child.stop()


PYTHON_ROWS = "copy × 2, rows from Python"
DENSE_PEER = "Node-RED, batched, 50 a message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is sent."""

    messages: int = 300_000
    dense_messages: int = 60_000
    rounds: int = 3


def run(
    admin_dsn: str, level: Level, home: Path, size: Size, peer_folder: Path | None
) -> list[Figures]:
    """Measure all parts in turn, `rounds` times, each in a fresh database of a running server."""
    home.mkdir(parents=True, exist_ok=True)
    rounds = []
    # The first gigabytes pay for new WAL files; every later one is given them again.
    with fresh(admin_dsn, level) as dsn:
        copy_alone(dsn, size.dense_messages * 50 // BATCH, 2, warm_ms())
    for _ in range(size.rounds):
        figures = Figures()
        figures.rates["broker"] = broker_alone(home, size.messages)
        base = int(time.time() * 1000) - HOUR_MS
        for name, lanes, prepared in (
            ("copy", 1, True),
            ("copy × 2", 2, True),
            (PYTHON_ROWS, 2, False),
        ):
            with fresh(admin_dsn, level) as dsn:
                figures.rates[name] = copy_alone(
                    dsn, size.dense_messages * 50 // BATCH, lanes, base, prepared=prepared
                )
        dense = {"messages": size.dense_messages, "items": 25, "values": 2}
        for name, load, workers, reader in (
            ("whole", {"messages": size.messages}, 1, "auto"),
            ("whole, stock paho", {"messages": size.messages // 3}, 1, "stock"),
            ("whole, 50 a message × 2", dense, 2, "auto"),
        ):
            with fresh(admin_dsn, level) as dsn:
                figures.rates[name], figures.cpu[name] = whole(
                    dsn, home, load, workers=workers, reader=reader
                )
        if peer_folder is not None:
            for name, load in (
                ("Node-RED, batched", {"messages": size.messages // 3}),
                (DENSE_PEER, dense | {"messages": size.dense_messages // 3}),
            ):
                with fresh(admin_dsn, level) as dsn:
                    figures.rates[name] = peer(peer_folder, dsn, home, load)
        rounds.append(figures)
    return rounds


@contextmanager
def fresh(admin_dsn: str, level: Level) -> Iterator[str]:
    """Make a database with the publisher's register, and drop it afterwards.

    On the plain level it is a copy of the first. TimescaleDB's own workers sit in a database from
    its first moment, so there each is made anew.
    """
    template = "bench_template"
    if level is Level.PLAIN and not exists(admin_dsn, template):
        _make(with_database(admin_dsn, template), admin_dsn, template, level)
    name = f"bench_{time.monotonic_ns()}"
    if level is Level.PLAIN:
        make_database(admin_dsn, name, template=template)
    else:
        _make(with_database(admin_dsn, name), admin_dsn, name, level)
    try:
        yield with_database(admin_dsn, name)
    finally:
        drop_database(admin_dsn, name)


def _make(dsn: str, admin_dsn: str, name: str, level: Level) -> None:
    make_database(admin_dsn, name, template="template0")
    migrate(dsn, level=level)
    register(dsn)


def median(rounds: list[Figures], name: str) -> float:
    """Return the median of a rate."""
    return statistics.median(figures.rates[name] for figures in rounds)


def shares(rounds: list[Figures]) -> dict[str, list[float]]:
    """Return what is asked of ingest, round by round.

    That is its share of the limit that binds, and how much faster it is than the peers.
    """
    found: dict[str, list[float]] = {}
    for figures in rounds:
        rates = figures.rates
        found.setdefault("one reading a message, of the lower limit", []).append(
            rates["whole"] / min(rates["broker"], rates["copy"])
        )
        dense = rates["whole, 50 a message × 2"]
        found.setdefault(
            "50 a message, two workers, of COPY × 2 of bytes laid out before", []
        ).append(dense / rates["copy × 2"])
        found.setdefault("50 a message, two workers, of COPY × 2 of rows from Python", []).append(
            dense / rates[PYTHON_ROWS]
        )
        found.setdefault("over stock paho", []).append(rates["whole"] / rates["whole, stock paho"])
        if "Node-RED, batched" in rates:
            found.setdefault("over Node-RED, one reading a message", []).append(
                rates["whole"] / rates["Node-RED, batched"]
            )
            found.setdefault("over Node-RED, 50 a message", []).append(dense / rates[DENSE_PEER])
    return found
