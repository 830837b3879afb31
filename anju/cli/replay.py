"""The command `anju replay`: a file of real meter readings, sent as a gateway would."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from anju.cli.terminal import fail, load_settings_and_logs, out
from domain.calendar import DEFAULT_ZONE
from domain.ids import valid_id
from domain.measures import Supply


def replay(
    file: Annotated[Path, typer.Argument(help="CSV of meter readings, .gz or not")],
    kind: Annotated[Supply, typer.Option(help="what the meters measure")],
    estate: Annotated[str, typer.Option(help="the estate they belong to")],
    time_column: Annotated[str, typer.Option(help="column that holds the time")],
    value_column: Annotated[str, typer.Option(help="column that holds the value")],
    uom: Annotated[
        str, typer.Option(help="l, m3, gal; kwh, wh, mwh, kwmin (kW summed per minute)")
    ],
    device_column: Annotated[str | None, typer.Option(help="column that names the meter")] = None,
    device: Annotated[
        str, typer.Option(help="the meter's name, for a file of one meter without such a column")
    ] = "",
    timezone: Annotated[str, typer.Option(help="time zone of the file's times")] = DEFAULT_ZONE,
    time_format: Annotated[
        str | None, typer.Option(help="such as %d/%m/%Y %H:%M:%S; ISO 8601 if left out")
    ] = None,
    interval: Annotated[
        bool, typer.Option("--interval", help="values are used per interval, not a register's")
    ] = False,
    gateway: Annotated[str, typer.Option(help="gateway to speak as")] = "replay",
    make_register: Annotated[
        bool,
        typer.Option(
            "--register",
            help="register the estate, a unit, a tenancy and a meter for each device met",
        ),
    ] = False,
    profile: Annotated[str | None, typer.Option(help="the meters' profile, for --register")] = None,
) -> None:
    """Send a file of real meter readings through a gateway's topic, as a gateway would."""
    from anju.replay import ReplayTarget, run_replay
    from gateway.replay import FACTORS, Layout

    for option, value in (("--estate", estate), ("--gateway", gateway)):
        if not valid_id(value):
            raise fail(f"{option} {value!r}: must be 2 to 40 lower-case letters, digits or hyphens")
    if (device_column is None) == (not device):
        raise fail(
            "--device-column: name the column that holds the meter, or with --device the "
            "file's only meter"
        )
    if uom not in FACTORS[kind]:
        raise fail(f"--uom {uom!r}: for {kind} use one of {', '.join(FACTORS[kind])}")
    layout = Layout(
        supply=kind,
        device_column=device_column,
        device=device,
        time_column=time_column,
        value_column=value_column,
        uom=uom,
        timezone=_read_zone(timezone),
        time_format=time_format,
        interval=interval,
    )
    target = ReplayTarget(
        estate=estate, gateway=gateway, make_register=make_register, profile=profile
    )
    raise typer.Exit(run_replay(load_settings_and_logs(), file, layout, target, out))


def _read_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise fail(f"--timezone {name!r}: use a zone like Asia/Shanghai") from None
