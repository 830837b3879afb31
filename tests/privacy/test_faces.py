"""The law's words: a consent's state, and the thirty working days."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from privacy.faces import FILE_AT, WARN_AT, filing_due_on, state_of
from store.people.face_consents import GatewayProof, StoredConsent

TODAY = date(2026, 11, 21)
AT = datetime(2026, 11, 20, tzinfo=timezone(timedelta(hours=8)))


def consent(**changes: Any) -> StoredConsent:
    standing = StoredConsent(
        id=1,
        code="k-0123456789",
        person="r-1",
        estate="es",
        building="1",
        entrance="1-1",
        estate_id=1,
        purpose="entrance",
        text_version="1",
        text_sha256="0" * 64,
        assessment="PIA-2026-001",
        other_way="card",
        under_14=False,
        guardian=None,
        kept_at="gateway",
        given_at=AT,
        holds_to=TODAY,
        recorded_by="desk",
        withdrawn_at=None,
        withdrawn_by=None,
        withdrawn_why=None,
        held_at=0,
    )
    return replace(standing, **changes)


def gateway(held: bool = False, proven: bool = False) -> GatewayProof:
    return GatewayProof(
        gateway="gw-1",
        held_at=AT if held else None,
        proven_at=AT if proven else None,
        command="c-1",
    )


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
    row: StoredConsent, gateways: list[GatewayProof], state: str
) -> None:
    assert state_of(row, gateways, TODAY) == state


def test_working_days_go_by_the_published_calendar() -> None:
    # Thirty weekdays without holidays are six weeks; over the spring festival they are more.
    assert filing_due_on(date(2026, 5, 11)) >= date(2026, 6, 22)
    assert filing_due_on(date(2026, 2, 9)) > date(2026, 2, 9) + timedelta(days=42)
    assert WARN_AT == 80_000 and FILE_AT == 100_000
