"""Log-ins and sessions. A session's token is stored as a hash only; a scope is resolved to estates at each request."""

from __future__ import annotations

import hashlib
from typing import Any

from domain.access import Principal, Role
from store.connect import Connection

SESSION_HOURS = 12
#: Wrong passwords in a row before a log-in is locked, and for how many minutes.
MAX_FAILURES = 5
LOCK_MINUTES = 15


def count_users(connection: Connection) -> int:
    """Count log-ins; none means that the first start has to make one."""
    row = connection.execute("SELECT count(*) AS n FROM users").fetchone()
    return int(row["n"]) if row else 0


def add_user(
    connection: Connection,
    name: str,
    password_hash: str,
    role: Role,
    *,
    jurisdiction: str | None = None,
    estate: str | None = None,
    must_change_password: bool = True,
) -> None:
    """Make a log-in. Without jurisdiction and estate it reaches every estate."""
    connection.execute(
        "INSERT INTO users (name, password_hash, role, jurisdiction_id, estate_id, must_change_password) VALUES (%s, %s, %s, "
        "(SELECT id FROM jurisdictions WHERE code = %s), (SELECT id FROM estates WHERE code = %s), %s)",
        [name, password_hash, role, jurisdiction, estate, must_change_password],
    )


def find_user(connection: Connection, name: str) -> dict[str, Any] | None:
    """Read a log-in by its name, with whether it is locked now."""
    return connection.execute(
        "SELECT *, coalesce(locked_until > now(), false) AS locked FROM users WHERE name = %s AND disabled_at IS NULL",
        [name],
    ).fetchone()


def note_login(connection: Connection, user_id: int, *, success: bool) -> None:
    """Count a wrong password towards the lock, or forget those before a right one."""
    if success:
        connection.execute("UPDATE users SET failures = 0, locked_until = NULL WHERE id = %s", [user_id])
        return
    connection.execute(
        "UPDATE users SET failures = CASE WHEN failures + 1 >= %s THEN 0 ELSE failures + 1 END, "
        "locked_until = CASE WHEN failures + 1 >= %s THEN now() + make_interval(mins => %s) ELSE locked_until END "
        "WHERE id = %s",
        [MAX_FAILURES, MAX_FAILURES, LOCK_MINUTES, user_id],
    )


def set_password(connection: Connection, user_id: int, password_hash: str) -> None:
    """Change a password and end every session of its owner."""
    connection.execute(
        "UPDATE users SET password_hash = %s, must_change_password = false WHERE id = %s", [password_hash, user_id]
    )
    connection.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])


def open_session(connection: Connection, user_id: int, token: str, csrf: str) -> None:
    """Begin a session and sweep those that ended."""
    connection.execute("DELETE FROM sessions WHERE expires_at < now()")
    connection.execute(
        "INSERT INTO sessions (token_hash, user_id, csrf, expires_at) VALUES (%s, %s, %s, now() + make_interval(hours => %s))",
        [_hash(token), user_id, csrf, SESSION_HOURS],
    )


def close_session(connection: Connection, token: str) -> None:
    """End a session."""
    connection.execute("DELETE FROM sessions WHERE token_hash = %s", [_hash(token)])


def find_session(connection: Connection, token: str) -> tuple[Principal, str] | None:
    """Resolve a session's token to who it is and its CSRF token; None where it is unknown or has ended."""
    row = connection.execute(
        "SELECT u.id, u.name, u.role, u.jurisdiction_id, u.estate_id, u.must_change_password, s.csrf FROM sessions s "
        "JOIN users u ON u.id = s.user_id WHERE s.token_hash = %s AND s.expires_at > now() AND u.disabled_at IS NULL",
        [_hash(token)],
    ).fetchone()
    if row is None:
        return None
    return _principal(connection, row), row["csrf"]


def find_principal(connection: Connection, name: str) -> Principal | None:
    """Resolve a log-in's name to who it is; None where it is unknown or disabled."""
    row = connection.execute("SELECT * FROM users WHERE name = %s AND disabled_at IS NULL", [name]).fetchone()
    return _principal(connection, row) if row else None


def _principal(connection: Connection, row: dict[str, Any]) -> Principal:
    estates = connection.execute(
        "WITH RECURSIVE reach AS (SELECT id FROM jurisdictions WHERE id = %(j)s UNION ALL "
        "SELECT j.id FROM jurisdictions j JOIN reach r ON j.parent_id = r.id) "
        "SELECT id FROM estates WHERE (%(j)s::integer IS NULL AND %(e)s::integer IS NULL) OR id = %(e)s::integer "
        "OR jurisdiction_id IN (SELECT id FROM reach) ORDER BY id",
        {"j": row["jurisdiction_id"], "e": row["estate_id"]},
    )
    return Principal(
        user_id=row["id"],
        name=row["name"],
        role=Role(row["role"]),
        estate_ids=tuple(e["id"] for e in estates),
        must_change_password=row["must_change_password"],
    )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
