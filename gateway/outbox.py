"""The outbox: what devices reported, on disk until the server has committed it.

An SQLite file in WAL mode; every entry is written in a synced transaction. Items wait singly. They
are sealed into a numbered message when it is their turn to be sent, and from then on its bytes
never change. Events go newest first, so that an alarm does not queue behind a backlog; readings go
oldest first, so that a meter's day is complete as soon as possible. Only `acknowledge` empties the
outbox. Beyond its cap it discards readings first and hazards last, and counts what it discarded.

What the gateway must remember across a kill is in the same file and changes in the same
transactions: which poll was made, which alarm holds, which event and which command was seen, what
each device reported last.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain import wire
from domain.wire import EventItem, EventKind, ReadingItem, Up
from gateway.outbox_file import LastContact, open_outbox, read_contacts

#: Items in one message, and bytes of them; the wire contract allows 256 KiB.
MAX_ITEMS = 500
MAX_BYTES = 200_000
#: Seen event ids that are remembered; the oldest are forgotten, after every so many new ones.
MAX_SEEN = 200_000
FORGET_EVERY = 1000
#: Ranks of items: the lowest is discarded first when the cap is reached.
READING = 0
PASSAGE = 1
DEVICE = 2
HAZARD = 3
_EVENT_RANKS = {
    EventKind.HAZARD.value: HAZARD,
    EventKind.DEVICE.value: DEVICE,
    EventKind.COMMAND.value: DEVICE,
}

_LAST_SEQUENCES = "SELECT kind, max(seq) FROM messages WHERE boot = ? GROUP BY kind"
_SIZE = """
    SELECT coalesce(sum(bytes), 0), coalesce(sum(items), 0)
    FROM (
        SELECT sum(length(body)) AS bytes, count(*) AS items FROM items
        UNION ALL
        SELECT sum(length(payload)), sum(items) FROM messages
    )
"""
_NOTE_CONTACT = """
    INSERT INTO contacts (device, contact_at, summary, drift_ms)
    VALUES (?, ?, ?, ?)
    ON CONFLICT (device) DO UPDATE SET
        contact_at = excluded.contact_at,
        summary = coalesce(excluded.summary, summary),
        failures = 0,
        drift_ms = coalesce(excluded.drift_ms, drift_ms)
"""
_NOTE_FAULT = """
    INSERT INTO contacts (device, fault, fault_at, failures)
    VALUES (?, ?, ?, 1)
    ON CONFLICT (device) DO UPDATE SET
        fault = excluded.fault,
        fault_at = excluded.fault_at,
        failures = failures + 1
"""
_DISCARD_ITEMS = """
    DELETE FROM items
    WHERE id IN (SELECT id FROM items ORDER BY rank, id LIMIT 200)
      AND rank = (
        SELECT min(rank)
        FROM (SELECT min(rank) AS rank FROM items UNION ALL SELECT min(rank) FROM messages)
      )
    RETURNING id, kind, length(body), 1
"""
_DISCARD_MESSAGE = """
    DELETE FROM messages
    WHERE id = (SELECT id FROM messages ORDER BY rank, id LIMIT 1)
    RETURNING id, kind, length(payload), items
"""
_COUNT_LOSS = """
    INSERT INTO losses VALUES (?, ?)
    ON CONFLICT (kind) DO UPDATE SET items = items + excluded.items
"""
_NEXT_READINGS = """
    SELECT id, rank, body FROM items
    WHERE kind = ?
    ORDER BY rank, id
    LIMIT ?
"""
_NEXT_EVENTS = """
    SELECT id, rank, body FROM items
    WHERE kind = ?
    ORDER BY rank DESC, id DESC
    LIMIT ?
"""
_INSERT_MESSAGE = """
    INSERT INTO messages (kind, boot, seq, rank, items, payload)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_FIND_MESSAGE = "SELECT id, payload FROM messages WHERE boot = ? AND kind = ? AND seq = ?"
