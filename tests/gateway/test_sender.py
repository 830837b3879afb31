"""Whose turn it is: events first, a window of messages, each again until the server names it."""

from __future__ import annotations

from domain.wire import Ack, Backfill, EventItem, ReadingItem, Up
from gateway.outbox import Outbox, OutboxEntry
from gateway.sender import ENOUGH_READINGS, LINGER_S, RESEND_S, RESERVED_FOR_EVENTS, OutboxSender


def reading(n: int) -> ReadingItem:
    return ReadingItem(device="wm-1", at=1_700_000_000_000 + n, values={"water_m3": float(n)})


def event(n: int) -> EventItem:
    return EventItem(
        device="d-1",
        at=1_700_000_000_000 + n,
        id=str(n),
        kind="hazard",
        data={"hazard": "smoke", "state": "on"},
    )


def make(window: int = 64) -> tuple[Outbox, OutboxSender]:
    outbox = Outbox(None, "b1")
    return outbox, OutboxSender(outbox, lambda: 1_700_000_000_000, window=window)


def test_events_go_first_and_readings_wait_for_company() -> None:
    outbox, sender = make()
    outbox.put([OutboxEntry(items=[reading(1), event(1)])])
    assert [message.kind for message in sender.due(100.0)] == [Up.EVENTS, Up.READINGS]
    outbox.put([OutboxEntry(items=[reading(2)])])
    assert sender.due(100.0 + LINGER_S / 2) == []
    outbox.put([OutboxEntry(items=[reading(n) for n in range(3, 3 + ENOUGH_READINGS)])])
    assert [message.kind for message in sender.due(100.0 + LINGER_S / 2)] == [Up.READINGS]


def test_a_few_places_are_kept_for_events() -> None:
    outbox, sender = make(window=RESERVED_FOR_EVENTS + 2)
    for n in range(10):
        outbox.seal(Up.READINGS, [reading(n)], sent_at=None, replayed=True)
    assert len(sender.due(100.0)) == 2
    for n in range(20):
        outbox.seal(Up.EVENTS, [event(n)], sent_at=None, replayed=True)
    assert [message.kind for message in sender.due(101.0)] == [Up.EVENTS] * RESERVED_FOR_EVENTS


def test_what_is_not_acknowledged_goes_again_byte_for_byte() -> None:
    outbox, sender = make()
    outbox.put([OutboxEntry(items=[event(1), reading(1)])])
    first = sender.due(100.0)
    assert sender.due(100.0 + RESEND_S - 1) == []
    again = sender.due(100.0 + RESEND_S + 1)
    assert sorted(m.payload for m in again) == sorted(m.payload for m in first)
    sender.acknowledged(Ack(v=1, kind="events", boot="b1", upto=1))
    assert [m.kind for m in sender.due(100.0 + 3 * RESEND_S)] == [Up.READINGS]
    sender.acknowledged(Ack(v=1, kind="readings", boot="b1", upto=0, also=[1]))
    assert sender.due(100.0 + 9 * RESEND_S) == [] and outbox.items == 0


def test_what_the_server_misses_goes_at_once() -> None:
    outbox, sender = make()
    outbox.put([OutboxEntry(items=[event(1)])])
    (sent,) = sender.due(100.0)
    assert sender.find_missing(Backfill(v=1, kind="events", boot="b1", missing=[1, 7]), 101.0) == [
        sent
    ]
    assert sender.find_missing(Backfill(v=1, kind="events", boot="other", missing=[1]), 101.0) == []
