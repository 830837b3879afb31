"""What did not fit, kept for a person with its reason and its bytes, to be replayed or discarded.

A resend of the same bytes is recognised by its digest and is a duplicate, so that quarantine cannot be filled by repetition.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from domain.rejection import Rejected
from store.connect import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One thing refused: where it came from, its bytes (an item's, or the whole message's) and why."""

    topic: str
    payload: bytes
    why: Rejected

    @property
    def digest(self) -> bytes:
        """What makes two refusals one: the topic and the bytes."""
        return hashlib.sha256(self.topic.encode("utf-8", "replace") + b"\0" + self.payload).digest()


def quarantine(connection: Connection, refused: list[Refused]) -> list[bool]:
    """Keep refusals; returns for each whether it is new (False: it was there already, a duplicate)."""
    new = []
    for item in refused:
        row = connection.execute(
            "INSERT INTO quarantine (topic, reason, detail, payload, digest) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (digest) DO NOTHING RETURNING id",
            [_clean(item.topic), item.why.reason, _clean(item.why.detail), item.payload, item.digest],
        ).fetchone()
        new.append(row is not None)
    return new


def _clean(text: str) -> str:
    """Make text storable: PostgreSQL has no NUL and no lone surrogates."""
    return text.replace("\x00", "\\0").encode("utf-8", "replace").decode("utf-8")[:2000]


def list_open(connection: Connection, limit: int = 100) -> list[dict[str, Any]]:
    """List what waits for a person, newest first."""
    return connection.execute(
        "SELECT id, received_at, topic, reason, detail, payload FROM quarantine WHERE resolution IS NULL "
        "ORDER BY id DESC LIMIT %s",
        [limit],
    ).fetchall()


def count_open(connection: Connection) -> dict[str, int]:
    """Count what waits for a person, by reason."""
    rows = connection.execute("SELECT reason, count(*) AS n FROM quarantine WHERE resolution IS NULL GROUP BY reason")
    return {row["reason"]: row["n"] for row in rows}


def take_for_replay(connection: Connection, reason: str | None) -> list[dict[str, Any]]:
    """Take what waits, oldest first, to be tried again; their digests are freed so that they may come back."""
    return connection.execute(
        "UPDATE quarantine SET resolution = 'replayed', resolved_at = now(), "
        "digest = sha256(digest || convert_to('replayed ' || id, 'UTF8')) "
        "WHERE resolution IS NULL AND (%s::text IS NULL OR reason = %s) RETURNING id, topic, payload",
        [reason, reason],
    ).fetchall()


def discard(connection: Connection, ids: list[int]) -> int:
    """Mark refusals as looked at and not wanted; the rows stay."""
    done = connection.execute(
        "UPDATE quarantine SET resolution = 'discarded', resolved_at = now() WHERE id = ANY(%s) AND resolution IS NULL",
        [ids],
    )
    return done.rowcount
