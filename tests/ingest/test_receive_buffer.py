"""The buffer keeps the order, lets what is urgent go first, and counts exactly what it holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.message import ReceivedMessage
from ingest.receive_buffer import BufferLimits, ReceiveBuffer

MARK = b"urgent"


def make(size: int, number: int, *, urgent: bool = False) -> ReceivedMessage:
    payload = (MARK if urgent else b"") + b"x" * size
    return ReceivedMessage(b"topic", payload, number)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=6), max_size=8),
    st.integers(1, 60),
)
def test_everything_comes_out_once_urgent_first_and_in_order(
    groups: list[list[tuple[int, bool]]], batch_bytes: int
) -> None:
    buffer = ReceiveBuffer(BufferLimits(batch_bytes=batch_bytes, urgent_mark=MARK))
    added: list[ReceivedMessage] = []
    for group in groups:
        messages = [make(size, len(added) + n, urgent=u) for n, (size, u) in enumerate(group)]
        added += messages
        buffer.add(messages, 0.0)
    assert len(buffer) == len(added)
    taken: list[ReceivedMessage] = []
    while len(buffer):
        batch = buffer.take_batch(0.0)
        assert batch, "nothing was taken"
        assert sum(len(message.payload) for message in batch[:-1]) <= batch_bytes
        taken += batch
    urgent = [message for message in added if MARK in message.payload]
    other = [message for message in added if MARK not in message.payload]
    assert taken == urgent + other
    assert buffer._bytes == 0


def test_without_a_mark_nothing_is_urgent() -> None:
    buffer = ReceiveBuffer(BufferLimits())
    messages = [make(1, 1), make(1, 2, urgent=True)]
    buffer.add(messages, 0.0)
    assert buffer.take_batch(0.0) == messages


def test_it_is_full_by_messages_or_by_bytes() -> None:
    by_count = ReceiveBuffer(BufferLimits(max_messages=2))
    by_count.add([make(1, 1)], 0.0)
    assert not by_count.is_full
    by_count.add([make(1, 2)], 0.0)
    assert by_count.is_full
    by_bytes = ReceiveBuffer(BufferLimits(max_bytes=10))
    by_bytes.add([make(10, 1)], 0.0)
    assert by_bytes.is_full
    by_bytes.clear()
    assert not by_bytes.is_full and len(by_bytes) == 0


def test_a_lone_message_is_due_at_once_and_a_stream_gathers() -> None:
    buffer = ReceiveBuffer(BufferLimits(linger_s=5.0))
    assert buffer.due_at == float("inf")
    buffer.add([make(1, 1)], 100.0)
    assert buffer.due_at == 100.0
    buffer.take_batch(101.0)
    buffer.add([make(1, 2)], 102.0)
    buffer.add([make(1, 3)], 105.0)
    assert buffer.due_at == 106.0, "writes begin five seconds apart"
    buffer.take_batch(106.0)
    assert buffer.due_at == float("inf")
