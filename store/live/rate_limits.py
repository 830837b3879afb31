"""How often something happened lately: counted in Redis for all processes, in this process while Redis is away.

Fixed windows: simple, one round trip, and never more than twice the limit across two of them. What is lost with Redis is a count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis
import structlog

log = structlog.get_logger()
#: Names that one process counts by itself at most; beyond it the oldest window is thrown away whole.
MOST_NAMES = 20_000
_AWAY_S = 5.0


class Rates:
    """Counts by name and window."""

    def __init__(self, url: str | None, clock: Callable[[], float] = time.time) -> None:
        self._redis = (
            redis.Redis.from_url(url, socket_timeout=0.2, socket_connect_timeout=0.2)
            if url
            else None
        )
        self._clock, self._away_until = clock, 0.0
        self._counts: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    def take(self, name: str, most: int, per_s: int = 60) -> int:
        """Count one; returns 0 while within the limit, else the seconds until the window ends."""
        now = self._clock()
        window = int(now // per_s)
        found = self._shared(name, window, per_s, now)
        count = self._own(name, window) if found is None else found
        return 0 if count <= most else max(1, int((window + 1) * per_s - now) + 1)

    def _shared(self, name: str, window: int, per_s: int, now: float) -> int | None:
        if self._redis is None or now < self._away_until:
            return None
        key = f"anju:rate:{name}:{per_s}:{window}"
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.incr(key)
                pipe.expire(key, per_s + 1)
                return int(pipe.execute()[0])
        except redis.RedisError as error:
            self._away_until = now + _AWAY_S
            log.warning("rates_without_redis", error=str(error)[:200])
            return None

    def _own(self, name: str, window: int) -> int:
        with self._lock:
            if len(self._counts) >= MOST_NAMES:
                oldest = min(key[1] for key in self._counts)
                self._counts = {key: n for key, n in self._counts.items() if key[1] > oldest}
            self._counts[name, window] = self._counts.get((name, window), 0) + 1
            return self._counts[name, window]
