"""Consents, the lists that follow, what gateways say: from a consent to its proof of deletion."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto.sealed_values import Scheme
from ingest.commands import renew_face_lists
from privacy import faces as law
from privacy import person_vault
from privacy.faces import ConsentForm
from privacy.keyring import Keyring, with_new_key
from store.database.connection import Connection
from store.gateways import commands
from store.people import face_consents, face_filings, face_lists
from store.people.erasures import was_erased
from store.people.face_consents import FaceReport
from store.people.face_filings import NewAssessment
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
NOW = datetime.now(UTC)
TODAY = NOW.date()


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return with_new_key(None, Scheme.AES_256_GCM)


def prepare(c: Connection) -> None:
    """One estate with a door at an entrance behind a gateway, and three residents."""
    register(c)
    c.execute(
        "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-' || i, id, "
        "'2020-01-01' FROM households, generate_series(1, 3) i"
    )
    c.execute(
        "INSERT INTO buildings (estate_id, code, name) SELECT id, '1', '1' FROM estates WHERE "
        "code = 'es'"
    )
    c.execute(
        "INSERT INTO entrances (estate_id, building_id, code) SELECT estate_id, id, '1-1' FROM "
        "buildings"
    )
    c.execute("UPDATE units SET entrance_id = (SELECT id FROM entrances) WHERE code = 'u-1'")
    c.execute(
        "INSERT INTO mounts (code, device_id, entrance_id, valid_from) SELECT 'm-door', d.id, "
        "n.id, '2020-01-01' FROM devices d, entrances n WHERE d.code = 'door-1'"
    )
    assessment = NewAssessment(
        code="PIA-2026-001",
        estate_id=estate(c),
        title="faces",
        done_on=TODAY - timedelta(days=9),
        review_by=TODAY + timedelta(days=300),
        approved_by="somebody",
        document_sha256="0" * 64,
        made_by="x",
    )
    assert face_filings.add_assessment(c, assessment)


@pytest.fixture
def site(any_connection: Connection) -> Connection:
    prepare(any_connection)
    return any_connection


def estate(c: Connection) -> int:
    row = c.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
    assert row is not None
    return int(row["id"])


FORM = ConsentForm(
    person="r-1",
    text_version="1",
    text_sha256="0" * 64,
    assessment="PIA-2026-001",
    other_way="card",
    under_14=False,
    guardian=None,
    kept_at="gateway",
    given_at=NOW,
    holds_to=TODAY + timedelta(days=100),
)


def record(c: Connection, **changes: Any) -> str:
    return law.record_consent(c, estate(c), replace(FORM, **changes), actor="desk", now=NOW)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"under_14": True}, "guardian"),
        ({"given_at": NOW + timedelta(days=1)}, "ahead"),
        ({"holds_to": TODAY}, "holds_to"),
        ({"holds_to": TODAY + timedelta(days=900)}, "asked again"),
        ({"assessment": "PIA-0"}, "no impact assessment"),
        ({"person": "r-99"}, "lives at no home"),
    ],
)
def test_what_the_law_asks_for(site: Connection, change: dict[str, Any], told: str) -> None:
    with pytest.raises(law.FaceRequestRefused, match=told):
        record(site, **change)


def test_from_consent_to_proof(site: Connection, ring: Keyring) -> None:
    first = record(site)
    record(site, person="r-2", under_14=True, guardian="parent")
    with pytest.raises(law.FaceRequestRefused, match="on record already"):
        record(site)
    assert renew_face_lists(site, NOW) >= 1 and renew_face_lists(site, NOW) == 0
    doors = face_lists.read_lists(site, TODAY)
    assert all({"consent", "person", "to"} == set(row) for rows in doors.values() for row in rows)
    door = next(door for door, rows in doors.items() if rows)
    assert first in {row["consent"] for row in doors[door]}

    def order() -> str:
        row = site.execute(
            "SELECT c.code FROM people.face_lists f JOIN commands c ON c.id = f.command_id WHERE "
            "f.device_id = %s",
            [door],
        ).fetchone()
        assert row is not None
        return str(row["code"])

    def answer(held: list[str], refused: list[str], at: datetime) -> None:
        commands.save_report(
            site,
            commands.CommandReport(device_id=door, code=order(), result="done", detail="", at=at),
        )
        report = FaceReport(command=order(), held=held, refused=refused, at=at)
        face_consents.save_report(site, door, report)

    answer([first], [], NOW)
    assert face_filings.count_subjects(site) == 1
    assert law.withdraw_consent(
        site, ring, first, actor="desk", why="the person asks"
    ) and not law.withdraw_consent(site, ring, first, actor="desk", why="x")
    consent = face_consents.find_consent(site, [estate(site)], first)
    assert (
        consent is not None
        and law.state_of(consent, face_consents.list_proofs(site, consent.id), TODAY) == "withdrawn"
    )
    assert renew_face_lists(site, NOW) >= 1, "the shorter list goes at once"
    assert first not in {row["consent"] for row in face_lists.read_lists(site, TODAY)[door]}
    answer([], [], NOW + timedelta(seconds=5))
    consent = face_consents.find_consent(site, [estate(site)], first)
    assert consent is not None
    gateways = face_consents.list_proofs(site, consent.id)
    assert law.state_of(consent, gateways, TODAY) == "deleted" and gateways[0].command == order()
    assert face_filings.count_subjects(site) == 0
    # A restored database has the consent again: the gateway refuses it, and the operator's list
    # ends it as well.
    site.execute(
        "UPDATE people.face_consents SET withdrawn_at = NULL, withdrawn_by = NULL, withdrawn_why "
        "= NULL WHERE code = %s",
        [first],
    )
    renew_face_lists(site, NOW)
    answer([], [first], NOW + timedelta(seconds=9))
    assert first not in face_consents.list_standing_codes(site)
    site.execute(
        "UPDATE people.face_consents SET withdrawn_at = NULL, withdrawn_by = NULL, withdrawn_why "
        "= NULL WHERE code = %s",
        [first],
    )
    assert law.withdraw_again(site, ring) == 1 and was_erased(site, ring.index("consent", first))


def test_a_list_is_told_again_when_it_must_be(site: Connection) -> None:
    record(site)
    renew_face_lists(site, NOW)
    doors = face_lists.read_lists(site, TODAY)
    door = next(door for door, rows in doors.items() if rows)
    row = site.execute(
        "SELECT c.code, d.gateway_id FROM people.face_lists f JOIN commands c ON c.id = "
        "f.command_id JOIN devices d ON d.id = f.device_id WHERE f.device_id = %s",
        [door],
    ).fetchone()
    assert row is not None
    commands.save_report(
        site,
        commands.CommandReport(device_id=door, code=row["code"], result="done", detail="", at=NOW),
    )
    assert door not in face_lists.find_stale_doors(site, doors, NOW)
    assert door in face_lists.find_stale_doors(site, doors, NOW + timedelta(hours=25)), (
        "a day later, so that it stays fresh"
    )
    site.execute(
        "INSERT INTO gateway_births (gateway_id, boot, at, devices) VALUES (%s, 'b2', %s, '[]')",
        [row["gateway_id"], NOW + timedelta(seconds=1)],
    )
    assert door in face_lists.find_stale_doors(site, doors, NOW), (
        "its gateway started since: it may hold what a backup held"
    )
    site.execute(
        "UPDATE commands SET result = 'expired', result_at = %s WHERE code = %s", [NOW, row["code"]]
    )
    assert door in face_lists.find_stale_doors(site, doors, NOW), "it was off line for long"
    site.execute(
        "UPDATE commands SET result = 'failed', result_at = %s WHERE code = %s", [NOW, row["code"]]
    )
    assert door not in face_lists.find_stale_doors(
        site, doors, NOW
    ) and door in face_lists.find_stale_doors(site, doors, NOW + timedelta(minutes=2))


def test_moving_out_and_being_erased_end_it(site: Connection, ring: Keyring) -> None:
    code = record(site)
    assert any(rows for rows in face_lists.read_lists(site, TODAY).values())
    assert not any(
        rows for rows in face_lists.read_lists(site, TODAY + timedelta(days=101)).values()
    ), "its day is over"
    person_vault.save_person(site, ring, "r-1", {"name": "张三"}, collected_for="tenancy")
    person_vault.erase_person(site, ring, "r-1", actor="x", reason="asked for it")
    assert code not in face_consents.list_standing_codes(site) and was_erased(
        site, ring.index("consent", code)
    )


def test_the_count_and_the_filing(site: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    assert law.filing_due_on(date(2026, 9, 21)) == date(2026, 11, 9), (
        "thirty working days over the national holiday, by the published calendar"
    )
    record(site, kept_at="terminal")
    assert law.count_day(site, NOW, TODAY) == 0
    monkeypatch.setattr(law, "WARN_AT", 1)
    assert law.count_day(site, NOW, TODAY) == 1 and law.count_day(site, NOW, TODAY) == 0
    monkeypatch.setattr(law, "FILE_AT", 1)
    assert law.count_day(site, NOW, TODAY) == 1
    filing = face_filings.find_filing(site)
    assert filing is not None and filing.due_on == law.filing_due_on(TODAY)
    assert face_filings.complete_filing(
        site, TODAY, "2026-0042", actor="officer"
    ) and not face_filings.complete_filing(site, TODAY, "again", actor="officer")
    assert law.count_day(site, NOW, TODAY) == 0
