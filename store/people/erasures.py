"""Erasing persons: what was erased, what must not be erased yet, and whose time is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from store.database.connection import Connection

#: Persons that one run of the retention erases at most.
MAX_DUE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased: the person's code as an index in hexadecimal, which says nothing without the
    site's key.
    """

    code_index: str
    erased_at: str
    erased_by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What keeps a person from being erased."""

    id: int
    reason: str
    made_at: datetime
    made_by: str
    released_at: datetime | None


def was_erased(connection: Connection, code_index: bytes) -> bool:
    """Tell whether a person, or a consent, with this index was erased."""
    row = connection.execute(
        "SELECT 1 FROM people.erasures WHERE code_index = %s", [code_index]
    ).fetchone()
    return row is not None


def record_erasure(connection: Connection, code_index: bytes, *, actor: str, reason: str) -> None:
    """Note that something was erased, so that it can be erased again after a restore."""
    connection.execute(
        """
        INSERT INTO people.erasures (code_index, erased_by, reason)
        VALUES (%s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        [code_index, actor, reason],
    )


def erase_person(
    connection: Connection, code: str, code_index: bytes, *, actor: str, reason: str
) -> bool:
    """Delete a person's key, fields and indexes, and note the erasure;

    False where nobody has that code.
    """
    row = connection.execute(
        """
        UPDATE people.persons
        SET
            name = NULL,
            id_number = NULL,
            phone = NULL,
            name_index = NULL,
            id_number_index = NULL,
            phone_index = NULL,
            keep_until = NULL
        WHERE code = %s
        RETURNING id
        """,
        [code],
    ).fetchone()
    if row is None:
        return False
    connection.execute("DELETE FROM people.data_keys WHERE person_id = %s", [row["id"]])
    record_erasure(connection, code_index, actor=actor, reason=reason)
    return True


def list_due(connection: Connection, today: date, keep_days: int) -> list[str]:
    """List the codes of persons whose last tenancy ended more than `keep_days` ago and on whom
    there is no hold.
    """
    rows = connection.execute(_LIST_DUE, {"today": today, "keep_days": keep_days, "limit": MAX_DUE})
    return [row["code"] for row in rows]


_LIST_DUE = """
    SELECT p.code
    FROM people.persons p
    JOIN people.data_keys k ON k.person_id = p.id
    JOIN residents r ON r.id = p.resident_id
    WHERE NOT EXISTS (
        SELECT
        FROM people.holds h
        WHERE h.person_id = p.id
          AND h.released_at IS NULL
    )
      AND coalesce(
        p.keep_until,
        (
            SELECT max(least(coalesce(t.valid_to, 'infinity'), coalesce(r.valid_to, 'infinity')))
            FROM tenancies t
            WHERE t.household_id = r.household_id
        ) + %(keep_days)s::integer
      ) < %(today)s
    ORDER BY p.id
    LIMIT %(limit)s
"""


def vacuum(connection: Connection) -> None:
    """Have the database overwrite what was erased; the connection must be in autocommit."""
    connection.execute("VACUUM (FREEZE) people.persons")
    connection.execute("VACUUM (FREEZE) people.data_keys")


# Holds --------------------------------------------------------------------------------------------


def list_holds(connection: Connection, code: str) -> list[Hold]:
    """List the holds on a person that were not released."""
    with connection.cursor(row_factory=class_row(Hold)) as cursor:
        return cursor.execute(
            """
            SELECT h.id, h.reason, h.made_at, h.made_by, h.released_at
            FROM people.holds h
            JOIN people.persons p ON p.id = h.person_id
            WHERE p.code = %s
              AND h.released_at IS NULL
            ORDER BY h.id
            """,
            [code],
        ).fetchall()


def add_hold(connection: Connection, person_id: int, reason: str, *, actor: str) -> int:
    """Keep a person from being erased; returns the hold's id."""
    row = connection.execute(
        """
        INSERT INTO people.holds (person_id, reason, made_by)
        VALUES (%s, %s, %s)
        RETURNING id
        """,
        [person_id, reason, actor],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def release_hold(
    connection: Connection, hold_id: int, estates: Sequence[int], *, actor: str
) -> bool:
    """End a hold; False where there is none on a person of the estates."""
    result = connection.execute(
        """
        UPDATE people.holds h
        SET released_at = now(), released_by = %s
        FROM people.persons p
        WHERE h.id = %s
          AND p.id = h.person_id
          AND p.estate_id = ANY(%s)
          AND h.released_at IS NULL
        """,
        [actor, hold_id, list(estates)],
    )
    return result.rowcount == 1


# Backups ------------------------------------------------------------------------------------------


def export_erasures(connection: Connection) -> list[Erasure]:
    """List what was erased, for the restore of an older backup."""
    with connection.cursor(row_factory=class_row(Erasure)) as cursor:
        return cursor.execute("""
            SELECT
                encode(code_index, 'hex') AS code_index,
                erased_at::text AS erased_at,
                erased_by,
                reason
            FROM people.erasures
            ORDER BY erased_at
        """).fetchall()


def import_erasures(connection: Connection, erasures: Sequence[Erasure]) -> None:
    """Add a list of erasures; those that are known stay as they are."""
    for erasure in erasures:
        connection.execute(
            """
            INSERT INTO people.erasures (code_index, erased_at, erased_by, reason)
            VALUES (
                decode(%(code_index)s, 'hex'),
                %(erased_at)s::timestamptz,
                %(erased_by)s,
                %(reason)s
            )
            ON CONFLICT DO NOTHING
            """,
            asdict(erasure),
        )
