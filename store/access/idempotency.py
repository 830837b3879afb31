"""Answers that were given to requests with an Idempotency-Key, kept for a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from store.database.connection import Connection

KEPT_HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What was answered; no status while the request is ours to answer now."""

    status: int | None
    answer: Any


def claim(connection: Connection, user_id: int, key: str, digest: bytes) -> StoredAnswer | None:
    """Take a key for a request, or find what it was answered; None where the key was another request's.

    Who comes while the first is still at work waits here until that one is committed or gone.
    """
    connection.execute(
        "DELETE FROM idempotency_keys WHERE user_id = %s AND made_at < now() - make_interval(hours => %s)",
        [user_id, KEPT_HOURS],
    )
    row = connection.execute(
        "INSERT INTO idempotency_keys (user_id, key, request_digest) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING key",
        [user_id, key, digest],
    ).fetchone()
    if row is not None:
        return StoredAnswer(status=None, answer=None)
    held = connection.execute(
        "SELECT request_digest, response_status, response FROM idempotency_keys WHERE user_id = %s AND key = %s",
        [user_id, key],
    ).fetchone()
    if held is None or held["request_digest"] != digest:
        return None
    return StoredAnswer(status=held["response_status"], answer=held["response"])


def keep(connection: Connection, user_id: int, key: str, status: int, answer: Any) -> None:
    """Keep what was answered."""
    connection.execute(
        "UPDATE idempotency_keys SET response_status = %s, response = %s WHERE user_id = %s AND key = %s",
        [status, Jsonb(answer), user_id, key],
    )
