"""The visit list: which homes to visit this week, given how many visits can be made, and some at
random.

Leads come by how likely they are, one visit per home however many leads it has. Some visits are
drawn at random from the homes without a lead: without them nobody would ever learn what is missed
(随机抽查, Sichuan 2020 draft, 十一).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.fusion import BASE_RATE
from analytics.leads import FROM_THE_DESK, Lead, LeadTime, list_leads
from analytics.policy import Policy
from store.casework import visits as visit_store
from store.casework.visits import LetHome
from store.database.connection import Connection

#: Share of visits that go to random homes, and the least number, where there are so many visits or
#: more.
CONTROL_SHARE = 0.1
LEAST_CONTROLS = 1
LEAST_VISITS_WITH_CONTROLS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVisit:
    """One home to visit: how likely anything is found there, and the leads behind it, the likeliest
    first.
    """

    unit_id: int
    unit: str
    estate: str
    chance: float
    control: bool
    leads: tuple[Lead, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitList:
    """What to do this week. `expected_hits` adds up the chances; `drawn_from` counts the homes that
    controls came from.
    """

    visits: tuple[PlannedVisit, ...]
    expected_hits: float
    controls: int
    drawn_from: int


def controls_of(visits: int) -> int:
    """Return how many of so many visits go to random homes."""
    if visits < LEAST_VISITS_WITH_CONTROLS:
        return 0
    return max(LEAST_CONTROLS, round(CONTROL_SHARE * visits))


def plan_week(
    connection: Connection,
    policy: Policy,
    estates: Sequence[int],
    time: LeadTime,
    *,
    visits_wanted: int,
) -> VisitList:
    """Choose the homes to visit; the same week draws the same random controls."""
    leads = [
        lead
        for lead in list_leads(connection, policy, estates, time)
        if lead.kind not in FROM_THE_DESK
    ]
    week = time.last_day.isocalendar()
    return make_visit_list(
        leads,
        visit_store.list_let_homes(connection, estates, time.last_day),
        visits=visits_wanted,
        base_rate=BASE_RATE,
        seed=week.year * 100 + week.week,
    )


def make_visit_list(
    leads: Sequence[Lead],
    let_homes: Sequence[LetHome],
    *,
    visits: int,
    base_rate: float,
    seed: int,
) -> VisitList:
    """Choose so many homes from the leads that stand, and from homes that are let, at random.

    Visits that leads leave over go to random homes too. The same seed draws the same homes.
    """
    leads_of: defaultdict[int, list[Lead]] = defaultdict(list)
    for lead in leads:
        leads_of[lead.unit_id].append(lead)
    planned = [_visit_to_leads(unit_leads) for unit_leads in leads_of.values()]
    planned.sort(key=lambda visit: (-visit.chance, visit.estate, visit.unit))
    without_lead = sorted(home for home in let_homes if home.unit_id not in leads_of)
    controls_wanted = min(controls_of(visits), len(without_lead))
    chosen = planned[: visits - controls_wanted]
    controls = min(visits - len(chosen), len(without_lead))
    drawn = random.Random(seed).sample(without_lead, controls)  # noqa: S311
    chosen += [_control_visit(home, base_rate) for home in drawn]
    return VisitList(
        visits=tuple(chosen),
        expected_hits=round(sum(visit.chance for visit in chosen), 2),
        controls=controls,
        drawn_from=len(without_lead),
    )


def _visit_to_leads(leads: Sequence[Lead]) -> PlannedVisit:
    """Plan the visit to one home; its leads are about one life, so the likeliest counts and the
    others explain.
    """
    likeliest_first = sorted(leads, key=lambda lead: -lead.score)
    likeliest = likeliest_first[0]
    return PlannedVisit(
        unit_id=likeliest.unit_id,
        unit=likeliest.unit,
        estate=likeliest.estate,
        chance=likeliest.score,
        control=False,
        leads=tuple(likeliest_first),
    )


def _control_visit(home: LetHome, base_rate: float) -> PlannedVisit:
    return PlannedVisit(
        unit_id=home.unit_id,
        unit=home.unit,
        estate=home.estate,
        chance=base_rate,
        control=True,
    )
