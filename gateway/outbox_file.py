"""The outbox's file: its tables, and what another process may read of it.

`anju gateway check` reads a snapshot beside the gateway's process: the last contact with each
device, the memory, what waits.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import UserError

_TABLES = """
    CREATE TABLE IF NOT EXISTS items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        rank INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS items_order ON items (kind, rank, id);
    CREATE INDEX IF NOT EXISTS items_rank ON items (rank, id);
    CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        boot TEXT NOT NULL,
        seq INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        items INTEGER NOT NULL,
        payload BLOB NOT NULL,
        UNIQUE (boot, kind, seq)
    );
    CREATE TABLE IF NOT EXISTS losses (
        kind TEXT PRIMARY KEY,
        items INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS memory (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS seen (
        device TEXT,
        id TEXT,
        digest BLOB,
        number INTEGER,
        PRIMARY KEY (device, id)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS seen_number ON seen (number);
    CREATE TABLE IF NOT EXISTS contacts (
        device TEXT PRIMARY KEY,
        contact_at INTEGER,
        summary TEXT,
        fault TEXT,
        fault_at INTEGER,
        failures INTEGER NOT NULL DEFAULT 0,
        drift_ms INTEGER
    ) WITHOUT ROWID;
"""
_TABLE_NAMES = frozenset(("items", "messages", "losses", "memory", "contacts"))

_CONTACTS = """
    SELECT device, contact_at, summary, fault, fault_at, failures, drift_ms
    FROM contacts
"""
_MEMORY = """
    SELECT key, value
    FROM memory
    WHERE key IN ('status', 'unknown_devices')
"""
_WAITING = """
    SELECT (SELECT count(*) FROM items) + (SELECT coalesce(sum(items), 0) FROM messages)
"""


class OutboxUnusable(UserError):
    """The outbox cannot be opened; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastContact:
    """The last contact with a device, and the last failed one; instants in milliseconds UTC.

    `failures` counts the failed ones since the last contact.
    """

    device: str
    contact_at: int | None = None
    summary: str | None = None
    fault: str | None = None
    fault_at: int | None = None
    failures: int = 0
    drift_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSnapshot:
    """An outbox at an instant: contacts by device, memory, waiting items, losses by kind."""

    contacts: dict[str, LastContact] = field(default_factory=dict)
    memory: dict[str, str] = field(default_factory=dict)
    waiting: int = 0
    losses: dict[str, int] = field(default_factory=dict)


def open_outbox(path: Path | None) -> sqlite3.Connection:
    """Open the file and make its tables.

    Raises: OutboxUnusable.
    """
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None, timeout=30
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_TABLES)
    except (sqlite3.Error, OSError) as error:
        fix = "free the disk, or move the file away and start anew"
        raise OutboxUnusable(f"outbox {path}: {error}; {fix}") from None
    return db


def read_snapshot(path: Path) -> OutboxSnapshot:
    """Read an outbox; one that its process is just making is empty.

    Raises: OutboxUnusable.
    """
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            if not _has_tables(db):
                return OutboxSnapshot()
            return OutboxSnapshot(
                contacts=read_contacts(db),
                memory=dict(db.execute(_MEMORY)),
                waiting=db.execute(_WAITING).fetchone()[0],
                losses=dict(db.execute("SELECT kind, items FROM losses")),
            )
    except sqlite3.Error as error:
        why = "it may be another version's, or the disk is unwell"
        raise OutboxUnusable(f"outbox {path}: {error}; {why}") from None


def _has_tables(db: sqlite3.Connection) -> bool:
    rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows} >= _TABLE_NAMES


def read_contacts(db: sqlite3.Connection) -> dict[str, LastContact]:
    """Return the last contact with each device, by device."""
    contacts: dict[str, LastContact] = {}
    for device, contact_at, summary, fault, fault_at, failures, drift_ms in db.execute(_CONTACTS):
        contacts[device] = LastContact(
            device=device,
            contact_at=contact_at,
            summary=summary,
            fault=fault,
            fault_at=fault_at,
            failures=failures,
            drift_ms=drift_ms,
        )
    return contacts
