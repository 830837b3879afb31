"""`anju record`, `anju play`, `anju nightly`: traffic recorded and played, and nights run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
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
from anju.night_workers import STATEMENT_S, NightEngine, crew
from anju.settings import load_settings
from domain.ids import valid_id

if TYPE_CHECKING:
    from analytics.nightly.estate import NightRules, RunReport
    from analytics.nightly.past import NightSpan
    from analytics.nightly.run import Spread
    from gateway.recording import Player
    from store.database.connection import Connection

#: Messages between two updates of the progress bar.
_BAR_EVERY = 500
#: Ingest looks once a second whether the register has changed.
_REGISTER_PAUSE_S = 1.5


def record(
    file: Annotated[Path, typer.Argument(help="gzip file to write; what is there already stays")],
    estate: Annotated[str, typer.Option(help="the estate to record")],
    seconds: Annotated[
        int | None, typer.Option(help="stop after so long; else at Ctrl-C", min=1)
    ] = None,
) -> None:
    """Record an estate's traffic as gzip lines of {"topic", "payload"}.

    Needs a broker log-in that may read up/.
    """
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
    """Send recordings through the broker, as fast as ingest takes them.

    Ends when the server has acknowledged all.
    """
    from gateway.recording import Player, list_recordings
    from store.database.connection import connect

    settings = load_settings()
    files = list_recordings(paths)
    began = time.monotonic()
    columns = (TextColumn("playing {task.completed:.0f} messages"), TimeElapsedColumn())
    with (
        connect(settings.conninfo()) as connection,
        Player(settings.broker()) as player,
        Progress(*columns, console=out) as bar,
    ):
        before = _count_stored(connection)
        connection.rollback()
        task = bar.add_task("", total=None)
        sent = 0
        for file in files:
            for _ in _play_file(connection, player, file, received_as_sent):
                sent += 1
                if sent % _BAR_EVERY == 0:
                    bar.update(task, completed=sent)
        player.drain()
        bar.update(task, completed=sent)
        stored = _count_stored(connection) - before
    took = time.monotonic() - began
    out.print(
        f"{sent} messages of {len(files)} files in {took:.1f} s: "
        f"{player.acknowledged} acknowledged, "
        f"{player.unnumbered} without a number handed to the broker; "
        f"{stored} values and events are new"
    )


def _count_stored(connection: Connection) -> int:
    """Count the values and events that ingest has stored."""
    from store.ingest import log

    return sum(tally.stored for tally in log.read_tallies(connection).values())


def _play_file(
    connection: Connection, player: Player, file: Path, received_as_sent: bool
) -> Iterator[None]:
    """Send the messages of a recording, and yield after each.

    Before an estate's first message it is marked whether its messages count as received when sent.
    """
    from domain import wire
    from gateway.recording import read_recording
    from store.analytics import nights

    marked: set[str] = set()
    for topic, payload in read_recording(file):
        parsed = wire.parse_up_topic(topic)
        if parsed is not None and parsed.estate not in marked:
            marked.add(parsed.estate)
            if nights.mark_recording(connection, [parsed.estate], as_sent=received_as_sent):
                raise fail(
                    f"{file}: estate {parsed.estate!r} is not in the register: import it first"
                )
            connection.commit()
            time.sleep(_REGISTER_PAUSE_S)
        player.play(topic, payload)
        yield


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
    """Judge what changed and what is due today, or with --from and --to the nights of the past.

    A night knows what had arrived and was registered by its clock, four in the morning after its
    day. A night that was run stays. Estates can be judged by several processes or on a dask
    cluster, whose workers need Anju and its ANJU_ settings. The findings are the same.
    """
    from analytics.nightly.estate import NightRules
    from analytics.nightly.run import run_all
    from analytics.policy import load_policy
    from store.database.connection import connect

    settings = load_settings()
    services.set_up_logs(as_json=settings.log_json)
    rules = NightRules(
        policy=load_policy(settings.policy_file),
        meter_bounds=services.meter_bounds(settings.profiles_dir),
    )
    span = _read_span(first, last)
    with (
        connect(settings.conninfo(), statement_s=STATEMENT_S) as connection,
        crew(engine, settings.conninfo(), workers=workers, cluster=cluster) as spread,
        _nights_bar() as bar,
    ):
        if span is None:
            task = bar.add_task("estates", total=None)
            report = run_all(
                connection,
                rules,
                datetime.now(UTC),
                spread=spread,
                progress=lambda done, of: bar.update(task, completed=done, total=of),
            )
        else:
            report = _run_past(connection, rules, span, estate=estate, spread=spread, bar=bar)
    out.print(
        f"{report.nights} nights, {report.units} units judged, {report.unit_days} unit-days, "
        f"{report.findings} findings, {report.raised} new alerts"
    )


def _read_span(first: str | None, last: str | None) -> NightSpan | None:
    """Read the days of --from and --to; None: neither is given."""
    from analytics.nightly.past import NightSpan

    if first is None and last is None:
        return None
    if first is None or last is None:
        raise fail("--from and --to belong together: give both, or neither")
    span = NightSpan(first=parse_day("--from", first), last=parse_day("--to", last))
    if span.first > span.last:
        raise fail(f"--from {span.first}: lies after --to {span.last}")
    return span


def _nights_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=out,
    )


def _run_past(
    connection: Connection,
    rules: NightRules,
    span: NightSpan,
    *,
    estate: str | None,
    spread: Spread | None,
    bar: Progress,
) -> RunReport:
    """Run the nights of the past, and warn of batches that arrived after the last of them."""
    from analytics.nightly.past import run_nights
    from store.analytics import nights
    from store.series import dirty_spans

    estates = nights.list_estates(connection, estate)
    if not estates:
        raise fail(
            f"--estate {estate!r}: no such estate with units"
            if estate
            else "no estate has units: import the register"
        )
    days = (span.last - span.first).days + 1
    task = bar.add_task("nights", total=len(estates) * days)
    nights_run: dict[str, int] = {}

    def show(code: str, day: date) -> None:
        nights_run[code] = (day - span.first).days + 1
        bar.update(task, completed=sum(nights_run.values()), description=f"{code} {day}")

    report = run_nights(connection, rules, span, estate=estate, spread=spread, progress=show)
    end = datetime.combine(span.last + timedelta(days=2), datetime.min.time(), tzinfo=UTC)
    late = dirty_spans.count_spans_received_after(connection, end)
    if late:
        out.print(
            f"{late} batches arrived after the last of these nights and wait; "
            "a recording is played with --received-as-sent"
        )
    return report
