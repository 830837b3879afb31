"""A placed batch into the tables, within one transaction: write, quarantine, count, note progress.

What several workers may lock at once comes last, in a fixed order, so that they never deadlock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain import sequence, wire
from domain.rejection import Reason, Rejected
from domain.wire import EventKind, Up
from ingest.account import (
    BatchAccount,
    BatchOutcome,
    EventKey,
    GatewayAck,
    ReportedClock,
)
from ingest.arrival import changed_spans, late_seconds
from ingest.careful import GatewayReport, PlacedEvent
from ingest.decode import as_message, reading_as_message
from ingest.ledger import BatchLedger
from ingest.message import tally_key
from ingest.place import PlacedBatch
from store.ingest.log import DirtySpans, TallyKey
from store.register.placement import Placement
from store.series.readings import EventRow, ReadingColumns, Written

#: Kinds of events that watch looks at.
_WATCHED = (EventKind.HAZARD, EventKind.DEVICE)
#: Kinds of events that change the facts of a unit's day.
_PASSAGES = (EventKind.PASSAGE, EventKind.PLATE)


def cover_batch(ledger: BatchLedger, batch: PlacedBatch) -> None:
    """Make tables for the span of a batch. The open transaction is committed."""
    instants = [event.row.at_ms for event in batch.events]
    if len(batch.readings):
        instants += [int(batch.readings.at.min()), int(batch.readings.at.max())]
    if instants:
        ledger.cover(min(instants), max(instants))


def store_batch(
    ledger: BatchLedger, placement: Placement, batch: PlacedBatch, *, merge: bool
) -> BatchOutcome:
    """Write a batch; the caller commits.

    Raises: DuplicateKey, without `merge`, where some readings are stored already;
    AccountingError; the driver's errors.
    """
    account = batch.account
    outcome = BatchOutcome(
        tallies=account.tallies, registered=account.registered, skews=account.skews
    )
    outcome.readings = store_readings(ledger, placement, batch, merge=merge)
    outcome.to_watch = store_events(ledger, batch)
    outcome.clocks = store_reports(ledger, batch.reports)
    outcome.reasons = store_refused(ledger, account)
    outcome.refused = {refused.digest for refused in account.refused}
    if account.unnumbered:
        ledger.note_best_effort(account.unnumbered)
    outcome.acks = store_progress(ledger, account)
    account.check()
    ledger.add_tallies(account.tallies)
    return outcome


def store_readings(
    ledger: BatchLedger, placement: Placement, batch: PlacedBatch, *, merge: bool
) -> ReadingColumns | None:
    """Store readings, and count them; return those that are new."""
    readings = batch.readings
    if not len(readings):
        return None
    columns = ReadingColumns(
        at=readings.at,
        point=readings.point,
        value=readings.value,
        late_s=late_seconds(readings.at, readings.received_at),
    )
    written = ledger.write_readings(columns, merge=merge)
    _refuse_conflicts(ledger, batch, written)
    _count_readings(batch, written)
    fresh = written.fresh
    if not fresh.any():
        return None
    stored = ReadingColumns(
        at=readings.at[fresh], point=readings.point[fresh], value=readings.value[fresh]
    )
    ledger.mark_dirty(changed_spans(placement, stored, readings.received_at[fresh]))
    return stored


def _refuse_conflicts(ledger: BatchLedger, batch: PlacedBatch, written: Written) -> None:
    """Put readings into quarantine whose key is stored with another value."""
    if not written.conflicts:
        return
    readings = batch.readings
    names = ledger.point_names({int(readings.point[row]) for row in written.conflicts})
    for row in written.conflicts:
        device, name = names[int(readings.point[row])]
        at = int(readings.at[row])
        why = Rejected(
            reason=Reason.CONFLICT,
            detail=f"device {device}: another {name} is stored for {at}; "
            "a resend must be byte for byte the first one",
        )
        payload = reading_as_message(device, at, name, float(readings.value[row]))
        batch.account.refuse(batch.topics[readings.topic[row]], payload, why)


def _count_readings(batch: PlacedBatch, written: Written) -> None:
    """Count by topic how many readings are stored, and how many were known."""
    known = ~written.fresh
    known[written.conflicts] = False
    stored_counts = _count_topics(batch, written.fresh)
    known_counts = _count_topics(batch, known)
    for topic, stored, duplicates in zip(batch.topics, stored_counts, known_counts, strict=True):
        source = tally_key(topic).source
        tally = batch.account.tally(TallyKey(source, str(Up.READINGS)))
        tally.stored += stored
        tally.duplicates += duplicates


def _count_topics(batch: PlacedBatch, rows: NDArray[np.bool_]) -> list[int]:
    """Count the chosen rows of each topic."""
    counts = np.bincount(batch.readings.topic[rows], minlength=len(batch.topics))
    return [int(count) for count in counts]


def store_events(ledger: BatchLedger, batch: PlacedBatch) -> list[EventKey]:
    """Store events, count them, and pass them on; return those that watch has to look at."""
    if not batch.events:
        return []
    written = ledger.write_events([event.row for event in batch.events])
    conflicts = set(written.conflicts)
    fresh: list[PlacedEvent] = []
    for index, event in enumerate(batch.events):
        tally = batch.account.tally(TallyKey(tally_key(event.topic).source, str(Up.EVENTS)))
        if index in conflicts:
            batch.account.refuse(event.topic, as_message(event.item), _event_conflict(event))
        elif written.fresh[index]:
            tally.stored += 1
            fresh.append(event)
        else:
            tally.duplicates += 1
    return _pass_on(ledger, fresh, batch.now_ms)


def _event_conflict(event: PlacedEvent) -> Rejected:
    return Rejected(
        reason=Reason.CONFLICT,
        detail=f"device {event.item.device}: event {event.item.id} is stored with other content",
    )


def _pass_on(ledger: BatchLedger, events: list[PlacedEvent], now_ms: int) -> list[EventKey]:
    """Hand new events to those that act on them; return those that watch has to look at."""
    for event in events:
        if event.row.kind == EventKind.COMMAND:
            ledger.note_result(event.row)
    watched = [event.row for event in events if event.row.kind in _WATCHED]
    ledger.queue_for_watch(watched)
    passages = [event for event in events if event.row.kind in _PASSAGES]
    if passages:
        ledger.mark_dirty(_passage_spans(passages, now_ms))
    return [_event_key(row) for row in watched]


def _event_key(row: EventRow) -> EventKey:
    return EventKey(row.device_id, row.event_id)


def _passage_spans(passages: list[PlacedEvent], now_ms: int) -> DirtySpans:
    """Return one span for each passage."""
    at = np.array([event.row.at_ms for event in passages], dtype=np.int64)
    received = [event.row.received_ms or now_ms for event in passages]
    return DirtySpans(
        device=np.array([event.row.device_id for event in passages], dtype=np.int32),
        estate=np.array([event.estate_id for event in passages], dtype=np.int32),
        low=at,
        high=at,
        received=np.array(received, dtype=np.int64),
    )


def store_reports(ledger: BatchLedger, reports: list[GatewayReport]) -> list[ReportedClock]:
    """Keep states and births; return the gateways that are online, to be told the time."""
    clocks: list[ReportedClock] = []
    for report in reports:
        if report.state is not None:
            ledger.save_state(report.gateway.id, report.state)
            if report.state.online:
                clocks.append(ReportedClock(report.address, report.state.at))
        if report.birth is not None:
            ledger.save_birth(report.gateway.id, report.birth)
    return clocks


def store_refused(ledger: BatchLedger, account: BatchAccount) -> list[Reason]:
    """Put refusals into quarantine, and count them; return the reasons of those that are new."""
    reasons: list[Reason] = []
    are_new = ledger.keep_refused(account.refused)
    for refused, is_new in zip(account.refused, are_new, strict=True):
        tally = account.tally(tally_key(refused.topic))
        if is_new:
            tally.quarantined += 1
            reasons.append(refused.why.reason)
        else:
            tally.duplicates += 1
    return reasons


def store_progress(ledger: BatchLedger, account: BatchAccount) -> list[GatewayAck]:
    """Note which numbers are stored; return what may be acknowledged after the commit."""
    seen = {key: sequence.runs(numbers) for key, numbers in account.numbers.items()}
    acks: list[GatewayAck] = []
    for key, runs in ledger.note_seen(seen).items():
        upto = sequence.upto(runs)
        above = {number for number in account.numbers[key] if number > upto}
        also = sorted(number for number in above if sequence.holds(runs, number))
        ack = wire.Ack(v=wire.VERSION, kind=key.kind, boot=key.boot, upto=upto, also=also)
        acks.append(GatewayAck(account.addresses[key.gateway_id], ack))
    return acks
