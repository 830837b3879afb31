"""`anju record`, `anju play`, `anju nightly`: traffic taken and played again, and nights run one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from anju import services
from anju.cli.terminal import fail, out, parse_day
from anju.night_workers import STATEMENT_S, NightEngine, NightEngineError, crew
from anju.settings import Settings, load_settings
from domain.ids import valid_id

if TYPE_CHECKING:
    from analytics.facts import BoundsOf
    from analytics.nightly import RunReport, Spread
    from analytics.policy import Policy
    from store.database.connection import Connection


def record(
    file: Annotated[Path, typer.Argument(help="gzip file to write; what is there already stays")],
    estate: Annotated[str, typer.Option(help="the estate to record")],
    seconds: Annotated[
        int | None, typer.Option(help="stop after so long; else at Ctrl-C", min=1)
    ] = None,
) -> None:
    """Record an estate's traffic as gzip lines of {"topic", "payload"}. Needs a broker log-in that may read up/."""
    from gateway.recording import record_traffic as run

    if not valid_id(estate):
        raise fail(f"--estate {estate!r}: must be 2 to 40 lower-case letters, digits or hyphens")
    if not file.parent.is_dir():
        raise fail(f"{file}: its directory does not exist")
    settings = load_settings()
    stopping = threading.Event()
    services.on_stop(stopping.set)
    if seconds:
        threading.Timer(seconds, stopping.set).start()
    with Progress(
        TextColumn("recording {task.completed:.0f} messages"), TimeElapsedColumn(), console=out
    ) as bar:
        task = bar.add_task("", total=None)
        written = run(
            settings.broker(), estate, file, stopping, lambda n: bar.update(task, completed=n)
        )
    out.print(f"{written} messages in {file}")


def play(
    paths: Annotated[list[Path], typer.Argument(help="recordings, or directories of them")],
    received_as_sent: Annotated[
        bool,
        typer.Option(
            "--received-as-sent",
            help="messages count as received when they say that they were sent",
        ),
    ] = False,
) -> None:
    """Send recordings through the broker, as fast as ingest takes them; done when the server has acknowledged all."""
    from domain import wire
    from gateway.recording import Player, list_recordings, read_recording
    from store.analytics import nights
    from store.database.connection import connect
    from store.ingest import log

    settings = load_settings()
    files = list_recordings(paths)
    known: set[str] = set()
    sent, began = 0, time.monotonic()
    columns = (TextColumn("playing {task.completed:.0f} messages"), TimeElapsedColumn())
    with (
        connect(settings.conninfo()) as connection,
        Player(settings.broker()) as player,
        Progress(*columns, console=out) as bar,
    ):
        before = sum(t.stored for t in log.read_tallies(connection).values())
        connection.rollback()
        task = bar.add_task("", total=None)
        for file in files:
            for topic, payload in read_recording(file):
                parsed = wire.parse_up_topic(topic)
                if parsed is not None and parsed.estate not in known:
                    known.add(parsed.estate)
                    if nights.mark_recording(connection, [parsed.estate], as_sent=received_as_sent):
                        raise fail(
                            f"{file}: estate {parsed.estate!r} is not in the register: import it first"
                        )
                    connection.commit()
                    # Ingest looks once a second whether the register has changed.
                    time.sleep(1.5)
                player.play(topic, payload)
                sent += 1
                if sent % 500 == 0:
                    bar.update(task, completed=sent)
        player.drain()
        bar.update(task, completed=sent)
        stored = sum(t.stored for t in log.read_tallies(connection).values()) - before
    took = time.monotonic() - began
    out.print(
        f"{sent} messages of {len(files)} files in {took:.1f} s: {player.acknowledged} acknowledged, {player.unnumbered} without "
        f"a number handed to the broker; {stored} values and events are new"
    )


@contextmanager
def _crew(
    engine: NightEngine, settings: Settings, workers: int, cluster: str | None
) -> Iterator[Spread | None]:
    try:
        with crew(engine, settings.conninfo(), workers=workers, cluster=cluster) as spread:
            yield spread
    except NightEngineError as error:
        raise fail(str(error)) from None


def nightly(
    first: Annotated[
        str | None, typer.Option("--from", help="first day, such as 2026-03-01")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="last day")] = None,
    estate: Annotated[str | None, typer.Option(help="only this estate")] = None,
    engine: Annotated[
        NightEngine, typer.Option(help="where estates are judged")
    ] = NightEngine.HERE,
    workers: Annotated[
        int, typer.Option(help="with --engine processes: how many", min=1, max=256)
    ] = 2,
    cluster: Annotated[
        str | None,
        typer.Option(help="with --engine dask: the scheduler, such as tcp://127.0.0.1:8786"),
    ] = None,
) -> None:
    """Work off what is dirty and judge what has not been judged today; with --from and --to run those nights in their order.

    A night knows what had arrived and was registered by its clock, four in the morning after its day. A night that was run stays.
    Estates can be judged by several processes or on a dask cluster, whose workers need Anju and its ANJU_ settings; findings are the same.
    """
    from analytics import nightly as slow
    from analytics.policy import load_policy
    from store.database.connection import connect

    settings = load_settings()
    services.set_up_logs(as_json=settings.log_json)
    policy, bounds = load_policy(settings.policy_file), services.meter_bounds(settings.profiles_dir)
    if (first is None) != (last is None):
        raise fail("--from and --to belong together: give both, or neither")
    with (
        connect(settings.conninfo(), statement_s=STATEMENT_S) as connection,
        _crew(engine, settings, workers, cluster) as spread,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=out,
        ) as bar,
    ):
        if first is None or last is None:
            task = bar.add_task("estates", total=None)
            report = slow.run_all(
                connection,
                policy,
                bounds,
                datetime.now(UTC),
                spread=spread,
                progress=lambda done, of: bar.update(task, completed=done, total=of),
            )
        else:
            span = parse_day("--from", first), parse_day("--to", last)
            report = _run_past(connection, policy, bounds, span, estate, spread, bar)
    out.print(
        f"{report.nights} nights, {report.units} units judged, {report.unit_days} unit-days, {report.findings} findings, "
        f"{report.raised} new alerts"
    )


def _run_past(
    connection: Connection,
    policy: Policy,
    bounds: BoundsOf,
    span: tuple[date, date],
    estate: str | None,
    spread: Spread | None,
    bar: Progress,
) -> RunReport:
    """Run the nights of the past, and tell of what came too late for the last of them."""
    from analytics.nightly import run_nights
    from store.analytics import nights

    first, last = span
    if first > last:
        raise fail(f"--from {first}: lies after --to {last}")
    names = [code for _, code, _ in nights.list_estates(connection, estate)]
    if not names:
        raise fail(
            f"--estate {estate!r}: no such estate with units"
            if estate
            else "no estate has units: import the register"
        )
    task = bar.add_task("nights", total=len(names) * ((last - first).days + 1))
    ran: dict[str, int] = {}

    def told(code: str, day: date) -> None:
        ran[code] = (day - first).days + 1
        bar.update(task, completed=sum(ran.values()), description=f"{code} {day}")

    report = run_nights(
        connection, policy, bounds, first, last, estate=estate, spread=spread, progress=told
    )
    late = nights.too_late(
        connection, datetime.combine(last + timedelta(days=2), datetime.min.time(), tzinfo=UTC)
    )
    if late:
        out.print(
            f"{late} batches arrived after the last of these nights and wait; a recording is played with --received-as-sent"
        )
    return report
