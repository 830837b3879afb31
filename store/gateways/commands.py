"""Commands on their way to devices, and the lists of who may pass which door. The row is the truth; MQTT only carries it."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import date, datetime, timedelta
from typing import Any

from store.database.connection import Connection

#: A command that was not answered is sent again after this; an expired one is given up after some grace for a late report.
AGAIN = timedelta(seconds=10)
GRACE = timedelta(minutes=2)

_SHOWN = (
    "SELECT c.id, c.code, e.code AS estate, d.code AS device, c.kind, c.argument, c.issued_by, c.reason, c.issued_at, c.expires_at, "
    "c.result, c.detail, c.result_at FROM commands c JOIN devices d ON d.id = c.device_id JOIN estates e ON e.id = d.estate_id "
)
_LIST = (
    _SHOWN
    + "WHERE e.id = ANY(%s) AND (%s::bigint IS NULL OR c.id < %s) ORDER BY c.id DESC LIMIT %s"
)
_ONE = _SHOWN + "WHERE c.code = %s AND e.id = ANY(%s)"


def new_code() -> str:
    """Make an audit id."""
    return f"c-{secrets.token_hex(8)}"


def find_device(
    connection: Connection, scope: tuple[int, ...], estate: str, device: str
) -> dict[str, Any] | None:
    """Read a device within a scope, with whether a gateway speaks for it."""
    return connection.execute(
        "SELECT d.id, d.kind, d.gateway_id FROM devices d JOIN estates e ON e.id = d.estate_id "
        "WHERE e.code = %s AND d.code = %s AND e.id = ANY(%s) AND d.retired_on IS NULL",
        [estate, device, list(scope)],
    ).fetchone()


def issue(
    connection: Connection,
    *,
    code: str,
    device_id: int,
    kind: str,
    argument: dict[str, Any],
    issued_by: str,
    reason: str,
    expires_at: datetime,
) -> int:
    """Put a command down; it is sent as soon as it is committed."""
    row = connection.execute(
        "INSERT INTO commands (code, device_id, kind, argument, issued_by, reason, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s) "
        "RETURNING id",
        [code, device_id, kind, json.dumps(argument), issued_by, reason, expires_at],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def list_commands(
    connection: Connection, scope: tuple[int, ...], limit: int, before: int | None
) -> list[dict[str, Any]]:
    """List commands within a scope, newest first, with their row's number for paging."""
    return connection.execute(_LIST, [list(scope), before, before, limit]).fetchall()


def get_command(connection: Connection, scope: tuple[int, ...], code: str) -> dict[str, Any] | None:
    """Read one command within a scope."""
    return connection.execute(_ONE, [code, list(scope)]).fetchone()


def take_due(connection: Connection, now: datetime, limit: int = 50) -> list[dict[str, Any]]:
    """Take commands that are to be sent now, and note that they are; two workers never take the same one.

    A command whose device has no gateway is refused on the spot.
    """
    connection.execute(
        "UPDATE commands SET result = 'refused', detail = 'no gateway speaks for this device', result_at = %s WHERE result IS NULL "
        "AND device_id IN (SELECT id FROM devices WHERE gateway_id IS NULL)",
        [now],
    )
    connection.execute(
        "UPDATE commands SET result = 'expired', detail = 'the gateway did not report in time', result_at = %s "
        "WHERE result IS NULL AND expires_at < %s",
        [now, now - GRACE],
    )
    return connection.execute(
        "WITH due AS (SELECT id FROM commands WHERE result IS NULL AND expires_at > %s AND (sent_at IS NULL OR sent_at < %s) "
        "ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED), sent AS (UPDATE commands SET sent_at = %s, sends = sends + 1 "
        "WHERE id IN (SELECT id FROM due) RETURNING *) SELECT s.code, s.kind, s.argument, s.expires_at, d.code AS device, "
        "g.code AS gateway, e.code AS estate FROM sent s JOIN devices d ON d.id = s.device_id "
        "JOIN gateways g ON g.id = d.gateway_id JOIN estates e ON e.id = d.estate_id ORDER BY s.id",
        [now, now - AGAIN, limit, now],
    ).fetchall()


