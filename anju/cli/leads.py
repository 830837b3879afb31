"""`anju leads`, `anju visits`, `anju rehearse`: whom to visit, what was found there, and what a detector would have said."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from anju.cli.terminal import fail, out, parse_day
from anju.settings import load_settings
from domain.calendar import DEFAULT_ZONE

visits_app = typer.Typer(
    no_args_is_help=True, help="Visits: what was found, and what that teaches."
)
EstateOption = Annotated[str | None, typer.Option(help="only this estate")]


def _scope(connection: Any, estate: str | None) -> tuple[tuple[int, ...], ZoneInfo]:
    """Return the estates that are meant, and their time zone."""
    from store.analytics import nights

    rows = nights.list_estates(connection, estate)
    if estate is not None and not rows:
        raise fail(f"--estate {estate!r}: no such estate in the register, or one without units")
    return tuple(row.id for row in rows), ZoneInfo(rows[0].timezone if rows else DEFAULT_ZONE)


def leads(
    estate: EstateOption = None,
    visits: Annotated[
        int | None, typer.Option(help="make the list of so many visits", min=1, max=5000)
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="as it stood after the night of this day")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    lang: Annotated[str, typer.Option(help="zh or en")] = "zh",
) -> None:
    """List the leads that stand, likeliest first; with --visits the homes to visit this week, some of them at random."""
    from analytics import leads as found
    from analytics.policy import LANGUAGES, load_policy
    from store.database.connection import connect

    if lang not in LANGUAGES:
        raise fail(f"--lang {lang!r}: use one of {', '.join(LANGUAGES)}")
    settings, now = load_settings(), datetime.now(UTC)
    policy = load_policy(settings.policy_file)
    on = parse_day("--as-of", as_of) if as_of else None
    with connect(settings.conninfo(), statement_s=600) as connection:
        scope, zone = _scope(connection, estate)
        rows = found.standing(connection, policy, scope, on, now, zone)
        week = found.week(connection, policy, scope, visits, on, now, zone) if visits else None
        abstained = found.abstained(connection, scope, on, now, zone) if as_json else []
    if as_json:
        shown: dict[str, Any] = {
            "as_of": as_of,
            "leads": [_public(row) for row in rows],
            "abstentions": abstained,
        }
        if week is not None:
            shown["visits"] = {
                "expected_hits": week.expected_hits,
                "controls": week.controls,
                "controls_drawn_from": week.drawn_from,
                "list": [
                    {
                        "unit": v.unit,
                        "estate": v.estate,
                        "chance": round(v.chance, 3),
                        "control": v.control,
                        "why": {k: " ".join(lead["why"][k] for lead in v.leads) for k in LANGUAGES},
                    }
                    for v in week.visits
                ],
            }
        print(json.dumps(shown, ensure_ascii=False, default=str))
        return
    if week is not None:
        table = Table("estate", "unit", "chance", "why")
        for v in week.visits:
            why = (
                " ".join(lead["why"][lang] for lead in v.leads)
                or {"zh": "随机抽查", "en": "random control"}[lang]
            )
            table.add_row(v.estate, v.unit, f"{v.chance:.2f}", why)
        out.print(table)
        out.print(
            f"{len(week.visits)} visits, {week.expected_hits:g} hits expected; {week.controls} of them are drawn at random from "
            f"{week.drawn_from} homes without a lead, so that misses can be measured."
        )
        return
    table = Table("estate", "unit", "kind", "score", "severity", "since", "raised", "reason")
    for row in rows:
        table.add_row(
            row["estate"],
            row["unit"],
            row["kind"],
            f"{row['score']:.2f}",
            row["severity"],
            row["start_day"],
            row["raised_day"],
            row["why"][lang],
        )
    out.print(table)
    out.print(f"{len(rows)} leads. A lead is a reason to ask, never a verdict.")


def _public(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != "unit_id"}


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
    row = {
        "estate": estate,
        "unit": unit,
        "visited_on": on,
        "outcome": outcome,
        "kind": kind or "",
        "reason": reason,
        "began_on": began or "",
        "code": code or "",
        "note": note or "",
    }
    _record([("", row)])


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
            rows = [(f"{file.name}:{i}: ", row) for i, row in enumerate(csv.DictReader(stream), 2)]
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"{file}: cannot be read as UTF-8: {error}") from None
    _record(rows)


def _record(rows: list[tuple[str, dict[str, str]]]) -> None:
    from analytics.leads import KINDS
    from analytics.nightly.clock import night_clock
    from store.casework.visits import VisitRow, record_visit
    from store.database.connection import connect
    from store.register import places

    with connect(load_settings().conninfo()) as connection:
        scope = places.estate_ids(connection)
        for where, row in rows:
            found = places.find_unit(connection, scope, row.get("estate", ""), row.get("unit", ""))
            if found is None:
                raise fail(
                    f"{where}unit {row.get('unit')!r} of estate {row.get('estate')!r} is not in the register"
                )
            outcome, kind, reason = (
                row.get("outcome", ""),
                row.get("kind") or None,
                row.get("reason") or "lead",
            )
            if outcome not in ("confirmed", "unfounded", "inconclusive"):
                raise fail(f"{where}outcome {outcome!r}: use confirmed, unfounded or inconclusive")
            if (outcome == "confirmed") != (kind is not None) or (
                kind is not None and kind not in KINDS
            ):
                raise fail(
                    f"{where}kind {kind!r}: a confirmed visit, and no other, names one of {', '.join(KINDS)}"
                )
            if reason not in ("lead", "control", "tip_off", "other"):
                raise fail(f"{where}reason {reason!r}: use lead, control, tip_off or other")
            on = parse_day(f"{where}visited_on", row.get("visited_on", ""))
            began = row.get("began_on")
            visit = VisitRow(
                code=row.get("code") or f"{row['estate']}/{row['unit']}/{on}",
                unit_id=found["id"],
                visited_on=on,
                reason=reason,
                outcome=outcome,
                kind=kind,
                began_on=parse_day(f"{where}began_on", began) if began else None,
                note=row.get("note") or None,
            )
            clock = night_clock(on, ZoneInfo(found["timezone"]))
            record_visit(connection, visit, actor="cli", known_at=clock, kinds=KINDS)
        connection.commit()
    out.print(f"{len(rows)} visits recorded")


@visits_app.command(name="teach")
def teach(
    estate: EstateOption = None, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Print hit rates, the miss rate of random controls, how far scores are off, and what calibration is proposed."""
    from analytics.calibration_report import lessons
    from store.database.connection import connect

    with connect(load_settings().conninfo()) as connection:
        scope, _ = _scope(connection, estate)
        told = lessons(connection, scope)
    if as_json:
        print(json.dumps(told, ensure_ascii=False, default=str))
        return
    table = Table("detector", "version", "estate", "month", "hits", "visits", "hit rate", "95 %")
    for row in told["hit_rates"]:
        shown = "-" if row["hit_rate"] is None else f"{row['hit_rate']:.0%}"
        table.add_row(
            row["detector"],
            row["version"],
            row["estate"],
            row["month"],
            str(row["hits"]),
            str(row["visits"]),
            shown,
            f"{row['low']:.0%} to {row['high']:.0%}",
        )
    out.print(table)
    miss = told["control_visits"]
    out.print(
        f"random controls: {miss['hits']} of {miss['visits']} found what no lead had told ({miss['low']:.1%} to {miss['high']:.1%})"
    )
    for row in told["calibration"]:
        line = (
            f"{row['detector']}: scores are off by {row['error']:.3f} over {row['visits']} visits"
        )
        if row["proposal"]:
            new = row["proposal"]
            line += f"; proposed: log odds = {new['shift']:+.2f} + {new['stretch']:.2f} × old, then {new['error_after']:.3f}"
        out.print(line)


