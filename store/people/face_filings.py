"""Impact assessments on file, the daily count of stored faces, and the filing that is due at
100,000 people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from store.database.connection import Connection

#: Assessments that a list holds at most.
MAX_ASSESSMENTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAssessment:
    """An impact assessment to put on file. `document_sha256` is hexadecimal."""

    code: str
    estate_id: int
    title: str
    done_on: date
    review_by: date
    approved_by: str
    document_sha256: str
    made_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledAssessment:
    """An impact assessment on file."""

    code: str
    title: str
    done_on: date
    review_by: date
    approved_by: str
    document_sha256: str
    made_by: str
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceFiling:
    """The filing with the authority: when the line was crossed, until when it is due, and when it
    was done, under what number.
    """

    crossed_on: date
    due_on: date
    filed_on: date | None
    reference: str | None
    filed_by: str | None


def add_assessment(connection: Connection, assessment: NewAssessment) -> bool:
    """Put an impact assessment on file; False where its code is taken."""
    result = connection.execute(
        """
        INSERT INTO people.assessments (
            code, estate_id, title, done_on, review_by, approved_by, document_sha256, made_by
        )
        VALUES (
            %(code)s, %(estate_id)s, %(title)s, %(done_on)s, %(review_by)s,
            %(approved_by)s, %(document_sha256)s, %(made_by)s
        )
        ON CONFLICT DO NOTHING
        """,
        asdict(assessment),
    )
    return result.rowcount == 1


def list_assessments(connection: Connection, estate_id: int) -> list[FiledAssessment]:
    """List an estate's impact assessments, newest first."""
    with connection.cursor(row_factory=class_row(FiledAssessment)) as cursor:
        return cursor.execute(
            """
            SELECT
                code, title, done_on, review_by, approved_by, document_sha256, made_by, made_at
            FROM people.assessments
            WHERE estate_id = %s
            ORDER BY done_on DESC, code
            LIMIT %s
            """,
            [estate_id, MAX_ASSESSMENTS],
        ).fetchall()


def is_assessment_current(connection: Connection, estate_id: int, code: str, day: date) -> bool:
    """Tell whether an estate's assessment is on file and not due for review."""
    row = connection.execute(
        """
        SELECT 1
        FROM people.assessments
        WHERE code = %s
          AND estate_id = %s
          AND review_by >= %s
        """,
        [code, estate_id, day],
    ).fetchone()
    return row is not None


def count_subjects(connection: Connection) -> int | None:
    """Count distinct people whose faces are stored anywhere;

    None where the reader has no grant of every estate.
    """
    row = connection.execute("SELECT face_subjects() AS n").fetchone()
    return None if row is None or row["n"] is None else int(row["n"])


def save_count(connection: Connection, day: date, subjects: int) -> None:
    """Store a day's count, if it is the highest of that day."""
    connection.execute(
        """
        INSERT INTO people.face_counts (day, subjects)
        VALUES (%s, %s)
        ON CONFLICT (day) DO UPDATE
        SET subjects = greatest(face_counts.subjects, excluded.subjects)
        """,
        [day, subjects],
    )


def find_filing(connection: Connection) -> FaceFiling | None:
    """Read the newest filing, due or done; None where the line was never crossed."""
    with connection.cursor(row_factory=class_row(FaceFiling)) as cursor:
        return cursor.execute("""
            SELECT crossed_on, due_on, filed_on, reference, filed_by
            FROM people.face_filings
            ORDER BY crossed_on DESC
            LIMIT 1
        """).fetchone()


def start_filing(connection: Connection, crossed_on: date, due_on: date) -> None:
    """Note that filing is due."""
    connection.execute(
        """
        INSERT INTO people.face_filings (crossed_on, due_on)
        VALUES (%s, %s)
        ON CONFLICT DO NOTHING
        """,
        [crossed_on, due_on],
    )


def complete_filing(connection: Connection, filed_on: date, reference: str, *, actor: str) -> bool:
    """Note that the filing was done; False where none is due."""
    result = connection.execute(
        """
        UPDATE people.face_filings
        SET filed_on = %s, reference = %s, filed_by = %s
        WHERE filed_on IS NULL
        """,
        [filed_on, reference, actor],
    )
    return result.rowcount == 1


def find_busiest_estate(connection: Connection) -> int | None:
    """Return the id of the estate with the most consents, whose privacy officer is told of what
    concerns the whole site.
    """
    row = connection.execute("""
        SELECT estate_id
        FROM people.face_consents
        GROUP BY estate_id
        ORDER BY count(*) DESC, estate_id
        LIMIT 1
    """).fetchone()
    return None if row is None else int(row["estate_id"])
