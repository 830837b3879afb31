"""Look-ups: decided by another person, in time, and listed to their own user or to who decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.access import Role
from store.access import users
from store.database.connection import Connection
from store.people import lookups
from store.people.lookups import LookupDecision, LookupFilter, NewLookup
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
FAR = datetime(2100, 1, 1, tzinfo=UTC)
PAST = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def person(connection: Connection) -> int:
    """A person of the first estate."""
    register(connection)
    row = connection.execute("""
        WITH resident AS (
            INSERT INTO residents (code, household_id, valid_from)
            SELECT 'r-1', id, '2020-01-01'
            FROM households
            LIMIT 1
            RETURNING id
        )
        INSERT INTO people.persons (resident_id, estate_id, code, collected_for)
        SELECT r.id, e.id, 'r-1', 'tenancy'
        FROM resident r, estates e
        WHERE e.code = 'es'
        RETURNING id
    """).fetchone()
    assert row is not None
    return int(row["id"])


def estate(connection: Connection) -> int:
    row = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
    assert row is not None
    return int(row["id"])


def ask(connection: Connection, person: int, user_id: int, expires_at: datetime = FAR) -> int:
    lookup = NewLookup(
        person_id=person,
        estate_id=estate(connection),
        user_id=user_id,
        asked_by="li",
        role="compliance",
        purpose="visit",
        reference="visit 12",
        fields=["name"],
        granted=False,
        expires_at=expires_at,
    )
    return lookups.add_lookup(connection, lookup)


def decide(connection: Connection, lookup_id: int, decider: int, *, granted: bool = True) -> bool:
    decision = LookupDecision(
        decider_id=decider, decided_by="zhao", granted=granted, expires_at=FAR
    )
    return lookups.decide_lookup(connection, lookup_id, decision)


def test_another_person_decides_once_and_in_time(connection: Connection, person: int) -> None:
    asker = users.add_user(connection, "li", "x", Role.COMPLIANCE)
    decider = users.add_user(connection, "zhao", "x", Role.PRIVACY_OFFICER)
    lookup_id = ask(connection, person, asker)
    assert not decide(connection, lookup_id, asker), "nobody grants what they have asked for"
    assert decide(connection, lookup_id, decider)
    assert not decide(connection, lookup_id, decider, granted=False)
    expired = ask(connection, person, asker, PAST)
    assert not decide(connection, expired, decider)
    lookup = lookups.lock_lookup(connection, lookup_id, [estate(connection)])
    assert lookup is not None and lookup.state == "granted" and lookup.decided_by == "zhao"
    assert lookups.lock_lookup(connection, lookup_id, []) is None, "of another estate"


def test_a_list_is_of_one_user_or_of_all(connection: Connection, person: int) -> None:
    li = users.add_user(connection, "li", "x", Role.COMPLIANCE)
    wang = users.add_user(connection, "wang", "x", Role.COMPLIANCE)
    first = ask(connection, person, li)
    second = ask(connection, person, wang)
    expired = ask(connection, person, li, PAST)

    def listed(**changes: object) -> list[int]:
        criteria = LookupFilter(estates=[estate(connection)], **changes)  # type: ignore[arg-type]
        return [lookup.id for lookup in lookups.list_lookups(connection, criteria)]

    assert listed() == [expired, second, first]
    assert listed(user_id=li) == [expired, first]
    assert listed(open_only=True) == [second, first]
    assert listed(before=second) == [first]
    assert listed(limit=1) == [expired]


def test_a_use_is_noted_once(connection: Connection, person: int) -> None:
    user = users.add_user(connection, "li", "x", Role.COMPLIANCE)
    lookup_id = ask(connection, person, user)
    lookups.record_shown(connection, lookup_id)
    connection.execute("UPDATE people.lookups SET shown_at = shown_at - interval '1 hour'")
    before = lookups.lock_lookup(connection, lookup_id, [estate(connection)])
    lookups.record_shown(connection, lookup_id)
    assert lookups.lock_lookup(connection, lookup_id, [estate(connection)]) == before


def test_persons_asked_for_are_counted_once(connection: Connection, person: int) -> None:
    user = users.add_user(connection, "li", "x", Role.COMPLIANCE)
    for _ in range(3):
        ask(connection, person, user)
    assert lookups.persons_asked_for(connection, user, PAST) == {person}
    assert lookups.persons_asked_for(connection, user, FAR + timedelta(days=1)) == set()
    assert len(lookups.list_lookup_events(connection, PAST)) == 3


def test_a_report_holds_no_user(connection: Connection, person: int) -> None:
    user = users.add_user(connection, "li", "x", Role.COMPLIANCE)
    ask(connection, person, user)
    report = lookups.report_person(connection, person)
    assert [home.unit for home in report.residences] == ["u-1"]
    assert [lookup.purpose for lookup in report.looked_at] == ["visit"]
    assert report.holds == [] and "asked_by" not in str(report.looked_at)
