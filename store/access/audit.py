"""The audit record: who did what to whose data and why.

It is appended to, searched, and checked entry by entry.

An entry is written in the transaction of what it describes, so that neither is stored without the
other. Its hash covers the hash of the entry before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from domain.access import Principal
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What an entry says. `subject` names whose data it is about, by code and never by name."""

    actor: str
    action: str
    object: str
    result: str = "done"
    role: str | None = None
    subject: str | None = None
    purpose: str | None = None
    reference: str | None = None
    source: str | None = None
    detail: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """An entry as it is listed. `entry` is its JSON, `hash` is hexadecimal."""

    seq: int
    at: datetime
    estate: str | None
    entry: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEntry:
    """An entry as a check elsewhere needs it: the exact text of its JSON, and both hashes in
    hexadecimal.
    """

    seq: int
    estate: str
    entry: str
    prev: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Filter for lists of entries; None means any."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """What a check found: the last entry, and the first that does not fit, with the reason;

    None where all fit.
    """

    seq: int
    hash: bytes
    broken_at: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """A check that was made before. `hash` is hexadecimal."""

    checked_at: datetime
    seq: int
    hash: str
    broken_at: int | None
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFault:
    """The first entry of the chain that does not fit, and the reason."""

    seq: int
    why: str


def append(connection: Connection, entry: AuditEntry, *, estate_id: int | None = None) -> int:
    """Write an entry about an estate, or about the whole site; returns its number."""
    row = connection.execute(
        "SELECT append_audit(%s, %s) AS seq", [Jsonb(asdict(entry)), estate_id]
    ).fetchone()
    assert row is not None
    return int(row["seq"])


def list_entries(
    connection: Connection, principal: Principal, criteria: AuditFilter
) -> list[StoredEntry]:
    """List entries about a principal's estates, newest first; entries about the whole site only for
    a grant of every estate.
    """
    parameters = {
        **asdict(criteria),
        "everywhere": principal.everywhere,
        "estates": list(principal.estate_ids),
    }
    with connection.cursor(row_factory=class_row(StoredEntry)) as cursor:
        return cursor.execute(_LIST_ENTRIES, parameters).fetchall()


_LIST_ENTRIES = """
    SELECT a.seq, a.at, e.code AS estate, a.entry, encode(a.hash, 'hex') AS hash
    FROM audit_log a
    LEFT JOIN estates e ON e.id = a.estate_id
    WHERE (%(everywhere)s OR a.estate_id = ANY(%(estates)s))
      AND (%(actor)s::text IS NULL OR a.actor = %(actor)s)
      AND (%(action)s::text IS NULL OR a.action = %(action)s)
      AND (%(subject)s::text IS NULL OR a.subject = %(subject)s)
      AND (%(before)s::bigint IS NULL OR a.seq < %(before)s)
    ORDER BY a.seq DESC
    LIMIT %(limit)s
"""


def read_chain(connection: Connection) -> Iterator[ChainEntry]:
    """Read the whole chain in order, as a check elsewhere needs it."""
    with connection.cursor(name="audit_export", row_factory=class_row(ChainEntry)) as cursor:
        cursor.itersize = 5_000
        yield from cursor.execute("""
            SELECT
                seq,
                coalesce(estate_id::text, '') AS estate,
                entry::text AS entry,
                encode(prev, 'hex') AS prev,
                encode(hash, 'hex') AS hash
            FROM audit_log
            ORDER BY seq
        """)


def check_chain(connection: Connection) -> AuditVerdict:
    """Check every entry: numbers without gaps, right hashes, whole links, and the last entry of
    each earlier check.
    """
    head = connection.execute(
        "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    seq = head["seq"] if head else 0
    digest = head["hash"] if head else b""
    fault = _find_fault(connection)
    if fault is None:
        return AuditVerdict(seq=seq, hash=digest)
    return AuditVerdict(seq=seq, hash=digest, broken_at=fault.seq, why=fault.why)


def _find_fault(connection: Connection) -> ChainFault | None:
    with connection.cursor(row_factory=class_row(ChainFault)) as cursor:
        broken = cursor.execute(_FIND_BROKEN_ENTRY).fetchone()
        return broken or cursor.execute(_FIND_LOST_ENTRY).fetchone()


_FIND_BROKEN_ENTRY = """
    SELECT
        seq,
        CASE
            WHEN seq <> position THEN 'an entry before it is missing'
            WHEN prev <> hash_before THEN 'its link to the entry before is not whole'
            ELSE 'its content was changed'
        END AS why
    FROM (
        SELECT
            seq,
            at,
            entry,
            prev,
            hash,
            estate_id,
            row_number() OVER in_order AS position,
            coalesce(lag(hash) OVER in_order, '\\x') AS hash_before
        FROM audit_log
        WINDOW in_order AS (ORDER BY seq)
    ) chain
    WHERE seq <> position
       OR prev <> hash_before
       OR hash <> audit_hash(prev, seq, estate_id, entry)
       OR (entry ->> 'at_ms')::bigint <> (extract(epoch FROM at) * 1000)::bigint
    ORDER BY seq
    LIMIT 1
"""

_FIND_LOST_ENTRY = """
    SELECT c.seq, 'an earlier check saw another entry here, or one that is gone' AS why
    FROM audit_checks c
    LEFT JOIN audit_log a ON a.seq = c.seq
    WHERE c.seq > 0
      AND c.broken_at IS NULL
      AND a.hash IS DISTINCT FROM c.hash
    ORDER BY c.seq
    LIMIT 1
"""


def save_check(connection: Connection, verdict: AuditVerdict) -> None:
    """Store what a check found; the next check compares the chain with it."""
    connection.execute(
        "INSERT INTO audit_checks (seq, hash, broken_at, why) VALUES (%s, %s, %s, %s)",
        [verdict.seq, verdict.hash, verdict.broken_at, verdict.why],
    )


def last_check(connection: Connection) -> AuditCheck | None:
    """Read what the last check found; None before the first."""
    with connection.cursor(row_factory=class_row(AuditCheck)) as cursor:
        return cursor.execute("""
            SELECT checked_at, seq, encode(hash, 'hex') AS hash, broken_at, why
            FROM audit_checks
            ORDER BY id DESC
            LIMIT 1
        """).fetchone()
