"""`anju backtest`: what a detector would have raised on past days.

Its parameters can be changed for the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from anju.cli.leads import EstateOption, JsonOption, find_scope
from anju.cli.terminal import fail, out, parse_day
from anju.settings import load_settings

if TYPE_CHECKING:
    from analytics.backtest import BacktestReport
    from analytics.detectors.contract import Detector

#: Leads that are printed.
_SHOWN_LEADS = 20


def backtest(
    detector: Annotated[str, typer.Argument(help="the detector's key")],
    first: Annotated[str, typer.Option("--from", help="first day")],
    last: Annotated[str, typer.Option("--to", help="last day")],
    estate: EstateOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="a parameter to try, such as warn_days=45; may be repeated"),
    ] = None,
    every: Annotated[int, typer.Option(help="judge every so many days", min=1, max=31)] = 7,
    as_json: JsonOption = False,
) -> None:
    """Run a detector over past days, and show what it would have raised.

    Its parameters can be changed for the run. Nothing is stored.
    """
    from analytics.backtest import BacktestWindow, backtest_detector, report_as_json
    from analytics.policy import load_policy
    from store.database.connection import connect

    chosen = find_detector(detector)
    changed = read_params(chosen, param or ())
    window = BacktestWindow(
        first=parse_day("--from", first), last=parse_day("--to", last), every_days=every
    )
    if window.first > window.last:
        raise fail(f"--from {first}: lies after --to {last}")
    settings = load_settings()
    policy = load_policy(settings.policy_file)
    with connect(settings.conninfo(), statement_s=600) as connection:
        scope, _ = find_scope(connection, estate)
        report = backtest_detector(connection, policy, chosen, changed, scope, window)
        connection.rollback()
    if as_json:
        print(json.dumps(report_as_json(report), ensure_ascii=False, default=str))
    else:
        _print_report(report)


def find_detector(key: str) -> Detector[Any]:
    """Return the detector of a key; ends the command where there is none."""
    from analytics.detectors import DETECTORS

    for detector in DETECTORS:
        if detector.key == key:
            return detector
    keys = ", ".join(detector.key for detector in DETECTORS)
    raise fail(f"{key!r}: no such detector; use one of {keys}")


def read_params(detector: Detector[Any], options: Sequence[str]) -> dict[str, float]:
    """Read `name=number` options.

    Ends the command where one does not fit the detector's parameters.
    """
    from analytics.parameters import BadParameter, build_params, parameter_names

    known = parameter_names(detector.params_type)
    changed: dict[str, float] = {}
    for option in options:
        name, _, number = option.partition("=")
        if name not in known:
            raise fail(f"--param {option!r}: {detector.key} has {', '.join(sorted(known))}")
        try:
            changed[name] = float(number)
        except ValueError:
            raise fail(f"--param {option!r}: must be name=number") from None
        try:
            build_params(detector.params_type, changed)
        except BadParameter as error:
            raise fail(f"--param {option!r}: {error}") from None
    return changed


def _print_report(report: BacktestReport) -> None:
    out.print(
        f"{report.detector} version {report.version} (parameters {report.params_digest}), "
        f"{report.window.first} to {report.window.last}: {len(report.leads)} leads in "
        f"{report.units} units, {report.leads_per_day:.2f} a day, "
        f"{report.leads_per_1000_units_year:.1f} per 1,000 units and year"
    )
    confirmed = report.confirmed
    out.print(
        f"visits know of {confirmed.of} of them: {confirmed.hits} confirmed "
        f"({confirmed.low:.0%} to {confirmed.high:.0%})"
    )
    table = Table("unit", "raised", "since", "score", "reasons", title=f"first {_SHOWN_LEADS}")
    for lead in report.leads[:_SHOWN_LEADS]:
        table.add_row(
            lead.unit,
            str(lead.raised_day),
            str(lead.start_day),
            f"{lead.score:.2f}",
            ", ".join(lead.reasons),
        )
    out.print(table)
