"""The visit list: which homes to visit this week, given how many visits can be made, and some at random.

Leads come by how likely they are, one visit per home however many leads it has. Some visits are drawn at random from the homes
without a lead: without them nobody would ever learn what is missed (随机抽查, Sichuan 2020 draft, 十一).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Share of visits that go to random homes, and the least number where there are ten visits or more.
CONTROL_SHARE, LEAST_CONTROLS = 0.1, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One home to visit: its unit's id, how likely anything is found there, and the leads (rows of findings) behind it."""

    unit_id: int
    unit: str
    estate: str
    chance: float
    control: bool
    leads: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitList:
    """What to do this week. `expected_hits` adds up the chances; `drawn_from` counts the homes that the controls came from."""

    visits: tuple[Visit, ...]
    expected_hits: float
    controls: int
    drawn_from: int


def controls_of(visits: int) -> int:
    """Return how many of so many visits go to random homes."""
    return 0 if visits < 10 else max(LEAST_CONTROLS, round(CONTROL_SHARE * visits))


def make_list(
    leads: Sequence[dict[str, Any]],
    others: Sequence[tuple[int, str, str]],
    *,
    visits: int,
    base_rate: float,
    seed: int,
) -> VisitList:
    """Choose from the leads that stand (rows with unit_id, unit, estate, score) and from `others`, homes (id, unit, estate) that are let.

    Visits that leads leave over go to random homes too. The same seed draws the same homes.
    """
    by_unit: dict[int, list[dict[str, Any]]] = {}
    for lead in leads:
        by_unit.setdefault(lead["unit_id"], []).append(lead)
    ranked = sorted(
        (_visit(unit_id, rows) for unit_id, rows in by_unit.items()),
        key=lambda v: (-v.chance, v.estate, v.unit),
    )
    rest = [home for home in others if home[0] not in by_unit]
    wanted = min(controls_of(visits), len(rest))
    chosen = ranked[: visits - wanted]
    drawn = random.Random(seed).sample(sorted(rest), min(visits - len(chosen), len(rest)))  # noqa: S311
    random_homes = [
        Visit(unit_id=home[0], unit=home[1], estate=home[2], chance=base_rate, control=True)
        for home in drawn
    ]
    made = (*chosen, *random_homes)
    return VisitList(
        visits=made,
        expected_hits=round(sum(v.chance for v in made), 2),
        controls=len(drawn),
        drawn_from=len(rest),
    )


def _visit(unit_id: int, rows: list[dict[str, Any]]) -> Visit:
    rows = sorted(rows, key=lambda row: -row["score"])
    # Leads about one home are about one life: the likeliest counts, the others explain.
    return Visit(
        unit_id=unit_id,
        unit=rows[0]["unit"],
        estate=rows[0]["estate"],
        chance=float(rows[0]["score"]),
        control=False,
        leads=tuple(rows),
    )
