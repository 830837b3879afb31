"""The gateway's clock, and how far it is from the server's.

Three clocks are kept apart: the device's (its drift is noted per device), the gateway's (every time
that goes up is its, or the device's where the device told one) and the server's (the offset is
measured and reported, and nothing is corrected by it in silence). For testers the gateway's clock
can be told to start somewhere and to run faster.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayClock:
    """The gateway's time.

    With `speed` 1 it is the machine's; else `start_ms` plus what has passed since `real_ms`, times
    speed.
    """

    speed: float = 1.0
    start_ms: int = 0
    real_ms: int = 0

    def now_ms(self) -> int:
        """Return the time, in milliseconds UTC."""
        real = time.time_ns() // 1_000_000
        return (
            real if self.speed == 1.0 else self.start_ms + int((real - self.real_ms) * self.speed)
        )

    def real_seconds(self, ms: float) -> float:
        """Return how long one has to wait for `ms` of this clock to pass."""
        return ms / 1000 / self.speed


#: How many answers the best is chosen from.
SAMPLES = 8


@dataclass(slots=True)
class ClockOffset:
    """How far the gateway's clock is ahead of the server's, from question and answer (RFC 5905's
    on-wire exchange).

    Of the last answers the one that took the shortest way is believed; half its way is the
    uncertainty.
    """

    _samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def answered(self, sent_ms: int, server_ms: int, received_ms: int) -> None:
        """Note an answer; one that came before its question is of another clock and is left out."""
        way = received_ms - sent_ms
        if way >= 0:
            self._samples.append((way, (sent_ms + received_ms) // 2 - server_ms))

    @property
    def ms(self) -> int | None:
        """The offset; None before the first answer."""
        return min(self._samples)[1] if self._samples else None
