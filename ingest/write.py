"""One batch of messages into the database, in one transaction: place, write, quarantine, count, note progress.

What comes back says what may be acknowledged now. Every value and event received is accounted for as stored,
duplicate or quarantined, and the batch checks this law before it commits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec
import numpy as np

from domain import wire
from domain.calendar import from_ms
from domain.rejection import Reason, Rejected
from domain.sequence import Progress
from domain.wire import EventKind, Up
from ingest.decode import Decoded, as_message, decode
from store import commands, ingest_log, series
from store.connect import Connection
from store.ingest_log import ProgressKey, Tally
from store.partitions import Partitions
from store.placement import PlacedDevice, PlacedGateway, Placement
from store.quarantine import Refused, quarantine


class Unbalanced(Exception):
    """A bug of ours: something received is not accounted for. The batch is rolled back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it came from the broker; `generation` and `mid` are for its acknowledgement."""

    topic: str
    payload: bytes
    generation: int = 0
    mid: int = 0
    qos: int = 0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a batch led to, to be acted on after the commit."""

    acks: list[tuple[str, str, wire.Ack]] = field(default_factory=list)
    #: Gateways that told their state, with its `at`: they are told the server's time.
    states: list[tuple[str, str, int]] = field(default_factory=list)
    to_watch: int = 0
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)


@dataclass(slots=True)
class Writer:
    """Writes batches with one connection; keeps the placement, the partitions and the progress it has read."""

    placement: Placement
    partitions: Partitions
    progress: dict[ProgressKey, Progress] = field(default_factory=dict)

    def write(
        self, connection: Connection, messages: list[Message], now_ms: int, *, whole: Rejected | None = None
    ) -> Outcome:
        """Write a batch and commit it. With `whole` given every message is quarantined for that reason.

        Raises: the driver's errors; then nothing of the batch is stored, and it may be tried again.
        """
        batch = _Batch(self, connection, now_ms)
        try:
            batch.read(messages, whole)
            spans = batch.at + [row.at_ms for row in batch.events]
            if spans:
                connection.commit()
                self.partitions.cover(connection, from_ms(min(spans)), from_ms(max(spans)))
            with connection.transaction():
                return batch.store()
        except BaseException:
            # What was noted in memory of a batch that did not commit must not count.
            self.progress.clear()
            self.partitions.forget()
            connection.rollback()
            raise


