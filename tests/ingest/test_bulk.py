"""The bulk reader against stock paho, frame by frame: the same bytes, cut anywhere, give the same
messages and the same answers.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest import bulk
from ingest.bulk import BulkClient, StockClient, bulk_works, new_client
from ingest.message import ReceivedMessage

PROTOCOLS = (mqtt.MQTTv5, mqtt.MQTTv311)


def varint(number: int) -> bytes:
    made = bytearray()
    while True:
        number, byte = divmod(number, 128)
        made.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(made)


def publish(
    five: bool, topic: bytes, payload: bytes, mid: int, qos: int, retain: bool, more: int
) -> bytes:
    properties = b""
    if five:
        made = Properties(PacketTypes.PUBLISH)
        if more:
            made.UserProperty = ("k", "v" * more)
        properties = made.pack()
    body = (
        len(topic).to_bytes(2, "big")
        + topic
        + (mid.to_bytes(2, "big") if qos else b"")
        + properties
        + payload
    )
    return bytes([0x30 | qos << 1 | retain]) + varint(len(body)) + body


def suback(five: bool, mid: int) -> bytes:
    body = mid.to_bytes(2, "big") + (b"\0" if five else b"") + b"\1"
    return b"\x90" + varint(len(body)) + body


@contextmanager
def joined(
    kind: type[StockClient], protocol: int
) -> Iterator[tuple[StockClient, socket.socket, list[int]]]:
    """Put a client on one end of a pair of sockets."""
    near, far = socket.socketpair()
    near.setblocking(False)
    client = kind(
        protocol=protocol, client_id="x", clean_session=None if protocol == mqtt.MQTTv5 else True
    )
    client._sock, subscribed = near, []
    client.on_subscribe = lambda _c, _u, mid, *_rest: subscribed.append(mid)
    try:
        yield client, far, subscribed
    finally:
        client._sock = None
        near.close()
        far.close()


def hear(kind: type[StockClient], protocol: int, chunks: list[bytes]) -> tuple[Any, ...]:
    """Give a client bytes in pieces; returns what it took, what it handed to paho, and what it
    answered.
    """
    with joined(kind, protocol) as (client, far, subscribed):
        for chunk in chunks:
            far.sendall(chunk)
            for _ in range(400):
                before = (len(client.messages), len(subscribed))
                client.loop_read()
                if kind is BulkClient or (len(client.messages), len(subscribed)) == before:
                    break
        for _ in range(50):
            client.loop_read()
        client.acknowledge([message.packet_id for message in client.messages if message.packet_id])
        client.loop_write()
        far.setblocking(False)
        try:
            answers = far.recv(1 << 20)
        except BlockingIOError:
            answers = b""
        return (
            client.messages,
            subscribed,
            sorted(answers[i : i + 4] for i in range(0, len(answers), 4)),
        )


packets = st.lists(
    st.one_of(
        st.tuples(
            st.just("publish"),
            st.sampled_from([b"a/b", b"anju/v1/es/gw/up/readings", "街道/x".encode()]),
            st.binary(max_size=300),
            st.integers(1, 65535),
            st.sampled_from([0, 1]),
            st.booleans(),
            st.sampled_from([0, 1, 200]),
        ),
        st.tuples(st.just("suback"), st.integers(1, 65535)),
        st.tuples(st.just("pingresp")),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PROTOCOLS), packets, st.lists(st.integers(1, 60), max_size=12))
def test_the_same_bytes_give_the_same_messages(
    protocol: int, given_packets: list[Any], cuts: list[int]
) -> None:
    five = protocol == mqtt.MQTTv5
    whole = b""
    for packet in given_packets:
        if packet[0] == "publish":
            whole += publish(five, *packet[1:])
        else:
            whole += suback(five, packet[1]) if packet[0] == "suback" else b"\xd0\x00"
    chunks, rest = [], whole
    for cut in cuts:
        chunks.append(rest[:cut])
        rest = rest[cut:]
    chunks = [chunk for chunk in [*chunks, rest] if chunk]
    assert hear(BulkClient, protocol, chunks) == hear(StockClient, protocol, chunks)


def test_a_long_message_comes_in_many_pieces() -> None:
    payload = bytes(range(256)) * 8000
    whole = publish(True, b"a/b", payload, 9, 1, False, 0) + publish(
        True, b"a/c", b"after", 10, 1, False, 0
    )
    messages, _, answers = hear(
        BulkClient, mqtt.MQTTv5, [whole[at : at + 60_000] for at in range(0, len(whole), 60_000)]
    )
    assert messages == [
        ReceivedMessage(b"a/b", payload, 9),
        ReceivedMessage(b"a/c", b"after", 10),
    ] and answers == [
        b"\x40\x02\x00\x09",
        b"\x40\x02\x00\x0a",
    ]


def test_a_length_that_never_ends_is_a_protocol_error() -> None:
    with joined(BulkClient, mqtt.MQTTv5) as (client, far, _):
        far.sendall(b"\x32\xff\xff\xff\xff\xff\xff")
        assert client.loop_read() != mqtt.MQTT_ERR_SUCCESS


def test_a_connection_that_ends_is_lost() -> None:
    with joined(BulkClient, mqtt.MQTTv5) as (client, far, _):
        far.close()
        assert client.loop_read() != mqtt.MQTT_ERR_SUCCESS


def test_where_the_bulk_reader_does_not_work_stock_paho_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert bulk_works() and type(new_client(protocol=mqtt.MQTTv5)) is BulkClient
    monkeypatch.delattr(mqtt.Client, "_packet_read")
    assert not bulk_works() and type(new_client(protocol=mqtt.MQTTv5)) is StockClient
    monkeypatch.undo()
    monkeypatch.setattr(bulk.BulkClient, "_cut_packets", lambda self, data: mqtt.MQTT_ERR_SUCCESS)
    assert type(new_client(protocol=mqtt.MQTTv5)) is StockClient
