"""API keys: a machine acts for a user, with some of that user's actions, until the key expires.

Only a hash of a key is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from domain.access import Action, Principal
from store.access.sessions import hash_token
from store.access.users import PRINCIPAL_COLUMNS, WITHIN_GRANTS, PrincipalRow, grant_parameters
from store.database.connection import Connection

#: Characters of a key that are stored in the clear, so that an administrator can tell keys apart.
_HINT_LENGTH = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key to add. `token` is its text."""

    user_id: int
    name: str
    token: str
    actions: Sequence[Action]
    expires_at: datetime
    made_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as administrators see one: never its text."""

    id: int
    user: str
    name: str
    hint: str
    actions: list[str]
    made_at: datetime
    made_by: str
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow(PrincipalRow):
    """A key's columns beside those of its principal.

    `unseen` is True where its last use was not noted for a minute.
    """

    key_id: int
    actions: list[str]
    unseen: bool


def add_api_key(connection: Connection, key: NewApiKey) -> int:
    """Add a key; returns its id."""
    row = connection.execute(
        """
        INSERT INTO api_keys (user_id, name, token_hash, hint, actions, expires_at, made_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        RETURNING id
        """,
        [
            key.user_id,
            key.name,
            hash_token(key.token),
            key.token[:_HINT_LENGTH],
            sorted(key.actions),
            key.expires_at,
            key.made_by,
        ],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def find_api_key(connection: Connection, token: str) -> Principal | None:
    """Find the principal that a key acts for; None where the key is unknown, revoked or expired."""
    with connection.cursor(row_factory=class_row(ApiKeyRow)) as cursor:
        row = cursor.execute(_FIND_API_KEY, [hash_token(token)]).fetchone()
    if row is None:
        return None
    if row.unseen:
        connection.execute("UPDATE api_keys SET last_used_at = now() WHERE id = %s", [row.key_id])
    # An action that a later version has removed is not given any more.
    actions = frozenset(action for action in Action if action in row.actions)
    return replace(
        row.to_principal(), key_actions=actions, key_id=row.key_id, must_change_password=False
    )


_FIND_API_KEY = sql.SQL("""
    SELECT
        {},
        k.id AS key_id,
        k.actions,
        coalesce(k.last_used_at < now() - interval '1 minute', true) AS unseen
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    WHERE k.token_hash = %s
      AND k.revoked_at IS NULL
      AND k.expires_at > now()
      AND u.disabled_at IS NULL
""").format(PRINCIPAL_COLUMNS)


def list_api_keys(
    connection: Connection, principal: Principal, *, before: int | None, limit: int
) -> list[ApiKey]:
    """List keys of users whose grants all lie within the principal's, newest first."""
    parameters = {**grant_parameters(principal), "before": before, "limit": limit}
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(_LIST_API_KEYS, parameters).fetchall()


_LIST_API_KEYS = sql.SQL("""
    SELECT
        k.id,
        u.name AS user,
        k.name,
        k.hint,
        k.actions,
        k.made_at,
        k.made_by,
        k.expires_at,
        k.last_used_at,
        k.revoked_at
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    WHERE (%(before)s::integer IS NULL OR k.id < %(before)s)
      AND {}
    ORDER BY k.id DESC
    LIMIT %(limit)s
""").format(WITHIN_GRANTS)


def revoke_api_key(connection: Connection, key_id: int, principal: Principal) -> bool:
    """End a key;

    False where it is unknown, or its user has a grant that is not within the principal's.
    """
    result = connection.execute(_REVOKE_API_KEY, {**grant_parameters(principal), "key": key_id})
    return result.rowcount == 1


_REVOKE_API_KEY = sql.SQL("""
    UPDATE api_keys k
    SET revoked_at = coalesce(k.revoked_at, now())
    FROM users u
    WHERE k.id = %(key)s
      AND u.id = k.user_id
      AND {}
""").format(WITHIN_GRANTS)
