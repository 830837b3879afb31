"""What the benchmarks send is what a gateway sends.

Packets of the standard, messages of the wire contract.
"""

from __future__ import annotations

import threading
import time

import paho.mqtt.client as mqtt
import pytest

from anju.bench import copier, publisher
from anju.bench.publisher import DEVICES, GATEWAYS, Load, count, packet_id_offset, prepare, publish
from anju.demo.embedded import Broker
from domain.wire import Up
from ingest.bulk import BulkClient
from ingest.decode import Decoded, decode
from ingest.message import ReceivedMessage
from store.database.connection import connect


def read(packets: list[bytes]) -> list[ReceivedMessage]:
    client = BulkClient(protocol=mqtt.MQTTv311)
    client._sock = object()  # type: ignore[assignment]
    client._cut_packets(b"".join(packets))
    client._sock = None
    return client.messages


@pytest.mark.parametrize(("items", "values"), [(1, 1), (25, 2)])
def test_every_message_fits_and_no_reading_comes_twice(items: int, values: int) -> None:
    load = Load(port=0, messages=2 * GATEWAYS * DEVICES // items, items=items, values=values)
    messages = read(prepare(load))
    keys, seqs = set(), set()
    now = int(time.time() * 1000)
    for message in messages:
        found = decode(message.topic.decode(), message.payload, now)
        assert isinstance(found, Decoded) and not found.refused and found.topic.up is Up.READINGS
        keys |= set(zip(found.devices, found.at, found.names, strict=True))
        seqs.add((found.topic.gateway, found.seq))
    assert len(keys) == load.readings and len(seqs) == len(messages) == load.messages


def test_packets_of_one_length_for_the_reader_that_counts() -> None:
    packets = prepare(Load(port=0, messages=300, fixed=True))
    assert len({len(one) for one in packets}) == 1
    at = packet_id_offset(len(packets[0]))
    assert [int.from_bytes(one[at : at + 2], "big") for one in packets] == [
        message.packet_id for message in read(packets)
    ]


@pytest.mark.real
def test_all_that_is_published_is_counted(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = threading.Event()
    monkeypatch.setattr(publisher, "_report_progress", lambda _what: ready.set())
    load = Load(port=broker.address.port, messages=3000, fixed=True, boot="count")
    size, took = len(prepare(load)[0]), list[float]()
    reader = threading.Thread(
        target=lambda: took.append(count(load.port, load.messages, size, 1)), daemon=True
    )
    reader.start()
    assert ready.wait(5)
    assert publish(load) > 0
    reader.join(20)
    assert took and took[0] > 0
    paced = Load(port=load.port, messages=200, rate=400, boot="paced")
    assert 0.3 < publish(paced) < 5


@pytest.mark.real
@pytest.mark.parametrize("prepared", [True, False])
def test_copy_alone_writes_every_row(
    dsn: str, prepared: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.readline", lambda: "", raising=False)
    monkeypatch.setattr(copier, "BATCH", 1000)
    for lane in (0, 1):
        copier.copy(
            copier.CopyJob(
                dsn=dsn,
                batches=3,
                lane=lane,
                lanes=2,
                points=500,
                base_ms=int(time.time() * 1000),
                prepared=prepared,
            )
        )
    with connect(dsn) as connection:
        assert connection.execute("SELECT count(*) AS n FROM readings").fetchone() == {"n": 6000}
    assert "ready" in capsys.readouterr().out
