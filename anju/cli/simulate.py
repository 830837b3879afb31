"""The `anju simulate` commands: a simulated city, and an estate of simulated devices."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from anju import services
from anju.cli.evaluate import simulate_world
from anju.cli.terminal import load_settings_and_logs, out

simulate_app = typer.Typer(no_args_is_help=True, help="A simulated city.")
simulate_app.command(name="world")(simulate_world)


@simulate_app.command(name="write")
def write(
    directory: Annotated[
        Path, typer.Argument(help="directory for the register's files; the truth goes beside it")
    ],
    units: Annotated[int, typer.Option(min=24, max=20_000)] = 240,
    seed: Annotated[int, typer.Option()] = 1,
    days: Annotated[int, typer.Option(help="length of the simulated past", min=1, max=800)] = 180,
) -> None:
    """Write a simulated city's register files and its truth, without sending anything."""
    from simulators.city import build_city
    from simulators.files import write_city

    city = build_city(seed=seed, units=units, days=days, until=datetime.now(UTC))
    write_city(city, directory)
    out.print(f"{len(city.homes)} units, seed {seed}: `anju register import {directory} --apply`")


@simulate_app.command(name="live")
def run_live(
    units: Annotated[int, typer.Option(min=24, max=576)] = 240,
    seed: Annotated[int, typer.Option()] = 1,
    days: Annotated[int, typer.Option(help="length of the simulated past", min=1, max=800)] = 180,
) -> None:
    """Register a simulated city, send its past and then its present, until told to stop."""
    from anju.register_files import import_rows
    from anju.simulate import LiveCity
    from simulators.city import build_city
    from simulators.files import register_rows
    from store.database.connection import connect

    settings = load_settings_and_logs()
    stopping = threading.Event()
    services.on_stop(stopping.set)
    now = datetime.now(UTC)
    city = build_city(seed=seed, units=units, days=days, until=now)
    with connect(settings.conninfo()) as connection:
        import_rows(connection, register_rows(city))
    with LiveCity(city, settings.broker(), f"s{int(now.timestamp())}", {}) as live:
        live.send_past(int(now.timestamp() * 1000), out, lambda: None)
        live.run(stopping.is_set, lambda: None)


@simulate_app.command()
def devices(
    folder: Annotated[Path, typer.Argument(help="folder for gateway.toml and its secrets")],
    meters: Annotated[int, typer.Option(min=4, max=2000)] = 40,
    doors: Annotated[int, typer.Option(min=0, max=200)] = 4,
    lines: Annotated[int, typer.Option(min=1, max=64)] = 4,
    seed: Annotated[int, typer.Option()] = 1,
    faults: Annotated[
        bool, typer.Option("--faults", help="give a meter of each kind each fault")
    ] = False,
    speed: Annotated[
        float, typer.Option(help="how much faster than real time", min=1, max=10_000)
    ] = 1.0,
    register: Annotated[
        bool, typer.Option("--register", help="write the devices into the register, too")
    ] = False,
) -> None:
    """Run simulated meters, doors and a fire host on their own protocols and ports.

    Also write the configuration of a gateway for them.
    """
    import asyncio

    from anju.field import Pace, make_field, register_rows, run_field
    from anju.register_files import import_rows
    from store.database.connection import connect

    settings = load_settings_and_logs()
    pace = Pace.since_yesterday(speed)
    field, ports = make_field(folder, pace, meters=meters, doors=doors, lines=lines, seed=seed)
    if register:
        with connect(settings.conninfo()) as connection:
            import_rows(connection, register_rows(field))
    asyncio.run(run_field(folder, settings.broker(), field, ports, pace, faults=faults))


@simulate_app.command(name="field")
def run_field_site(
    home: Annotated[Path, typer.Option(help="where it keeps its data")] = Path(".anju/field"),
    meters: Annotated[int, typer.Option(min=4, max=400)] = 48,
    doors: Annotated[int, typer.Option(min=1, max=20)] = 4,
    seconds: Annotated[int, typer.Option(help="how long it runs", min=5, max=3600)] = 25,
    seed: Annotated[int, typer.Option()] = 1,
    faults: Annotated[bool, typer.Option(help="give a meter of each kind each fault")] = True,
) -> None:
    """Show the edge at work on embedded parts.

    There are devices with faults, one gateway and the server behind it; what each knows is printed.
    """
    from anju.demo.field import FieldDemo

    demo = FieldDemo(meters=meters, doors=doors, seconds=seconds, seed=seed, faults=faults)
    raise typer.Exit(demo.run(home, out))
