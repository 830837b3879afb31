"""Look-ups: who asked to look at a person's fields, for what purpose, who decided, and what is
reported about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLookup:
    """A look-up to add."""

    person_id: int
    estate_id: int
    user_id: int
    asked_by: str
    role: str
    purpose: str
    reference: str
    fields: list[str]
    granted: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A look-up. `state` is asked, granted or refused; `over` tells whether it has expired.

    `code` is None once the person is gone.
    """

    id: int
    person_id: int | None
    code: str | None
    estate: str
    estate_id: int
    user_id: int
    asked_by: str
    role: str
    asked_at: datetime
    purpose: str
    reference: str
    fields: list[str]
    state: str
    decided_by: str | None
    decided_at: datetime | None
    shown_at: datetime | None
    expires_at: datetime
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupFilter:
    """Filter for lists of look-ups. `user_id` None means everybody's; `before` is an id."""

    estates: Sequence[int]
    user_id: int | None = None
    open_only: bool = False
    before: int | None = None
    limit: int = 50


def add_lookup(connection: Connection, lookup: NewLookup) -> int:
    """Add a look-up; returns its id."""
    row = connection.execute(
        """
        INSERT INTO people.lookups (
            person_id, estate_id, user_id, asked_by, role,
            purpose, reference, fields, state, decided_at, expires_at
        )
        VALUES (
            %(person_id)s, %(estate_id)s, %(user_id)s, %(asked_by)s, %(role)s,
            %(purpose)s, %(reference)s, %(fields)s,
            CASE WHEN %(granted)s THEN 'granted' ELSE 'asked' END,
            CASE WHEN %(granted)s THEN now() END,
            %(expires_at)s
        )
        RETURNING id
        """,
        asdict(lookup),
    ).fetchone()
    assert row is not None
    return int(row["id"])


def lock_lookup(connection: Connection, lookup_id: int, estates: Sequence[int]) -> Lookup | None:
    """Read and lock a look-up at one of the estates."""
    with connection.cursor(row_factory=class_row(Lookup)) as cursor:
        return cursor.execute(_LOCK_LOOKUP, [lookup_id, list(estates)]).fetchone()


def list_lookups(connection: Connection, criteria: LookupFilter) -> list[Lookup]:
    """List look-ups, newest first."""
    parameters = {**asdict(criteria), "estates": list(criteria.estates)}
    with connection.cursor(row_factory=class_row(Lookup)) as cursor:
        return cursor.execute(_LIST_LOOKUPS, parameters).fetchall()


_SELECT_LOOKUP = """
    SELECT
        l.id,
        l.person_id,
        p.code,
        e.code AS estate,
        l.estate_id,
        l.user_id,
        l.asked_by,
        l.role,
        l.asked_at,
        l.purpose,
        l.reference,
        l.fields,
        l.state,
        l.decided_by,
        l.decided_at,
        l.shown_at,
        l.expires_at,
        l.expires_at <= now() AS over
    FROM people.lookups l
    JOIN estates e ON e.id = l.estate_id
    LEFT JOIN people.persons p ON p.id = l.person_id
"""

_LOCK_LOOKUP = (
    _SELECT_LOOKUP
    + """
    WHERE l.id = %s
      AND l.estate_id = ANY(%s)
    FOR UPDATE OF l
"""
)

