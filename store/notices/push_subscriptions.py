"""Browsers that asked to be told by web push."""

from __future__ import annotations

import json
from typing import Any

from psycopg.types.json import Jsonb

from domain.access import Role
from store.access import users
from store.database.connection import Connection

#: Browsers that one person may have.
MOST = 10


def subscribe(connection: Connection, user_id: int, endpoint: str, keys: dict[str, str]) -> None:
    """Keep a browser's subscription; beyond MOST the oldest of the same person goes."""
    connection.execute(
        "INSERT INTO push_subscriptions (endpoint, user_id, keys) VALUES (%s, %s, %s) ON CONFLICT (endpoint) DO UPDATE SET "
        "user_id = excluded.user_id, keys = excluded.keys, made_at = now()",
        [endpoint, user_id, Jsonb(keys)],
    )
    connection.execute(
        "DELETE FROM push_subscriptions WHERE endpoint IN (SELECT endpoint FROM push_subscriptions WHERE user_id = %s "
        "ORDER BY made_at DESC OFFSET %s)",
        [user_id, MOST],
    )


def unsubscribe(connection: Connection, user_id: int, endpoint: str) -> None:
    """Forget a browser's subscription."""
    connection.execute(
        "DELETE FROM push_subscriptions WHERE endpoint = %s AND user_id = %s", [endpoint, user_id]
    )


def forget(connection: Connection, subscription: str) -> None:
    """Forget a browser whose push service says that it is gone; `subscription` is what `list_browsers` gave."""
    connection.execute(
        "DELETE FROM push_subscriptions WHERE endpoint = %s", [json.loads(subscription)["endpoint"]]
    )


def list_browsers(connection: Connection, role: Role, estate_id: int) -> list[str]:
    """List the subscriptions (JSON, as the library for web push takes them) of a role's people who reach an estate."""
    rows: list[dict[str, Any]] = connection.execute(
        "SELECT p.endpoint, p.keys, u.name FROM push_subscriptions p JOIN users u ON u.id = p.user_id "
        "WHERE u.role = %s AND u.disabled_at IS NULL ORDER BY p.made_at",
        [role],
    ).fetchall()
    reach = {name: users.find_principal(connection, name) for name in {row["name"] for row in rows}}
    return [
        json.dumps({"endpoint": row["endpoint"], "keys": row["keys"]}, sort_keys=True)
        for row in rows
        if (who := reach[row["name"]]) is not None and estate_id in who.estate_ids
    ]
