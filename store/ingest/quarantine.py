"""What did not fit, kept for a person with its reason and its bytes, to be replayed or discarded.

A resend of the same bytes is recognised by its digest and counts as a duplicate. So quarantine
cannot be filled by repetition.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from domain.rejection import Rejected
from store.database.connection import Connection

#: Bytes kept of one refusal.
MAX_BYTES = 64 * 1024
#: Open refusals of one topic whose bytes are kept.
MAX_OPEN = 10_000
_MAX_TEXT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedMessage:
    """One refusal: its topic, its bytes (an item's, or the whole message's) and why."""

    topic: str
    payload: bytes
    why: Rejected

    @property
    def digest(self) -> bytes:
        """What makes two refusals one: the topic and the bytes."""
        return hashlib.sha256(self.topic.encode("utf-8", "replace") + b"\0" + self.payload).digest()


def quarantine(connection: Connection, refused: list[QuarantinedMessage]) -> list[bool]:
    """Keep refusals; return for each whether it is new, not a duplicate.

    Of a topic that has MAX_OPEN open ones only the fact is kept, not the bytes, so that nobody
    fills the disk.
    """
    if not refused:
        return []
    topics = [_storable(item.topic) for item in refused]
    digests = [item.digest for item in refused]
    full_topics = _find_full_topics(connection, topics)
    payloads = [
        b"" if topic in full_topics else item.payload[:MAX_BYTES]
        for topic, item in zip(topics, refused, strict=True)
    ]
    values = [
        topics,
        [item.why.reason for item in refused],
        [_storable(item.why.detail) for item in refused],
        payloads,
        [len(item.payload) for item in refused],
        digests,
    ]
    with connection.cursor(row_factory=scalar_row) as cursor:
        inserted = {bytes(digest) for digest in cursor.execute(_QUARANTINE, values)}
    are_new: list[bool] = []
    for digest in digests:
        are_new.append(digest in inserted)
        # The same refusal twice in one batch is new once.
        inserted.discard(digest)
    return are_new


_QUARANTINE = """
    INSERT INTO quarantine (topic, reason, detail, payload, bytes, digest)
    SELECT *
    FROM unnest(
        %s::text[], %s::text[], %s::text[], %s::bytea[], %s::integer[], %s::bytea[]
    )
    ON CONFLICT (digest) DO NOTHING
    RETURNING digest
"""


def _find_full_topics(connection: Connection, topics: list[str]) -> set[str]:
    """Return which topics have MAX_OPEN open refusals."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute(_FULL_TOPICS, [sorted(set(topics)), MAX_OPEN, MAX_OPEN]))


_FULL_TOPICS = """
    SELECT topic
    FROM unnest(%s::text[]) AS w (topic)
    WHERE (
        SELECT count(*)
        FROM (
            SELECT
            FROM quarantine q
            WHERE q.topic = w.topic
              AND q.resolution IS NULL
            LIMIT %s
        ) open_refusals
    ) >= %s
"""


def _storable(text: str) -> str:
    """Make text storable: PostgreSQL has no NUL and no lone surrogates."""
    printable = text.replace("\x00", "\\0").encode("utf-8", "replace").decode("utf-8")
    return printable[:_MAX_TEXT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One row of `quarantine`. `total_bytes` counts what came; of it `payload` is kept."""

    id: int
    received_at: datetime
    topic: str
    reason: str
    detail: str
    payload: bytes
    total_bytes: int
    digest: bytes
    resolution: str | None
    resolved_at: datetime | None


def list_open(connection: Connection, limit: int = 100) -> list[Refusal]:
    """List what waits for a person, newest first."""
    with connection.cursor(row_factory=class_row(Refusal)) as cursor:
        return cursor.execute(_LIST_OPEN, [limit]).fetchall()


_LIST_OPEN = """
    SELECT
        id,
        received_at,
        topic,
        reason,
        detail,
        payload,
        bytes AS total_bytes,
        digest,
        resolution,
        resolved_at
    FROM quarantine
    WHERE resolution IS NULL
    ORDER BY id DESC
    LIMIT %s
"""


def get(connection: Connection, refusal_id: int) -> Refusal | None:
    """Return one refusal, whatever became of it; None where there is none."""
    with connection.cursor(row_factory=class_row(Refusal)) as cursor:
        return cursor.execute(_GET, [refusal_id]).fetchone()


_GET = """
    SELECT
        id,
        received_at,
        topic,
        reason,
        detail,
        payload,
        bytes AS total_bytes,
        digest,
        resolution,
        resolved_at
    FROM quarantine
    WHERE id = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReasonCount:
    reason: str
    count: int


def count_open(connection: Connection) -> dict[str, int]:
    """Count what waits for a person, by reason."""
    with connection.cursor(row_factory=class_row(_ReasonCount)) as cursor:
        return {row.reason: row.count for row in cursor.execute(_COUNT_OPEN)}


_COUNT_OPEN = """
    SELECT reason, count(*) AS count
    FROM quarantine
    WHERE resolution IS NULL
    GROUP BY reason
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineFilter:
    """Which open refusals are meant; an empty filter means all."""

    ids: tuple[int, ...] = ()
    reason: str | None = None


def list_whole(
    connection: Connection, chosen: QuarantineFilter, *, after: int, limit: int = 500
) -> list[Refusal]:
    """List open refusals of which all bytes are kept, oldest first, from behind an id."""
    values = {"after": after, "limit": limit, "ids": list(chosen.ids), "reason": chosen.reason}
    with connection.cursor(row_factory=class_row(Refusal)) as cursor:
        return cursor.execute(_LIST_WHOLE, values).fetchall()


_LIST_WHOLE = """
    SELECT
        id,
        received_at,
        topic,
        reason,
        detail,
        payload,
        bytes AS total_bytes,
        digest,
        resolution,
        resolved_at
    FROM quarantine
    WHERE resolution IS NULL
      AND length(payload) = bytes
      AND id > %(after)s
      AND (%(ids)s::bigint[] = '{}' OR id = ANY(%(ids)s))
      AND (%(reason)s::text IS NULL OR reason = %(reason)s)
    ORDER BY id
    LIMIT %(limit)s
"""


def resolve(connection: Connection, chosen: QuarantineFilter, resolution: str) -> int:
    """Note what became of open refusals; return how many there were.

    What was `replayed` or `repaired` may come again. What was `discarded` is a duplicate then.
    """
    values = {"resolution": resolution, "ids": list(chosen.ids), "reason": chosen.reason}
    return connection.execute(_RESOLVE, values).rowcount


_RESOLVE = """
    UPDATE quarantine
    SET resolution = %(resolution)s,
        resolved_at = now(),
        digest = CASE
            WHEN %(resolution)s = 'discarded' THEN digest
            ELSE sha256(digest || convert_to(%(resolution)s || id, 'UTF8'))
        END
    WHERE resolution IS NULL
      AND (%(ids)s::bigint[] = '{}' OR id = ANY(%(ids)s))
      AND (%(reason)s::text IS NULL OR reason = %(reason)s)
"""
