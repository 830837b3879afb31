"""Browsers that asked to be notified by web push."""

from __future__ import annotations

import json
from collections.abc import Mapping

from psycopg.types.json import Jsonb

from domain.access import Role
from store.access import users
from store.database.connection import Connection

#: Browsers that one person may have.
MAX_BROWSERS = 10


def subscribe(connection: Connection, user_id: int, endpoint: str, keys: Mapping[str, str]) -> None:
    """Keep a browser's subscription; beyond MAX_BROWSERS the oldest of the person's goes."""
    connection.execute(
        """
        INSERT INTO push_subscriptions (endpoint, user_id, keys)
        VALUES (%s, %s, %s)
        ON CONFLICT (endpoint) DO UPDATE SET
            user_id = excluded.user_id,
            keys = excluded.keys,
            made_at = now()
        """,
        [endpoint, user_id, Jsonb(keys)],
    )
    connection.execute(
        """
        DELETE FROM push_subscriptions
        WHERE endpoint IN (
            SELECT endpoint
            FROM push_subscriptions
            WHERE user_id = %s
            ORDER BY made_at DESC
            OFFSET %s
        )
        """,
        [user_id, MAX_BROWSERS],
    )


def unsubscribe(connection: Connection, user_id: int, endpoint: str) -> None:
    """Forget a person's browser."""
    connection.execute(
        """
        DELETE FROM push_subscriptions
        WHERE endpoint = %s
          AND user_id = %s
        """,
        [endpoint, user_id],
    )


def forget(connection: Connection, subscription: str) -> None:
    """Forget a browser that is gone; `subscription` is what `list_browsers` returned."""
    connection.execute(
        "DELETE FROM push_subscriptions WHERE endpoint = %s",
        [json.loads(subscription)["endpoint"]],
    )


def list_browsers(connection: Connection, role: Role, estate_id: int) -> list[str]:
    """List the browsers of a role's people who see an estate.

    Returns their subscriptions as JSON, in the form that the library for web push takes.
    """
    rows = connection.execute(
        """
        SELECT p.endpoint, p.keys, u.name
        FROM push_subscriptions p
        JOIN users u ON u.id = p.user_id
        WHERE u.role = %s
          AND u.disabled_at IS NULL
        ORDER BY p.made_at
        """,
        [role],
    ).fetchall()
    principals = {
        name: users.find_principal(connection, name) for name in {row["name"] for row in rows}
    }
    browsers = []
    for row in rows:
        principal = principals[row["name"]]
        if principal is not None and estate_id in principal.estate_ids:
            subscription = {"endpoint": row["endpoint"], "keys": row["keys"]}
            browsers.append(json.dumps(subscription, sort_keys=True))
    return browsers
