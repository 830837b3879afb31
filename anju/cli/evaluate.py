"""`anju evaluate` and `anju simulate world`: a hard city judged, or written as files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from anju import services
from anju.cli.terminal import fail, out, parse_day
from anju.settings import load_settings

if TYPE_CHECKING:
    from anju.evaluation.report import DetectorScore, EvaluationReport
    from domain.proportions import Proportion
    from simulators.world.city import WorldCity

FIRST = date(2024, 9, 1)
_COLUMNS = (
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
    """Judge cities whose truth is known, and print what the detectors got right."""
    from anju.evaluation.report import evaluate_cities
    from simulators.world.city import WorldCity

    first_day = parse_day("--first", first)
    cities = [
        WorldCity(seed=number, units=units, first=first_day, days=days, normal=normal)
        for number in seed or [1]
    ]
    bounds = services.meter_bounds(load_settings().profiles_dir)
    with _homes_bar(units * len(cities), shown=not as_json) as advance:
        report = evaluate_cities(cities, bounds, advance, processes)
    if as_json:
        print(json.dumps(asdict(report), ensure_ascii=False, default=str))
    else:
        _print_report(report)


@contextmanager
def _homes_bar(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar over homes; yields a function that advances it by so many."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=not shown) as bar:
        task = bar.add_task("homes", total=total)
        yield lambda homes: bar.advance(task, homes)


def _print_report(report: EvaluationReport) -> None:
    table = Table(*_COLUMNS)
    for row in report.detectors:
        table.add_row(*_cells(row))
    out.print(table)
    ranking = report.subletting
    out.print(
        "subletting within the first 0.35 % of homes: "
        f"precision {_share(ranking.precision)} ({_interval(ranking.precision)}), "
        f"recall {_share(ranking.recall)} ({_interval(ranking.recall)}) of those eight weeks old; "
        f"by consumption alone {_share(ranking.baseline)}; "
        f"scores are off by {ranking.calibration_error:.3f}"
    )
    threshold = report.threshold
    out.print(
        f"vacancy by a fixed threshold: precision {_share(threshold.precision)}, "
        f"recall {_share(threshold.recall)}, {threshold.leads} leads"
    )


def _cells(row: DetectorScore) -> list[str]:
    return [
        row.detector,
        str(row.leads),
        _share(row.precision),
        _interval(row.precision),
        str(row.truths),
        _share(row.recall),
        _interval(row.recall),
        "-" if row.start_within_2 is None else f"{row.start_within_2:.0%}",
        "-" if row.delay is None else f"{row.delay:.0f}",
        str(row.abstained),
        f"{row.false_per_1000_year:.2f}",
        f"{row.false_per_10000_month:.2f}",
    ]


def _share(proportion: Proportion) -> str:
    return "-" if proportion.rate is None else f"{proportion.rate:.3f}"


def _interval(proportion: Proportion) -> str:
    if proportion.rate is None:
        return "-"
    return f"{proportion.low:.3f} to {proportion.high:.3f}"


def simulate_world(
    directory: Annotated[
        Path, typer.Argument(help="directory to make: register/, traffic/, truth.json")
    ],
    units: Annotated[int, typer.Option(min=48, max=20_000)] = 480,
    days: Annotated[int, typer.Option(min=30, max=800)] = 365,
    seed: Annotated[int, typer.Option()] = 1,
    first: Annotated[str, typer.Option(help="the first day")] = FIRST.isoformat(),
) -> None:
    """Write a hard city: its register, its traffic for `anju play`, and its truth."""
    from simulators.world.city import WorldCity

    if directory.exists() and any(directory.iterdir()):
        raise fail(f"{directory}: is not empty; name a new directory")
    city = WorldCity(seed=seed, units=units, first=parse_day("--first", first), days=days)
    truth = _write_city(city, directory)
    summary = {"seed": seed, "first": str(city.first), "days": days, "truth": truth}
    (directory / "truth.json").write_text(json.dumps(summary), "utf-8")
    out.print(
        f"{units} homes: `anju register import {directory}/register --apply`, "
        f"`anju play {directory}/traffic --received-as-sent`, "
        f"`anju nightly --from {city.first} --to …`, `anju leads --as-of … --json`"
    )


def _write_city(city: WorldCity, directory: Path) -> list[dict[str, Any]]:
    """Write a city's register and traffic, building by building; returns what is true of it."""
    from simulators.world.city import PER_BUILDING
    from simulators.world.traffic import as_text, lines, made, truth_of, write_register

    register = directory / "register"
    traffic = directory / "traffic"
    register.mkdir(parents=True)
    traffic.mkdir()
    papers = []
    truth = []
    with _homes_bar(city.units, shown=True) as advance:
        for begin in range(0, city.units, PER_BUILDING):
            end = min(begin + PER_BUILDING, city.units)
            homes = [made(city, index) for index in range(begin, end)]
            for home, _, metered in homes:
                papers.append((home, metered))
                truth += truth_of(city, home, metered)
            name = f"{city.estate(begin)}-{city.building(begin)}.jsonl.gz"
            with gzip.open(traffic / name, "wb", compresslevel=4) as stream:
                stream.writelines(as_text(line) for line in lines(city, homes))
            advance(len(homes))
    write_register(city, papers, register)
    return truth