_LIST_LOOKUPS = (
    _SELECT_LOOKUP
    + """
    WHERE l.estate_id = ANY(%(estates)s)
      AND (%(user_id)s::integer IS NULL OR l.user_id = %(user_id)s)
      AND (NOT %(open_only)s OR (l.state = 'asked' AND l.expires_at > now()))
      AND (%(before)s::bigint IS NULL OR l.id < %(before)s)
    ORDER BY l.id DESC
    LIMIT %(limit)s
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupDecision:
    """A second person's decision about a look-up."""

    decider_id: int
    decided_by: str
    granted: bool
    expires_at: datetime


def decide_lookup(connection: Connection, lookup_id: int, decision: LookupDecision) -> bool:
    """Grant or refuse a look-up; False where it is the decider's own, decided, or over."""
    result = connection.execute(
        """
        UPDATE people.lookups
        SET
            state = CASE WHEN %(granted)s THEN 'granted' ELSE 'refused' END,
            decider_id = %(decider_id)s,
            decided_by = %(decided_by)s,
            decided_at = now(),
            expires_at = %(expires_at)s
        WHERE id = %(lookup)s
          AND state = 'asked'
          AND expires_at > now()
          AND user_id <> %(decider_id)s
        """,
        {**asdict(decision), "lookup": lookup_id},
    )
    return result.rowcount == 1


def record_shown(connection: Connection, lookup_id: int) -> None:
    """Note when a look-up was used first."""
    connection.execute(
        "UPDATE people.lookups SET shown_at = coalesce(shown_at, now()) WHERE id = %s", [lookup_id]
    )


# Unusual look-ups


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupEvent:
    """That a user asked for a person: who, for whom, at what estate and instant.

    `person_id` is None once the person is gone.
    """

    name: str
    person_id: int | None
    estate_id: int
    timezone: str
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeReads:
    """How many homes of an estate a user has looked at."""

    name: str
    estate_id: int
    homes: int


def persons_asked_for(connection: Connection, user_id: int, since: datetime) -> set[int]:
    """Return the ids of the persons whom a user has asked for since an instant."""
    rows = connection.execute(
        """
        SELECT DISTINCT person_id
        FROM people.lookups
        WHERE user_id = %s
          AND asked_at > %s
          AND person_id IS NOT NULL
        """,
        [user_id, since],
    )
    return {row["person_id"] for row in rows}


def list_lookup_events(connection: Connection, since: datetime) -> list[LookupEvent]:
    """List what was asked for since an instant, oldest first."""
    with connection.cursor(row_factory=class_row(LookupEvent)) as cursor:
        return cursor.execute(
            """
            SELECT l.asked_by AS name, l.person_id, l.estate_id, e.timezone, l.asked_at
            FROM people.lookups l
            JOIN estates e ON e.id = l.estate_id
            WHERE l.asked_at > %s
            ORDER BY l.asked_at
            """,
            [since],
        ).fetchall()


def list_home_reads(connection: Connection, since: datetime, min_homes: int) -> list[HomeReads]:
    """List who has looked at `min_homes` homes of an estate or more since an instant, by the audit
    record.
    """
    with connection.cursor(row_factory=class_row(HomeReads)) as cursor:
        return cursor.execute(
            """
            SELECT actor AS name, estate_id, count(DISTINCT subject) AS homes
            FROM audit_log
            WHERE at > %s
              AND estate_id IS NOT NULL
              AND subject LIKE 'unit:%%'
            GROUP BY actor, estate_id
            HAVING count(DISTINCT subject) >= %s
            ORDER BY actor, estate_id
            """,
            [since, min_homes],
        ).fetchall()


# What is reported to the person -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Residence:
    """A home of a person, from day to day."""

    estate: str
    unit: str
    role: str
    from_day: date
    to_day: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedLookup:
    """A look-up as the person is told of it: the role that asked, not the user."""

    asked_at: datetime
    role: str
    purpose: str
    reference: str
    fields: list[str]
    state: str
    shown_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedHold:
    """A hold as the person is told of it."""

    reason: str
    made_at: datetime
    released_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReport:
    """What is stored about a person beside the fields."""

    residences: list[Residence]
    looked_at: list[ReportedLookup]
    holds: list[ReportedHold]


def report_person(connection: Connection, person_id: int) -> PersonReport:
    """Read what is stored about a person: homes, look-ups with their purposes, and holds."""
    with connection.cursor(row_factory=class_row(Residence)) as cursor:
        residences = cursor.execute(_LIST_RESIDENCES, [person_id]).fetchall()
    with connection.cursor(row_factory=class_row(ReportedLookup)) as cursor:
        looked_at = cursor.execute(_LIST_REPORTED_LOOKUPS, [person_id]).fetchall()
    with connection.cursor(row_factory=class_row(ReportedHold)) as cursor:
        holds = cursor.execute(_LIST_REPORTED_HOLDS, [person_id]).fetchall()
    return PersonReport(residences=residences, looked_at=looked_at, holds=holds)


_LIST_RESIDENCES = """
    SELECT
        e.code AS estate,
        u.code AS unit,
        r.role,
        greatest(t.valid_from, r.valid_from) AS from_day,
        least(t.valid_to, r.valid_to) AS to_day
    FROM people.persons p
    JOIN residents r ON r.id = p.resident_id
    JOIN tenancies t ON t.household_id = r.household_id
    JOIN units u ON u.id = t.unit_id
    JOIN estates e ON e.id = u.estate_id
    WHERE p.id = %s
    ORDER BY from_day
"""

_LIST_REPORTED_LOOKUPS = """
    SELECT asked_at, role, purpose, reference, fields, state, shown_at
    FROM people.lookups
    WHERE person_id = %s
    ORDER BY id
"""

_LIST_REPORTED_HOLDS = """
    SELECT reason, made_at, released_at
    FROM people.holds
    WHERE person_id = %s
    ORDER BY id
"""
