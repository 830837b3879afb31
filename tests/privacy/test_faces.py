"""The law's words: a consent's state, and the thirty working days."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from privacy.faces import FILE_AT, WARN_AT, due_on, state_of

TODAY = date(2026, 11, 21)
AT = datetime(2026, 11, 20, tzinfo=timezone(timedelta(hours=8)))


def consent(**more: Any) -> dict[str, Any]:
    return {"withdrawn_at": None, "holds_to": TODAY, "held_at": 0, **more}


def gateway(held: bool = False, proven: bool = False) -> dict[str, Any]:
    return {"held_at": AT if held else None, "proven_at": AT if proven else None}


@pytest.mark.parametrize(
    ("row", "gateways", "state"),
    [
        (consent(), [gateway(held=True)], "holds"),
        (consent(holds_to=date(2026, 11, 20)), [], "over"),
        (consent(withdrawn_at=AT, held_at=1), [gateway(held=True)], "withdrawn"),
        (consent(withdrawn_at=AT), [gateway()], "withdrawn"),
        (consent(withdrawn_at=AT), [gateway(proven=True), gateway()], "withdrawn"),
        (consent(withdrawn_at=AT), [gateway(proven=True)], "deleted"),
        (consent(withdrawn_at=AT), [gateway(proven=True, held=True)], "withdrawn"),
    ],
)
def test_deleted_is_said_when_every_gateway_has_said_so(
    row: dict[str, Any], gateways: list[dict[str, Any]], state: str
) -> None:
    assert state_of(row, gateways, TODAY) == state


def test_working_days_go_by_the_published_calendar() -> None:
    # Thirty weekdays without holidays are six weeks; over the spring festival they are more.
    assert due_on(date(2026, 5, 11)) >= date(2026, 6, 22)
    assert due_on(date(2026, 2, 9)) > date(2026, 2, 9) + timedelta(days=42)
    assert WARN_AT == 80_000 and FILE_AT == 100_000
