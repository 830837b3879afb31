"""What a broker does when nobody reads: tried on it, since no client can read its configuration.

A session is made and left, messages are published for it, and it is taken up again. What is missing
then was dropped in silence. mosquitto's own default keeps a thousand messages of a session, less
than two seconds of a city.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from domain.broker import BrokerAddress
from ingest.bulk import SessionLimits, StockClient, join, leave, new_client

#: Messages that a broker must keep for a session that is away: half a minute of a city's readings,
#: one in a message.
MUST_KEEP = 20_000
#: Where the trial goes: outside the wire contract, for ingest's own log-in.
TOPIC = "anju/doctor/{}"
#: The trial ends when nothing has come for so long.
QUIET_S = 3.0
_LIMITS = SessionLimits(window=1000, expiry_s=600, keepalive_s=60)


class BrokerRefused(Exception):
    """The broker cannot be tried; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came back of what was published for a session that was away."""

    published: int
    kept: int
    #: Whether the broker takes shared subscriptions.
    shares: bool


def try_broker(
    broker: BrokerAddress, messages: int = MUST_KEEP, *, patience_s: float = 30.0
) -> Trial:
    """Try what the broker keeps for a session that is away; the session is removed again.

    Raises: BrokerRefused.
    """
    session = f"doctor-{secrets.token_hex(4)}"
    topic = TOPIC.format(session)
    reader = _join(broker, session, patience_s)
    shares = _subscribe(reader, topic, patience_s)
    reader.disconnect()
    _drive(reader, lambda: reader.socket() is None, 5.0)
    sender = _join(broker, f"{session}-s", patience_s)
    _publish(sender, topic, messages, patience_s)
    reader = _join(broker, session, patience_s)
    kept = _count_kept(reader, messages)
    reader.unsubscribe(topic)
    leave(reader, for_good=True)
    _drive(reader, lambda: reader.socket() is None, 5.0)
    return Trial(published=messages, kept=kept, shares=shares)


def _join(broker: BrokerAddress, session: str, patience_s: float) -> StockClient:
    """Connect, and wait until the broker has accepted.

    Raises: BrokerRefused.
    """
    codes: list[Any] = []

    def listen(client: StockClient) -> None:
        client.on_connect = lambda _c, _u, _f, code, _p: codes.append(code)

    where = f"{broker.host}:{broker.port}"
    try:
        client = join(broker, session, _LIMITS, make_client=new_client, prepare=listen)
    except ConnectionError as error:
        raise BrokerRefused(f"{where} does not answer: {error.__cause__}") from error
    answered = _drive(client, lambda: bool(codes), patience_s)
    if not answered or codes[0].is_failure:
        answer = str(codes[0]) if codes else "nothing"
        raise BrokerRefused(f"{where} refused the log-in {broker.username!r}: it said {answer}")
    return client


def _subscribe(client: StockClient, topic: str, patience_s: float) -> bool:
    """Subscribe; return whether a shared subscription is taken too.

    Raises: BrokerRefused.
    """
    taken: dict[int, bool] = {}

    def note(_client: Any, _userdata: Any, packet_id: int, codes: Any, _properties: Any) -> None:
        taken[packet_id] = not codes[0].is_failure

    client.on_subscribe = note
    _, plain = client.subscribe(topic, qos=1)
    _, shared = client.subscribe(f"$share/anju-doctor/{topic}/shared", qos=1)
    answered = _drive(client, lambda: len(taken) == 2, patience_s)
    if not answered or not taken.get(plain or 0):
        raise BrokerRefused(
            f"the broker's ACL does not let ingest read and write {TOPIC.format('#')}; "
            "add it, see deploy/mosquitto/acl"
        )
    return taken.get(shared or 0, False)


def _publish(sender: StockClient, topic: str, messages: int, patience_s: float) -> None:
    """Publish messages that differ, and wait until the broker has taken all.

    Raises: BrokerRefused.
    """
    sent = [sender.publish(topic, b"%d" % number, qos=1) for number in range(messages)]
    if not _drive(sender, lambda: sent[-1].is_published(), patience_s):
        taken = sum(message.is_published() for message in sent)
        raise BrokerRefused(
            f"the broker took {taken} of {messages} messages within {patience_s:g} s"
        )
    sender.disconnect()


def _count_kept(reader: StockClient, messages: int) -> int:
    """Read until all messages have come, or nothing comes any more; return how many differ."""
    payloads: set[bytes] = set()
    received_at = time.monotonic()
    while len(payloads) < messages and time.monotonic() - received_at < QUIET_S:
        reader.loop(0.1)
        received = reader.take_messages()
        if received:
            received_at = time.monotonic()
            payloads |= {message.payload for message in received}
            reader.acknowledge([message.packet_id for message in received if message.packet_id])
    return len(payloads)


def _drive(client: StockClient, done: Callable[[], bool], patience_s: float) -> bool:
    """Run a client until something is done; False where it takes too long."""
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline:
            return False
        client.loop(0.05)
    return True
