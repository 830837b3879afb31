"""What a broker does when nobody reads: tried on it, since no client can read its configuration.

A session is made and left, messages are published for it, and it is taken up again: what is missing then was dropped without a
word. mosquitto's own default keeps a thousand messages of a session, less than two seconds of a city.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from domain.broker import BrokerAddress
from ingest.bulk import StockClient, join, leave, new_client

#: Messages that a broker must keep for a session that is away: half a minute of a city's readings, one in a message.
MUST_KEEP = 20_000
#: Where the trial goes: outside the wire contract, for ingest's own log-in.
TOPIC = "anju/doctor/{}"


class BrokerRefused(Exception):
    """The broker cannot be tried; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came back of what was published for a session that was away."""

    published: int
    kept: int
    shares: bool


def try_broker(
    broker: BrokerAddress, messages: int = MUST_KEEP, *, patience_s: float = 30.0
) -> Trial:
    """Try what the broker keeps for a session that is away; the session is removed again.

    Raises: BrokerRefused.
    """
    name = f"doctor-{secrets.token_hex(4)}"
    topic = TOPIC.format(name)
    reader = _join(broker, name, patience_s)
    shares = _subscribe(reader, topic, patience_s)
    reader.disconnect()
    _drive(reader, lambda: reader.socket() is None, 5.0)
    sender = _join(broker, f"{name}-s", patience_s)
    sent = [sender.publish(topic, b"%d" % n, qos=1) for n in range(messages)]
    if not _drive(sender, lambda: sent[-1].is_published(), patience_s):
        raise BrokerRefused(
            f"the broker took {sum(one.is_published() for one in sent)} of {messages} messages within {patience_s:g} s"
        )
    sender.disconnect()
    reader = _join(broker, name, patience_s)
    heard: set[bytes] = set()
    quiet = time.monotonic()
    while len(heard) < messages and time.monotonic() - quiet < 3.0:
        reader.loop(0.1)
        if reader.frames:
            quiet = time.monotonic()
            heard |= {frame[1] for frame in reader.frames}
            reader.acknowledge([frame[2] for frame in reader.frames if frame[2]])
            reader.frames.clear()
    reader.unsubscribe(topic)
    leave(reader, for_good=True)
    _drive(reader, lambda: reader.socket() is None, 5.0)
    return Trial(published=messages, kept=len(heard), shares=shares)


def _join(broker: BrokerAddress, name: str, patience_s: float) -> StockClient:
    answer: list[Any] = []

    def listen(client: StockClient) -> None:
        client.on_connect = lambda _c, _u, _f, code, _p: answer.append(code)

    try:
        client = join(
            broker,
            name,
            window=1000,
            session_s=600,
            keepalive_s=60,
            make_client=new_client,
            prepare=listen,
        )
    except ConnectionError as error:
        raise BrokerRefused(
            f"{broker.host}:{broker.port} does not answer: {error.__cause__}"
        ) from error
    if not _drive(client, lambda: bool(answer), patience_s) or answer[0].is_failure:
        said = str(answer[0]) if answer else "nothing"
        raise BrokerRefused(
            f"{broker.host}:{broker.port} refused the log-in {broker.username!r}: it said {said}"
        )
    return client


def _subscribe(client: StockClient, topic: str, patience_s: float) -> bool:
    """Subscribe; tells whether a shared subscription is taken too."""
    answers: dict[int, bool] = {}
    client.on_subscribe = lambda _c, _u, mid, codes, _p: answers.update(
        {mid: not codes[0].is_failure}
    )
    _, plain = client.subscribe(topic, qos=1)
    _, shared = client.subscribe(f"$share/anju-doctor/{topic}/shared", qos=1)
    if not _drive(client, lambda: len(answers) == 2, patience_s) or not answers.get(plain or 0):
        raise BrokerRefused(
            f"the broker's ACL does not let ingest read and write {TOPIC.format('#')}; add it, see deploy/mosquitto/acl"
        )
    return answers.get(shared or 0, False)


def _drive(client: StockClient, done: Any, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > deadline:
            return False
        client.loop(0.05)
    return True
