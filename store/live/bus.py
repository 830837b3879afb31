"""The live bus on Redis: wake-ups and latest values. Everything here can be rebuilt from PostgreSQL.

A publisher that fails says so once in the log and goes on; a listener without Redis falls back to asking PostgreSQL
a few times a second. Losing Redis loses nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

import redis
import structlog

log = structlog.get_logger()

EVENTS_CHANNEL = "anju:events"
ALERTS_CHANNEL = "anju:alerts"
RETRY_SECONDS = 5.0
BLIND_SECONDS = 0.25


class LiveBus:
    """A bus that may be away. `url` None means that the site runs without Redis."""

    def __init__(self, url: str | None) -> None:
        self._client = (
            redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) if url else None
        )
        self._away_until = 0.0

    @property
    def up(self) -> bool:
        """Tell whether Redis answers now."""
        if self._client is None or time.monotonic() < self._away_until:
            return False
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            self._lost()
            return False

    def publish(self, channel: str, message: str) -> None:
        """Wake whoever listens; does nothing while Redis is away."""
        if self._client is None or time.monotonic() < self._away_until:
            return
        try:
            self._client.publish(channel, message)
        except redis.RedisError:
            self._lost()

    def wakes(self, channel: str, every_s: float = 1.0) -> Iterator[None]:
        """Yield whenever something was published, and at least every `every_s` seconds; every BLIND_SECONDS while Redis is away."""
        while True:
            pubsub = None
            if self._client is not None and time.monotonic() >= self._away_until:
                try:
                    pubsub = self._client.pubsub(ignore_subscribe_messages=True)
                    pubsub.subscribe(channel)
                    yield None
                    while True:
                        deadline = time.monotonic() + every_s
                        while (
                            time.monotonic() < deadline
                            and pubsub.get_message(timeout=max(0.0, deadline - time.monotonic()))
                            is None
                        ):
                            pass
                        # Several wake-ups in one go are one wake-up.
                        while pubsub.get_message(timeout=0) is not None:
                            pass
                        yield None
                except redis.RedisError:
                    self._lost()
                finally:
                    if pubsub is not None:
                        pubsub.close()
            time.sleep(min(every_s, BLIND_SECONDS))
            yield None

    def messages(self, channel: str, poll_s: float = 0.5) -> Iterator[str | None]:
        """Yield what is published, and None when nothing was for `poll_s`.

        Raises: redis.RedisError where Redis is away.
        """
        assert self._client is not None
        with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(channel)
            while True:
                message = pubsub.get_message(timeout=poll_s)
                yield message["data"].decode() if message else None

    def _lost(self) -> None:
        log.warning(
            "redis_away", hint="live wake-ups fall back to asking PostgreSQL four times a second"
        )
        self._away_until = time.monotonic() + RETRY_SECONDS


class BackgroundPublisher:
    """Publishes from a thread of its own, so that a Redis that hangs keeps nobody waiting; beyond MOST the oldest is dropped."""

    MOST = 10_000

    def __init__(self, bus: LiveBus) -> None:
        self._bus, self._waiting = bus, deque[tuple[str, str]](maxlen=self.MOST)
        self._something = threading.Event()
        threading.Thread(target=self._run, name="herald", daemon=True).start()

    def publish(self, channel: str, message: str) -> None:
        """Hand a message over."""
        self._waiting.append((channel, message))
        self._something.set()

    def _run(self) -> None:
        while True:
            self._something.wait()
            self._something.clear()
            while self._waiting:
                self._bus.publish(*self._waiting.popleft())
