"""Bugs that are planted, each where such a bug would stand in the real code: a simulation that does not find them is decoration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from domain import sequence, wire
from domain.wire import Ack, Up
from gateway.outbox import Outbox, SealedMessage
from gateway.sender import OutboxSender
from ingest.lane import IngestLane
from ingest.latest import Latest
from ingest.write import BatchOutcome, Writer, _Batch
from store.series.readings import ReadingColumns
from tests.simulation import estate
from tests.simulation.broker import SimLink
from tests.simulation.database import SimLedger

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    """The gateway is told before the transaction has ended."""
    real = IngestLane._write_part

    def early(self: IngestLane, ledger: Any, frames: list[Any]) -> None:
        for topic, payload, _ in frames:
            parsed, seen = wire.parse_up_topic(topic.decode()), json.loads(payload)
            if parsed is not None and seen.get("seq"):
                ack = Ack(v=1, kind=parsed.up, boot=seen["boot"], upto=0, also=[seen["seq"]])
                self._acks[parsed.estate, parsed.gateway, ack.kind, ack.boot] = ack
                self._acks_due = 0.0
        self._settle()
        real(self, ledger, frames)

    patch.setattr(IngestLane, "_write_part", early)


def puback_on_receipt(patch: pytest.MonkeyPatch) -> None:
    """The broker is answered when a message comes, not when it is stored."""
    real = SimLink.receive

    def receive(self: SimLink) -> list[Any]:
        frames = real(self)
        self.acknowledge(self.generation, [frame[2] for frame in frames])
        return frames

    patch.setattr(SimLink, "receive", receive)


def no_generation_guard(patch: pytest.MonkeyPatch) -> None:
    """What a former connection brought is held on and answered on the present one, whose packet ids mean other messages."""
    real = IngestLane._work

    def work(self: IngestLane, ledger: Any, now: float) -> float:
        self._generation = self.link.generation
        return real(self, ledger, now)

    patch.setattr(IngestLane, "_work", work)


def gateway_trusts_the_broker(patch: pytest.MonkeyPatch) -> None:
    """The outbox is emptied by the broker's PUBACK."""
    real = estate.SimGateway.send

    def send(self: estate.SimGateway, kind: Up, payload: bytes) -> None:
        real(self, kind, payload)
        seen = json.loads(payload)
        if self.broker.up and not self.cut:
            self.sender.acknowledged(
                Ack(v=1, kind=kind, boot=seen["boot"], upto=0, also=[seen["seq"]])
            )

    patch.setattr(estate.SimGateway, "send", send)


def retry_stamps_the_time_anew(patch: pytest.MonkeyPatch) -> None:
    """A message that is sent again carries the time of the retry."""
    real = OutboxSender.due

    def due(self: OutboxSender, now: float) -> list[SealedMessage]:
        again = set(self._sent)
        found = []
        for message in real(self, now):
            if message.id in again:
                body = json.loads(message.payload)
                for item in body["items"]:
                    item["at"] += 1
                message = SealedMessage(
                    id=message.id, kind=message.kind, payload=json.dumps(body).encode()
                )
            found.append(message)
        return found

    patch.setattr(OutboxSender, "due", due)


def unbounded_queue(patch: pytest.MonkeyPatch) -> None:
    """What cannot be written is kept in memory, and more is taken."""

    def let_go(self: IngestLane, who: str, error: BaseException) -> None:
        self._ledger = None

    def write(self: IngestLane, ledger: Any) -> None:
        frames = [*self._urgent, *self._frames]
        if frames:
            try:
                self._write_part(ledger, frames)
            except Exception:
                self._ledger = None
                return
            self._frames, self._urgent, self._bytes = [], [], 0

    def step(self: IngestLane) -> float:
        if self._ledger is None:
            try:
                self._ledger = self.open_ledger()
            except Exception:
                self._frames += self.link.receive()
                self.link.acknowledge(self.link.generation, [frame[2] for frame in self._frames])
                return 0.05
        if not self.link.connecting:
            try:
                self.link.connect()
            except OSError:
                return 0.5
        return self._work(self._ledger, self.clock.monotonic())

    patch.setattr(IngestLane, "_let_go", let_go)
    patch.setattr(IngestLane, "_write", write)
    patch.setattr(IngestLane, "_write_all", write)
    patch.setattr(IngestLane, "step", step)


def no_bisect(patch: pytest.MonkeyPatch) -> None:
    """One message that cannot be stored takes the whole batch with it."""

    def split(self: IngestLane, ledger: Any, frames: list[Any], error: BaseException) -> None:
        self._after_commit(BatchOutcome(), frames)

    patch.setattr(IngestLane, "_split", split)


def clean_start(patch: pytest.MonkeyPatch) -> None:
    """A process that starts wipes its session: paho's default for MQTT 5."""
    patch.setattr(SimLink, "clean_start", True)


def watermark_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """The watermark names one number too many."""
    real = sequence.upto
    patch.setattr(sequence, "upto", lambda seen: real(seen) + 1)


def quarantined_is_not_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """What was refused is not acknowledged, and its gateway sends it for ever."""
    real = _Batch._read_carefully

    def read(self: _Batch, frame: Any, whole: Any) -> None:
        before = {key: list(seqs) for key, seqs in self.seen.items()}
        refused = len(self.refused)
        real(self, frame, whole)
        if len(self.refused) > refused:
            self.seen = before

    patch.setattr(_Batch, "_read_carefully", read)


