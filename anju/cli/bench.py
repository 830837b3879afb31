"""The `anju bench` commands."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from anju.bench.vision import Scene, Watched
from anju.cli.terminal import fail, out
from store.database.migration import Level

bench_app = typer.Typer(
    no_args_is_help=True, help="Measured speeds, beside limits and peers in the same run."
)


@contextmanager
def _server(timescale: str | None) -> Iterator[tuple[str, Level, Path]]:
    """Give the server that is measured on (the one named, or a PostgreSQL of our own), its level,
    and a folder for the run.
    """
    from anju.demo import embedded

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if timescale is not None:
            yield timescale, Level.TIMESCALE, home
            return
        server = embedded.start_postgres(home / "pg")
        try:
            yield server.dsn("postgres"), Level.PLAIN, home
        finally:
            server.child.stop()
            embedded.remove_root_place(home / "pg")


@bench_app.command()
def codecs(
    rounds: Annotated[
        int, typer.Option(help="rounds; the figure is the median", min=3, max=99)
    ] = 7,
    seed: Annotated[int, typer.Option(help="seed of the frames")] = 1,
) -> None:
    """Frames a second on one core, from bytes to values, beside a peer library where it is
    installed.
    """
    from anju.bench.codecs import bench_codecs as run

    table = Table("codec", "frames/s", "peer", "peer frames/s", "ratio", "over the rounds")
    for row in run(rounds=rounds, seed=seed):
        ratio = "" if row.ratio is None else f"{row.ratio:.1f}"
        spread = "" if row.ratio_low is None else f"{row.ratio_low:.1f} to {row.ratio_high:.1f}"
        peer = "" if row.peer_frames_s is None else f"{row.peer_frames_s:,.0f}"
        table.add_row(
            row.name, f"{row.frames_s:,.0f}", row.peer or "none installed", peer, ratio, spread
        )
    out.print(table)


@bench_app.command()
def ingest(
    messages: Annotated[int, typer.Option(help="messages of one reading", min=1000)] = 300_000,
    dense: Annotated[int, typer.Option(help="messages of fifty readings", min=1000)] = 60_000,
    rounds: Annotated[int, typer.Option(min=1, max=99)] = 3,
    timescale: Annotated[
        str | None,
        typer.Option(help="DSN of a superuser of a server with TimescaleDB: measure on it"),
    ] = None,
    peer: Annotated[
        Path | None,
        # It runs in its own folder, where a path from here would lead nowhere.
        typer.Option(
            help="anju/bench/node_red, after `npm install` there: measure it beside us",
            resolve_path=True,
        ),
    ] = None,
) -> None:
    """Messages through a real broker and real workers into the unique table, beside the limits of
    the broker and of COPY.
    """
    from anju.bench import ingest as bench
    from anju.demo import embedded

    if embedded.find_program("mosquitto") is None:
        raise fail("bench ingest measures on mosquitto: install Debian's mosquitto")
    if peer is not None and not (peer / "node_modules").is_dir():
        raise fail(f"--peer {peer}: run `npm install` there first")
    size = bench.Size(messages=messages, dense_messages=dense, rounds=rounds)
    with _server(timescale) as (dsn, level, home):
        measured = bench.run(dsn, level, home, size, peer)
    table = Table("what", "a second, median", "over the rounds")
    for name in measured[0].rates:
        values = sorted(one.rates[name] for one in measured)
        table.add_row(
            name, f"{statistics.median(values):,.0f}", f"{values[0]:,.0f} to {values[-1]:,.0f}"
        )
    out.print(table)
    table = Table("share", "median", "over the rounds")
    for name, found in bench.shares(measured).items():
        table.add_row(
            name, f"{statistics.median(found):.2f}", f"{min(found):.2f} to {max(found):.2f}"
        )
    out.print(table)
    stages = list(measured[0].cpu["whole"])
    table = Table("µs of processor time per reading", *stages)
    for name in measured[0].cpu:
        table.add_row(
            name,
            *(
                f"{statistics.median([one.cpu[name].get(stage, 0.0) for one in measured]):.2f}"
                for stage in stages
            ),
        )
    out.print(table)


@bench_app.command()
def latency(
    rate: Annotated[int, typer.Option(help="messages a second beside the markers", min=0)] = 30_000,
    seconds: Annotated[int, typer.Option(help="how long", min=5, max=600)] = 30,
    timescale: Annotated[
        str | None,
        typer.Option(help="DSN of a superuser of a server with TimescaleDB: measure on it"),
    ] = None,
) -> None:
    """From the MQTT publish to the row, and from the publish of an event to the live bus, under
    load.
    """
    from anju.bench import latency as bench

    with _server(timescale) as (dsn, level, home):
        found = bench.measure(dsn, level, home, rate=rate, seconds_long=seconds, every_s=0.02)
    out.print(
        f"{found.offered:,.0f} messages a second offered, {found.reached:,.0f} stored; "
        f"{found.sent} markers"
    )
    table = Table("from the publish", "p50", "p95", "p99", "most")
    for name, spans in (
        ("to the row", found.to_row),
        ("of an event to the live bus", found.to_bus),
    ):
        table.add_row(
            name,
            *(
                f"{1000 * bench.percentile(spans, share):.0f} ms"
                for share in (0.5, 0.95, 0.99, 1.0)
            ),
        )
    out.print(table)


@bench_app.command(name="alert-latency")
def alert_latency(
    rate: Annotated[int, typer.Option(help="readings a second beside the events", min=0)] = 5_000,
    events: Annotated[
        int, typer.Option(help="smoke events, each from its own detector", min=5, max=20_000)
    ] = 1_000,
    every_ms: Annotated[float, typer.Option(help="one event every so many ms", min=1)] = 30,
    storm: Annotated[
        bool, typer.Option(help="then 200 silent gateways and 50,000 offline devices at once")
    ] = True,
    timescale: Annotated[
        str | None,
        typer.Option(help="DSN of a superuser of a server with TimescaleDB: measure on it"),
    ] = None,
) -> None:
    """From the MQTT publish of a smoke event to the alert in an open stream: under load, and in the
    middle of a storm.
    """
    from anju.bench import alerts as bench
    from anju.bench.latency import percentile

    table = Table(
        "smoke, from the publish to the stream", "events", "missing", "p50", "p95", "p99", "most"
    )

    def show(name: str, timing: bench.AlertTiming) -> None:
        parts = (
            f"{1000 * percentile(timing.spans, share):.0f} ms" for share in (0.5, 0.95, 0.99, 1.0)
        )
        table.add_row(name, str(len(timing.spans) + timing.missing), str(timing.missing), *parts)

    with _server(timescale) as (dsn, level, home):
        timing = bench.measure(
            dsn, level, home / "load", rate=rate, events=events, every_s=every_ms / 1000
        )
        show(f"beside {timing.offered:,.0f} readings a second", timing)
        stormy = bench.storm(dsn, level, home / "storm") if storm else None
    if stormy is not None:
        show("in the storm", stormy)
    out.print(table)
    if stormy is not None:
        out.print(
            f"the storm left {stormy.gateways} alerts of gateways and {stormy.others} "
            f"others, in {stormy.rows} rows "
            f"({stormy.folds} folded) beside the {len(stormy.spans)} smoke alerts"
        )


@bench_app.command()
def nightly(
    units: Annotated[
        list[int] | None, typer.Option(help="homes; may be repeated", min=100, max=300_000)
    ] = None,
    workers: Annotated[int, typer.Option(help="processes that judge estates", min=1, max=64)] = 1,
) -> None:
    """One night over a year of facts, from the store to the alerts: seconds, memory, the share of
    reading, and the detectors beside numpy.
    """
    from datetime import date

    from anju import services
    from anju.bench import ingest as servers
    from anju.bench import nightly as bench
    from anju.settings import load_settings

    bounds = services.meter_bounds(load_settings().profiles_dir)
    for count in units or [500, 1_000]:
        with (
            _server(None) as (dsn, level, _home),
            servers.fresh(dsn, level) as database,
            out.status("") as status,
        ):
            night = bench.measure(database, count, bounds, date(2026, 3, 1), workers, status.update)
        out.print(
            f"{count:,} homes, processes {workers}: {night.whole_s:.1f} s "
            f"({1e6 * night.whole_s / count / 366:.1f} µs a unit-day); reading "
            f"frames alone {night.read_s:.1f} s; detectors {night.detect_s:.2f} s = "
            f"{night.passes:.2f} × one numpy pass "
            f"({night.pass_s:.2f} s); peak {night.peak_bytes / 2**20:,.0f} MiB; "
            f"{night.findings:,} findings"
        )


@bench_app.command()
def api(
    units: Annotated[int, typer.Option(help="homes of the city", min=500, max=300_000)] = 4_000,
    alerts: Annotated[int, typer.Option(help="alerts of a year", min=100, max=200_000)] = 5_000,
    rate: Annotated[float, typer.Option(help="requests a second", min=1)] = 100,
    seconds: Annotated[float, typer.Option(min=5)] = 60,
    home: Annotated[Path | None, typer.Option(help="keep the city here, for another run")] = None,
) -> None:
    """Answer times of every list and detail route on a city's data, at a steady rate, by route; the
    slowest first.
    """
    from anju.bench import api as bench
    from anju.bench import api_city
    from anju.demo import embedded
    from store.database.migration import migrate

    with tempfile.TemporaryDirectory() as folder:
        place = home or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        server = embedded.start_postgres(
            place, options={"shared_buffers": "2GB", "effective_cache_size": "8GB"}
        )
        try:
            dsn = embedded.make_database(server, "city")
            migrate(dsn)
            bench.make_keys(place / "keys.toml")
            api_city.fill(dsn, place / "keys.toml", units, alerts)
            found = bench.measure(dsn, place / "keys.toml", place, rate=rate, seconds=seconds)
        finally:
            server.child.stop()
            if home is None:
                embedded.remove_root_place(place)
    table = Table("route", "requests", "failed", "p50 ms", "p95 ms", "most ms")
    for name, times in sorted(
        found.items(), key=lambda entry: -bench.percentile_ms(entry[1].spans, 0.95)
    ):
        figures = (f"{bench.percentile_ms(times.spans, share):.0f}" for share in (0.5, 0.95, 1.0))
        table.add_row(name, str(len(times.spans)), str(times.failed), *figures)
    out.print(table)
    everything = [span for times in found.values() for span in times.spans]
    out.print(
        f"all: p50 {bench.percentile_ms(everything, 0.5):.0f} ms, "
        f"p95 {bench.percentile_ms(everything, 0.95):.0f} ms, of {len(everything)} requests"
    )


@bench_app.command()
def vision(
    only: Annotated[Watched | None, typer.Option(help="only this rule")] = None,
    scenes: Annotated[int, typer.Option(help="scenes of each rule", min=1, max=10_000)] = 200,
    minutes: Annotated[float, typer.Option(help="length of a lane's scene", min=4, max=1440)] = 8.0,
    seconds: Annotated[
        float, typer.Option(help="length of a facade's scene", min=20, max=86_400)
    ] = 60.0,
    crowd: Annotated[
        float, typer.Option(help="times as many birds, leaves, insects", min=0, max=100)
    ] = 1.0,
    first: Annotated[
        int | None, typer.Option(help="first seed; by default one that no rule was tuned on")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=64)] = 2,
    only_speed: Annotated[bool, typer.Option("--only-speed")] = False,
) -> None:
    """What camera rules find in rendered scenes with truth, with intervals, and pictures a second
    on one core.

    200 scenes of 432 seconds are a camera's day, of 50.4 minutes a camera's week.
    """
    from anju.bench import vision as bench

    if only_speed or only is None:
        rates = bench.speed()
        table = Table("720p, 25 a second, MPEG-4", "pictures/s on a core", "cameras on four cores")
        for name, pictures_s in rates.items():
            table.add_row(name, f"{pictures_s:.0f}", f"{4 * pictures_s / 25:.0f}")
        out.print(table)
    if only_speed:
        return
    table = Table(
        "rule", "scenes", "recall", "95 %", "false", "watched", "rate", "95 %", "told as gone"
    )
    for rule, unit, length in (
        (Watched.FALLING, "camera-days", seconds),
        (Watched.LANE, "camera-weeks", minutes * 60),
    ):
        if only not in (None, rule):
            continue
        begin = bench.UNSEEN_SEEDS_FROM if first is None else first
        more = {"crowd": crowd} if rule is Watched.FALLING else {}
        one = bench.run(rule, scenes, length, begin, processes, _print_scene, **more)
        low, high = one["recall_interval"]
        least, most = one["false_interval"]
        share = (
            "" if one["recall"] is None else f"{one['recall']:.3f} ({one['found']}/{one['true']})"
        )
        gone = f"{one['returned']}/{one['left']}" if one["left"] else ""
        table.add_row(
            rule,
            str(one["scenes"]),
            share,
            f"{low:.3f} to {high:.3f}",
            str(one["false"]),
            f"{one['watched']:.3f} {unit}",
            f"{one['false_rate']:.2f}",
            f"{least:.2f} to {most:.2f}",
            gone,
        )
    out.print(table)


def _print_scene(scene: Scene) -> None:
    """Tell of a scene in which something was missed or told wrongly."""
    if scene.odd:
        out.print(
            f"seed {scene.seed}: {scene.found} of {scene.true} found, {scene.false} false, "
            f"{scene.returned} of {scene.left} told as gone"
        )
