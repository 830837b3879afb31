"""One batch of messages into the database, in one transaction: place, write, quarantine, count, note progress.

What comes back says what may be acknowledged now. Every value and event received is accounted for as stored,
duplicate or quarantined, and the batch checks this law before it commits. Most readings go the fast way (columns.py); what does
not fit or is not known yet goes the careful way here, which finds the reason.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from domain import sequence, wire
from domain.ids import valid_id, valid_point
from domain.rejection import Reason, Rejected
from domain.wire import EventKind, Up
from ingest import metrics
from ingest.arrival import Arrivals, changed, late_seconds
from ingest.bulk import Frame
from ingest.columns import Columns, Route
from ingest.decode import Decoded, as_message, decode
from ingest.ledger import BatchLedger
from store.database.connection import DuplicateKey
from store.ingest.log import DirtySpans, IngestTally
from store.ingest.progress import ProgressKey
from store.ingest.quarantine import QuarantinedMessage
from store.register.placement import PlacedDevice, PlacedGateway, Placement
from store.series.readings import EventRow, ReadingColumns

log = structlog.get_logger()

#: How long one batch may keep the database busy before its connection is cut.
BATCH_SECONDS = 20.0
#: The widest skew that is kept, ms.
MOST_SKEW = 2**31 - 1
#: Routes remembered; beyond it all are forgotten and found anew.
MAX_ROUTES = 50_000


class AccountingError(Exception):
    """A bug of ours: something received is not accounted for. The batch is rolled back."""


@dataclass(slots=True, kw_only=True)
class BatchOutcome:
    """What a batch led to, to be acted on after the commit."""

    acks: list[tuple[str, str, wire.Ack]] = field(default_factory=list)
    #: Gateways that told their state, with its `at`: they are told the server's time.
    states: list[tuple[str, str, int]] = field(default_factory=list)
    #: Events that watch has to look at, as (device's id, event's id).
    to_watch: list[tuple[int, str]] = field(default_factory=list)
    tallies: dict[tuple[str, str], IngestTally] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    #: What was refused, whether or not it had been before, by digest.
    refused: set[bytes] = field(default_factory=set)
    #: The sources that are gateways of the register.
    registered: set[str] = field(default_factory=set)
    #: Of each gateway, how far its newest message's clock is from ours, ms.
    skews: dict[int, int] = field(default_factory=dict)
    #: What was read, for the latest values: point, at, value.
    readings: ReadingColumns | None = None


@dataclass(slots=True)
class Writer:
    """Writes batches; keeps only what it can ask for again."""

    placement: Placement
    lane: str = ""
    routes: dict[bytes, Route] = field(default_factory=dict)
    #: Routes that the last batch counted on.
    touched: list[Route] = field(default_factory=list)
    _epoch: int = -1

    def write(
        self,
        ledger: BatchLedger,
        frames: list[Frame],
        now_ms: int,
        *,
        whole: Rejected | None = None,
    ) -> BatchOutcome:
        """Write a batch and commit it. With `whole` given every message is quarantined for that reason.

        Raises: the driver's errors; then nothing of the batch is stored, and it may be tried again.
        """
        try:
            return self._attempt(ledger, frames, now_ms, whole, merge=False)
        except DuplicateKey:
            # Something of it is stored already: the same again, told apart row by row. A second time it is another worker
            # that stores the same at this moment; then it is done.
            try:
                return self._attempt(ledger, frames, now_ms, whole, merge=True)
            except DuplicateKey:
                return self._attempt(ledger, frames, now_ms, whole, merge=True)

    def _attempt(
        self,
        ledger: BatchLedger,
        frames: list[Frame],
        now_ms: int,
        whole: Rejected | None,
        *,
        merge: bool,
    ) -> BatchOutcome:
        with ledger.batch(BATCH_SECONDS):
            self.placement.refresh(ledger)
            if self.placement.epoch != self._epoch or len(self.routes) > MAX_ROUTES:
                self.routes.clear()
                self._epoch = self.placement.epoch
            batch = _Batch(self, ledger, now_ms)
            try:
                with metrics.stage(self.lane, "place"):
                    batch.read(frames, whole)
                # Points may stay whatever becomes of the batch: a point without readings says nothing.
                ledger.commit()
            except BaseException:
                # Points that were made in it do not exist, or nobody knows.
                self.placement.forget()
                raise
            with metrics.stage(self.lane, "write"):
                batch.cover()
                out = batch.store(merge=merge)
                ledger.commit()
            return out


class _Batch:
    def __init__(self, writer: Writer, ledger: BatchLedger, now_ms: int) -> None:
        self.writer, self.ledger, self.now_ms = writer, ledger, now_ms
        self.columns = Columns()
        # Rows: the columns' first, then the careful ones. `source` is an index into `topics`.
        self.at: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.point: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self.value: NDArray[np.float64] = np.empty(0)
        self.source: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self.topics: list[str] = []
        self.of_message: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.received: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.arrivals = Arrivals(now_ms)
        self.careful: list[tuple[int, int, float, int, int]] = []
        self.events: list[EventRow] = []
        self.event_items: list[tuple[str, wire.EventItem, int]] = []
        self.refused: list[QuarantinedMessage] = []
        self.seen: dict[ProgressKey, list[int]] = {}
        self.places: dict[int, tuple[str, str]] = {}
        self.status: list[tuple[Decoded, PlacedGateway]] = []
        self.best_effort: set[int] = set()
        self.out = BatchOutcome()

    # Reading and placing -------------------------------------------------------------------------------------------

    def read(self, frames: list[Frame], whole: Rejected | None) -> None:
        """Decode and place every message."""
        routes = self.writer.routes
        for route in self.writer.touched:
            route.reset()
        self.writer.touched = self.columns.routes
        odd, learnt = list(frames), False
        if whole is None:
            odd = self.columns.take(frames, routes)
            learnt = bool(odd) and self._learn(odd)
            if learnt:
                odd = self.columns.take(odd, routes)
        odd += self._check_rows()
        for frame in odd:
            self._read_carefully(frame, whole)
        self._close_routes()
        self.received = self.arrivals.of_columns(self.columns)[self.of_message]
        if self.careful or learnt:
            self._join(frames)

    def _join(self, frames: list[Frame]) -> None:
        """Put all rows into the order in which their messages came: of two that clash the first one counts."""
        came = {id(frame): n for n, frame in enumerate(frames)}
        fast = np.array([came[id(frame)] for frame in self.columns.frames], dtype=np.int64)[
            self.of_message
        ]
        order = np.argsort(
            np.append(fast, np.array([came[row[4]] for row in self.careful], dtype=np.int64)),
            kind="stable",
        )
        self.at = np.append(self.at, np.array([row[0] for row in self.careful], dtype=np.int64))[
            order
        ]
        self.point = np.append(
            self.point, np.array([row[1] for row in self.careful], dtype=np.int32)
        )[order]
        self.value = np.append(
            self.value, np.array([row[2] for row in self.careful], dtype=np.float64)
        )[order]
        self.source = np.append(
            self.source, np.array([row[3] for row in self.careful], dtype=np.int32)
        )[order]
        arrived = [self.arrivals.of(row[4]) for row in self.careful]
        self.received = np.append(self.received, np.array(arrived, dtype=np.int64))[order]

    def _learn(self, odd: list[Frame]) -> bool:
        """Ask for all that messages name and we do not know, in a few queries; True where it is worth to read them again."""
        writer, placement, ledger = self.writer, self.writer.placement, self.ledger
        for topic in {frame[0] for frame in odd} - writer.routes.keys():
            text = topic.decode("utf-8", "replace")
            parsed = wire.parse_up_topic(text)
            if (
                parsed is None
                or parsed.up is not Up.READINGS
                or not valid_id(parsed.estate)
                or not valid_id(parsed.gateway)
            ):
                continue
            gateway = placement.gateway(ledger, parsed.estate, parsed.gateway)
            if gateway is not None:
                source = f"{parsed.estate}/{parsed.gateway}"
                writer.routes[topic] = Route(topic=text, source=source, gateway=gateway)
        wanted = self.columns.wanted(odd, writer.routes)
        placement.learn(
            ledger,
            {
                (writer.routes[t].gateway.estate_id, code)
                for t, codes in wanted.items()
                for code in codes
                if valid_id(code)
            },
        )
        new: list[tuple[Route, str, PlacedDevice, set[str]]] = []
        for topic, codes in wanted.items():
            route = writer.routes[topic]
            for code, names in codes.items():
                device = placement.device(route.gateway.estate_id, code)
                if device is not None and device.gateway_id in (None, route.gateway.id):
                    new.append((route, code, device, {name for name in names if valid_point(name)}))
        placement.make_points(
            ledger, [(device, name) for _, _, device, names in new for name in names]
        )
        for route, code, device, _ in new:
            route.points[code] = device.points
        return bool(writer.routes)

    def _check_rows(self) -> list[Frame]:
        """Take messages out of the columns again that hold a time or a value that cannot be; returns them."""
        columns, placement = self.columns, self.writer.placement
        self.at, self.point, self.value = columns.arrays()
        rows = len(columns)
        begins = np.array([*columns.begins, rows], dtype=np.int64)
        counts = begins[1:] - begins[:-1]
        index: dict[int, int] = {}
        for route in columns.routes:
            if id(route) not in index:
                index[id(route)] = len(self.topics)
                self.topics.append(route.topic)
        of_message = np.fromiter(
            (index[id(route)] for route in columns.routes),
            dtype=np.int32,
            count=len(columns.routes),
        )
        self.source = np.repeat(of_message, counts)
        self.of_message = np.repeat(np.arange(len(counts)), counts)
        wrong = (
            (self.at > self.now_ms + wire.AHEAD_MS)
            | (self.value < placement.low[self.point])
            | (self.value > placement.high[self.point])
            | ~np.isfinite(self.value)
        )
        if not wrong.any():
            return []
        bad = sorted({bisect_right(columns.begins, int(row)) - 1 for row in np.flatnonzero(wrong)})
        keep = ~np.repeat(np.isin(np.arange(len(counts)), bad), counts)
        for message in bad:
            columns.routes[message].received -= int(counts[message])
        self.at, self.point, self.value = self.at[keep], self.point[keep], self.value[keep]
        self.source, self.of_message = self.source[keep], self.of_message[keep]
        return [columns.frames[message] for message in bad]

    def _close_routes(self) -> None:
        """Take over what the routes have counted."""
        for route in {id(route): route for route in self.columns.routes}.values():
            self._tally(route.source, Up.READINGS).received += route.received
            self.out.registered.add(route.source)
            for boot, seqs in route.seqs.items():
                if seqs:
                    self._see(route.gateway, Up.READINGS, boot, seqs, route.source)
            if route.unnumbered:
                self.best_effort.add(route.gateway.id)
            if route.sent_at is not None and not route.gateway.as_sent:
                # What a gateway says of its clock may be anything; beyond 24 days it is only wrong.
                self.out.skews[route.gateway.id] = max(
                    -MOST_SKEW, min(MOST_SKEW, route.sent_at - self.now_ms)
                )

    def _read_carefully(self, frame: Frame, whole: Rejected | None) -> None:
        topic = frame[0].decode("utf-8", "replace")
        found: Decoded | Rejected
        try:
            found = decode(topic, frame[1], self.now_ms)
        except Exception as error:
            # A bug of ours; but the message would come again and again, and nobody else be served.
            log.exception("reader_failed", topic=topic)
            found = Rejected(
                reason=Reason.UNREADABLE,
                detail=f"our reader failed on it ({type(error).__name__}): replay after a fix",
            )
        source, kind = source_of(topic), kind_of(topic)
        if isinstance(found, Decoded):
            placed = self.writer.placement.gateway(
                self.ledger, found.topic.estate, found.topic.gateway
            )
            if placed is not None:
                self.out.registered.add(source)
            if placed is not None and found.seq is not None:
                # What is quarantined is acknowledged too, or its gateway would send it for ever.
                self._see(placed, found.topic.up, found.boot or "", [found.seq], source)
            if whole is None and placed is not None:
                self._place(topic, found, placed, frame)
                return
            found = Rejected(
                reason=Reason.UNKNOWN_GATEWAY,
                detail=f"gateway {found.topic.gateway!r} is not registered at estate {found.topic.estate!r}, or its "
                "certificates were revoked; register it, correct the topic, or give it a new claim code, then replay",
            )
        self._tally(source, kind).received += 1
        self._refuse(topic, frame[1], whole or found)

    def _place(self, topic: str, found: Decoded, gateway: PlacedGateway, frame: Frame) -> None:
        sent_at = found.sent_at or max(
            [*found.at, *(item.at for item in found.events)], default=None
        )
        self.arrivals.note(id(frame), sent_at, as_sent=gateway.as_sent)
        tally = self._tally(source_of(topic), found.topic.up)
        tally.received += found.received
        for piece in found.refused:
            self._refuse(topic, piece.payload, piece.why)
        if found.state is not None or found.birth is not None:
            self.status.append((found, gateway))
            tally.stored += 1
            return
        if found.seq is None:
            self.best_effort.add(gateway.id)
        codes = {*found.devices, *(item.device for item in found.events)}
        self.writer.placement.learn(self.ledger, ((gateway.estate_id, code) for code in codes))
        self._place_readings(topic, found, gateway, frame)
        for item in found.events:
            device = self._device(gateway, item.device)
            if isinstance(device, Rejected):
                self._refuse(topic, as_message(item), device)
                continue
            self.events.append(
                EventRow(
                    device_id=device.id,
                    at_ms=item.at,
                    event_id=item.id,
                    kind=item.kind,
                    data=item.data,
                    received_ms=self.arrivals.of(id(frame)),
                )
            )
            self.event_items.append((topic, item, gateway.estate_id))

    def _place_readings(
        self, topic: str, found: Decoded, gateway: PlacedGateway, frame: Frame
    ) -> None:
        placed = [self._device(gateway, code) for code in found.devices]
        self.writer.placement.make_points(
            self.ledger,
            [
                (d, name)
                for d, name in zip(placed, found.names, strict=True)
                if isinstance(d, PlacedDevice)
            ],
        )
        source = len(self.topics)
        self.topics.append(topic)
        for i, device in enumerate(placed):
            if isinstance(device, Rejected):
                self._refuse(
                    topic,
                    _reading_bytes(found.devices[i], found.at[i], found.names[i], found.values[i]),
                    device,
                )
            else:
                self.careful.append(
                    (found.at[i], device.points[found.names[i]], found.values[i], source, id(frame))
                )

    def _device(self, gateway: PlacedGateway, code: str) -> PlacedDevice | Rejected:
        """Find the device that a gateway speaks for."""
        device = self.writer.placement.device(gateway.estate_id, code)
        if device is None:
            return Rejected(
                reason=Reason.UNKNOWN_DEVICE,
                detail=f"device {code!r} is not registered at this estate; register it, then replay",
            )
        if device.gateway_id not in (None, gateway.id):
            return Rejected(
                reason=Reason.FOREIGN_DEVICE,
                detail=f"device {code!r} belongs to another gateway of this estate",
            )
        return device

    # Storing -------------------------------------------------------------------------------------------------------

    def cover(self) -> None:
        """Make tables for the span of the batch; what reading it created in the register is committed with them."""
        instants = [int(f(self.at)) for f in (np.min, np.max) if len(self.at)] + [
            row.at_ms for row in self.events
        ]
        if instants:
            self.ledger.cover(min(instants), max(instants))

    def store(self, *, merge: bool) -> BatchOutcome:
        """Write everything; runs inside the transaction. What several workers may hold at once comes last, in a fixed order."""
        self._store_readings(merge=merge)
        self._store_events()
        for found, gateway in self.status:
            if found.state is not None:
                self.ledger.save_state(gateway.id, found.state)
                if found.state.online:
                    self.out.states.append(
                        (found.topic.estate, found.topic.gateway, found.state.at)
                    )
            if found.birth is not None:
                self.ledger.save_birth(gateway.id, found.birth)
        self._store_quarantine()
        if self.best_effort:
            self.ledger.note_best_effort(self.best_effort)
        self._store_progress()
        for key, tally in self.out.tallies.items():
            if not tally.balanced:
                raise AccountingError(f"{key}: {tally}")
        self.ledger.add_tallies(self.out.tallies)
        return self.out

    def _store_readings(self, *, merge: bool) -> None:
        if not len(self.at):
            return
        late = late_seconds(self.at, self.received)
        batch = ReadingColumns(at=self.at, point=self.point, value=self.value, late_s=late)
        written = self.ledger.write_readings(batch, merge=merge)
        clash = np.zeros(len(batch), dtype=bool)
        clash[written.conflicts] = True
        names = (
            self.ledger.point_names({int(p) for p in self.point[clash]})
            if written.conflicts
            else {}
        )
        for i in written.conflicts:
            device, name = names[int(self.point[i])]
            self._refuse(
                self.topics[self.source[i]],
                _reading_bytes(device, int(self.at[i]), name, float(self.value[i])),
                Rejected(
                    reason=Reason.CONFLICT,
                    detail=f"device {device}: another {name} is stored for {self.at[i]}; a resend must be byte for byte the first one",
                ),
            )
        stored = np.bincount(self.source[written.fresh], minlength=len(self.topics))
        known = np.bincount(self.source[~written.fresh & ~clash], minlength=len(self.topics))
        for topic, new, old in zip(self.topics, stored.tolist(), known.tolist(), strict=True):
            tally = self._tally(source_of(topic), Up.READINGS)
            tally.stored += new
            tally.duplicates += old
        if written.fresh.any():
            fresh = written.fresh
            self.out.readings = ReadingColumns(
                at=self.at[fresh], point=self.point[fresh], value=self.value[fresh]
            )
            self.ledger.mark_dirty(
                changed(self.writer.placement, self.out.readings, self.received[fresh])
            )

    def _store_events(self) -> None:
        if not self.events:
            return
        written = self.ledger.write_events(self.events)
        clash = set(written.conflicts)
        watched: list[EventRow] = []
        passages: list[tuple[int, int, int, int]] = []
        for i, (row, (topic, item, estate_id)) in enumerate(
            zip(self.events, self.event_items, strict=True)
        ):
            tally = self._tally(source_of(topic), Up.EVENTS)
            if i in clash:
                self._refuse(
                    topic,
                    as_message(item),
                    Rejected(
                        reason=Reason.CONFLICT,
                        detail=f"device {item.device}: event {item.id} is stored with other content",
                    ),
                )
            elif not written.fresh[i]:
                tally.duplicates += 1
            else:
                tally.stored += 1
                if row.kind in (EventKind.PASSAGE, EventKind.PLATE):
                    passages.append(
                        (row.device_id, estate_id, row.at_ms, row.received_ms or self.now_ms)
                    )
                elif row.kind in (EventKind.HAZARD, EventKind.DEVICE):
                    watched.append(row)
                elif row.kind == EventKind.COMMAND:
                    self.ledger.note_result(row)
        self.ledger.queue_for_watch(watched)
        self.out.to_watch = [(row.device_id, row.event_id) for row in watched]
        if passages:
            device, estate, at, received = np.array(passages, dtype=np.int64).T
            self.ledger.mark_dirty(
                DirtySpans(
                    device=device.astype(np.int32),
                    estate=estate.astype(np.int32),
                    low=at,
                    high=at,
                    received=received,
                )
            )

    def _store_quarantine(self) -> None:
        for refused, new in zip(self.refused, self.ledger.keep_refused(self.refused), strict=True):
            tally = self._tally(source_of(refused.topic), kind_of(refused.topic))
            self.out.refused.add(refused.digest)
            if new:
                tally.quarantined += 1
                self.out.reasons.append(refused.why.reason)
            else:
                tally.duplicates += 1

    def _store_progress(self) -> None:
        stored = self.ledger.note_seen(
            {key: sequence.runs(seqs) for key, seqs in self.seen.items()}
        )
        for key, runs in stored.items():
            upto = sequence.upto(runs)
            above = sorted(
                {seq for seq in self.seen[key] if seq > upto and sequence.holds(runs, seq)}
            )
            ack = wire.Ack(v=wire.VERSION, kind=key[1], boot=key[2], upto=upto, also=above)
            self.out.acks.append((*self.places[key[0]], ack))

    # Small things ----------------------------------------------------------------------------------------------------

    def _see(
        self, gateway: PlacedGateway, up: str, boot: str, seqs: list[int], source: str
    ) -> None:
        self.seen.setdefault((gateway.id, str(up), boot), []).extend(seqs)
        estate, _, code = source.partition("/")
        self.places[gateway.id] = (estate, code)

    def _refuse(self, topic: str, payload: bytes, why: Rejected) -> None:
        self.refused.append(QuarantinedMessage(topic=topic, payload=payload, why=why))

    def _tally(self, source: str, kind: str) -> IngestTally:
        return self.out.tallies.setdefault((source, str(kind)), IngestTally())


def source_of(topic: str) -> str:
    """Name where a message came from: its estate and gateway, or one word for all topics that are none of ours."""
    parsed = wire.parse_up_topic(topic)
    return f"{parsed.estate[:40]}/{parsed.gateway[:40]}" if parsed else "unknown"


def kind_of(topic: str) -> str:
    """Name what a topic carries, or one word for all that are none of ours."""
    parsed = wire.parse_up_topic(topic)
    return str(parsed.up) if parsed else "unknown"


def _reading_bytes(device: str, at: int, name: str, value: Any) -> bytes:
    return as_message({"device": device, "at": at, "values": {name: value}})
