"""Bugs that are planted, each where such a bug would stand in the real code: a simulation that does
not find them is decoration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from domain import sequence, wire
from domain.wire import Ack, Up
from gateway.outbox import Outbox, SealedMessage
from gateway.sender import OutboxSender
from ingest import store_batch, write
from ingest.account import BatchAccount, BatchOutcome, GatewayAck, GatewayAddress
from ingest.careful import CarefulReader
from ingest.lane import IngestLane
from ingest.latest import LatestValues
from ingest.message import ReceivedMessage
from ingest.place import PlacedBatch
from ingest.retry import CommittedMessages, RetryingWriter
from store.series.readings import ReadingColumns
from tests.simulation import estate
from tests.simulation.broker import SimLink
from tests.simulation.database import SimLedger

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    """The gateway is told before the transaction has ended."""
    real = IngestLane._write

    def write_early(self: IngestLane, ledger: Any) -> None:
        for message in [*self._buffer._urgent, *self._buffer._others]:
            parsed = wire.parse_up_topic(message.topic.decode())
            body = json.loads(message.payload)
            if parsed is not None and body.get("seq"):
                ack = Ack(v=1, kind=parsed.up, boot=body["boot"], upto=0, also=[body["seq"]])
                address = GatewayAddress(parsed.estate, parsed.gateway)
                self._acks.add([GatewayAck(address, ack)], 0.0)
        self._acks.send(self.link.publish)
        real(self, ledger)

    patch.setattr(IngestLane, "_write", write_early)


def puback_on_receipt(patch: pytest.MonkeyPatch) -> None:
    """The broker is answered when a message comes, not when it is stored."""
    real = SimLink.receive

    def receive(self: SimLink) -> list[Any]:
        messages = real(self)
        self.acknowledge(self.generation, [message.packet_id for message in messages])
        return messages

    patch.setattr(SimLink, "receive", receive)


def no_generation_guard(patch: pytest.MonkeyPatch) -> None:
    """What a former connection brought is held on and answered on the present one, whose packet ids
    mean other messages.
    """
    real = IngestLane._work

    def work(self: IngestLane, ledger: Any) -> float:
        self._generation = self.link.generation
        return real(self, ledger)

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
        buffer = self._buffer
        messages = [*buffer._urgent, *buffer._others]
        if messages:
            try:
                for committed in self._retrying.write(ledger, messages):
                    self._after_commit(committed)
            except Exception:
                self._ledger = None
                return
            buffer.clear()

    def step(self: IngestLane) -> float:
        if self._ledger is None:
            try:
                self._ledger = self.open_ledger()
            except Exception:
                self._buffer.add(self.link.receive(), self.clock.monotonic())
                held = [*self._buffer._urgent, *self._buffer._others]
                packet_ids = [message.packet_id for message in held]
                self.link.acknowledge(self.link.generation, packet_ids)
                return 0.05
        if not self.link.connecting:
            try:
                self.link.connect()
            except OSError:
                return 0.5
        return self._work(self._ledger)

    patch.setattr(IngestLane, "_let_go", let_go)
    patch.setattr(IngestLane, "_write", write)
    patch.setattr(IngestLane, "_write_all", write)
    patch.setattr(IngestLane, "step", step)


def no_bisect(patch: pytest.MonkeyPatch) -> None:
    """One message that cannot be stored takes the whole batch with it."""

    def split(
        self: RetryingWriter, ledger: Any, messages: list[ReceivedMessage], error: BaseException
    ) -> Iterator[CommittedMessages]:
        yield CommittedMessages(messages=messages, outcome=BatchOutcome())

    patch.setattr(RetryingWriter, "_split", split)


def clean_start(patch: pytest.MonkeyPatch) -> None:
    """A process that starts wipes its session: paho's default for MQTT 5."""
    patch.setattr(SimLink, "clean_start", True)


def watermark_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """The watermark names one number too many."""
    real = sequence.upto
    patch.setattr(sequence, "upto", lambda seen: real(seen) + 1)


def quarantined_is_not_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """What was refused is not acknowledged, and its gateway sends it for ever."""
    real = CarefulReader.read

    def read(self: CarefulReader, *arguments: Any, **options: Any) -> None:
        before = {key: list(numbers) for key, numbers in self.account.numbers.items()}
        refused = len(self.account.refused)
        real(self, *arguments, **options)
        if len(self.account.refused) > refused:
            self.account.numbers = before

    patch.setattr(CarefulReader, "read", read)


def never_sent_again(patch: pytest.MonkeyPatch) -> None:
    """A message that was sent once is never sent again."""
    patch.setattr("gateway.sender.RESEND_S", float("inf"))


def dead_worker_keeps_its_leases(patch: pytest.MonkeyPatch) -> None:
    """A lease never runs out."""
    patch.setattr(estate, "LEASE_S", 10_000.0)


def duplicates_count_as_stored(patch: pytest.MonkeyPatch) -> None:
    """A resend is counted as new."""
    real = store_batch.store_readings

    def store(ledger: Any, placement: Any, batch: PlacedBatch, *, merge: bool) -> Any:
        stored = real(ledger, placement, batch, merge=merge)
        for tally in batch.account.tallies.values():
            tally.stored += tally.duplicates
            tally.duplicates = 0
        return stored

    patch.setattr(store_batch, "store_readings", store)


def progress_before_the_data(patch: pytest.MonkeyPatch) -> None:
    """The numbers are committed in a transaction of their own, before what they stand for."""
    real = store_batch.store_batch

    def store(ledger: Any, placement: Any, batch: PlacedBatch, *, merge: bool) -> BatchOutcome:
        numbers = batch.account.numbers
        if numbers:
            ledger.note_seen({key: sequence.runs(numbers[key]) for key in numbers})
        ledger.commit()
        return real(ledger, placement, batch, merge=merge)

    patch.setattr(write, "store_batch", store)


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
    real = store_batch.store_events

    def store(ledger: Any, batch: PlacedBatch) -> Any:
        to_watch = real(ledger, batch)
        hazards = [event.row for event in batch.events if event.row.kind == "hazard"]
        if not to_watch:
            ledger.queue_for_watch(hazards[:1])
        return to_watch

    patch.setattr(store_batch, "store_events", store)


def latest_is_what_came_last(patch: pytest.MonkeyPatch) -> None:
    """A value that comes late replaces a newer one in the lane's memory, under the newer one's
    time.
    """

    real = LatestValues.offer

    def offer(self: LatestValues, readings: ReadingColumns) -> None:
        real(self, readings)
        for point, value in zip(readings.point, readings.value, strict=True):
            self._value[point], self._changed[point] = value, True

    patch.setattr(LatestValues, "offer", offer)


def points_of_an_undone_batch(patch: pytest.MonkeyPatch) -> None:
    """What a transaction made that did not commit is remembered. (This one was not planted: the
    simulation found it.)
    """
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
    patch.setattr(BatchAccount, "refuse", lambda self, topic, payload, why: None)


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
        dead_worker_keeps_its_leases,
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
