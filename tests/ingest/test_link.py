"""A lane's session on a real broker: what is not acknowledged comes again, and nothing old is ever
answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from anju.demo.embedded import Broker
from ingest.bulk import BulkClient, StockClient
from ingest.link import Link
from ingest.message import ReceivedMessage

pytestmark = pytest.mark.real


@pytest.fixture
def publisher(broker: Broker) -> Iterator[mqtt.Client]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(broker.address.host, broker.address.port)
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def make(broker: Broker, kind: Callable[..., StockClient] = BulkClient) -> Link:
    name = f"link-{time.monotonic_ns()}"
    return Link(
        broker.address, name, [f"test/{name}/+"], window=100, clock=time.monotonic, make_client=kind
    )


def topic(link: Link) -> str:
    return link._filters[0].replace("+", "x")


def take(link: Link, number: int, seconds: float = 5.0) -> list[ReceivedMessage]:
    found: list[ReceivedMessage] = []
    deadline = time.monotonic() + seconds
    while len(found) < number and time.monotonic() < deadline:
        found += link.receive()
        link.wait(0.02)
    return found


def come_up(link: Link) -> list[ReceivedMessage]:
    """Wait until it is subscribed; what a session held comes before that."""
    deadline, found = time.monotonic() + 5, []
    while not link.up:
        assert time.monotonic() < deadline
        found += link.receive()
        link.wait(0.02)
    return found


@pytest.mark.parametrize("kind", [BulkClient, StockClient])
def test_what_is_not_acknowledged_comes_again(
    broker: Broker, publisher: mqtt.Client, kind: Callable[..., StockClient]
) -> None:
    link = make(broker, kind)
    link.connect()
    come_up(link)
    for n in range(6):
        publisher.publish(topic(link), b"%d" % n, qos=1).wait_for_publish(5)
    first = take(link, 6)
    assert [message.payload for message in first] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert link.acknowledge(link.generation, [message.packet_id for message in first[:4]])
    link.receive()
    link.drop()
    publisher.publish(topic(link), b"6", qos=1).wait_for_publish(5)
    link.connect()
    held = come_up(link)
    assert sorted(message.payload for message in held + take(link, 3 - len(held))) == [
        b"4",
        b"5",
        b"6",
    ]
    assert not link.acknowledge(link.generation - 1, [1]), (
        "an old connection's message was answered"
    )
    link.close()


def test_a_session_that_has_ended_keeps_nothing(broker: Broker, publisher: mqtt.Client) -> None:
    link = make(broker)
    link.connect()
    come_up(link)
    link.end()
    link.drop()
    link.connect()
    come_up(link)
    link.emptied = True
    link.close()
    publisher.publish(topic(link), b"late", qos=1).wait_for_publish(5)
    again = make(broker)
    again._session, again._filters = link._session, link._filters
    again.connect()
    assert come_up(again) + take(again, 1, 0.5) == []
    again.close()


def test_what_is_posted_while_nobody_has_us_goes_out_later(
    broker: Broker, publisher: mqtt.Client
) -> None:
    heard: list[bytes] = []
    publisher.on_message = lambda _c, _u, m: heard.append(bytes(m.payload))
    link = make(broker)
    publisher.subscribe("down/x", qos=1)
    time.sleep(0.2)
    link.publish("down/x", b"first")
    link.connect()
    come_up(link)
    link.publish("down/x", b"second", 0)
    take(link, 1, 0.5)
    assert heard == [b"first", b"second"]
    link.close()


def test_nobody_listens_is_said_at_once() -> None:
    from anju.processes import free_port
    from domain.broker import BrokerAddress

    link = Link(BrokerAddress(port=free_port()), "x", ["a"], window=10, clock=time.monotonic)
    with pytest.raises(OSError, match="127.0.0.1"):
        link.connect()
    assert not link.connecting
    link.close()
