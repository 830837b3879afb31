"""Consents to faces at doors, the lists that follow from them, and what gateways say they hold. No picture and no template is here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from store.database.connection import Connection
from store.gateways.door_lists import list_digest

#: A list is told again so often although nothing changed, so that gateways know it is fresh; one that failed is tried again after so long.
AGAIN, RETRY = timedelta(hours=24), timedelta(minutes=1)

_CONSENT = (
    "SELECT c.id, c.code, r.code AS person, e.code AS estate, b.code AS building, n.code AS entrance, c.estate_id, c.purpose, c.text_version, "
    "c.text_sha256, c.assessment, c.other_way, c.under_14, c.guardian, c.kept_at, c.given_at, c.holds_to, c.recorded_by, c.withdrawn_at, "
    "c.withdrawn_by, c.withdrawn_why, (SELECT count(*) FROM people.face_templates t WHERE t.consent_id = c.id) AS held_at "
    "FROM people.face_consents c JOIN residents r ON r.id = c.resident_id JOIN estates e ON e.id = c.estate_id "
    "JOIN entrances n ON n.id = c.entrance_id JOIN buildings b ON b.id = n.building_id "
)
_ONE = _CONSENT + "WHERE c.code = %s AND c.estate_id = ANY(%s)"
_LIST = _CONSENT + "WHERE c.estate_id = %s AND c.id > %s ORDER BY c.id LIMIT %s"


def new_code() -> str:
    """Make a consent's number; it says nothing."""
    return f"k-{secrets.token_hex(10)}"


def find_home_entrance(
    connection: Connection, estate_id: int, person: str, day: date
) -> dict[str, Any] | None:
    """Return a resident's id and the entrance of the home where they live on a day; None where they live at no home of this estate."""
    return connection.execute(
        "SELECT r.id AS resident_id, u.entrance_id FROM residents r JOIN tenancies t ON t.household_id = r.household_id "
        "JOIN units u ON u.id = t.unit_id WHERE r.code = %(person)s AND u.estate_id = %(estate)s "
        "AND greatest(t.valid_from, r.valid_from) <= %(day)s AND coalesce(t.valid_to, %(day)s) >= %(day)s "
        "AND coalesce(r.valid_to, %(day)s) >= %(day)s ORDER BY t.valid_from DESC LIMIT 1",
        {"person": person, "estate": estate_id, "day": day},
    ).fetchone()