_FORGET_UP_TO = """
    DELETE FROM messages
    WHERE kind = ? AND boot = ? AND seq <= ?
    RETURNING id, kind, length(payload), items
"""
_FORGET_ONE = """
    DELETE FROM messages
    WHERE kind = ? AND boot = ? AND seq = ?
    RETURNING id, kind, length(payload), items
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceContact:
    """A contact with a device at an instant (ms): a summary of its report, or the fault of a failed
    one.
    """

    device: str
    at: int
    summary: str | None = None
    fault: str | None = None
    drift_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """What is written together, all or nothing."""

    items: Sequence[ReadingItem | EventItem] = ()
    memory: Mapping[str, str] = field(default_factory=dict)
    contacts: Sequence[DeviceContact] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedMessage:
    """A numbered message. Its bytes are made once."""

    id: int
    kind: Up
    payload: bytes


class _WaitingItem(NamedTuple):
    """A row of `items`, as the queries of the next message return it."""

    id: int
    rank: int
    body: bytes


class _Removed(NamedTuple):
    """An item or a message that is removed, with its bytes and the number of its items."""

    id: int
    kind: str
    bytes: int
    items: int


class Outbox:
    """One gateway's outbox. Thread-safe.

    `changed` is called after every entry and every acknowledgement. `bytes` and `items` are what
    waits, sealed or not.
    """

    def __init__(self, path: Path | None, boot: str, *, cap_bytes: int = 512 * 1024 * 1024) -> None:
        """Open the file, or one in memory where `path` is None; `boot` must be new.

        Raises: OutboxUnusable.
        """
        self.boot = boot
        self.changed: Callable[[], None] = lambda: None
        self.bytes = 0
        self.items = 0
        self._cap_bytes = cap_bytes
        self._lock = threading.RLock()
        self._db = open_outbox(path)
        self._seq = {Up.READINGS: 0, Up.EVENTS: 0}
        for kind, seq in self._db.execute(_LAST_SEQUENCES, [boot]):
            self._seq[Up(kind)] = seq
        self._unsent: dict[Up, deque[int]] = {Up.READINGS: deque(), Up.EVENTS: deque()}
        self.requeue()
        # A copy, so that drivers never wait for the disk to recall something.
        self._memory: dict[str, str] = dict(self._db.execute("SELECT key, value FROM memory"))
        self.bytes, self.items = self._db.execute(_SIZE).fetchone()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # Entries --------------------------------------------------------------------------------------

    def put(self, entries: Sequence[OutboxEntry]) -> int:
        """Write entries in one synced transaction; return how many items were new.

        An event whose id was seen before is left out: its sender did not receive our reply.

        Raises: sqlite3.Error where the disk refuses it. Then nothing was written, and the sender
        must not be told that it was.
        """
        with self._transaction():
            new_items = sum(self._put(entry) for entry in entries)
            self._keep_cap()
        for entry in entries:
            self._memory.update(entry.memory)
        self.changed()
        return new_items

    def _put(self, entry: OutboxEntry) -> int:
        new_items = 0
        for item in entry.items:
            new_items += self._put_item(item)
        self._db.executemany("REPLACE INTO memory VALUES (?, ?)", entry.memory.items())
        for contact in entry.contacts:
            self._put_contact(contact)
        return new_items

    def _put_item(self, item: ReadingItem | EventItem) -> int:
        """Write an item; return 1, or 0 for an event that was seen before."""
        kind = Up.READINGS
        if isinstance(item, EventItem):
            kind = Up.EVENTS
            unseen = self._register_event(item)
            if unseen is None:
                return 0
            item = unseen
        body = msgspec.json.encode(item)
        self._db.execute(
            "INSERT INTO items (kind, rank, body) VALUES (?, ?, ?)", [kind, _rank_of(item), body]
        )
        self.bytes += len(body)
        self.items += 1
        return 1

    def _register_event(self, event: EventItem) -> EventItem | None:
        """Register an event's id as seen; return the event, or None for one that is a repeat.

        Another event under a used id (a counter that began again) gets an id of its own.
        """
        content = msgspec.json.encode([event.kind, event.data], order="deterministic")
        digest = hashlib.blake2b(content, digest_size=8).digest()
        for event_id in (event.id, f"{event.id[:60]}~{digest.hex()}"):
            row = self._db.execute(
                "SELECT digest FROM seen WHERE (device, id) = (?, ?)", [event.device, event_id]
            ).fetchone()
            if row is None:
                self._remember_seen(event.device, event_id, digest)
                return event if event_id == event.id else replace(event, id=event_id)
            if row[0] == digest:
                return None
        return None

    def _remember_seen(self, device: str, event_id: str, digest: bytes) -> None:
        row = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM seen").fetchone()
        number = row[0]
        self._db.execute("INSERT INTO seen VALUES (?, ?, ?, ?)", [device, event_id, digest, number])
        if number % FORGET_EVERY == 0:
            self._db.execute("DELETE FROM seen WHERE number <= ?", [number - MAX_SEEN])

    def _put_contact(self, contact: DeviceContact) -> None:
        if contact.fault is None:
            row = [contact.device, contact.at, contact.summary, contact.drift_ms]
            self._db.execute(_NOTE_CONTACT, row)
        else:
            self._db.execute(_NOTE_FAULT, [contact.device, contact.fault, contact.at])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the lock and a transaction; restore the counters where it does not commit."""
        with self._lock:
            bytes_before = self.bytes
            items_before = self.items
            seq_before = dict(self._seq)
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self.bytes = bytes_before
                self.items = items_before
                self._seq = seq_before
                raise

    # The cap --------------------------------------------------------------------------------------

    def _keep_cap(self) -> None:
        """Discard what matters least until the cap is kept: items by rank, oldest first, then
        messages.
        """
        while self.bytes > self._cap_bytes:
            discarded = list(map(_Removed._make, self._db.execute(_DISCARD_ITEMS).fetchall()))
            if not discarded:
                discarded = self._discard_message()
            if not discarded:
                return
            for removed in discarded:
                self.bytes -= removed.bytes
                self.items -= removed.items
                self._db.execute(_COUNT_LOSS, [removed.kind, removed.items])

    def _discard_message(self) -> list[_Removed]:
        discarded = list(map(_Removed._make, self._db.execute(_DISCARD_MESSAGE).fetchall()))
        for removed in discarded:
            unsent = self._unsent[Up(removed.kind)]
            if removed.id in unsent:
                unsent.remove(removed.id)
        return discarded

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
        """Make a message of given items at once, for a sender with its own order (a replay)."""
        waiting = [
            _WaitingItem(id=0, rank=_rank_of(item), body=msgspec.json.encode(item))
            for item in items
        ]
        with self._transaction():
            message = self._make_message(kind, waiting, sent_at=sent_at, replayed=replayed)
            self.bytes += len(message.payload)
            self.items += len(items)
            self._unsent[kind].append(message.id)
        return message

    def next(self, kind: Up, now_ms: int, *, least: int = 1) -> SealedMessage | None:
        """Return the next message to send, or None.

        It is one that was sealed before, or one made now of at least `least` waiting items.
        """
        with self._lock:
            return self._next_sealed(kind) or self._seal_waiting(kind, now_ms, least)

    def _next_sealed(self, kind: Up) -> SealedMessage | None:
        unsent = self._unsent[kind]
        while unsent:
            number = unsent.popleft()
            payload = self.payload(number)
            if payload is not None:
                return SealedMessage(id=number, kind=kind, payload=payload)
        return None

    def _seal_waiting(self, kind: Up, now_ms: int, least: int) -> SealedMessage | None:
        query = _NEXT_EVENTS if kind is Up.EVENTS else _NEXT_READINGS
        rows = self._db.execute(query, [kind, MAX_ITEMS]).fetchall()
        if len(rows) < max(least, 1):
            return None
        # In the order in which they happened.
        chosen = sorted(_within_bytes([_WaitingItem._make(row) for row in rows]))
        with self._transaction():
            message = self._make_message(kind, chosen, sent_at=now_ms, replayed=False)
            numbers = [(item.id,) for item in chosen]
            self._db.executemany("DELETE FROM items WHERE id = ?", numbers)
            self.bytes += len(message.payload) - sum(len(item.body) for item in chosen)
        return message

    def _make_message(
        self, kind: Up, items: Sequence[_WaitingItem], *, sent_at: int | None, replayed: bool
    ) -> SealedMessage:
        self._seq[kind] += 1
        seq = self._seq[kind]
        envelope = {
            "v": wire.VERSION,
            "boot": self.boot,
            "seq": seq,
            "sent_at": sent_at,
            "replayed": replayed,
            "items": [msgspec.Raw(item.body) for item in items],
        }
        payload = msgspec.json.encode(envelope)
        rank = max((item.rank for item in items), default=0)
        row = [kind, self.boot, seq, rank, len(items), payload]
        number = self._db.execute(_INSERT_MESSAGE, row).lastrowid
        assert number is not None
        return SealedMessage(id=number, kind=kind, payload=payload)

    def requeue(self) -> None:
        """Let everything that is sealed and not acknowledged be sent again."""
        with self._lock:
            for kind in (Up.READINGS, Up.EVENTS):
                rows = self._db.execute(
                    "SELECT id FROM messages WHERE kind = ? ORDER BY id", [kind]
                ).fetchall()
                numbers = [number for (number,) in rows]
                if kind is Up.EVENTS:
                    numbers.reverse()
                self._unsent[kind] = deque(numbers)

    def find_messages(self, kind: Up, boot: str, seqs: Sequence[int]) -> list[SealedMessage]:
        """Return the messages of some sequence numbers that are not acknowledged yet."""
        messages: list[SealedMessage] = []
        with self._lock:
            for seq in seqs:
                row = self._db.execute(_FIND_MESSAGE, [boot, kind, seq]).fetchone()
                if row is not None:
                    number, payload = row
                    messages.append(SealedMessage(id=number, kind=kind, payload=payload))
        return messages

    def payload(self, number: int) -> bytes | None:
        """Return a message's bytes; None where it is acknowledged or discarded."""
        with self._lock:
            row = self._db.execute("SELECT payload FROM messages WHERE id = ?", [number]).fetchone()
        return None if row is None else bytes(row[0])

    def acknowledge(self, kind: Up, boot: str, upto: int, also: Sequence[int]) -> list[int]:
        """Remove the messages that the server has committed; return their ids."""
        with self._transaction():
            rows = self._db.execute(_FORGET_UP_TO, [kind, boot, upto]).fetchall()
            for seq in also:
                rows += self._db.execute(_FORGET_ONE, [kind, boot, seq]).fetchall()
            committed = [_Removed._make(row) for row in rows]
            self.bytes -= sum(message.bytes for message in committed)
            self.items -= sum(message.items for message in committed)
        self.changed()
        return [message.id for message in committed]

    @property
    def messages(self) -> int:
        """The number of sealed messages that are not acknowledged."""
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM messages").fetchone()[0])

    # Memory ---------------------------------------------------------------------------------------

    def recall(self, key: str) -> str | None:
        """Return what was remembered under a key, or None."""
        return self._memory.get(key)

    def recall_all(self, prefix: str) -> dict[str, str]:
        """Return everything that was remembered under keys with a prefix."""
        return {key: value for key, value in list(self._memory.items()) if key.startswith(prefix)}

    def remember(self, key: str, value: str) -> None:
        """Remember a value by itself.

        Raises: sqlite3.Error.
        """
        self.put([OutboxEntry(memory={key: value})])

    def forget(self, key: str) -> None:
        """Forget a key.

        Raises: sqlite3.Error.
        """
        with self._transaction():
            self._db.execute("DELETE FROM memory WHERE key = ?", [key])
        self._memory.pop(key, None)

    def contacts(self) -> dict[str, LastContact]:
        """Return the last contact with each device, by device."""
        with self._lock:
            return read_contacts(self._db)


def _within_bytes(items: Sequence[_WaitingItem]) -> list[_WaitingItem]:
    """Return the first items that fit into one message; one item always does."""
    size = 0
    chosen: list[_WaitingItem] = []
    for item in items:
        size += len(item.body) + 1
        if chosen and size > MAX_BYTES:
            break
        chosen.append(item)
    return chosen


def _rank_of(item: ReadingItem | EventItem) -> int:
    if isinstance(item, ReadingItem):
        return READING
    return _EVENT_RANKS.get(item.kind, PASSAGE)