def rehearse(
    detector: Annotated[str, typer.Argument(help="the detector's key")],
    first: Annotated[str, typer.Option("--from", help="first day")],
    last: Annotated[str, typer.Option("--to", help="last day")],
    estate: EstateOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="a parameter to try, such as warn_days=45; may be repeated"),
    ] = None,
    every: Annotated[int, typer.Option(help="judge every so many days", min=1, max=31)] = 7,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Replay a detector over past days, with changed parameters if you like: what it would have raised. Nothing is stored."""
    from analytics.backtest import rehearse as run
    from analytics.detectors import DETECTORS
    from analytics.parameters import parameter_names
    from analytics.policy import load_policy
    from store.database.connection import connect

    found = next((d for d in DETECTORS if d.key == detector), None)
    if found is None:
        raise fail(
            f"{detector!r}: no such detector; use one of {', '.join(d.key for d in DETECTORS)}"
        )
    changed: dict[str, float] = {}
    for text in param or []:
        name, _, number = text.partition("=")
        known = parameter_names(found.params_type)
        if name not in known:
            raise fail(f"--param {text!r}: {detector} has {', '.join(sorted(known))}")
        try:
            changed[name] = float(number)
        except ValueError:
            raise fail(f"--param {text!r}: must be name=number") from None
    begin, end = parse_day("--from", first), parse_day("--to", last)
    if begin > end:
        raise fail(f"--from {first}: lies after --to {last}")
    settings = load_settings()
    with connect(settings.conninfo(), statement_s=600) as connection:
        scope, _ = _scope(connection, estate)
        report = run(
            connection, load_policy(settings.policy_file), found, changed, scope, begin, end, every
        )
        connection.rollback()
    if as_json:
        print(json.dumps(report, ensure_ascii=False, default=str))
        return
    out.print(
        f"{detector} version {report['version']} (parameters {report['params_digest']}), {begin} to {end}: {report['raised']} leads in "
        f"{report['units']} units, {report['per_day']:.2f} a day, {report['per_1000_units_year']:.1f} per 1,000 units and year"
    )
    known = report["known"]
    out.print(
        f"visits know of {known['visits']} of them: {known['hits']} confirmed ({known['low']:.0%} to {known['high']:.0%})"
    )
    table = Table("unit", "raised", "since", "score", "reasons", title="first 20")
    for row in report["leads"][:20]:
        table.add_row(
            row["unit"],
            row["raised_day"],
            row["start_day"],
            f"{row['score']:.2f}",
            ", ".join(row["reasons"]),
        )
    out.print(table)
