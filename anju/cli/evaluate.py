"""`anju evaluate` and `anju simulate world`: a hard city judged against its truth, or written as files that any Anju can play."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from anju import services
from anju.cli.terminal import fail, out, parse_day
from anju.settings import load_settings

FIRST = date(2024, 9, 1)


def evaluate(
    seed: Annotated[list[int] | None, typer.Option(help="a city's seed; may be repeated")] = None,
    units: Annotated[int, typer.Option(min=480, max=300_000)] = 9_600,
    days: Annotated[int, typer.Option(min=120, max=800)] = 365,
    normal: Annotated[
        bool,
        typer.Option(
            "--normal", help="a city in which nobody does anything wrong and no meter fails"
        ),
    ] = False,
    first: Annotated[str, typer.Option(help="the first day")] = FIRST.isoformat(),
    processes: Annotated[int, typer.Option(min=1, max=64)] = 2,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Build cities with truth, judge them as the nights do, and print what the detectors got right, against simple rules."""
    from anju.evaluation.report import evaluate_cities
    from simulators.world.city import WorldCity

    seeds = seed or [1]
    cities = [
        WorldCity(seed=s, units=units, first=parse_day("--first", first), days=days, normal=normal)
        for s in seeds
    ]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=as_json) as bar:
        task = bar.add_task("homes", total=units * len(cities))
        bounds = services.meter_bounds(load_settings().profiles_dir)
        report = evaluate_cities(cities, bounds, lambda n: bar.advance(task, n), processes)
    if as_json:
        print(json.dumps(report, ensure_ascii=False, default=str))
        return
    table = Table(
        "detector",
        "leads",
        "precision",
        "95 %",
        "truths",
        "recall",
        "95 %",
        "start ≤ 2 d",
        "delay d",
        "abstained",
        "false / 1,000 units·year",
        "/ 10,000 units·month",
    )
    for row in report["detectors"]:
        table.add_row(
            row["detector"],
            str(row["leads"]),
            _share(row["precision"]),
            _span(row["precision"]),
            str(row["truths"]),
            _share(row["recall"]),
            _span(row["recall"]),
            "-" if row["start_within_2"] is None else f"{row['start_within_2']:.0%}",
            "-" if row["delay"] is None else f"{row['delay']:.0f}",
            str(row["abstained"]),
            f"{row['false_per_1000_year']:.2f}",
            f"{row['false_per_10000_month']:.2f}",
        )
    out.print(table)
    r = report["subletting"]
    out.print(
        f"subletting within the first 0.35 % of homes: precision {_share(r['precision'])} ({_span(r['precision'])}), recall "
        f"{_share(r['recall'])} ({_span(r['recall'])}) of those eight weeks old; by consumption alone {_share(r['baseline'])}; "
        f"scores are off by {r['calibration_error']:.3f}"
    )
    t = report["threshold"]
    out.print(
        f"vacancy by a fixed threshold: precision {_share(t['precision'])}, recall {_share(t['recall'])}, {t['leads']} leads"
    )


def _share(rate: dict[str, Any]) -> str:
    return "-" if rate["rate"] is None else f"{rate['rate']:.3f}"


def _span(rate: dict[str, Any]) -> str:
    return "-" if rate["rate"] is None else f"{rate['low']:.3f} to {rate['high']:.3f}"


def simulate_world(
    directory: Annotated[
        Path, typer.Argument(help="directory to make: register/, traffic/, truth.json")
    ],
    units: Annotated[int, typer.Option(min=48, max=20_000)] = 480,
    days: Annotated[int, typer.Option(min=30, max=800)] = 365,
    seed: Annotated[int, typer.Option()] = 1,
    first: Annotated[str, typer.Option(help="the first day")] = FIRST.isoformat(),
) -> None:
    """Write a hard city: its register for `anju register import`, its traffic for `anju play`, and the truth beside them."""
    from simulators.world.city import PER_BUILDING, WorldCity
    from simulators.world.traffic import as_text, lines, made, truth_of, write_register

    if directory.exists() and any(directory.iterdir()):
        raise fail(f"{directory}: is not empty; name a new directory")
    city = WorldCity(seed=seed, units=units, first=parse_day("--first", first), days=days)
    (directory / "register").mkdir(parents=True)
    (directory / "traffic").mkdir()
    papers, truth = [], []
    with Progress(
        TextColumn("homes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out
    ) as bar:
        task = bar.add_task("", total=units)
        for begin in range(0, units, PER_BUILDING):
            homes = [made(city, i) for i in range(begin, min(begin + PER_BUILDING, units))]
            papers += [(home, seen) for home, _, seen in homes]
            truth += [row for home, _, seen in homes for row in truth_of(city, home, seen)]
            name = f"{city.estate(begin)}-{city.building(begin)}.jsonl.gz"
            with gzip.open(directory / "traffic" / name, "wb", compresslevel=4) as stream:
                stream.writelines(as_text(line) for line in lines(city, homes))
            bar.advance(task, len(homes))
    write_register(city, papers, directory / "register")
    (directory / "truth.json").write_text(
        json.dumps({"seed": seed, "first": str(city.first), "days": days, "truth": truth}), "utf-8"
    )
    out.print(
        f"{units} homes: `anju register import {directory}/register --apply`, `anju play {directory}/traffic --received-as-sent`, "
        f"`anju nightly --from {city.first} --to …`, `anju leads --as-of … --json`"
    )
