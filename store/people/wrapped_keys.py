"""Which of the site's keys wrap what, for the rotation of keys: persons' own keys and users' second
factors.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A person's key, as the site's key `wrapped_by` has wrapped it."""

    person_id: int
    code: str
    wrapped: bytes
    wrapped_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecondFactor:
    """A user's TOTP secret; the name of the site's key stands in front of it."""

    user_id: int
    sealed: bytes


def lock_keys_of_others(connection: Connection, current: str, limit: int) -> list[WrappedKey]:
    """Read and lock persons' keys that another key than the current one has wrapped."""
    with connection.cursor(row_factory=class_row(WrappedKey)) as cursor:
        return cursor.execute(
            """
            SELECT k.person_id, p.code, k.wrapped, k.wrapped_by
            FROM people.data_keys k
            JOIN people.persons p ON p.id = k.person_id
            WHERE k.wrapped_by <> %s
            ORDER BY k.person_id
            LIMIT %s
            FOR UPDATE OF k
            """,
            [current, limit],
        ).fetchall()


def save_wrapped_key(
    connection: Connection, person_id: int, wrapped_by: str, wrapped: bytes
) -> None:
    """Store a person's key as another of the site's keys has wrapped it."""
    connection.execute(
        "UPDATE people.data_keys SET wrapped = %s, wrapped_by = %s WHERE person_id = %s",
        [wrapped, wrapped_by, person_id],
    )


def count_wrapped(connection: Connection) -> dict[str, int]:
    """Count by name what each of the site's keys wraps."""
    rows = connection.execute("""
        SELECT name, count(*) AS n
        FROM (
            SELECT wrapped_by AS name
            FROM people.data_keys
            UNION ALL
            SELECT split_part(encode(totp_sealed, 'escape'), '\\000', 1)
            FROM users
            WHERE totp_sealed IS NOT NULL
        ) k
        GROUP BY name
        ORDER BY name
    """)
    return {row["name"]: row["n"] for row in rows}


def lock_second_factors(connection: Connection) -> list[SealedSecondFactor]:
    """Read and lock all sealed second factors."""
    with connection.cursor(row_factory=class_row(SealedSecondFactor)) as cursor:
        return cursor.execute("""
            SELECT id AS user_id, totp_sealed AS sealed
            FROM users
            WHERE totp_sealed IS NOT NULL
            ORDER BY id
            FOR UPDATE
        """).fetchall()


def save_second_factor(connection: Connection, user_id: int, sealed: bytes) -> None:
    """Store a second factor as another of the site's keys has sealed it."""
    connection.execute("UPDATE users SET totp_sealed = %s WHERE id = %s", [sealed, user_id])
