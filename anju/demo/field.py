"""`make field`: the edge at work on this machine's own parts, for whoever has no meter at hand.

Simulated devices, each on its own protocol and port and some with a fault; one gateway process
before them; broker, ingest and PostgreSQL behind it. Printed are what `anju gateway check` says,
and what the devices gave out against what is stored.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from anju.cli.gateway import print_report
from anju.demo import embedded
from anju.field import Pace, configuration, make_field, register_rows
from anju.processes import Child, start_anju
from anju.register_files import import_rows
from gateway.check import inspect_gateway
from gateway.config import load_config
from simulators.field.estate import Field
from store.database.connection import connect
from store.database.migration import migrate
from store.ingest import log


def run_field_demo(
    home: Path, *, meters: int, doors: int, seconds: int, seed: int, faults: bool, out: Console
) -> int:
    """Run it for some seconds and print what came of it; returns 1 where anything that was given
    out is not stored.
    """
    for place in (home, embedded.root_place(home)):
        shutil.rmtree(place, ignore_errors=True)
    home.mkdir(parents=True)
    home = home.resolve()
    children: list[Child] = []
    try:
        out.print(
            "[bold]Anju 安居[/bold] at the edge: starting PostgreSQL, a broker, ingest, "
            "devices and a gateway"
        )
        server = embedded.start_postgres(home)
        children.append(server.child)
        broker = embedded.start_broker(home)
        children.append(broker.child)
        dsn = embedded.make_database(server, "field")
        migrate(dsn)
        settings = {
            "ANJU_DSN": dsn,
            "ANJU_BROKER_PORT": str(broker.address.port),
            "ANJU_BROKER_PROTOCOL": str(broker.address.protocol),
        }
        now = int(time.time() * 1000)
        pace = Pace(speed=1.0, start_ms=now, real_ms=now)
        field, ports = make_field(
            home / "edge", pace, meters=meters, doors=doors, lines=4, seed=seed
        )
        with connect(dsn) as connection:
            import_rows(connection, register_rows(field))
        children.append(start_anju("ingest", ["ingest"], home / "ingest.log", settings))
        return asyncio.run(
            _live(home / "edge", field, ports, pace, broker, dsn, children, seconds, faults, out)
        )
    finally:
        for child in reversed(children):
            child.stop()


async def _live(
    folder: Path,
    field: Field,
    ports: dict[str, int],
    pace: Pace,
    broker: embedded.Broker,
    dsn: str,
    children: list[Child],
    seconds: int,
    faults: bool,
    out: Console,
) -> int:
    await field.start()
    spread = field.spread_faults() if faults else {}
    path = folder / "gateway.toml"
    path.write_text(configuration(field, ports, pace, broker.address, every_s=10), "utf-8")
    gateway = start_anju("gateway", ["gateway", "run", str(path)], folder / "gateway.log", {})
    children.append(gateway)
    for device, fault in sorted(spread.items()):
        out.print(f"  {device}: {fault}")
    living = asyncio.ensure_future(field.live(2**62))
    for n in range(seconds * 10):
        if n % 15 == 0:
            field.doors[n // 15 % len(field.doors)].pass_through(f"p-{n:05d}", pace.now())
        if n % 60 == 30:
            field.fire.part("00000003", 3 if n // 60 % 2 == 0 else 1, "一号楼三层烟感")
            field.fire_given.append(("00000003", n))
        if n % 20 == 10:
            field.others[n // 20 % len(field.others)].speak(pace.now())
        gateway.check()
        await asyncio.sleep(0.1)
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    field.mute()
    report = inspect_gateway(load_config(path), pace.now())
    for _ in range(100):
        if field.all_delivered and inspect_gateway(load_config(path), pace.now()).waiting == 0:
            break
        await asyncio.sleep(0.1)
    print_report(report, only_faults=False)
    gateway.stop()
    await field.stop()
    return _compare_with_store(field, dsn, out)


def _compare_with_store(field: Field, dsn: str, out: Console) -> int:
    """Print what was given out against what is stored."""
    with connect(dsn) as connection:
        tallies = log.read_tallies(connection)
    sums: Counter[str] = Counter()
    for (_, kind), tally in tallies.items():
        sums[f"{kind} stored"] += tally.stored
        sums["quarantined"] += tally.quarantined
    passages = sum(len(door.given) for door in field.doors) + sum(
        len(other.events) for other in field.others
    )
    answered = sum(meter.requests for line in field.lines for meter in line.meters)
    out.print(
        f"devices gave {answered} answers, {passages} passages and other events and "
        f"{len(field.fire_given)} fire reports; stored are "
        f"{sums['readings stored']} values and {sums['events stored']} events, "
        f"{sums['quarantined']} in quarantine"
    )
    return (
        1 if sums["quarantined"] or sums["events stored"] < passages + len(field.fire_given) else 0
    )
