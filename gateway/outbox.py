"""The outbox: what devices said, on disk from the moment a driver hands it over until the server has committed it.

An SQLite file in WAL mode, every hand-over one synced transaction. Items wait singly; they are sealed into a numbered
message when it is their turn to be sent, and from then on its bytes never change: events newest first, so that an
alarm does not queue behind a backlog, readings oldest first, so that a meter's day is whole as soon as possible. Only
`acknowledge` empties it. Beyond its cap it gives up readings first and hazards last, and counts what it gave up.

What the gateway must remember across a kill stands beside it and changes in the same transactions: which poll was
made, which alarm holds, which event and which command was seen, what each device said last.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from domain import wire
from domain.errors import UserError
from domain.wire import EventItem, EventKind, ReadingItem, Up

#: Items in one message, and bytes of them; the wire contract allows 256 KiB.
MAX_ITEMS, MAX_BYTES = 500, 200_000
#: Seen event ids that are remembered; the oldest are forgotten.
MAX_SEEN = 200_000
#: Who is given up first when the cap is reached.
READING, PASSAGE, DEVICE, HAZARD = 0, 1, 2, 3

_TABLES = """
CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, rank INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS items_turn ON items (kind, rank, id);
CREATE INDEX IF NOT EXISTS items_worth ON items (rank, id);
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, boot TEXT NOT NULL,
    seq INTEGER NOT NULL, rank INTEGER NOT NULL, items INTEGER NOT NULL, payload BLOB NOT NULL, UNIQUE (boot, kind, seq));
