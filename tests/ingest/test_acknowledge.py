"""Acknowledgements that wait are joined: nothing is named that was not stored, and nothing is left
out.
"""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain import sequence
from domain.wire import Ack
from ingest.account import GatewayAck, GatewayAddress
from ingest.acknowledge import AckQueue

ADDRESS = GatewayAddress("es", "gw")


def make_ack(stored: set[int], numbers: set[int], boot: str = "b1") -> GatewayAck:
    """Make the acknowledgement of a batch: the watermark of all, and the batch's above it."""
    upto = sequence.upto(sequence.runs(stored))
    also = sorted(number for number in numbers if number > upto)
    return GatewayAck(ADDRESS, Ack(v=1, kind="readings", boot=boot, upto=upto, also=also))


@given(st.lists(st.sets(st.integers(1, 12), min_size=1), min_size=1, max_size=6))
def test_one_message_names_all_that_several_would(batches: list[set[int]]) -> None:
    queue = AckQueue(0.1)
    stored: set[int] = set()
    for batch in batches:
        stored |= batch
        queue.add([make_ack(stored, batch)], 0.0)
    sent: list[tuple[str, bytes]] = []
    queue.send(lambda topic, payload: sent.append((topic, payload)))
    ((topic, payload),) = sent
    ack = msgspec.json.decode(payload, type=Ack)
    assert topic == "anju/v1/es/gw/down/ack"
    assert set(range(1, ack.upto + 1)) | set(ack.also) == stored
    assert ack.also == sorted(set(ack.also)) and all(number > ack.upto for number in ack.also)


def test_boots_are_acknowledged_apart_and_each_once() -> None:
    queue = AckQueue(0.5)
    assert queue.due_at == float("inf")
    queue.add([make_ack({1}, {1}), make_ack({1, 2}, {2}, boot="b2")], 10.0)
    queue.add([make_ack({1, 2}, {2})], 10.4)
    assert queue.due_at == 10.5, "the first one counts"
    sent: list[bytes] = []
    queue.send(lambda _topic, payload: sent.append(payload))
    acks = {ack.boot: ack.upto for ack in (msgspec.json.decode(p, type=Ack) for p in sent)}
    assert acks == {"b1": 2, "b2": 2} and queue.due_at == float("inf")
    queue.send(lambda _topic, payload: sent.append(payload))
    assert len(sent) == 2


def test_what_is_forgotten_is_not_sent() -> None:
    queue = AckQueue(0.0)
    queue.add([make_ack({1}, {1})], 0.0)
    queue.clear()
    sent: list[bytes] = []
    queue.send(lambda _topic, payload: sent.append(payload))
    assert sent == []
