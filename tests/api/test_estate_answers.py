"""Answers about units.

Every fact of a unit-day is in them, and who may not see it sees no `let`.
"""

from __future__ import annotations

from api.estate_answers import UnitDayItem, UnitItem
from store.register.places import UnitSummary
from store.series.unit_days import INSTANTS, NUMBERS

UNIT = UnitSummary(code="3-1-502", floor=5, area_m2=48.5, entrance="3-1", building="3", let=True)


def test_a_day_has_every_fact_that_the_store_keeps() -> None:
    assert set(UnitDayItem.model_fields) == {"day", "faults", *NUMBERS, *INSTANTS}


def test_let_is_left_out_where_it_may_not_be_shown() -> None:
    hidden = UnitItem.of(UNIT, shows_let=False).model_dump(exclude_unset=True)
    shown = UnitItem.of(UNIT, shows_let=True).model_dump(exclude_unset=True)
    assert shown == {**hidden, "let": True} and "let" not in hidden
