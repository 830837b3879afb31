"""Which estates have nights, which of them are due, and the clock at which a night is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from store.database.connection import Connection, advisory_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class NightEstate:
    """An estate that has units, and how many."""

    id: int
    code: str
    timezone: str
    unit_count: int


def list_estates(connection: Connection, code: str | None = None) -> list[NightEstate]:
    """List the estates that have units, or the one of a code."""
    with connection.cursor(row_factory=class_row(NightEstate)) as cursor:
        return cursor.execute(
            """
            SELECT e.id, e.code, e.timezone, count(*) AS unit_count
            FROM estates e
            JOIN units u ON u.estate_id = e.id
            WHERE %(code)s::text IS NULL OR e.code = %(code)s
            GROUP BY e.id
            ORDER BY e.id
            """,
            {"code": code},
        ).fetchall()


def list_due_estates(connection: Connection, now: datetime) -> list[NightEstate]:
    """List the estates whose units have not been judged since their local day began.

    Estates that are played from a recording are left out: their nights are run in their order.
    """
    with connection.cursor(row_factory=class_row(NightEstate)) as cursor:
        return cursor.execute(
            """
            SELECT e.id, e.code, e.timezone, count(*) AS unit_count
            FROM estates e
            JOIN units u ON u.estate_id = e.id
            LEFT JOIN judged_days j ON j.estate_id = e.id
            WHERE NOT e.received_as_sent
              AND (j.day IS NULL OR j.day < (%s AT TIME ZONE e.timezone)::date)
            GROUP BY e.id
            ORDER BY e.id
            """,
            [now],
        ).fetchall()


def list_dirty_estates(connection: Connection) -> list[NightEstate]:
    """List the estates with series that changed, but for those played from a recording."""
    with connection.cursor(row_factory=class_row(NightEstate)) as cursor:
        return cursor.execute(
            """
            SELECT e.id, e.code, e.timezone,
                   (SELECT count(*) FROM units u WHERE u.estate_id = e.id) AS unit_count
            FROM estates e
            WHERE e.id IN (SELECT estate_id FROM dirty_spans)
              AND NOT e.received_as_sent
            ORDER BY e.id
            """
        ).fetchall()


def list_units(connection: Connection, estate_id: int) -> list[int]:
    """List the ids of an estate's units, entrance by entrance, whether or not they have facts."""
    rows = connection.execute(
        "SELECT id FROM units WHERE estate_id = %s ORDER BY entrance_id NULLS LAST, id", [estate_id]
    )
    return [row["id"] for row in rows]


# The clock and the lock --------------------------------------------------------------------------


def set_clock(connection: Connection, clock: datetime) -> None:
    """Make the database take an instant for the present until the transaction ends."""
    connection.execute("SELECT set_config('anju.clock', %s, true)", [clock.isoformat()])


@contextmanager
def transaction_at(connection: Connection, clock: datetime) -> Iterator[None]:
    """Open a transaction in which the database takes an instant for the present.

    What is stored in it is dated with that instant, so a night of the past is dated as it was then.
    """
    with connection.transaction():
        set_clock(connection, clock)
        yield


@contextmanager
def lock_nights(connection: Connection, estates: Sequence[int]) -> Iterator[None]:
    """Lock the nights of estates: a second worker waits here, and then finds them run."""
    with ExitStack() as locks:
        for estate_id in estates:
            locks.enter_context(advisory_lock(connection, "anju night", estate_id))
        yield


# Nights that were run ----------------------------------------------------------------------------


def read_judged_day(connection: Connection, estate_id: int) -> date | None:
    """Return the local day on which all units of an estate were last judged; None: never."""
    row = connection.execute(
        "SELECT day FROM judged_days WHERE estate_id = %s", [estate_id]
    ).fetchone()
    return row["day"] if row else None


def note_judged(connection: Connection, estate_id: int, day: date, clock: datetime) -> None:
    """Record that all units of an estate have been judged on a local day, and at which instant."""
    connection.execute(
        """
        INSERT INTO judged_days (estate_id, day, clock_at)
        VALUES (%s, %s, %s)
        ON CONFLICT (estate_id) DO UPDATE SET
            day = excluded.day,
            clock_at = excluded.clock_at
        """,
        [estate_id, day, clock],
    )


def mark_recording(connection: Connection, estates: Sequence[str], *, as_sent: bool) -> list[str]:
    """Set whether messages of estates count as received when they were sent.

    Returns the codes of estates that do not exist.
    """
    rows = connection.execute(
        "UPDATE estates SET received_as_sent = %s WHERE code = ANY(%s) RETURNING code",
        [as_sent, list(estates)],
    ).fetchall()
    return sorted(set(estates) - {row["code"] for row in rows})
