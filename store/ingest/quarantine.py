"""What did not fit, kept for a person with its reason and its bytes, to be replayed or discarded.

A resend of the same bytes is recognised by its digest and is a duplicate, so that quarantine cannot be filled by repetition.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from domain.rejection import Rejected
from store.database.connection import Connection

#: Bytes kept of one refusal, and open refusals of one topic whose bytes are kept.
MAX_BYTES, MAX_OPEN = 64 * 1024, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedMessage:
    """One thing refused: where it came from, its bytes (an item's, or the whole message's) and why."""

    topic: str
    payload: bytes
    why: Rejected

    @property
    def digest(self) -> bytes:
        """What makes two refusals one: the topic and the bytes."""
        return hashlib.sha256(self.topic.encode("utf-8", "replace") + b"\0" + self.payload).digest()


def quarantine(connection: Connection, refused: list[QuarantinedMessage]) -> list[bool]:
    """Keep refusals; returns for each whether it is new (False: it was there already, a duplicate).

    Of a topic that has MAX_OPEN open ones already only the fact is kept, not the bytes, so that nobody fills the disk.
    """
    if not refused:
        return []
    full = {
        row["topic"]
        for row in connection.execute(
            "SELECT topic FROM unnest(%s::text[]) AS w (topic) WHERE (SELECT count(*) FROM (SELECT FROM quarantine q "
            "WHERE q.topic = w.topic AND q.resolution IS NULL LIMIT %s) waiting) >= %s",
            [sorted({_clean(item.topic) for item in refused}), MAX_OPEN, MAX_OPEN],
        )
    }
    digests = [item.digest for item in refused]
    topics = [_clean(item.topic) for item in refused]
    rows = connection.execute(
        "INSERT INTO quarantine (topic, reason, detail, payload, bytes, digest) "
        "SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::integer[], %s::bytea[]) "
        "ON CONFLICT (digest) DO NOTHING RETURNING digest",
        [
            topics,
            [item.why.reason for item in refused],
            [_clean(item.why.detail) for item in refused],
            [
                b"" if topic in full else item.payload[:MAX_BYTES]
                for topic, item in zip(topics, refused, strict=True)
            ],
            [len(item.payload) for item in refused],
            digests,
        ],
    )
    fresh = {bytes(row["digest"]) for row in rows}
    new = []
    for digest in digests:
        new.append(digest in fresh)
        fresh.discard(digest)
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


def get(connection: Connection, number: int) -> dict[str, Any] | None:
    """Return one refusal, whatever became of it; None where there is none."""
    return connection.execute("SELECT * FROM quarantine WHERE id = %s", [number]).fetchone()


def count_open(connection: Connection) -> dict[str, int]:
    """Count what waits for a person, by reason."""
    rows = connection.execute(
        "SELECT reason, count(*) AS n FROM quarantine WHERE resolution IS NULL GROUP BY reason"
    )
    return {row["reason"]: row["n"] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineFilter:
    """Which refusals are meant; an empty one means all that are open."""

    ids: tuple[int, ...] = ()
    reason: str | None = None


def waiting(
    connection: Connection, which: QuarantineFilter, after: int, limit: int = 500
) -> list[dict[str, Any]]:
    """List what waits and still has its bytes, oldest first, from after a number: id, topic, payload, digest."""
    return connection.execute(
        "SELECT id, topic, payload, digest FROM quarantine WHERE resolution IS NULL AND length(payload) = bytes AND id > %s "
        "AND (%s::bigint[] = '{}' OR id = ANY(%s)) AND (%s::text IS NULL OR reason = %s) ORDER BY id LIMIT %s",
        [after, list(which.ids), list(which.ids), which.reason, which.reason, limit],
    ).fetchall()


def resolve(connection: Connection, which: QuarantineFilter, resolution: str) -> int:
    """Say what became of what waits. What was `replayed` or `repaired` may come again; what was `discarded` is a duplicate then."""
    done = connection.execute(
        "UPDATE quarantine SET resolution = %(resolution)s, resolved_at = now(), digest = CASE WHEN %(resolution)s = 'discarded' "
        "THEN digest ELSE sha256(digest || convert_to(%(resolution)s || id, 'UTF8')) END WHERE resolution IS NULL "
        "AND (%(ids)s::bigint[] = '{}' OR id = ANY(%(ids)s)) AND (%(reason)s::text IS NULL OR reason = %(reason)s)",
        {"resolution": resolution, "ids": list(which.ids), "reason": which.reason},
    )
    return done.rowcount
