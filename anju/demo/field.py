"""`make field`: the edge at work on this machine's own parts, for whoever has no meter at hand.

There are simulated devices, each on its own protocol and port and some with a fault. One gateway
process reads them; a broker, ingest and PostgreSQL stand behind it. The demo prints what
`anju gateway check` says, and compares what the devices gave out with what is stored.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from anju.cli.gateway import print_report
from anju.demo import embedded
from anju.field import Pace, configuration, make_field, register_rows
from anju.processes import Child, start_anju
from anju.register_files import import_rows
from domain.broker import BrokerAddress
from gateway.check import inspect_gateway
from gateway.config import load_config
from simulators.field.estate import Field
from store.database.connection import connect
from store.database.migration import migrate
from store.ingest import log


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDemo:
    """How many simulated devices there are, and for how long they live."""

    meters: int
    doors: int
    seconds: int
    seed: int
    faults: bool

    def run(self, home: Path, out: Console) -> int:
        """Run the demo and print what came of it.

        Returns 0, or 1 where something that a device gave out is not stored.
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
            edge = self._make_edge(home / "edge")
            with connect(dsn) as connection:
                import_rows(connection, register_rows(edge.field))
            settings = {
                "ANJU_DSN": dsn,
                "ANJU_BROKER_PORT": str(broker.address.port),
                "ANJU_BROKER_PROTOCOL": str(broker.address.protocol),
            }
            children.append(start_anju("ingest", ["ingest"], home / "ingest.log", settings))
            asyncio.run(_live(self, edge, broker.address, children, out))
            return _compare_with_store(edge.field, dsn, out)
        finally:
            for child in reversed(children):
                child.stop()

    def _make_edge(self, folder: Path) -> _Edge:
        now = int(time.time() * 1000)
        pace = Pace(speed=1.0, start_ms=now, real_ms=now)
        field, ports = make_field(
            folder, pace, meters=self.meters, doors=self.doors, lines=4, seed=self.seed
        )
        return _Edge(folder=folder, field=field, ports=ports, pace=pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """The simulated devices, and what the configuration of their gateway needs."""

    folder: Path
    field: Field
    ports: dict[str, int]
    pace: Pace


async def _live(
    demo: FieldDemo, edge: _Edge, broker: BrokerAddress, children: list[Child], out: Console
) -> None:
    """Run the devices and a gateway, then print what the gateway says of itself."""
    field = edge.field
    pace = edge.pace
    await field.start()
    spread = field.spread_faults() if demo.faults else {}
    path = edge.folder / "gateway.toml"
    path.write_text(configuration(field, edge.ports, pace, broker, every_s=10), "utf-8")
    log_file = edge.folder / "gateway.log"
    gateway = start_anju("gateway", ["gateway", "run", str(path)], log_file, {})
    children.append(gateway)
    for device, fault in sorted(spread.items()):
        out.print(f"  {device}: {fault}")
    living = asyncio.ensure_future(field.live(2**62))
    for tick in range(demo.seconds * 10):
        _let_happen(field, tick, pace.now())
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


def _let_happen(field: Field, tick: int, now_ms: int) -> None:
    """Let the devices give out what belongs to a tenth of a second."""
    if tick % 15 == 0:
        field.doors[tick // 15 % len(field.doors)].pass_through(f"p-{tick:05d}", now_ms)
    if tick % 60 == 30:
        on = tick // 60 % 2 == 0
        field.fire.part("00000003", 3 if on else 1, "一号楼三层烟感")
        field.fire_given.append(("00000003", tick))
    if tick % 20 == 10:
        field.others[tick // 20 % len(field.others)].speak(now_ms)


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
    given_events = passages + len(field.fire_given)
    is_complete = not sums["quarantined"] and sums["events stored"] >= given_events
    return 0 if is_complete else 1