def never_sent_again(patch: pytest.MonkeyPatch) -> None:
    """A message that was sent once is never sent again."""
    patch.setattr("gateway.sender.RESEND_S", float("inf"))


def dead_worker_keeps_its_seats(patch: pytest.MonkeyPatch) -> None:
    """A lease never runs out."""
    patch.setattr(estate, "LEASE_S", 10_000.0)


def duplicates_count_as_stored(patch: pytest.MonkeyPatch) -> None:
    """A resend is counted as new."""
    real = _Batch._store_readings

    def store(self: _Batch, *, merge: bool) -> None:
        real(self, merge=merge)
        for tally in self.out.tallies.values():
            tally.stored, tally.duplicates = tally.stored + tally.duplicates, 0

    patch.setattr(_Batch, "_store_readings", store)


def progress_before_the_data(patch: pytest.MonkeyPatch) -> None:
    """The numbers are committed in a transaction of their own, before what they stand for."""
    real = _Batch.store

    def store(self: _Batch, *, merge: bool) -> BatchOutcome:
        seen = {key: sequence.runs(seqs) for key, seqs in self.seen.items()}
        stored = self.ledger.note_seen(seen) if seen else {}
        self.ledger.commit()
        for key, runs in stored.items():
            self.ledger.told = getattr(self.ledger, "told", {}) | {key: runs}  # type: ignore[attr-defined]
        return real(self, merge=merge)

    patch.setattr(_Batch, "store", store)


def progress_of_another_is_overwritten(patch: pytest.MonkeyPatch) -> None:
    """Two workers write the numbers that each has seen, and the last one wins."""
    real = SimLedger.note_seen

    def note(self: SimLedger, seen: Any) -> Any:
        own = self.__dict__.setdefault("own", {})
        found = real(self, seen)
        self._pending.pop()
        for key, runs in seen.items():
            own[key] = sequence.runs(
                n for low, high in [*own.get(key, []), *runs] for n in range(low, high)
            )
        mine = {key: own[key] for key in seen}
        self._pending.append(lambda: self.db.tables.progress.update(mine))
        return mine | {key: mine[key] for key in found}

    patch.setattr(SimLedger, "note_seen", note)


def hazards_are_told_again(patch: pytest.MonkeyPatch) -> None:
    """A resend of a hazard is queued for watch once more."""
    real = _Batch._store_events

    def store(self: _Batch) -> None:
        real(self)
        self.ledger.queue_for_watch(
            [row for row in self.events if row.kind == "hazard"][:1]
            if not self.out.to_watch
            else []
        )

    patch.setattr(_Batch, "_store_events", store)


def latest_is_what_came_last(patch: pytest.MonkeyPatch) -> None:
    """A value that comes late replaces a newer one in the lane's memory, under the newer one's time."""

    real = Latest.offer

    def offer(self: Latest, readings: ReadingColumns) -> None:
        real(self, readings)
        for point, value in zip(readings.point, readings.value, strict=True):
            self._value[point], self._changed[point] = value, True

    patch.setattr(Latest, "offer", offer)


def points_of_an_undone_batch(patch: pytest.MonkeyPatch) -> None:
    """What a transaction made that did not commit is remembered. (This one was not planted: the simulation found it.)"""
    patch.setattr("store.register.placement.Placement.forget", lambda self: None)


def cap_forgets_what_is_on_its_way(patch: pytest.MonkeyPatch) -> None:
    """An acknowledgement names a range, and all below it goes, whatever its boot."""
    real = Outbox.acknowledge

    def acknowledge(self: Outbox, kind: Up, boot: str, upto: int, also: Any) -> list[int]:
        gone = real(self, kind, boot, upto, also)
        boots = [
            row[0] for row in self._db.execute("SELECT DISTINCT boot FROM messages").fetchall()
        ]
        for other in boots:
            gone += real(self, kind, other, upto, also)
        return gone

    patch.setattr(Outbox, "acknowledge", acknowledge)


def writer_swallows_what_it_cannot_place(patch: pytest.MonkeyPatch) -> None:
    """A device that is not registered is skipped without a word."""
    real = Writer._attempt

    def attempt(self: Writer, *arguments: Any, **options: Any) -> BatchOutcome:
        return real(self, *arguments, **options)

    patch.setattr(Writer, "_attempt", attempt)
    patch.setattr(_Batch, "_refuse", lambda self, topic, payload, why: None)


#: All of them.
BUGS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        acknowledge_before_commit,
        puback_on_receipt,
        no_generation_guard,
        gateway_trusts_the_broker,
        retry_stamps_the_time_anew,
        unbounded_queue,
        no_bisect,
        clean_start,
        watermark_off_by_one,
        quarantined_is_not_acknowledged,
        never_sent_again,
        dead_worker_keeps_its_seats,
        duplicates_count_as_stored,
        progress_before_the_data,
        progress_of_another_is_overwritten,
        hazards_are_told_again,
        latest_is_what_came_last,
        points_of_an_undone_batch,
        cap_forgets_what_is_on_its_way,
        writer_swallows_what_it_cannot_place,
    )
}