CREATE TABLE IF NOT EXISTS losses (kind TEXT PRIMARY KEY, items INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (device TEXT, id TEXT, digest BLOB, number INTEGER, PRIMARY KEY (device, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_number ON seen (number);
CREATE TABLE IF NOT EXISTS heard (device TEXT PRIMARY KEY, heard_at INTEGER, said TEXT, fault TEXT, fault_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0, drift_ms INTEGER) WITHOUT ROWID;
"""


class OutboxUnusable(UserError):
    """The outbox cannot be opened; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceContact:
    """What to note of a device: what it said, or why it was not heard."""

    device: str
    at: int
    said: str | None = None
    fault: str | None = None
    drift_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """What one hand-over puts down, all or nothing."""

    items: Sequence[ReadingItem | EventItem] = ()
    memory: dict[str, str] = field(default_factory=dict)
    heard: Sequence[DeviceContact] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedMessage:
    """A numbered message. Its bytes are made once."""

    id: int
    kind: Up
    payload: bytes


class Outbox:
    """One gateway's outbox. Thread-safe. `changed` is told after every hand-over and acknowledgement."""

    def __init__(self, path: Path | None, boot: str, *, cap_bytes: int = 512 * 1024 * 1024) -> None:
        """Open the file, or one in memory where `path` is None; `boot` must be new.

        Raises: OutboxUnusable.
        """
        self.boot, self._cap = boot, cap_bytes
        self.changed: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._db = self._open(path)
        self._seq = {Up.READINGS: 0, Up.EVENTS: 0}
        for kind, seq in self._db.execute(
            "SELECT kind, max(seq) FROM messages WHERE boot = ? GROUP BY kind", [boot]
        ):
            self._seq[Up(kind)] = seq
        self._unsent: dict[Up, deque[int]] = {Up.READINGS: deque(), Up.EVENTS: deque()}
        self.requeue()
        # A copy, so that drivers never wait for the disk to ask what they remember.
        self._memory: dict[str, str] = dict(
            self._db.execute("SELECT key, value FROM memory").fetchall()
        )
        self.bytes, self.items = self._db.execute(
            "SELECT coalesce(sum(n), 0), coalesce(sum(c), 0) FROM (SELECT sum(length(body)) AS n, count(*) AS c FROM items "
            "UNION ALL SELECT sum(length(payload)), sum(items) FROM messages)"
        ).fetchone()

    @staticmethod
    def _open(path: Path | None) -> sqlite3.Connection:
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
            raise OutboxUnusable(
                f"outbox {path}: {error}; free the disk, or move the file away and start anew"
            ) from None
        return db

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # Hand-over -------------------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[OutboxEntry]) -> int:
        """Put entries down in one synced transaction; returns how many items were new.

        An event whose id was seen before is left out: its sender did not hear our answer.

        Raises: sqlite3.Error where the disk refuses it; then nothing was put down, and its sender must not be answered.
        """
        with self._lock, self._transaction():
            fresh = sum(self._put(entry) for entry in entries)
            self._keep_cap()
        for entry in entries:
            self._memory.update(entry.memory)
        self.changed()
        return fresh

    def _put(self, entry: OutboxEntry) -> int:
        fresh = 0
        for item in entry.items:
            event = isinstance(item, EventItem)
            if isinstance(item, EventItem):
                named = self._first_time(item)
                if named is None:
                    continue
                item = named
            body = msgspec.json.encode(item)
            self._db.execute(
                "INSERT INTO items (kind, rank, body) VALUES (?, ?, ?)",
                [Up.EVENTS if event else Up.READINGS, _rank(item), body],
            )
            self.bytes, self.items, fresh = self.bytes + len(body), self.items + 1, fresh + 1
        self._db.executemany("REPLACE INTO memory VALUES (?, ?)", entry.memory.items())
        for note in entry.heard:
            self._note(note)
        return fresh

    def _first_time(self, item: EventItem) -> EventItem | None:
        """Return an event that was not seen before, None for one that is told again.

        Another event under an id that was used (a counter that began again) gets an id of its own: it is no repeat.
        """
        told = msgspec.json.encode([item.kind, item.data], order="deterministic")
        digest = hashlib.blake2b(told, digest_size=8).digest()
        for name in (item.id, f"{item.id[:60]}~{digest.hex()}"):
            row = self._db.execute(
                "SELECT digest FROM seen WHERE (device, id) = (?, ?)", [item.device, name]
            ).fetchone()
            if row is None:
                number = self._db.execute(
                    "SELECT coalesce(max(number), 0) + 1 FROM seen"
                ).fetchone()[0]
                self._db.execute(
                    "INSERT INTO seen VALUES (?, ?, ?, ?)", [item.device, name, digest, number]
                )
                if number % 1000 == 0:
                    self._db.execute("DELETE FROM seen WHERE number <= ?", [number - MAX_SEEN])
                return item if name == item.id else replace(item, id=name)
            if row[0] == digest:
                return None
        return None

    def _note(self, note: DeviceContact) -> None:
        if note.fault is None:
            self._db.execute(
                "INSERT INTO heard (device, heard_at, said, drift_ms) VALUES (?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET "
                "heard_at = excluded.heard_at, said = coalesce(excluded.said, said), failures = 0, "
                "drift_ms = coalesce(excluded.drift_ms, drift_ms)",
                [note.device, note.at, note.said, note.drift_ms],
            )
        else:
            self._db.execute(
                "INSERT INTO heard (device, fault, fault_at, failures) VALUES (?, ?, ?, 1) ON CONFLICT (device) DO UPDATE SET "
                "fault = excluded.fault, fault_at = excluded.fault_at, failures = failures + 1",
                [note.device, note.fault, note.at],
            )

    def _transaction(self) -> _Transaction:
        return _Transaction(self, self._db)

    # The cap --------------------------------------------------------------------------------------

    def _keep_cap(self) -> None:
        """Give up what matters least until the cap is kept: single items by rank, the oldest first, then messages."""
        if self.bytes <= self._cap:
            return
        while self.bytes > self._cap:
            gone = self._db.execute(
                "DELETE FROM items WHERE id IN (SELECT id FROM items ORDER BY rank, id LIMIT 200) AND rank = "
                "(SELECT min(rank) FROM (SELECT min(rank) AS rank FROM items UNION ALL SELECT min(rank) FROM messages)) "
                "RETURNING kind, length(body), 1, id"
            ).fetchall()
            if not gone:
                gone = self._db.execute(
                    "DELETE FROM messages WHERE id = (SELECT id FROM messages ORDER BY rank, id LIMIT 1) "
                    "RETURNING kind, length(payload), items, id"
                ).fetchall()
                for kind, _, _, number in gone:
                    if number in self._unsent[Up(kind)]:
                        self._unsent[Up(kind)].remove(number)
            if not gone:
                return
            for kind, size, count, _ in gone:
                self.bytes, self.items = self.bytes - size, self.items - count
                self._db.execute(
                    "INSERT INTO losses VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET items = items + excluded.items",
                    [kind, count],
                )

    def losses(self) -> dict[str, int]:
        """Return how many items the cap has cost, by kind, since the outbox was new."""
        with self._lock:
            return dict(self._db.execute("SELECT kind, items FROM losses"))

    # Sending --------------------------------------------------------------------------------------

    def seal(
        self,
        kind: Up,
        items: Sequence[ReadingItem | EventItem],
        *,
        sent_at: int | None,
        replayed: bool,
    ) -> SealedMessage:
        """Make a message of given items at once, for a sender that keeps its own order (a replay)."""
        with self._lock, self._transaction():
            made = self._make(
                kind,
                [msgspec.json.encode(item) for item in items],
                max(map(_rank, items), default=0),
                sent_at,
                replayed,
            )
            self.bytes, self.items = self.bytes + len(made.payload), self.items + len(items)
            self._unsent[kind].append(made.id)
        return made

    def next(self, kind: Up, now_ms: int, *, least: int = 1) -> SealedMessage | None:
        """Return the next message to send: one sealed before, or one made now of at least `least` waiting items."""
        with self._lock:
            while self._unsent[kind]:
                number = self._unsent[kind].popleft()
                row = self._db.execute(
                    "SELECT payload FROM messages WHERE id = ?", [number]
                ).fetchone()
                if row is not None:
                    return SealedMessage(id=number, kind=kind, payload=row[0])
            order = "rank DESC, id DESC" if kind is Up.EVENTS else "rank, id"
            rows = self._db.execute(
                f"SELECT id, rank, body FROM items WHERE kind = ? ORDER BY {order} LIMIT {MAX_ITEMS}",  # noqa: S608
                [kind],
            ).fetchall()
            if len(rows) < least or not rows:
                return None
            rows = sorted(self._within_bytes(rows))
            with self._transaction():
                made = self._make(
                    kind,
                    [body for _, _, body in rows],
                    max(rank for _, rank, _ in rows),
                    now_ms,
                    False,
                )
                self._db.executemany(
                    "DELETE FROM items WHERE id = ?", [(number,) for number, _, _ in rows]
                )
            self.bytes += len(made.payload) - sum(len(body) for _, _, body in rows)
            return made

    @staticmethod
    def _within_bytes(rows: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
        size = 0
        kept: list[tuple[int, int, bytes]] = []
        for row in rows:
            size += len(row[2]) + 1
            if kept and size > MAX_BYTES:
                break
            kept.append(row)
        return kept

    def _make(
        self, kind: Up, bodies: list[bytes], rank: int, sent_at: int | None, replayed: bool
    ) -> SealedMessage:
        self._seq[kind] += 1
        raw = [msgspec.Raw(body) for body in bodies]
        envelope: dict[str, object] = {"v": wire.VERSION, "boot": self.boot, "seq": self._seq[kind]}
        payload = msgspec.json.encode(
            {**envelope, "sent_at": sent_at, "replayed": replayed, "items": raw}
        )
        number = self._db.execute(
            "INSERT INTO messages (kind, boot, seq, rank, items, payload) VALUES (?, ?, ?, ?, ?, ?)",
            [kind, self.boot, self._seq[kind], rank, len(bodies), payload],
        ).lastrowid
        assert number is not None
        return SealedMessage(id=number, kind=kind, payload=payload)

    def requeue(self) -> None:
        """Send again everything that is sealed and not acknowledged."""
        with self._lock:
            for kind, order in ((Up.READINGS, "ASC"), (Up.EVENTS, "DESC")):
                query = f"SELECT id FROM messages WHERE kind = ? ORDER BY id {order}"  # noqa: S608
                rows = self._db.execute(query, [kind])
                self._unsent[kind] = deque(number for (number,) in rows)

    def again(self, kind: Up, boot: str, seqs: Sequence[int]) -> list[SealedMessage]:
        """Return messages that the server asks for again and that are still held."""
        with self._lock:
            found = []
            for seq in seqs:
                row = self._db.execute(
                    "SELECT id, payload FROM messages WHERE boot = ? AND kind = ? AND seq = ?",
                    [boot, kind, seq],
                ).fetchone()
                if row is not None:
                    found.append(SealedMessage(id=row[0], kind=kind, payload=row[1]))
            return found

    def payload(self, number: int) -> bytes | None:
        """Return a message's bytes; None where it is acknowledged."""
        with self._lock:
            row = self._db.execute("SELECT payload FROM messages WHERE id = ?", [number]).fetchone()
            return None if row is None else bytes(row[0])

    def acknowledge(self, kind: Up, boot: str, upto: int, also: Sequence[int]) -> list[int]:
        """Forget what the server has committed; returns the messages that are gone."""
        with self._lock, self._transaction():
            forget = "DELETE FROM messages WHERE kind = ? AND boot = ? AND {} RETURNING id, length(payload), items"
            gone = self._db.execute(forget.format("seq <= ?"), [kind, boot, upto]).fetchall()
            for seq in also:
                gone += self._db.execute(forget.format("seq = ?"), [kind, boot, seq]).fetchall()
            self.bytes -= sum(size for _, size, _ in gone)
            self.items -= sum(count for _, _, count in gone)
        self.changed()
        return [number for number, _, _ in gone]

    @property
    def messages(self) -> int:
        """How many sealed messages are not acknowledged."""
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM messages").fetchone()[0])

    # Memory ---------------------------------------------------------------------------------------

    def recall(self, key: str) -> str | None:
        """Return what was remembered under a key."""
        return self._memory.get(key)

    def recall_all(self, prefix: str) -> dict[str, str]:
        """Return everything that was remembered under keys that begin so."""
        return {key: value for key, value in list(self._memory.items()) if key.startswith(prefix)}

    def remember(self, key: str, value: str) -> None:
        """Remember something by itself."""
        self.put([OutboxEntry(memory={key: value})])

    def forget(self, key: str) -> None:
        """Forget what is no more."""
        with self._lock, self._transaction():
            self._db.execute("DELETE FROM memory WHERE key = ?", [key])
        self._memory.pop(key, None)

    def heard(self) -> dict[str, dict[str, Any]]:
        """Return what is known of every device that was heard, or was not."""
        with self._lock:
            return _by_device(self._db.execute(_HEARD).fetchall())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An outbox as another process sees it."""

    heard: dict[str, dict[str, Any]]
    memory: dict[str, str]
    waiting: int
    losses: dict[str, int]


def look_into(path: Path) -> Kept:
    """Read an outbox beside the process that it belongs to.

    Raises: OutboxUnusable.
    """
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            tables = {
                name
                for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if not tables >= {"items", "messages", "losses", "memory", "heard"}:
                # Its process has begun to make it.
                return Kept(heard={}, memory={}, waiting=0, losses={})
            rows = db.execute(_HEARD).fetchall()
            memory = dict(
                db.execute(
                    "SELECT key, value FROM memory WHERE key IN ('status', 'strangers')"
                ).fetchall()
            )
            waiting = db.execute(
                "SELECT (SELECT count(*) FROM items) + (SELECT coalesce(sum(items), 0) FROM messages)"
            ).fetchone()[0]
            losses = dict(db.execute("SELECT kind, items FROM losses").fetchall())
        finally:
            db.close()
    except sqlite3.Error as error:
        raise OutboxUnusable(
            f"outbox {path}: {error}; it may be another version's, or the disk is unwell"
        ) from None
    return Kept(heard=_by_device(rows), memory=memory, waiting=waiting, losses=losses)


_HEARD = "SELECT device, heard_at, said, fault, fault_at, failures, drift_ms FROM heard"


def _by_device(rows: list[tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    names = ("heard_at", "said", "fault", "fault_at", "failures", "drift_ms")
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT; what is counted in memory is put back where the disk refuses."""

    def __init__(self, outbox: Outbox, db: sqlite3.Connection) -> None:
        self._outbox, self._db = outbox, db

    def __enter__(self) -> None:
        self._before = (
            getattr(self._outbox, "bytes", 0),
            getattr(self._outbox, "items", 0),
            dict(self._outbox._seq),
        )
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._restore()
            raise
        if kind is not None:
            self._restore()

    def _restore(self) -> None:
        self._outbox.bytes, self._outbox.items, self._outbox._seq = self._before


def _rank(item: ReadingItem | EventItem) -> int:
    if isinstance(item, ReadingItem):
        return READING
    return {
        EventKind.HAZARD.value: HAZARD,
        EventKind.DEVICE.value: DEVICE,
        EventKind.COMMAND.value: DEVICE,
    }.get(item.kind, PASSAGE)
