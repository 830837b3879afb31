"""Answers to requests with an Idempotency-Key, stored for a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from store.database.connection import Connection

#: Hours for which an answer is stored.
ANSWER_HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What was answered; `status` is None while the request is still to be answered."""

    status: int | None
    answer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRow:
    """A row of `idempotency_keys`."""

    request_digest: bytes
    response_status: int | None
    response: Any


def claim_key(connection: Connection, user_id: int, key: str, digest: bytes) -> StoredAnswer | None:
    """Claim a key for a request, or find what was answered to it;

    None where the key belongs to another request.

    A second request waits here until the transaction of the first has ended.
    """
    connection.execute(
        """
        DELETE FROM idempotency_keys
        WHERE user_id = %s
          AND made_at < now() - make_interval(hours => %s)
        """,
        [user_id, ANSWER_HOURS],
    )
    claimed = connection.execute(
        """
        INSERT INTO idempotency_keys (user_id, key, request_digest)
        VALUES (%s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        [user_id, key, digest],
    )
    if claimed.rowcount == 1:
        return StoredAnswer(status=None, answer=None)
    with connection.cursor(row_factory=class_row(IdempotencyRow)) as cursor:
        existing = cursor.execute(
            """
            SELECT request_digest, response_status, response
            FROM idempotency_keys
            WHERE user_id = %s
              AND key = %s
            """,
            [user_id, key],
        ).fetchone()
    if existing is None or existing.request_digest != digest:
        return None
    return StoredAnswer(status=existing.response_status, answer=existing.response)


def save_answer(connection: Connection, user_id: int, key: str, status: int, answer: Any) -> None:
    """Store what was answered."""
    connection.execute(
        """
        UPDATE idempotency_keys
        SET response_status = %s, response = %s
        WHERE user_id = %s
          AND key = %s
        """,
        [status, Jsonb(answer), user_id, key],
    )
