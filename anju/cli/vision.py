"""The `anju vision` commands: try rules on a recording, and render a scene with its truth."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from anju.cli.terminal import fail, out

vision_app = typer.Typer(
    no_args_is_help=True, help="Cameras at the edge: try rules on a film, render a scene."
)
#: Processor seconds and memory that a film on trial may take.
MOST_CPU_S = 3600
MEMORY_MB = 2048


@vision_app.command(name="try")
def try_rules(
    video: Annotated[str, typer.Argument(help="a recording of the camera")],
    rule: Annotated[Path, typer.Option(help="the rules, YAML (docs/vision.md)")],
    into: Annotated[Path, typer.Option(help="folder for annotated pictures and clips")] = Path(
        "vision-try"
    ),
    starts_at: Annotated[
        datetime | None, typer.Option(help="local time of the first picture, for a burnt-in clock")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON line per thing seen")] = False,
) -> None:
    """Show what would be raised on a recording, with an annotated picture and a clip of each.

    Nothing is sent anywhere.
    """
    import msgspec

    from gateway.vision.rules import BadRules, load_rules

    try:
        rules = load_rules(rule)
    except BadRules as error:
        raise fail(str(error)) from None
    started = None if starts_at is None else round(starts_at.astimezone(UTC).timestamp() * 1000)
    orders = {
        "url": video,
        "rules": msgspec.to_builtins(rules),
        "folder": str(into),
        "memory_mb": MEMORY_MB,
        "most_cpu_s": MOST_CPU_S,
        "starts_at": started,
        "max_mb": 4096,
        "keep_days": 365.0,
    }
    lines = _run_worker(orders)
    sightings = [line["sighting"] for line in lines if "sighting" in line]
    if as_json:
        for sighting in sightings:
            print(json.dumps(sighting, ensure_ascii=False))
        return
    if sightings:
        out.print(_sighting_table(sightings, into))
    end = next(line for line in lines if "end" in line)
    raised = sum(sighting["state"] == "on" for sighting in sightings)
    out.print(f"{end['end']} pictures, {end['t']:.0f} s: {raised} would be raised")


def _run_worker(orders: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the gateway's vision worker and return the lines that it printed; ends on its fault."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.vision.worker"],
        input=json.dumps(orders) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    fault = next((line["fault"] for line in lines if "fault" in line), None)
    if fault:
        raise fail(str(fault))
    if done.returncode:
        raise fail(
            f"{orders['url']}: the worker ended with {done.returncode}; it may take "
            f"{MEMORY_MB} MB and {MOST_CPU_S} s of processor time"
        )
    return lines


def _sighting_table(sightings: list[dict[str, Any]], folder: Path) -> Table:
    table = Table("at", "what", "state", "data", "picture")
    for sighting in sightings:
        table.add_row(
            f"{sighting['t']:.1f} s",
            sighting["hazard"] or f"{sighting['condition']}: {sighting['detail']}",
            sighting["state"],
            ", ".join(f"{name} {value}" for name, value in sighting["data"].items()),
            str(folder / f"{sighting['clip']}.jpg") if sighting.get("clip") else "",
        )
    return table


@vision_app.command()
def scene(
    kind: Annotated[str, typer.Argument(help="lane or facade")],
    seed: Annotated[int, typer.Option(help="what happens follows from it")] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(min=5, max=86_400, help="by default 900 for a lane, 60 for a facade"),
    ] = None,
    into: Annotated[Path, typer.Option(help="folder for film, rules and truth")] = Path("scene"),
) -> None:
    """Render a simulated scene, with its rules and its truth.

    It writes `scene.mp4`, `rules.yaml` as an installer would write it, and `truth.json`.
    """
    from dataclasses import asdict

    import yaml

    from gateway.vision.stream import write_film
    from simulators.scenes import facade, lane

    rules: dict[str, Any]
    truth: Sequence[Any]
    if kind == "lane":
        street = lane.LaneScene(seed, seconds=seconds or 900.0)
        rules = {"kind": "lane", "polygon": [list(corner) for corner in street.polygon]}
        truth = street.truth
        pictures = street.pictures()
        fps = lane.FPS
    elif kind == "facade":
        wall = facade.FacadeScene(seed, seconds=seconds or 60.0)
        marks = [list(mark) for mark in sorted(wall.marks)]
        rules = {"kind": "falling", "heights": marks, "roof_m": wall.roof_m}
        truth = wall.truth
        pictures = wall.pictures()
        fps = float(facade.FPS)
    else:
        raise fail(f"{kind!r}: use lane or facade")
    into.mkdir(parents=True, exist_ok=True)
    count = write_film(into / "scene.mp4", pictures, fps)
    (into / "rules.yaml").write_text(yaml.safe_dump(rules), "utf-8")
    (into / "truth.json").write_text(
        json.dumps([asdict(entry) for entry in truth], indent=1), "utf-8"
    )
    out.print(
        f"{into}: scene.mp4 with {count} pictures, rules.yaml, truth.json with "
        f"{len(truth)} true things"
    )
    out.print(f"try it: anju vision try {into / 'scene.mp4'} --rule {into / 'rules.yaml'}")
