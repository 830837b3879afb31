"""Consents to faces at doors, and what gateways report that they hold of them.

No picture and no template is stored here.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeEntrance:
    """A resident, and the entrance of the resident's home; None where the register has none."""

    resident_id: int
    entrance_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFaceConsent:
    """A consent to record. `text_sha256` is of the text that was signed, in hexadecimal."""

    code: str
    resident_id: int
    estate_id: int
    entrance_id: int
    purpose: str
    text_version: str
    text_sha256: str
    assessment: str
    other_way: str
    under_14: bool
    guardian: str | None
    kept_at: str
    given_at: datetime
    holds_to: date
    recorded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConsent:
    """A consent. `person` is the resident's code;

    `held_at` counts the gateways that hold a template of it.
    """

    id: int
    code: str
    person: str
    estate: str
    building: str
    entrance: str
    estate_id: int
    purpose: str
    text_version: str
    text_sha256: str
    assessment: str
    other_way: str
    under_14: bool
    guardian: str | None
    kept_at: str
    given_at: datetime
    holds_to: date
    recorded_by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_why: str | None
    held_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayProof:
    """What a gateway has reported of a consent: since when it holds a template, or since when it
    holds none, and by what command.
    """

    gateway: str
    held_at: datetime | None
    proven_at: datetime | None
    command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceReport:
    """A gateway's result of a command with a list: the consents that it holds, and those that it
    refuses because they had ended.
    """

    command: str
    held: Sequence[str]
    refused: Sequence[str]
    at: datetime


def new_consent_code() -> str:
    """Make a consent's code; it is random."""
    return f"k-{secrets.token_hex(10)}"


def find_home_entrance(
    connection: Connection, estate_id: int, person: str, day: date
) -> HomeEntrance | None:
    """Find the entrance of the home where a resident lives on a day;

    None where there is no such home at the estate.
    """
    with connection.cursor(row_factory=class_row(HomeEntrance)) as cursor:
        return cursor.execute(
            """
            SELECT r.id AS resident_id, u.entrance_id
            FROM residents r
            JOIN tenancies t ON t.household_id = r.household_id
            JOIN units u ON u.id = t.unit_id
            WHERE r.code = %(person)s
              AND u.estate_id = %(estate)s
              AND greatest(t.valid_from, r.valid_from) <= %(day)s
              AND coalesce(t.valid_to, %(day)s) >= %(day)s
              AND coalesce(r.valid_to, %(day)s) >= %(day)s
            ORDER BY t.valid_from DESC
            LIMIT 1
            """,
            {"person": person, "estate": estate_id, "day": day},
        ).fetchone()


def add_consent(connection: Connection, consent: NewFaceConsent) -> bool:
    """Record a consent; False where one for the same entrance and place already holds."""
    result = connection.execute(
        """
        INSERT INTO people.face_consents (
            code, resident_id, estate_id, entrance_id, purpose, text_version, text_sha256,
            assessment, other_way, under_14, guardian, kept_at, given_at, holds_to, recorded_by
        )
        VALUES (
            %(code)s, %(resident_id)s, %(estate_id)s, %(entrance_id)s, %(purpose)s,
            %(text_version)s, %(text_sha256)s, %(assessment)s, %(other_way)s, %(under_14)s,
            %(guardian)s, %(kept_at)s, %(given_at)s, %(holds_to)s, %(recorded_by)s
        )
        ON CONFLICT DO NOTHING
        """,
        asdict(consent),
    )
    return result.rowcount == 1


def find_consent(connection: Connection, estates: Sequence[int], code: str) -> StoredConsent | None:
    """Read a consent of one of the estates."""
    with connection.cursor(row_factory=class_row(StoredConsent)) as cursor:
        return cursor.execute(_FIND_CONSENT, [code, list(estates)]).fetchone()


def list_consents(
    connection: Connection, estate_id: int, *, after: str | None, limit: int
) -> list[StoredConsent]:
    """List an estate's consents in the order in which they were recorded; `after` is a code."""
    last = connection.execute(
        "SELECT id FROM people.face_consents WHERE code = %s AND estate_id = %s", [after, estate_id]
    ).fetchone()
    parameters = {"estate": estate_id, "last_id": last["id"] if last else 0, "limit": limit}
    with connection.cursor(row_factory=class_row(StoredConsent)) as cursor:
        return cursor.execute(_LIST_CONSENTS, parameters).fetchall()


_SELECT_CONSENT = """
    SELECT
        c.id,
        c.code,
        r.code AS person,
        e.code AS estate,
        b.code AS building,
        n.code AS entrance,
        c.estate_id,
        c.purpose,
        c.text_version,
        c.text_sha256,
        c.assessment,
        c.other_way,
        c.under_14,
        c.guardian,
        c.kept_at,
        c.given_at,
        c.holds_to,
        c.recorded_by,
        c.withdrawn_at,
        c.withdrawn_by,
        c.withdrawn_why,
        (SELECT count(*) FROM people.face_templates t WHERE t.consent_id = c.id) AS held_at
    FROM people.face_consents c
    JOIN residents r ON r.id = c.resident_id
    JOIN estates e ON e.id = c.estate_id
    JOIN entrances n ON n.id = c.entrance_id
    JOIN buildings b ON b.id = n.building_id
"""

