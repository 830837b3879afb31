"""Persons: their fields, sealed one by one under a key of the person's own, and that key, wrapped
by one of the site's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from store.database.connection import Connection

#: Persons that a search by an exact field returns at most.
MAX_FOUND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPerson:
    """A resident's fields to store.

    `sealed` and `indexes` hold name, id_number and phone, None where unknown.

    An index is an HMAC-SHA256 under a key of the site: equal fields have equal indexes.
    """

    code: str
    collected_for: str
    sealed: Mapping[str, bytes | None]
    indexes: Mapping[str, bytes | None]
    wrapped: bytes
    wrapped_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPerson:
    """A person with sealed fields and the wrapped key, which are None once the person is erased."""

    id: int
    code: str
    estate_id: int
    estate: str
    unit: str | None
    collected_for: str
    name: bytes | None
    id_number: bytes | None
    phone: bytes | None
    wrapped: bytes | None
    wrapped_by: str | None

    def sealed_fields(self) -> dict[str, bytes]:
        """Return the sealed fields that are known."""
        fields = {"name": self.name, "id_number": self.id_number, "phone": self.phone}
        return {field: sealed for field, sealed in fields.items() if sealed is not None}


def save_person(connection: Connection, person: NewPerson) -> bool:
    """Store a resident's fields and key in place of those before;

    False where no such resident has a home at an estate.
    """
    row = connection.execute(
        _SAVE_PERSON,
        {
            **person.sealed,
            **{f"{field}_index": index for field, index in person.indexes.items()},
            "code": person.code,
            "collected_for": person.collected_for,
        },
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        """
        INSERT INTO people.data_keys (person_id, wrapped, wrapped_by)
        VALUES (%s, %s, %s)
        ON CONFLICT (person_id) DO UPDATE
        SET wrapped = excluded.wrapped, wrapped_by = excluded.wrapped_by, made_at = now()
        """,
        [row["id"], person.wrapped, person.wrapped_by],
    )
    return True


_SAVE_PERSON = """
    INSERT INTO people.persons (
        resident_id, estate_id, code, name, id_number, phone,
        name_index, id_number_index, phone_index, collected_for
    )
    SELECT
        r.id, u.estate_id, r.code, %(name)s, %(id_number)s, %(phone)s,
        %(name_index)s, %(id_number_index)s, %(phone_index)s, %(collected_for)s
    FROM residents r
    JOIN tenancies t ON t.household_id = r.household_id
    JOIN units u ON u.id = t.unit_id
    WHERE r.code = %(code)s
    ORDER BY t.valid_from DESC
    LIMIT 1
    ON CONFLICT (resident_id) DO UPDATE
    SET
        estate_id = excluded.estate_id,
        name = excluded.name,
        id_number = excluded.id_number,
        phone = excluded.phone,
        name_index = excluded.name_index,
        id_number_index = excluded.id_number_index,
        phone_index = excluded.phone_index,
        collected_for = excluded.collected_for
    RETURNING id
"""


def list_persons(
    connection: Connection, estate_id: int, *, after: str | None, limit: int
) -> list[SealedPerson]:
    """List an estate's persons by code."""
    parameters = {"estate": estate_id, "after": after, "limit": limit}
    with connection.cursor(row_factory=class_row(SealedPerson)) as cursor:
        return cursor.execute(_LIST_PERSONS, parameters).fetchall()


def find_person(connection: Connection, estates: Sequence[int], code: str) -> SealedPerson | None:
    """Read a person of one of the estates."""
    with connection.cursor(row_factory=class_row(SealedPerson)) as cursor:
        return cursor.execute(_FIND_PERSON, [code, list(estates)]).fetchone()


def find_by_index(
    connection: Connection, estates: Sequence[int], index: bytes
) -> list[SealedPerson]:
    """Find the persons of the estates who have a field with this index."""
    parameters = {"estates": list(estates), "index": index, "limit": MAX_FOUND}
    with connection.cursor(row_factory=class_row(SealedPerson)) as cursor:
        return cursor.execute(_FIND_BY_INDEX, parameters).fetchall()


_SELECT_PERSON = """
    SELECT
        p.id,
        p.code,
        p.estate_id,
        e.code AS estate,
        (
            SELECT u.code
            FROM residents r
            JOIN tenancies t ON t.household_id = r.household_id
            JOIN units u ON u.id = t.unit_id
            WHERE r.id = p.resident_id
            ORDER BY t.valid_from DESC
            LIMIT 1
        ) AS unit,
        p.collected_for,
        p.name,
        p.id_number,
        p.phone,
        k.wrapped,
        k.wrapped_by
    FROM people.persons p
    JOIN estates e ON e.id = p.estate_id
    LEFT JOIN people.data_keys k ON k.person_id = p.id
"""

_LIST_PERSONS = (
    _SELECT_PERSON
    + """
    WHERE p.estate_id = %(estate)s
      AND (%(after)s::text IS NULL OR p.code > %(after)s)
    ORDER BY p.code
    LIMIT %(limit)s
"""
)

_FIND_PERSON = (
    _SELECT_PERSON
    + """
    WHERE p.code = %s
      AND p.estate_id = ANY(%s)
"""
)

_FIND_BY_INDEX = (
    _SELECT_PERSON
    + """
    WHERE p.estate_id = ANY(%(estates)s)
      AND (
        p.name_index = %(index)s
        OR p.id_number_index = %(index)s
        OR p.phone_index = %(index)s
      )
    ORDER BY p.code
    LIMIT %(limit)s
"""
)


def list_readable_codes(connection: Connection) -> list[str]:
    """List the codes of all persons who still have a key."""
    rows = connection.execute("""
        SELECT p.code
        FROM people.persons p
        JOIN people.data_keys k ON k.person_id = p.id
        ORDER BY p.id
    """)
    return [row["code"] for row in rows]
