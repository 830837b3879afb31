"""`anju visits`: what visits found, and what their outcomes show about the detectors."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from anju.cli.leads import EstateOption, JsonOption, find_scope
from anju.cli.terminal import fail, out, parse_day
from anju.settings import load_settings

if TYPE_CHECKING:
    from analytics.calibration.report import CalibrationReport, DetectorCalibration
    from store.database.connection import Connection

visits_app = typer.Typer(
    no_args_is_help=True, help="Visits: what was found, and how that calibrates the detectors."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitRow:
    """A visit as it was typed, or as a row of a file has it.

    Empty texts stand for what is not given. `place` begins a message about the row, such as
    "visits.csv:2: ".
    """

    place: str = ""
    estate: str
    unit: str
    visited_on: str
    outcome: str
    kind: str
    reason: str
    began_on: str
    code: str
    note: str


@visits_app.command(name="record")
def record_visit(
    estate: Annotated[str, typer.Option(help="the estate")],
    unit: Annotated[str, typer.Option(help="the unit")],
    on: Annotated[str, typer.Option("--on", help="day of the visit")],
    outcome: Annotated[str, typer.Option(help="confirmed, unfounded or inconclusive")],
    kind: Annotated[str | None, typer.Option(help="what was confirmed, such as subletting")] = None,
    reason: Annotated[str, typer.Option(help="lead, control, tip_off or other")] = "lead",
    began: Annotated[
        str | None, typer.Option(help="day on which it began, where that was learnt")
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(help="the visit's own code; made of estate, unit and day if left out"),
    ] = None,
    note: Annotated[str | None, typer.Option(help="no names, no numbers of people")] = None,
) -> None:
    """Record a visit and what was found."""
    row = VisitRow(
        estate=estate,
        unit=unit,
        visited_on=on,
        outcome=outcome,
        kind=kind or "",
        reason=reason,
        began_on=began or "",
        code=code or "",
        note=note or "",
    )
    _record_rows([row])


@visits_app.command(name="import")
def import_visits(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV: estate, unit, visited_on, outcome, kind, reason, began_on, code, note"
        ),
    ],
) -> None:
    """Record visits from a CSV file; all or none. A visit that is known already changes nothing."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            numbered = enumerate(csv.DictReader(stream), start=2)
            rows = [_read_row(f"{file.name}:{line}: ", row) for line, row in numbered]
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"{file}: cannot be read as UTF-8: {error}") from None
    _record_rows(rows)


def _read_row(place: str, fields: Mapping[str, str | None]) -> VisitRow:
    """Read one row of a CSV file; a column that is missing is empty."""
    return VisitRow(
        place=place,
        estate=fields.get("estate") or "",
        unit=fields.get("unit") or "",
        visited_on=fields.get("visited_on") or "",
        outcome=fields.get("outcome") or "",
        kind=fields.get("kind") or "",
        reason=fields.get("reason") or "",
        began_on=fields.get("began_on") or "",
        code=fields.get("code") or "",
        note=fields.get("note") or "",
    )


def _record_rows(rows: Sequence[VisitRow]) -> None:
    """Record visits; all or none."""
    from store.database.connection import connect
    from store.register import places

    with connect(load_settings().conninfo()) as connection:
        scope = places.estate_ids(connection)
        for row in rows:
            _record_row(connection, scope, row)
        connection.commit()
    out.print(f"{len(rows)} visits recorded")


def _record_row(connection: Connection, scope: tuple[int, ...], row: VisitRow) -> None:
    from analytics.leads import KINDS, check_kind
    from analytics.nightly.clock import night_clock
    from store.casework.visits import NewVisit, VisitReason, VisitResult, record_visit
    from store.register import places

    place = row.place
    unit = places.find_unit(connection, scope, row.estate, row.unit)
    if unit is None:
        raise fail(f"{place}unit {row.unit!r} of estate {row.estate!r} is not in the register")
    outcome: Any = _one_of(VisitResult, place, "outcome", row.outcome)
    reason: Any = _one_of(VisitReason, place, "reason", row.reason or "lead")
    kind = row.kind or None
    try:
        check_kind(outcome, kind)
    except ValueError as error:
        raise fail(f"{place}kind {kind!r}: {error}") from None
    day = parse_day(f"{place}visited_on", row.visited_on)
    began = row.began_on
    visit = NewVisit(
        code=row.code or f"{row.estate}/{row.unit}/{day}",
        unit_id=unit.id,
        visited_on=day,
        reason=reason,
        outcome=outcome,
        kind=kind,
        began_on=parse_day(f"{place}began_on", began) if began else None,
        note=row.note or None,
    )
    clock = night_clock(day, ZoneInfo(unit.timezone))
    record_visit(connection, visit, actor="cli", known_at=clock, kinds=KINDS)


def _one_of(literal: Any, place: str, name: str, word: str) -> str:
    words = get_args(literal)
    if word not in words:
        choice = f"{', '.join(words[:-1])} or {words[-1]}"
        raise fail(f"{place}{name} {word!r}: use {choice}")
    return word


@visits_app.command(name="calibration")
def calibration(estate: EstateOption = None, as_json: JsonOption = False) -> None:
    """Print how often visits confirmed what was found, and what calibration is proposed.

    There are hit rates, the miss rate of random controls, and how far scores are off.
    """
    from analytics.calibration.report import report_as_json, report_calibration
    from store.database.connection import connect

    with connect(load_settings().conninfo()) as connection:
        scope, _ = find_scope(connection, estate)
        report = report_calibration(connection, scope)
    if as_json:
        print(json.dumps(report_as_json(report), ensure_ascii=False, default=str))
    else:
        _print_report(report)


def _print_report(report: CalibrationReport) -> None:
    table = Table("detector", "version", "estate", "month", "hits", "visits", "hit rate", "95 %")
    for row in report.hit_rates:
        table.add_row(
            row.detector,
            row.version,
            row.estate,
            row.month,
            str(row.hits),
            str(row.visits),
            "-" if row.hit_rate is None else f"{row.hit_rate:.0%}",
            f"{row.low:.0%} to {row.high:.0%}",
        )
    out.print(table)
    controls = report.control_visits
    out.print(
        f"random controls: {controls.hits} of {controls.visits} found what no lead had reported "
        f"({controls.low:.1%} to {controls.high:.1%})"
    )
    for detector in report.calibration:
        out.print(_describe_calibration(detector))


def _describe_calibration(detector: DetectorCalibration) -> str:
    line = (
        f"{detector.detector}: scores are off by {detector.error:.3f} over {detector.visits} visits"
    )
    proposal = detector.proposal
    if proposal is None:
        return line
    return (
        f"{line}; proposed: log odds = {proposal.shift:+.2f} + {proposal.stretch:.2f} × old, "
        f"then {proposal.error_after:.3f}"
    )
