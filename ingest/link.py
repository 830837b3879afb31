"""A lane's connection to the broker: one session there, read by whoever holds its lease.

Nothing here waits but `wait`; whoever owns the link drives it. A session is durable at the broker.
So letting go of it (`drop`) is how ingest pushes back: what was not acknowledged comes again at the
next `connect`. An acknowledgement is sent only on the connection that brought its message
(`generation`). A broker that was restarted uses the same packet ids for other messages, and would
take an old answer for a new one.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
import structlog

from domain.broker import BrokerAddress
from ingest.bulk import SessionLimits, StockClient, join, leave, new_client
from ingest.message import ReceivedMessage

log = structlog.get_logger()

KEEPALIVE_S = 30
#: How long the broker may take to accept a connection.
ACCEPT_S = 10.0
#: How long a session outlives its connection, seconds.
SESSION_S = 24 * 3600
#: Messages that may wait to be sent; beyond it the oldest is dropped.
MAX_WAITING = 100_000


class OutgoingMessage(NamedTuple):
    """A message that waits to be sent."""

    topic: str
    payload: bytes
    qos: int


class Link:
    """One session at the broker.

    `generation` rises with every connection. `up` is true once the present one has subscribed.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        session: str,
        filters: Sequence[str],
        *,
        window: int,
        clock: Callable[[], float],
        make_client: Callable[..., StockClient] = new_client,
    ) -> None:
        self.generation = 0
        self.up = False
        #: Set by whoever has seen that an ending session brings nothing more.
        self.emptied = False
        self._broker = broker
        self._session = session
        self._filters = tuple(filters)
        self._window = window
        self._clock = clock
        self._make_client = make_client
        self._client: StockClient | None = None
        self._connected_at = float("-inf")
        self._received_at = clock()
        self._is_ending = False
        #: Packet ids of subscriptions that the broker has not confirmed.
        self._unconfirmed: set[int | None] = set()
        self._outgoing: deque[OutgoingMessage] = deque(maxlen=MAX_WAITING)
        self._wake_sender, self._wake_receiver = socket.socketpair()
        self._wake_sender.setblocking(False)
        self._wake_receiver.setblocking(False)

    # Connecting ------------------------------------------------------------------------------

    @property
    def connecting(self) -> bool:
        """Whether a connection is open or being made."""
        return self._client is not None

    def connect(self) -> None:
        """Begin a connection; `up` follows when the broker has accepted it.

        Raises: OSError where nobody listens.
        """
        self.drop()
        self.generation += 1
        self._connected_at = self._clock()
        self._client = join(
            self._broker,
            self._session,
            SessionLimits(window=self._window, expiry_s=SESSION_S, keepalive_s=KEEPALIVE_S),
            make_client=self._make_client,
            prepare=self._set_callbacks,
        )

    def _set_callbacks(self, client: StockClient) -> None:
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_confirmed
        client.on_unsubscribe = self._on_confirmed

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        """Subscribe; where the session is ending, unsubscribe."""
        if code.is_failure:
            log.error(
                "broker_refused",
                session=self._session,
                code=str(code),
                hint="check ANJU_BROKER_USERNAME and the broker's ACL",
            )
            return
        self._unconfirmed = set()
        for topic in self._filters:
            if self._is_ending:
                _, packet_id = client.unsubscribe(topic)
            else:
                _, packet_id = client.subscribe(topic, qos=1)
            # The broker's statistics are useful, and it may refuse them.
            if not topic.startswith("$SYS/"):
                self._unconfirmed.add(packet_id)

    def _on_confirmed(
        self,
        _client: mqtt.Client,
        _userdata: Any,
        packet_id: int,
        codes: Any,
        _properties: Any = None,
    ) -> None:
        """Note that a subscription is made or ended; the link is up when all are."""
        if packet_id not in self._unconfirmed:
            return
        refused = [str(code) for code in codes or [] if code.is_failure]
        if refused:
            log.error(
                "subscription_refused",
                session=self._session,
                code=refused[0],
                hint="check the broker's ACL for ingest's log-in",
            )
            return
        self._unconfirmed.discard(packet_id)
        if not self._unconfirmed and not self.up:
            self.up = True
            self._received_at = self._clock()
            log.info("broker_connected", session=self._session, generation=self.generation)

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if self.up:
            log.info("broker_left", session=self._session, code=str(code))
        self.up = False

    def drop(self, *, for_good: bool = False) -> None:
        """Disconnect cleanly; what was not acknowledged comes again at the next connection.

        The session is kept at the broker. With `for_good` it ends too.
        """
        client = self._client
        self._client = None
        self.up = False
        if client is None:
            return
        client.on_disconnect = None
        leave(client, for_good=for_good)
        client.loop_write()
        line = client.socket()
        if line is not None:
            line.close()

    def end(self) -> None:
        """Subscribe to nothing any more; what the session holds still comes. Thread-safe."""
        self._is_ending = True

    def close(self) -> None:
        """Let go, and end the session where it was ending and is empty."""
        self.drop(for_good=self._is_ending and self.emptied)
        self._wake_sender.close()
        self._wake_receiver.close()

    # Driving ---------------------------------------------------------------------------------

    def receive(self) -> list[ReceivedMessage]:
        """Do what is due on the socket, and return what has come, without waiting."""
        client = self._client
        if client is None:
            return []
        while self._outgoing and self.up:
            client.publish(*self._outgoing.popleft())
        client.loop_read()
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        is_refused = not self.up and self._clock() - self._connected_at > ACCEPT_S
        if client.socket() is None or is_refused:
            self.drop()
        messages = client.take_messages()
        if messages:
            self._received_at = self._clock()
        return messages

    @property
    def quiet_s(self) -> float:
        """For how long an open connection has brought nothing, seconds."""
        return self._clock() - self._received_at if self.up else 0.0

    def wait(self, seconds: float) -> None:
        """Wait until there is something to do."""
        poller = select.poll()
        poller.register(self._wake_receiver, select.POLLIN)
        line = self._client.socket() if self._client is not None else None
        if line is not None and self._client is not None:
            if isinstance(line, ssl.SSLSocket) and line.pending():
                return
            writing = select.POLLOUT if self._client.want_write() else 0
            poller.register(line, select.POLLIN | writing)
        poller.poll(max(0.0, seconds) * 1000)
        with suppress(BlockingIOError):
            self._wake_receiver.recv(4096)

    def wake(self) -> None:
        """End a `wait` of another thread."""
        with suppress(OSError):
            self._wake_sender.send(b"\0")

    # Answering -------------------------------------------------------------------------------

    def acknowledge(self, generation: int, packet_ids: Iterable[int]) -> bool:
        """Answer messages to the broker.

        Returns False, and does nothing, where another connection brought them.
        """
        if generation != self.generation or self._client is None or not self.up:
            return False
        self._client.acknowledge(packet_ids)
        return True

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send a message as soon as the broker is connected. Thread-safe.

        Of MAX_WAITING messages that wait the oldest is dropped.
        """
        self._outgoing.append(OutgoingMessage(topic, payload, qos))
        self.wake()
