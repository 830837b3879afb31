"""The live bus on Redis: wake-ups. Everything here can be rebuilt from PostgreSQL.

A publisher that fails says so once in the log and goes on. A listener without Redis asks PostgreSQL
a few times a second instead. Losing Redis loses nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import redis
import structlog
from redis.client import PubSub

log = structlog.get_logger()

EVENTS_CHANNEL = "anju:events"
ALERTS_CHANNEL = "anju:alerts"
#: How long Redis is left alone after it did not answer.
RETRY_SECONDS = 5.0
#: How often a listener is woken while Redis is away.
BLIND_SECONDS = 0.25


class LiveBus:
    """A bus that may be away. `url` None means that the site runs without Redis."""

    def __init__(self, url: str | None) -> None:
        self._client: redis.Redis | None = None
        if url:
            self._client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        self._away_until = 0.0

    @property
    def up(self) -> bool:
        """Whether Redis answers now."""
        client = self._reachable()
        if client is None:
            return False
        try:
            return bool(client.ping())
        except redis.RedisError:
            self._note_away()
            return False

    def publish(self, channel: str, message: str) -> None:
        """Wake whoever listens; does nothing while Redis is away."""
        client = self._reachable()
        if client is None:
            return
        try:
            client.publish(channel, message)
        except redis.RedisError:
            self._note_away()

    def wakes(self, channel: str, every_s: float = 1.0) -> Iterator[None]:
        """Yield whenever something was published, and at least every `every_s` seconds.

        While Redis is away it yields every BLIND_SECONDS.
        """
        while True:
            client = self._reachable()
            if client is not None:
                try:
                    yield from _wakes_of(client, channel, every_s)
                except redis.RedisError:
                    self._note_away()
            time.sleep(min(every_s, BLIND_SECONDS))
            yield None

    def messages(self, channel: str, poll_s: float = 0.5) -> Iterator[str | None]:
        """Yield what is published, and None when nothing was for `poll_s`.

        Raises: redis.RedisError where Redis is away.
        """
        assert self._client is not None
        with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe(channel)
            while True:
                message = subscription.get_message(timeout=poll_s)
                yield message["data"].decode() if message else None

    def _reachable(self) -> redis.Redis | None:
        """Return the client; None without Redis, and for a while after it did not answer."""
        return None if time.monotonic() < self._away_until else self._client

    def _note_away(self) -> None:
        log.warning(
            "redis_away", hint="live wake-ups fall back to asking PostgreSQL four times a second"
        )
        self._away_until = time.monotonic() + RETRY_SECONDS


def _wakes_of(client: redis.Redis, channel: str, every_s: float) -> Iterator[None]:
    """Yield once at the start, then as `LiveBus.wakes` does.

    Raises: redis.RedisError where Redis is away.
    """
    with client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(channel)
        yield None
        while True:
            _wait_for_message(subscription, every_s)
            # Several wake-ups in one go are one wake-up.
            while subscription.get_message(timeout=0) is not None:
                pass
            yield None


def _wait_for_message(subscription: PubSub, seconds: float) -> None:
    """Wait until something is published, at most for a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        remaining = max(0.0, deadline - time.monotonic())
        if subscription.get_message(timeout=remaining) is not None:
            return


class Notification(NamedTuple):
    """A message that waits to be published."""

    channel: str
    message: str


class BackgroundPublisher:
    """Publishes from a thread of its own, so that a Redis that hangs keeps nobody waiting.

    Of MAX_WAITING messages that wait the oldest is dropped.
    """

    MAX_WAITING = 10_000

    def __init__(self, bus: LiveBus) -> None:
        self._bus = bus
        self._waiting: deque[Notification] = deque(maxlen=self.MAX_WAITING)
        self._has_work = threading.Event()
        threading.Thread(target=self._run, name="background-publisher", daemon=True).start()

    def publish(self, channel: str, message: str) -> None:
        """Hand a message over."""
        self._waiting.append(Notification(channel, message))
        self._has_work.set()

    def _run(self) -> None:
        while True:
            self._has_work.wait()
            self._has_work.clear()
            while self._waiting:
                notification = self._waiting.popleft()
                self._bus.publish(notification.channel, notification.message)