def add_consent(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Record a consent; False where one for the same door and place already holds."""
    done = connection.execute(
        "INSERT INTO people.face_consents (code, resident_id, estate_id, entrance_id, purpose, text_version, text_sha256, assessment, other_way, "
        "under_14, guardian, kept_at, given_at, holds_to, recorded_by) VALUES (%(code)s, %(resident_id)s, %(estate_id)s, %(entrance_id)s, "
        "%(purpose)s, %(text_version)s, %(text_sha256)s, %(assessment)s, %(other_way)s, %(under_14)s, %(guardian)s, %(kept_at)s, %(given_at)s, "
        "%(holds_to)s, %(recorded_by)s) ON CONFLICT DO NOTHING",
        dict(row),
    )
    return done.rowcount == 1


def find_consent(
    connection: Connection, estates: Sequence[int], code: str
) -> dict[str, Any] | None:
    """Read a consent within a scope."""
    return connection.execute(_ONE, [code, list(estates)]).fetchone()


def list_consents(
    connection: Connection, estate_id: int, after: str | None, limit: int
) -> list[dict[str, Any]]:
    """List an estate's consents in the order in which they were recorded; `after` is the last one's code."""
    last = connection.execute(
        "SELECT id FROM people.face_consents WHERE code = %s AND estate_id = %s", [after, estate_id]
    ).fetchone()
    return connection.execute(_LIST, [estate_id, last["id"] if last else 0, limit]).fetchall()


def withdraw(connection: Connection, code: str, *, actor: str, why: str) -> bool:
    """End a consent; False where it has ended already."""
    done = connection.execute(
        "UPDATE people.face_consents SET withdrawn_at = now(), withdrawn_by = %s, withdrawn_why = %s WHERE code = %s AND withdrawn_at IS NULL",
        [actor, why, code],
    )
    return done.rowcount == 1


def note_ended(connection: Connection, code_index: bytes, *, actor: str, why: str) -> None:
    """Keep, under the site's key, that a consent ended, so that it can be ended again after a restore."""
    connection.execute(
        "INSERT INTO people.erasures (code_index, erased_by, reason) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [code_index, actor, why],
    )


def withdraw_of_person(connection: Connection, person: str, *, actor: str, why: str) -> list[str]:
    """End every consent of a resident; returns their numbers."""
    rows = connection.execute(
        "UPDATE people.face_consents c SET withdrawn_at = now(), withdrawn_by = %s, withdrawn_why = %s FROM residents r "
        "WHERE r.id = c.resident_id AND r.code = %s AND c.withdrawn_at IS NULL RETURNING c.code",
        [actor, why, person],
    )
    return [row["code"] for row in rows]


def standing_codes(connection: Connection) -> list[str]:
    """List the consents that hold."""
    return [
        row["code"]
        for row in connection.execute(
            "SELECT code FROM people.face_consents WHERE withdrawn_at IS NULL ORDER BY code"
        )
    ]


def proofs(connection: Connection, consent_id: int) -> list[dict[str, Any]]:
    """Say for every gateway before a door of the entrance whether it holds something, and since when it has said that it does not."""
    return connection.execute("SELECT * FROM face_gateways(%s)", [consent_id]).fetchall()


# Lists ----------------------------------------------------------------------------------------------------------------


def lists(connection: Connection, day: date) -> dict[int, list[dict[str, str]]]:
    """Return for every door that a gateway speaks for the consents that hold there on a day; doors that never had any are left out.

    A consent holds while it is not withdrawn, not over, and its person lives behind that door.
    """
    doors: dict[int, list[dict[str, str]]] = {
        row["device_id"]: []
        for row in connection.execute(
            "SELECT f.device_id FROM people.face_lists f JOIN devices d ON d.id = f.device_id WHERE d.gateway_id IS NOT NULL"
        )
    }
    rows = connection.execute(
        "SELECT DISTINCT d.id AS door, c.code AS consent, r.code AS person, c.holds_to FROM people.face_consents c "
        "JOIN residents r ON r.id = c.resident_id JOIN entrances n ON n.id = c.entrance_id "
        "JOIN mounts m ON (m.entrance_id = n.id OR m.building_id = n.building_id) AND (m.valid_to IS NULL OR m.valid_to > now()) "
        "JOIN devices d ON d.id = m.device_id AND d.kind = 'door' AND d.gateway_id IS NOT NULL AND d.retired_on IS NULL "
        "JOIN tenancies t ON t.household_id = r.household_id JOIN units u ON u.id = t.unit_id AND u.entrance_id = c.entrance_id "
        "WHERE c.withdrawn_at IS NULL AND c.kept_at = 'gateway' AND c.holds_to >= %(day)s AND coalesce(t.valid_to, %(day)s) >= %(day)s "
        "AND coalesce(r.valid_to, %(day)s) >= %(day)s AND greatest(t.valid_from, r.valid_from) <= %(day)s ORDER BY d.id, c.code",
        {"day": day},
    )
    for row in rows:
        line = {
            "consent": row["consent"],
            "person": row["person"],
            "to": row["holds_to"].isoformat(),
        }
        doors.setdefault(row["door"], []).append(line)
    return doors


def stale(
    connection: Connection, wanted: Mapping[int, list[dict[str, str]]], now: datetime
) -> list[int]:
    """Return the doors whose list changed, was not taken, is a day old, or whose gateway has started since: it may hold what a backup held."""
    given = {
        row["device_id"]: row
        for row in connection.execute(
            "SELECT f.device_id, f.digest, f.made_at, c.result, c.result_at, (SELECT max(b.at) FROM gateway_births b WHERE b.gateway_id = d.gateway_id) "
            "AS born_at FROM people.face_lists f JOIN commands c ON c.id = f.command_id JOIN devices d ON d.id = f.device_id"
        )
    }
    found = []
    for door, rows in sorted(wanted.items()):
        last = given.get(door)
        if last is None:
            again = True
        elif last["result"] is None:
            again = last["digest"] != list_digest(rows)
        elif last["result"] == "done":
            started = last["born_at"] is not None and last["born_at"] > last["result_at"]
            again = last["digest"] != list_digest(rows) or started or last["made_at"] < now - AGAIN
        else:
            again = last["result"] == "expired" or last["result_at"] < now - RETRY
        if again:
            found.append(door)
    return found


def note_list(
    connection: Connection, door: int, rows: list[dict[str, str]], command_id: int
) -> None:
    """Note which list is on its way to a door."""
    connection.execute(
        "INSERT INTO people.face_lists (device_id, digest, consents, command_id) VALUES (%s, %s, %s, %s) ON CONFLICT (device_id) DO UPDATE "
        "SET digest = excluded.digest, consents = excluded.consents, command_id = excluded.command_id, made_at = now()",
        [door, list_digest(rows), len(rows), command_id],
    )


def note_report(
    connection: Connection,
    device_id: int,
    command: str,
    held: Sequence[str],
    refused: Sequence[str],
    at: datetime,
) -> None:
    """Take a gateway's word for what it holds: what it no longer holds is proven gone, what it refuses had ended before and ends again."""
    row = connection.execute(
        "SELECT d.gateway_id FROM commands c JOIN devices d ON d.id = c.device_id WHERE c.code = %s AND c.kind = 'faces' AND d.id = %s",
        [command, device_id],
    ).fetchone()
    if row is None or row["gateway_id"] is None:
        return
    gateway = row["gateway_id"]
    connection.execute(
        "UPDATE people.face_consents SET withdrawn_at = now(), withdrawn_by = 'gateway', "
        "withdrawn_why = 'it had ended before; a restored database brought it back' WHERE code = ANY(%s) AND withdrawn_at IS NULL",
        [list(refused)],
    )
    connection.execute(
        "DELETE FROM people.face_templates t USING people.face_consents c WHERE c.id = t.consent_id AND t.gateway_id = %s AND NOT c.code = ANY(%s)",
        [gateway, list(held)],
    )
    connection.execute(
        "INSERT INTO people.face_templates (consent_id, gateway_id, seen_at) SELECT id, %s, %s FROM people.face_consents WHERE code = ANY(%s) "
        "ON CONFLICT (consent_id, gateway_id) DO UPDATE SET seen_at = excluded.seen_at",
        [gateway, at, list(held)],
    )
    connection.execute(
        "INSERT INTO people.face_proofs (consent_id, gateway_id, proven_at, command) SELECT DISTINCT c.id, %(gateway)s::integer, "
        "%(at)s::timestamptz, %(command)s FROM people.face_consents c JOIN entrances n ON n.id = c.entrance_id "
        "JOIN mounts m ON m.entrance_id = n.id OR m.building_id = n.building_id JOIN devices d ON d.id = m.device_id AND d.gateway_id = %(gateway)s "
        "WHERE c.withdrawn_at IS NOT NULL AND c.withdrawn_at <= now() AND NOT c.code = ANY(%(held)s) ON CONFLICT DO NOTHING",
        {"gateway": gateway, "at": at, "command": command, "held": list(held)},
    )


# Assessments, counts, filings ------------------------------------------------------------------------------------------


def add_assessment(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Put an impact assessment on file; False where its number is taken."""
    done = connection.execute(
        "INSERT INTO people.assessments (code, estate_id, title, done_on, review_by, approved_by, document_sha256, made_by) VALUES (%(code)s, "
        "%(estate_id)s, %(title)s, %(done_on)s, %(review_by)s, %(approved_by)s, %(document_sha256)s, %(made_by)s) ON CONFLICT DO NOTHING",
        dict(row),
    )
    return done.rowcount == 1


def list_assessments(connection: Connection, estate_id: int) -> list[dict[str, Any]]:
    """List an estate's impact assessments, the newest first."""
    return connection.execute(
        "SELECT code, title, done_on, review_by, approved_by, document_sha256, made_by, made_at FROM people.assessments WHERE estate_id = %s "
        "ORDER BY done_on DESC, code LIMIT 200",
        [estate_id],
    ).fetchall()


def assessment_holds(connection: Connection, estate_id: int, code: str, day: date) -> bool:
    """Tell whether an estate's assessment is on file and not due for review."""
    row = connection.execute(
        "SELECT 1 FROM people.assessments WHERE code = %s AND estate_id = %s AND review_by >= %s",
        [code, estate_id, day],
    ).fetchone()
    return row is not None


def count_subjects(connection: Connection) -> int | None:
    """Count distinct people whose faces are stored anywhere; None where the reader does not reach everything."""
    row = connection.execute("SELECT face_subjects() AS n").fetchone()
    return None if row is None or row["n"] is None else int(row["n"])


def note_count(connection: Connection, day: date, subjects: int) -> None:
    """Keep a day's count."""
    connection.execute(
        "INSERT INTO people.face_counts VALUES (%s, %s) ON CONFLICT (day) DO UPDATE SET subjects = greatest(face_counts.subjects, excluded.subjects)",
        [day, subjects],
    )


def open_filing(connection: Connection) -> dict[str, Any] | None:
    """Return the filing that is due or done, the newest."""
    return connection.execute(
        "SELECT crossed_on, due_on, filed_on, reference, filed_by FROM people.face_filings ORDER BY crossed_on DESC LIMIT 1"
    ).fetchone()


def start_filing(connection: Connection, crossed_on: date, due_on: date) -> None:
    """Begin the time in which filing is due."""
    connection.execute(
        "INSERT INTO people.face_filings (crossed_on, due_on) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [crossed_on, due_on],
    )


def note_filed(connection: Connection, filed_on: date, reference: str, *, actor: str) -> bool:
    """Note that it was filed; False where nothing is due."""
    done = connection.execute(
        "UPDATE people.face_filings SET filed_on = %s, reference = %s, filed_by = %s WHERE filed_on IS NULL",
        [filed_on, reference, actor],
    )
    return done.rowcount == 1


def busiest_estate(connection: Connection) -> int | None:
    """Return the estate with the most consents; its privacy officer is told of what concerns the whole site."""
    row = connection.execute(
        "SELECT estate_id FROM people.face_consents GROUP BY estate_id ORDER BY count(*) DESC, estate_id LIMIT 1"
    ).fetchone()
    return None if row is None else int(row["estate_id"])
