"""`anju leads`: the leads that stand, and the homes to visit this week."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from anju.cli.terminal import fail, out, parse_day
from anju.settings import load_settings
from domain.calendar import DEFAULT_ZONE

if TYPE_CHECKING:
    from analytics.leads import Lead, RemediableAbstention
    from analytics.visit_list import VisitList
    from store.database.connection import Connection

EstateOption = Annotated[str | None, typer.Option(help="only this estate")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
#: What is shown instead of reasons where a home is drawn at random.
_RANDOM_CONTROL = {"zh": "随机抽查", "en": "random control"}


def find_scope(connection: Connection, estate: str | None) -> tuple[tuple[int, ...], ZoneInfo]:
    """Return the ids of one estate, or of all, and their time zone.

    Ends the command where there is none.
    """
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
    as_json: JsonOption = False,
    lang: Annotated[str, typer.Option(help="zh or en")] = "zh",
) -> None:
    """List the leads that stand, likeliest first.

    With --visits list the homes to visit this week, some of them at random.
    """
    from analytics.leads import LeadTime, list_abstentions, list_leads
    from analytics.policy import load_policy
    from analytics.visit_list import plan_week
    from analytics.wording import LANGUAGES
    from store.database.connection import connect

    if lang not in LANGUAGES:
        raise fail(f"--lang {lang!r}: use one of {', '.join(LANGUAGES)}")
    settings = load_settings()
    policy = load_policy(settings.policy_file)
    day = parse_day("--as-of", as_of) if as_of else None
    with connect(settings.conninfo(), statement_s=600) as connection:
        scope, zone = find_scope(connection, estate)
        time = LeadTime(now=datetime.now(UTC), zone=zone, as_of=day)
        standing = list_leads(connection, policy, scope, time)
        week = None
        if visits:
            week = plan_week(connection, policy, scope, time, visits_wanted=visits)
        abstentions = []
        if as_json:
            abstentions = list_abstentions(connection, scope, time)
    if as_json:
        _print_json(as_of, standing, abstentions, week)
    elif week is not None:
        _print_visit_list(week, lang)
    else:
        _print_leads(standing, lang)


def _print_json(
    as_of: str | None,
    standing: Sequence[Lead],
    abstentions: Sequence[RemediableAbstention],
    week: VisitList | None,
) -> None:
    shown: dict[str, Any] = {
        "as_of": as_of,
        "leads": [_lead_as_json(lead) for lead in standing],
        "abstentions": [asdict(abstention) for abstention in abstentions],
    }
    if week is not None:
        shown["visits"] = _visit_list_as_json(week)
    print(json.dumps(shown, ensure_ascii=False, default=str))


def _visit_list_as_json(week: VisitList) -> dict[str, Any]:
    from analytics.wording import LANGUAGES

    return {
        "expected_hits": week.expected_hits,
        "controls": week.controls,
        "controls_drawn_from": week.drawn_from,
        "list": [
            {
                "unit": visit.unit,
                "estate": visit.estate,
                "chance": round(visit.chance, 3),
                "control": visit.control,
                "why": {lang: _join_reasons(visit.leads, lang) for lang in LANGUAGES},
            }
            for visit in week.visits
        ],
    }


def _print_visit_list(week: VisitList, lang: str) -> None:
    table = Table("estate", "unit", "chance", "why")
    for visit in week.visits:
        why = _join_reasons(visit.leads, lang) or _RANDOM_CONTROL[lang]
        table.add_row(visit.estate, visit.unit, f"{visit.chance:.2f}", why)
    out.print(table)
    out.print(
        f"{len(week.visits)} visits, {week.expected_hits:g} hits expected; "
        f"{week.controls} of them are drawn at random from "
        f"{week.drawn_from} homes without a lead, so that misses can be measured."
    )


def _print_leads(standing: Sequence[Lead], lang: str) -> None:
    table = Table("estate", "unit", "kind", "score", "severity", "since", "raised", "reason")
    for lead in standing:
        table.add_row(
            lead.estate,
            lead.unit,
            lead.kind,
            f"{lead.score:.2f}",
            lead.severity,
            str(lead.start_day),
            str(lead.raised_day),
            lead.why[lang],
        )
    out.print(table)
    out.print(f"{len(standing)} leads. A lead is a reason to ask, never a verdict.")


def _join_reasons(leads: Sequence[Lead], lang: str) -> str:
    return " ".join(lead.why[lang] for lead in leads)


def _lead_as_json(lead: Lead) -> dict[str, Any]:
    return {name: value for name, value in asdict(lead).items() if name != "unit_id"}