_FIND_CONSENT = (
    _SELECT_CONSENT
    + """
    WHERE c.code = %s
      AND c.estate_id = ANY(%s)
"""
)

_LIST_CONSENTS = (
    _SELECT_CONSENT
    + """
    WHERE c.estate_id = %(estate)s
      AND c.id > %(last_id)s
    ORDER BY c.id
    LIMIT %(limit)s
"""
)


def withdraw_consent(connection: Connection, code: str, *, actor: str, why: str) -> bool:
    """End a consent; False where it has ended already."""
    result = connection.execute(
        """
        UPDATE people.face_consents
        SET withdrawn_at = now(), withdrawn_by = %s, withdrawn_why = %s
        WHERE code = %s
          AND withdrawn_at IS NULL
        """,
        [actor, why, code],
    )
    return result.rowcount == 1


def withdraw_consents_of(connection: Connection, person: str, *, actor: str, why: str) -> list[str]:
    """End every consent of a resident; returns their codes."""
    rows = connection.execute(
        """
        UPDATE people.face_consents c
        SET withdrawn_at = now(), withdrawn_by = %s, withdrawn_why = %s
        FROM residents r
        WHERE r.id = c.resident_id
          AND r.code = %s
          AND c.withdrawn_at IS NULL
        RETURNING c.code
        """,
        [actor, why, person],
    )
    return [row["code"] for row in rows]


def list_standing_codes(connection: Connection) -> list[str]:
    """List the codes of consents that were not withdrawn."""
    rows = connection.execute("""
        SELECT code
        FROM people.face_consents
        WHERE withdrawn_at IS NULL
        ORDER BY code
    """)
    return [row["code"] for row in rows]


def list_proofs(connection: Connection, consent_id: int) -> list[GatewayProof]:
    """List what every gateway with a door of the consent's entrance has reported of it."""
    with connection.cursor(row_factory=class_row(GatewayProof)) as cursor:
        return cursor.execute("SELECT * FROM face_gateways(%s)", [consent_id]).fetchall()


def save_report(connection: Connection, device_id: int, report: FaceReport) -> None:
    """Store what a gateway reports that it holds.

    What it no longer holds is proven deleted. What it refuses had ended before a restore, and ends
    again.
    """
    row = connection.execute(
        """
        SELECT d.gateway_id
        FROM commands c
        JOIN devices d ON d.id = c.device_id
        WHERE c.code = %s
          AND c.kind = 'faces'
          AND d.id = %s
          AND d.gateway_id IS NOT NULL
        """,
        [report.command, device_id],
    ).fetchone()
    if row is None:
        return
    parameters = {
        "gateway": row["gateway_id"],
        "command": report.command,
        "held": list(report.held),
        "refused": list(report.refused),
        "at": report.at,
    }
    for statement in (_END_REFUSED, _DELETE_TEMPLATES, _SAVE_TEMPLATES, _SAVE_PROOFS):
        connection.execute(statement, parameters)


_END_REFUSED = """
    UPDATE people.face_consents
    SET
        withdrawn_at = now(),
        withdrawn_by = 'gateway',
        withdrawn_why = 'it had ended before; a restored database brought it back'
    WHERE code = ANY(%(refused)s)
      AND withdrawn_at IS NULL
"""

_DELETE_TEMPLATES = """
    DELETE FROM people.face_templates t
    USING people.face_consents c
    WHERE c.id = t.consent_id
      AND t.gateway_id = %(gateway)s
      AND NOT c.code = ANY(%(held)s)
"""

_SAVE_TEMPLATES = """
    INSERT INTO people.face_templates (consent_id, gateway_id, seen_at)
    SELECT id, %(gateway)s::integer, %(at)s::timestamptz
    FROM people.face_consents
    WHERE code = ANY(%(held)s)
    ON CONFLICT (consent_id, gateway_id) DO UPDATE
    SET seen_at = excluded.seen_at
"""

_SAVE_PROOFS = """
    INSERT INTO people.face_proofs (consent_id, gateway_id, proven_at, command)
    SELECT DISTINCT c.id, %(gateway)s::integer, %(at)s::timestamptz, %(command)s
    FROM people.face_consents c
    JOIN entrances n ON n.id = c.entrance_id
    JOIN mounts m ON m.entrance_id = n.id OR m.building_id = n.building_id
    JOIN devices d ON d.id = m.device_id AND d.gateway_id = %(gateway)s
    WHERE c.withdrawn_at IS NOT NULL
      AND c.withdrawn_at <= now()
      AND NOT c.code = ANY(%(held)s)
    ON CONFLICT DO NOTHING
"""
