"""The record of who did what to whose data and why: appended to, searched, and checked link by link.

An entry is written in the transaction of what it tells of: no record, no deed, and no data. Its hash covers the hash before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from domain.access import Principal
from store.database.connection import Connection


def append(
    connection: Connection,
    *,
    actor: str,
    action: str,
    object: str,
    result: str = "done",
    role: str | None = None,
    subject: str | None = None,
    purpose: str | None = None,
    reference: str | None = None,
    source: str | None = None,
    estate_id: int | None = None,
    detail: dict[str, Any] | None = None,
) -> int:
    """Write an entry; returns its number. `subject` names whose data it is about, by code and never by name."""
    entry = {
        "actor": actor,
        "role": role,
        "action": action,
        "object": object,
        "result": result,
        "subject": subject,
        "purpose": purpose,
        "reference": reference,
        "source": source,
        "detail": detail,
    }
    row = connection.execute(
        "SELECT append_audit(%s, %s) AS seq", [Jsonb(entry), estate_id]
    ).fetchone()
    assert row is not None
    return int(row["seq"])


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries to list; None asks for all."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    before: int | None = None
    limit: int = 100


def list_entries(
    connection: Connection, who: Principal, search: AuditFilter
) -> list[dict[str, Any]]:
    """List entries about a principal's estates, newest first; the site's own affairs for those who reach everything."""
    return connection.execute(
        "SELECT a.seq, a.at, e.code AS estate, a.entry, encode(a.hash, 'hex') AS hash FROM audit_log a LEFT JOIN estates e ON e.id = a.estate_id "
        "WHERE (%(everywhere)s OR a.estate_id = ANY(%(estates)s)) AND (%(actor)s::text IS NULL OR a.actor = %(actor)s) "
        "AND (%(action)s::text IS NULL OR a.action = %(action)s) AND (%(subject)s::text IS NULL OR a.subject = %(subject)s) "
        "AND (%(before)s::bigint IS NULL OR a.seq < %(before)s) ORDER BY a.seq DESC LIMIT %(limit)s",
        {
            "everywhere": who.everywhere,
            "estates": list(who.estate_ids),
            "actor": search.actor,
            "action": search.action,
            "subject": search.subject,
            "before": search.before,
            "limit": search.limit,
        },
    ).fetchall()


def export_lines(connection: Connection, after: int = 0) -> Iterator[dict[str, Any]]:
    """Read the whole chain in order, as an offline check needs it: number, estate, the entry's exact text, both hashes."""
    with connection.cursor(name="audit_export") as cursor:
        cursor.itersize = 5_000
        cursor.execute(
            "SELECT seq, coalesce(estate_id::text, '') AS estate, entry::text AS entry, encode(prev, 'hex') AS prev, "
            "encode(hash, 'hex') AS hash FROM audit_log WHERE seq > %s ORDER BY seq",
            [after],
        )
        yield from cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """What a check found: the head it saw, and the first entry that does not fit, with why; None where all fit."""

    seq: int
    hash: bytes
    broken_at: int | None = None
    why: str | None = None


def check(connection: Connection) -> AuditVerdict:
    """Go over the chain from its first entry: numbers without holes, each hash right, each link whole, no earlier head lost."""
    broken = connection.execute(
        "SELECT seq, CASE WHEN seq <> n THEN 'an entry before it is missing' WHEN prev <> before THEN 'its link to the entry before is not whole' "
        "ELSE 'its content was changed' END AS why FROM (SELECT seq, at, entry, prev, hash, estate_id, row_number() OVER w AS n, "
        "coalesce(lag(hash) OVER w, '\\x') AS before FROM audit_log WINDOW w AS (ORDER BY seq)) a "
        "WHERE seq <> n OR prev <> before OR hash <> audit_hash(prev, seq, estate_id, entry) "
        "OR (entry ->> 'at_ms')::bigint <> (extract(epoch FROM at) * 1000)::bigint ORDER BY seq LIMIT 1"
    ).fetchone()
    head = connection.execute(
        "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    lost = connection.execute(
        "SELECT c.seq FROM audit_checks c LEFT JOIN audit_log a ON a.seq = c.seq WHERE c.seq > 0 AND c.broken_at IS NULL "
        "AND a.hash IS DISTINCT FROM c.hash ORDER BY c.seq LIMIT 1"
    ).fetchone()
    seq, digest = (head["seq"], head["hash"]) if head else (0, b"")
    if broken is not None:
        return AuditVerdict(seq=seq, hash=digest, broken_at=broken["seq"], why=broken["why"])
    if lost is not None:
        return AuditVerdict(
            seq=seq,
            hash=digest,
            broken_at=lost["seq"],
            why="an earlier check saw another entry here, or one that is gone",
        )
    return AuditVerdict(seq=seq, hash=digest)


def note_check(connection: Connection, verdict: AuditVerdict) -> None:
    """Keep what a check saw, for the next one to hold the chain against."""
    connection.execute(
        "INSERT INTO audit_checks (seq, hash, broken_at, why) VALUES (%s, %s, %s, %s)",
        [verdict.seq, verdict.hash, verdict.broken_at, verdict.why],
    )


def last_check(connection: Connection) -> dict[str, Any] | None:
    """Read what the last check saw."""
    return connection.execute(
        "SELECT checked_at, seq, encode(hash, 'hex') AS hash, broken_at, why FROM audit_checks ORDER BY id DESC LIMIT 1"
    ).fetchone()
