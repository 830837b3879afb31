"""Sessions: only a hash of their token is stored, and the token of a browser's session changes
every hour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from psycopg import sql
from psycopg.rows import class_row

from domain.access import Principal
from store.access.users import PRINCIPAL_COLUMNS, PrincipalRow
from store.database.connection import Connection

SESSION_HOURS = 12
IDLE_HOURS = 2
#: After this a browser is given another token; the old one is valid for a minute more, for requests
#: under way.
ROTATE_MINUTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session: its principal, its CSRF token, and whether its own token is due to change."""

    principal: Principal
    csrf: str
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow(PrincipalRow):
    """A session's columns beside those of its principal.

    `unseen` is True where its last use was not noted for a minute.
    """

    csrf: str
    second_factor: bool
    token_hash: bytes
    unseen: bool
    stale: bool


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token, which is what is stored.

    A token is 256 random bits, so it cannot be guessed from it.
    """
    return hashlib.sha256(token.encode()).digest()


def open_session(
    connection: Connection, user_id: int, token: str, csrf: str, *, second_factor: bool = False
) -> None:
    """Begin a session and delete those that have expired."""
    connection.execute("DELETE FROM sessions WHERE expires_at < now()")
    connection.execute(
        """
        INSERT INTO sessions (token_hash, user_id, csrf, second_factor, expires_at)
        VALUES (%s, %s, %s, %s, now() + make_interval(hours => %s))
        """,
        [hash_token(token), user_id, csrf, second_factor, SESSION_HOURS],
    )


def close_session(connection: Connection, token: str) -> None:
    """End a session."""
    connection.execute(
        "DELETE FROM sessions WHERE token_hash = %(hash)s OR old_hash = %(hash)s",
        {"hash": hash_token(token)},
    )


def rotate_token(connection: Connection, token: str, new_token: str) -> bool:
    """Give a session another token; False where another request has done so already."""
    result = connection.execute(
        """
        UPDATE sessions
        SET token_hash = %s, old_hash = token_hash, rotated_at = now()
        WHERE token_hash = %s
        """,
        [hash_token(new_token), hash_token(token)],
    )
    return result.rowcount == 1


def confirm_second_factor(connection: Connection, token: str, new_token: str) -> None:
    """Note that a session has shown its second factor, and give it another token; the old one ends
    at once.
    """
    connection.execute(
        """
        UPDATE sessions
        SET token_hash = %s, old_hash = NULL, rotated_at = now(), second_factor = true
        WHERE token_hash = %s
        """,
        [hash_token(new_token), hash_token(token)],
    )


def find_session(connection: Connection, token: str) -> Session | None:
    """Find the session of a token;

    None where it is unknown, has expired, or was not used for hours.
    """
    parameters = {"hash": hash_token(token), "rotate": ROTATE_MINUTES, "idle": IDLE_HOURS}
    with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
        row = cursor.execute(_FIND_SESSION, parameters).fetchone()
    if row is None:
        return None
    if row.unseen:
        connection.execute(
            "UPDATE sessions SET seen_at = now() WHERE token_hash = %s", [row.token_hash]
        )
    principal = replace(row.to_principal(), second_factor=row.second_factor)
    return Session(principal=principal, csrf=row.csrf, stale=row.stale)


_FIND_SESSION = sql.SQL("""
    SELECT
        {},
        s.csrf,
        s.second_factor,
        s.token_hash,
        s.seen_at < now() - interval '1 minute' AS unseen,
        s.token_hash = %(hash)s
            AND s.rotated_at < now() - make_interval(mins => %(rotate)s) AS stale
    FROM sessions s
    JOIN users u ON u.id = s.user_id
    WHERE (
        s.token_hash = %(hash)s
        OR (s.old_hash = %(hash)s AND s.rotated_at > now() - interval '1 minute')
    )
      AND s.expires_at > now()
      AND s.seen_at > now() - make_interval(hours => %(idle)s)
      AND u.disabled_at IS NULL
""").format(PRINCIPAL_COLUMNS)