class _Batch:
    def __init__(self, writer: Writer, connection: Connection, now_ms: int) -> None:
        self.writer, self.connection, self.now_ms = writer, connection, now_ms
        self.at: list[int] = []
        self.points: list[int] = []
        self.values: list[float] = []
        self.origin: list[tuple[Decoded, int, int]] = []
        self.events: list[series.EventRow] = []
        self.event_origin: list[tuple[Decoded, int]] = []
        self.refused: list[tuple[str, Refused]] = []
        self.sequenced: list[tuple[Decoded, PlacedGateway]] = []
        self.status: list[tuple[Decoded, PlacedGateway]] = []
        self.best_effort: set[int] = set()
        self.spans: dict[int, tuple[int, int]] = {}
        self.out = Outcome()

    # Reading and placing -------------------------------------------------------------------------------------------

    def read(self, messages: list[Message], whole: Rejected | None) -> None:
        """Decode and place every message."""
        for message in messages:
            found = whole or decode(message.topic, message.payload, self.now_ms)
            if isinstance(found, Rejected):
                self._tally(_source(message.topic), _kind(message.topic)).received += 1
                self._refuse(message.topic, message.payload, found)
                if whole is not None:
                    self._progress_of_refused(message)
                continue
            self._place(message, found)

    def _progress_of_refused(self, message: Message) -> None:
        """A message that cannot be stored is quarantined and so acknowledged: note its number."""
        found = decode(message.topic, message.payload, self.now_ms)
        if isinstance(found, Decoded):
            gateway = self.writer.placement.gateway(self.connection, found.topic.estate, found.topic.gateway)
            if gateway is not None and found.seq is not None:
                self.sequenced.append((found, gateway))

    def _place(self, message: Message, found: Decoded) -> None:
        gateway = self.writer.placement.gateway(self.connection, found.topic.estate, found.topic.gateway)
        if gateway is None:
            self._tally(_source(message.topic), found.topic.up).received += 1
            self._refuse(
                message.topic,
                message.payload,
                Rejected(
                    reason=Reason.UNKNOWN_GATEWAY,
                    detail=f"gateway {found.topic.gateway!r} is not registered at estate {found.topic.estate!r}; "
                    "register it, or correct the topic, then replay",
                ),
            )
            return
        tally = self._tally(_source(message.topic), found.topic.up)
        tally.received += found.received
        for piece in found.refused:
            self._refuse(message.topic, piece.payload, piece.why)
        if found.state is not None or found.birth is not None:
            self.status.append((found, gateway))
            tally.stored += 1
            return
        if found.seq is not None:
            self.sequenced.append((found, gateway))
        else:
            self.best_effort.add(gateway.id)
        self._place_readings(message, found, gateway)
        self._place_events(message, found, gateway)

    def _place_readings(self, message: Message, found: Decoded, gateway: PlacedGateway) -> None:
        placement = self.writer.placement
        placed = [self._device(gateway, code) for code in found.devices]
        wanted = {
            (device.id, name)
            for device, name in zip(placed, found.names, strict=True)
            if isinstance(device, PlacedDevice) and (device.id, name) not in placement.points
        }
        placement.make_points(self.connection, sorted(wanted))
        for i, device in enumerate(placed):
            if isinstance(device, Rejected):
                self._refuse(message.topic, _reading_bytes(found, i), device)
                continue
            self.at.append(found.at[i])
            self.points.append(placement.points[device.id, found.names[i]])
            self.values.append(found.values[i])
            self.origin.append((found, i, device.id))

    def _place_events(self, message: Message, found: Decoded, gateway: PlacedGateway) -> None:
        for i, item in enumerate(found.events):
            device = self._device(gateway, item.device)
            if isinstance(device, Rejected):
                self._refuse(message.topic, as_message(item), device)
                continue
            self.events.append(
                series.EventRow(device_id=device.id, at_ms=item.at, event_id=item.id, kind=item.kind, data=item.data)
            )
            self.event_origin.append((found, i))

    def _device(self, gateway: PlacedGateway, code: str) -> PlacedDevice | Rejected:
        """Find the device that a gateway speaks for."""
        device = self.writer.placement.device(self.connection, gateway.estate_id, code)
        if device is None:
            return Rejected(
                reason=Reason.UNKNOWN_DEVICE,
                detail=f"device {code!r} is not registered at this estate; register it, then replay",
            )
        if device.gateway_id not in (None, gateway.id):
            return Rejected(
                reason=Reason.FOREIGN_DEVICE, detail=f"device {code!r} belongs to another gateway of this estate"
            )
        return device

    # Storing -------------------------------------------------------------------------------------------------------

    def store(self) -> Outcome:
        """Write everything; runs inside the transaction."""
        self._store_readings()
        self._store_events()
        self._store_status()
        self._store_quarantine()
        self._store_progress()
        ingest_log.mark_dirty(self.connection, self.spans)
        ingest_log.note_best_effort(self.connection, self.best_effort)
        for key, tally in self.out.tallies.items():
            if not tally.balanced:
                raise Unbalanced(f"{key}: {tally}")
        ingest_log.add_tallies(self.connection, self.out.tallies)
        return self.out

    def _store_readings(self) -> None:
        batch = series.Readings(
            at=np.array(self.at, dtype=np.int64),
            point=np.array(self.points, dtype=np.int32),
            value=np.array(self.values, dtype=np.float64),
        )
        written = series.write_readings(self.connection, batch)
        clash = set(written.conflicts)
        for i in written.conflicts:
            found, index, _ = self.origin[i]
            self._refuse(
                _topic(found),
                _reading_bytes(found, index),
                Rejected(
                    reason=Reason.CONFLICT,
                    detail=f"device {found.devices[index]}: another {found.names[index]} is stored for {found.at[index]}; "
                    "a resend must be byte for byte the first one",
                ),
            )
        self._settle(
            Up.READINGS, [found for i, (found, _, _) in enumerate(self.origin) if i not in clash], written.stored
        )
        for i, (_, _, device_id) in enumerate(self.origin):
            if i not in clash and written.stored:
                self._widen(device_id, self.at[i])

    def _store_events(self) -> None:
        written = series.write_events(self.connection, self.events)
        clash = set(written.conflicts)
        for i in written.conflicts:
            found, index = self.event_origin[i]
            self._refuse(
                _topic(found),
                as_message(found.events[index]),
                Rejected(
                    reason=Reason.CONFLICT,
                    detail=f"device {found.events[index].device}: event {found.events[index].id} is stored with other content",
                ),
            )
        self._settle(
            Up.EVENTS, [found for i, (found, _) in enumerate(self.event_origin) if i not in clash], written.stored
        )
        watched = []
        for row in (self.events[i] for i in written.fresh):
            if row.kind == EventKind.PASSAGE:
                self._widen(row.device_id, row.at_ms)
            elif row.kind in (EventKind.HAZARD, EventKind.DEVICE):
                watched.append(row)
            elif row.kind == EventKind.COMMAND:
                said = row.data
                commands.note_result(
                    self.connection, row.device_id, str(said.get("command", "")), str(said["result"]),
                    str(said.get("detail", "")), from_ms(row.at_ms),
                )  # fmt: skip
        ingest_log.queue_for_watch(self.connection, watched)
        self.out.to_watch = len(watched)

    def _settle(self, kind: Up, founds: list[Decoded], stored: int) -> None:
        """Share what was stored and what was there before among the sources.

        The writer knows how many rows of the batch are new, not whose; where a batch mixes sources and duplicates,
        the split between sources is by arrival and the sums are exact.
        """
        left = stored
        by_id = {id(found): found for found in founds}
        for key, count in Counter(map(id, founds)).items():
            tally = self._tally(_source(_topic(by_id[key])), kind)
            fresh = min(count, left)
            tally.stored += fresh
            tally.duplicates += count - fresh
            left -= fresh

    def _store_status(self) -> None:
        for found, gateway in self.status:
            if found.state is not None:
                state = found.state
                ingest_log.save_state(
                    self.connection,
                    gateway.id,
                    online=state.online,
                    at_ms=state.at,
                    boot=state.boot,
                    clock_offset_ms=state.clock_offset_ms,
                    outbox=state.outbox,
                    lost=state.lost,
                )
                if state.online:
                    self.out.states.append((found.topic.estate, found.topic.gateway, state.at))
            if found.birth is not None:
                ingest_log.save_birth(
                    self.connection,
                    gateway.id,
                    found.birth.boot,
                    found.birth.at,
                    [msgspec.to_builtins(device) for device in found.birth.devices],
                )

    def _store_quarantine(self) -> None:
        fresh = quarantine(self.connection, [refused for _, refused in self.refused])
        for (kind, refused), new in zip(self.refused, fresh, strict=True):
            tally = self._tally(_source(refused.topic), kind)
            if new:
                tally.quarantined += 1
                self.out.reasons.append(refused.why.reason)
            else:
                tally.duplicates += 1

    def _store_progress(self) -> None:
        touched: dict[ProgressKey, tuple[Decoded, set[int]]] = {}
        for found, gateway in self.sequenced:
            assert found.boot is not None and found.seq is not None
            key = (gateway.id, str(found.topic.up), found.boot)
            progress = self.writer.progress.get(key)
            if progress is None:
                progress = self.writer.progress[key] = ingest_log.load_progress(self.connection, key)
            highest = max(progress.also, default=progress.upto)
            if progress.see(found.seq) and found.seq < highest:
                ingest_log.fill_gaps(self.connection, key, [found.seq])
            touched.setdefault(key, (found, set()))[1].add(found.seq)
        ingest_log.save_progress(self.connection, {key: self.writer.progress[key] for key in touched})
        for key, (found, seqs) in touched.items():
            upto = self.writer.progress[key].upto
            ack = wire.Ack(
                v=wire.VERSION, kind=key[1], boot=key[2], upto=upto, also=sorted(s for s in seqs if s > upto)
            )
            self.out.acks.append((found.topic.estate, found.topic.gateway, ack))

    # Small things ----------------------------------------------------------------------------------------------------

    def _refuse(self, topic: str, payload: bytes, why: Rejected) -> None:
        self.refused.append((_kind(topic), Refused(topic=topic, payload=payload, why=why)))

    def _tally(self, source: str, kind: str) -> Tally:
        return self.out.tallies.setdefault((source, kind), Tally())

    def _widen(self, device_id: int, at: int) -> None:
        low, high = self.spans.get(device_id, (at, at))
        self.spans[device_id] = (min(low, at), max(high, at))


def _topic(found: Decoded) -> str:
    return wire.up_topic(found.topic.estate, found.topic.gateway, found.topic.up)


def _source(topic: str) -> str:
    """Name where a message came from: its estate and gateway, or one word for all topics that are none of ours."""
    parsed = wire.parse_up_topic(topic)
    return f"{parsed.estate[:40]}/{parsed.gateway[:40]}" if parsed else "unknown"


def _kind(topic: str) -> str:
    parsed = wire.parse_up_topic(topic)
    return str(parsed.up) if parsed else "unknown"


def _reading_bytes(found: Decoded, index: int) -> bytes:
    values = {found.names[index]: found.values[index]}
    return as_message({"device": found.devices[index], "at": found.at[index], "values": values})