def note_result(
    connection: Connection, device_id: int, code: str, result: str, detail: str, at: datetime
) -> None:
    """Note what became of a command. A late report stands before our own guess that it expired."""
    connection.execute(
        "UPDATE commands SET result = %s, detail = %s, result_at = %s WHERE code = %s AND device_id = %s "
        "AND (result IS NULL OR (result = 'expired' AND sends > 0))",
        [result, detail[:500], at, code, device_id],
    )


# Lists of who may pass -----------------------------------------------------------------------------------------------


def door_people(connection: Connection, day: date) -> dict[int, list[dict[str, str]]]:
    """Return for every door that a gateway speaks for who may pass it from a day on: residents of the tenancies behind it.

    A door stands at an entrance, or at a building for all of its entrances. A guest's or carer's days are their own.
    """
    doors: dict[int, list[dict[str, str]]] = {
        row["id"]: []
        for row in connection.execute(
            "SELECT DISTINCT d.id FROM devices d JOIN mounts m ON m.device_id = d.id WHERE d.kind = 'door' AND d.gateway_id IS NOT NULL "
            "AND d.retired_on IS NULL AND (m.valid_to IS NULL OR m.valid_to > now()) AND num_nonnulls(m.entrance_id, m.building_id) = 1"
        )
    }
    rows = connection.execute(
        "SELECT d.id AS door, r.code AS person, min(greatest(t.valid_from, r.valid_from)) AS from_day, "
        "CASE WHEN bool_or(t.valid_to IS NULL AND r.valid_to IS NULL) THEN NULL "
        "ELSE max(least(coalesce(t.valid_to, r.valid_to), coalesce(r.valid_to, t.valid_to))) END AS to_day "
        "FROM devices d JOIN mounts m ON m.device_id = d.id AND (m.valid_to IS NULL OR m.valid_to > now()) "
        "JOIN entrances n ON n.id = m.entrance_id OR n.building_id = m.building_id JOIN units u ON u.entrance_id = n.id "
        "JOIN tenancies t ON t.unit_id = u.id JOIN residents r ON r.household_id = t.household_id "
        "WHERE d.id = ANY(%s) AND coalesce(t.valid_to, %s) >= %s AND coalesce(r.valid_to, %s) >= %s "
        "AND greatest(t.valid_from, r.valid_from) <= least(coalesce(t.valid_to, 'infinity'), coalesce(r.valid_to, 'infinity')) "
        "GROUP BY d.id, r.code ORDER BY d.id, r.code",
        [list(doors), day, day, day, day],
    )
    for row in rows:
        person = {"person": row["person"], "from": row["from_day"].isoformat()}
        if row["to_day"] is not None:
            person["to"] = row["to_day"].isoformat()
        doors[row["door"]].append(person)
    return doors


def hold_lists(connection: Connection) -> bool:
    """Be the only one who renews lists until the transaction ends; False where another worker is at it."""
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtext('anju.door_lists')) AS held"
    ).fetchone()
    return bool(row and row["held"])


def list_digest(people: list[dict[str, str]]) -> str:
    """Return what tells two lists apart."""
    return hashlib.sha256(json.dumps(people, sort_keys=True).encode()).hexdigest()


def stale_doors(
    connection: Connection, lists: dict[int, list[dict[str, str]]], now: datetime
) -> list[int]:
    """Return the doors whose list is another one than they were given, or whose giving failed a while ago.

    A door that was never given anything and has nobody to let in is left alone.
    """
    given = {
        row["device_id"]: row
        for row in connection.execute(
            "SELECT l.device_id, l.digest, c.result, c.result_at FROM door_lists l JOIN commands c ON c.id = l.command_id"
        )
    }
    stale = []
    for door, people in sorted(lists.items()):
        last = given.get(door)
        if last is None:
            if people:
                stale.append(door)
        elif last["digest"] != list_digest(people) or (
            last["result"] in ("failed", "expired", "unknown")
            and last["result_at"] < now - timedelta(minutes=10)
        ):
            stale.append(door)
    return stale


def note_list(
    connection: Connection, door: int, people: list[dict[str, str]], command_id: int
) -> None:
    """Note which list is on its way to a door."""
    connection.execute(
        "INSERT INTO door_lists (device_id, digest, people, command_id) VALUES (%s, %s, %s, %s) ON CONFLICT (device_id) DO UPDATE "
        "SET digest = excluded.digest, people = excluded.people, command_id = excluded.command_id, made_at = now()",
        [door, list_digest(people), len(people), command_id],
    )
