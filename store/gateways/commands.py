"""Commands on their way to devices. The row is the truth; MQTT only carries it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row, scalar_row

from store.database.connection import Connection

#: A command that was not answered is sent again after this.
SEND_AGAIN_AFTER = timedelta(seconds=10)
#: An expired command is given up after this, for a report that comes late.
REPORT_GRACE = timedelta(minutes=2)
#: Characters of a gateway's report that are kept.
MAX_DETAIL = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """A command to give to a device. `code` is the audit id that the gateway reports back."""

    code: str
    device_id: int
    kind: str
    argument: Mapping[str, Any]
    issued_by: str
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCommand:
    """A command with the codes of its device and estate, and its result once there is one."""

    id: int
    code: str
    estate: str
    device: str
    kind: str
    argument: Mapping[str, Any]
    issued_by: str
    reason: str
    issued_at: datetime
    expires_at: datetime
    result: str | None
    detail: str | None
    result_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCommand:
    """A command to send now, with the codes that make its topic."""

    code: str
    kind: str
    argument: Mapping[str, Any]
    expires_at: datetime
    device: str
    gateway: str
    estate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTarget:
    """A device that a command is for; `gateway_id` is None where no gateway speaks for it."""

    id: int
    kind: str
    gateway_id: int | None


def new_code() -> str:
    """Make an audit id."""
    return f"c-{secrets.token_hex(8)}"


def find_device(
    connection: Connection, scope: tuple[int, ...], estate: str, device: str
) -> CommandTarget | None:
    """Find a device in use within a scope of estates, by its codes."""
    with connection.cursor(row_factory=class_row(CommandTarget)) as cursor:
        return cursor.execute(_FIND_DEVICE, [estate, device, list(scope)]).fetchone()


_FIND_DEVICE = """
    SELECT d.id, d.kind, d.gateway_id
    FROM devices d
    JOIN estates e ON e.id = d.estate_id
    WHERE e.code = %s
      AND d.code = %s
      AND e.id = ANY(%s)
      AND d.retired_on IS NULL
"""


def give_command(connection: Connection, command: NewCommand) -> int:
    """Add a command and return its id; it is sent once the transaction is committed."""
    values = {
        "code": command.code,
        "device_id": command.device_id,
        "kind": command.kind,
        "argument": json.dumps(command.argument),
        "issued_by": command.issued_by,
        "reason": command.reason,
        "expires_at": command.expires_at,
    }
    with connection.cursor(row_factory=scalar_row) as cursor:
        command_id = cursor.execute(_ADD_COMMAND, values).fetchone()
    assert command_id is not None
    return int(command_id)


_ADD_COMMAND = """
    INSERT INTO commands (code, device_id, kind, argument, issued_by, reason, expires_at)
    VALUES (%(code)s, %(device_id)s, %(kind)s, %(argument)s, %(issued_by)s, %(reason)s,
            %(expires_at)s)
    RETURNING id
"""


def list_commands(
    connection: Connection, scope: tuple[int, ...], *, limit: int, before: int | None = None
) -> list[GivenCommand]:
    """List commands within a scope of estates, newest first, those before an id."""
    values = {"estates": list(scope), "before": before, "limit": limit}
    with connection.cursor(row_factory=class_row(GivenCommand)) as cursor:
        return cursor.execute(_LIST_COMMANDS, values).fetchall()


_LIST_COMMANDS = """
    SELECT c.id, c.code, e.code AS estate, d.code AS device, c.kind, c.argument, c.issued_by,
           c.reason, c.issued_at, c.expires_at, c.result, c.detail, c.result_at
    FROM commands c
    JOIN devices d ON d.id = c.device_id
    JOIN estates e ON e.id = d.estate_id
    WHERE e.id = ANY(%(estates)s)
      AND (%(before)s::bigint IS NULL OR c.id < %(before)s)
    ORDER BY c.id DESC
    LIMIT %(limit)s
"""


def get_command(connection: Connection, scope: tuple[int, ...], code: str) -> GivenCommand | None:
    """Read a command within a scope of estates by its code."""
    with connection.cursor(row_factory=class_row(GivenCommand)) as cursor:
        return cursor.execute(_GET_COMMAND, [code, list(scope)]).fetchone()


_GET_COMMAND = """
    SELECT c.id, c.code, e.code AS estate, d.code AS device, c.kind, c.argument, c.issued_by,
           c.reason, c.issued_at, c.expires_at, c.result, c.detail, c.result_at
    FROM commands c
    JOIN devices d ON d.id = c.device_id
    JOIN estates e ON e.id = d.estate_id
    WHERE c.code = %s
      AND e.id = ANY(%s)
"""


def take_due(connection: Connection, now: datetime, limit: int = 50) -> list[DueCommand]:
    """Take the commands that are to be sent now and note that they are, oldest first.

    Two workers never take the same one. A command whose device has no gateway is refused. One
    that expired without a report is given up.
    """
    connection.execute(_REFUSE_WITHOUT_GATEWAY, {"now": now})
    connection.execute(_GIVE_UP_EXPIRED, {"now": now, "expired_before": now - REPORT_GRACE})
    values = {"now": now, "sent_before": now - SEND_AGAIN_AFTER, "limit": limit}
    with connection.cursor(row_factory=class_row(DueCommand)) as cursor:
        return cursor.execute(_TAKE_DUE, values).fetchall()


_REFUSE_WITHOUT_GATEWAY = """
    UPDATE commands
    SET result = 'refused', detail = 'no gateway speaks for this device', result_at = %(now)s
    WHERE result IS NULL
      AND device_id IN (SELECT id FROM devices WHERE gateway_id IS NULL)
"""
_GIVE_UP_EXPIRED = """
    UPDATE commands
    SET result = 'expired', detail = 'the gateway did not report in time', result_at = %(now)s
    WHERE result IS NULL
      AND expires_at < %(expired_before)s
"""
_TAKE_DUE = """
    WITH due AS (
        SELECT id
        FROM commands
        WHERE result IS NULL
          AND expires_at > %(now)s
          AND (sent_at IS NULL OR sent_at < %(sent_before)s)
        ORDER BY id
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ),
    sent AS (
        UPDATE commands
        SET sent_at = %(now)s, sends = sends + 1
        WHERE id IN (SELECT id FROM due)
        RETURNING *
    )
    SELECT s.code, s.kind, s.argument, s.expires_at, d.code AS device, g.code AS gateway,
           e.code AS estate
    FROM sent s
    JOIN devices d ON d.id = s.device_id
    JOIN gateways g ON g.id = d.gateway_id
    JOIN estates e ON e.id = d.estate_id
    ORDER BY s.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReport:
    """A gateway's report of what became of a command."""

    device_id: int
    code: str
    result: str
    detail: str
    at: datetime


def save_report(connection: Connection, report: CommandReport) -> None:
    """Save a gateway's report. A late one replaces our own guess that the command expired."""
    values = {
        "device_id": report.device_id,
        "code": report.code,
        "result": report.result,
        "detail": report.detail[:MAX_DETAIL],
        "at": report.at,
    }
    connection.execute(_SAVE_REPORT, values)


_SAVE_REPORT = """
    UPDATE commands
    SET result = %(result)s, detail = %(detail)s, result_at = %(at)s
    WHERE code = %(code)s
      AND device_id = %(device_id)s
      AND (result IS NULL OR (result = 'expired' AND sends > 0))
"""
