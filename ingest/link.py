"""A lane's connection to the broker: one session there, read by whoever holds its seat.

Nothing here waits but `wait`; whoever owns the link drives it. A session is durable at the broker, so that letting go of it
(`drop`) is how ingest pushes back: what was not acknowledged comes again at the next `connect`. An acknowledgement is sent
only on the connection that brought its message (`generation`): a broker that was restarted uses the same packet ids for
other messages, and would take an old answer for a new one.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import paho.mqtt.client as mqtt
import structlog

from domain.broker import BrokerAddress
from ingest.bulk import Frame, StockClient, join, leave, new_client

log = structlog.get_logger()

KEEPALIVE_S = 30
#: How long the broker may take to accept a connection.
ACCEPT_S = 10.0
#: How long a session outlives its connection, seconds.
SESSION_S = 24 * 3600


class Link:
    """One session. `generation` rises with every connection; `up` tells whether the present one is subscribed."""

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
        self.generation, self.up = 0, False
        self._broker, self._session, self._filters = broker, session, tuple(filters)
        self._window, self._clock = window, clock
        self._make_client = make_client
        self._client: StockClient | None = None
        self._began = float("-inf")
        self._ending, self._heard = False, clock()
        self._asked: set[int | None] = set()
        #: Set by whoever has seen that an ending session brings nothing more.
        self.emptied = False
        self._posts: deque[tuple[str, bytes, int]] = deque(maxlen=100_000)
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken):
            end.setblocking(False)

    # Connecting ------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin a connection; `up` follows when the broker has accepted it.

        Raises: OSError where nobody listens.
        """
        self.drop()
        self.generation, self._began = self.generation + 1, self._clock()
        self._client = join(
            self._broker,
            self._session,
            window=self._window,
            session_s=SESSION_S,
            keepalive_s=KEEPALIVE_S,
            make_client=self._make_client,
            prepare=self._listen,
        )

    def _listen(self, client: StockClient) -> None:
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe = client.on_unsubscribe = self._on_subscribed

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            log.error(
                "broker_refused",
                session=self._session,
                code=str(code),
                hint="check ANJU_BROKER_USERNAME and the broker's ACL",
            )
            return
        self._asked = set()
        for topic in self._filters:
            _, mid = client.unsubscribe(topic) if self._ending else client.subscribe(topic, qos=1)
            # What the broker tells of itself it may keep to itself.
            if not topic.startswith("$SYS/"):
                self._asked.add(mid)

    def _on_subscribed(
        self, _client: mqtt.Client, _userdata: Any, mid: int, codes: Any, _properties: Any = None
    ) -> None:
        """Count a subscription as made; the link is up when all are."""
        refused = [str(code) for code in codes or [] if code.is_failure]
        if mid not in self._asked:
            return
        if refused:
            log.error(
                "subscription_refused",
                session=self._session,
                code=refused[0],
                hint="check the broker's ACL for ingest's log-in",
            )
            return
        self._asked.discard(mid)
        if not self._asked and not self.up:
            self.up, self._heard = True, self._clock()
            log.info("broker_connected", session=self._session, generation=self.generation)

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if self.up:
            log.info("broker_left", session=self._session, code=str(code))
        self.up = False

    def drop(self, *, for_good: bool = False) -> None:
        """Let go of the broker cleanly; the session is kept there, and what was not acknowledged comes again.

        With `for_good` the session ends too.
        """
        client, self._client, self.up = self._client, None, False
        if client is not None:
            client.on_disconnect = None
            leave(client, for_good=for_good)
            client.loop_write()
            sock = client.socket()
            if sock is not None:
                sock.close()

    def end(self) -> None:
        """Take nothing new any more; what the session holds still comes. Any thread may call this."""
        self._ending = True

    # Driving ---------------------------------------------------------------------------------------------------------

    def receive(self) -> list[Frame]:
        """Do what is due on the socket, and return what has come, without waiting."""
        client = self._client
        if client is None:
            return []
        while self._posts and self.up:
            client.publish(*self._posts.popleft())
        client.loop_read()
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        if client.socket() is None or (not self.up and self._clock() - self._began > ACCEPT_S):
            self.drop()
        frames, client.frames = client.frames, []
        if frames:
            self._heard = self._clock()
        return frames

    @property
    def quiet_s(self) -> float:
        """Tell for how long an open connection has brought nothing."""
        return self._clock() - self._heard if self.up else 0.0

    def wait(self, seconds: float) -> None:
        """Wait until there is something to do."""
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        sock = self._client.socket() if self._client is not None else None
        if sock is not None and self._client is not None:
            if isinstance(sock, ssl.SSLSocket) and sock.pending():
                return
            poller.register(
                sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0)
            )
        poller.poll(max(0.0, seconds) * 1000)
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def wake(self) -> None:
        """End a `wait` of another thread."""
        with suppress(OSError):
            self._waker.send(b"\0")

    @property
    def connecting(self) -> bool:
        """Tell whether a connection is open or being made."""
        return self._client is not None

    # Answering -------------------------------------------------------------------------------------------------------

    def acknowledge(self, generation: int, mids: Iterable[int]) -> bool:
        """Answer messages to the broker; does nothing, and says so, where another connection brought them."""
        if generation != self.generation or self._client is None or not self.up:
            return False
        self._client.acknowledge(mids)
        return True

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send a message as soon as the broker has us; any thread may call this. Of 100,000 that wait the oldest is dropped."""
        self._posts.append((topic, payload, qos))
        self.wake()

    def close(self) -> None:
        """Let go, and end the session where it was ending and is empty."""
        self.drop(for_good=self._ending and self.emptied)
        self._waker.close()
        self._woken.close()
