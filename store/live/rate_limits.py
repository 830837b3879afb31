"""How often something happened lately: counted in Redis for all processes.

While Redis is away each process counts by itself. The windows are fixed: that is simple, one round
trip, and never more than twice the limit across two of them. Losing Redis loses counts only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import redis
import structlog

log = structlog.get_logger()

#: Names that one process counts by itself. Beyond it the oldest window is thrown away whole.
MOST_NAMES = 20_000
#: How long Redis is left alone after it did not answer.
_AWAY_S = 5.0


class WindowKey(NamedTuple):
    """What is counted together: a name within one window of time."""

    name: str
    window: int


class Rates:
    """Counts by name and window."""

    def __init__(self, url: str | None, clock: Callable[[], float] = time.time) -> None:
        self._redis: redis.Redis | None = None
        if url:
            self._redis = redis.Redis.from_url(url, socket_timeout=0.2, socket_connect_timeout=0.2)
        self._clock = clock
        self._away_until = 0.0
        self._counts: dict[WindowKey, int] = {}
        self._lock = threading.Lock()

    def take(self, name: str, most: int, per_s: int = 60) -> int:
        """Count once more; return 0 within the limit, else the seconds until the window ends."""
        now = self._clock()
        key = WindowKey(name, int(now // per_s))
        count = self._count_shared(key, per_s, now)
        if count is None:
            count = self._count_alone(key)
        if count <= most:
            return 0
        window_end = (key.window + 1) * per_s
        return max(1, int(window_end - now) + 1)

    def _count_shared(self, key: WindowKey, per_s: int, now: float) -> int | None:
        """Count in Redis; None while it is away."""
        if self._redis is None or now < self._away_until:
            return None
        redis_key = f"anju:rate:{key.name}:{per_s}:{key.window}"
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.incr(redis_key)
                pipeline.expire(redis_key, per_s + 1)
                return int(pipeline.execute()[0])
        except redis.RedisError as error:
            self._away_until = now + _AWAY_S
            log.warning("rates_without_redis", error=str(error)[:200])
            return None

    def _count_alone(self, key: WindowKey) -> int:
        """Count in this process."""
        with self._lock:
            if len(self._counts) >= MOST_NAMES:
                self._drop_oldest_window()
            self._counts[key] = self._counts.get(key, 0) + 1
            return self._counts[key]

    def _drop_oldest_window(self) -> None:
        oldest = min(key.window for key in self._counts)
        self._counts = {key: count for key, count in self._counts.items() if key.window > oldest}
