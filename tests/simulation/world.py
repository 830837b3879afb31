"""A world in one thread: a virtual clock, a seeded dice, and what happens when.

Nothing in it sleeps and nothing in it is real but the code under test: the gateway's outbox and
sender, ingest's lanes and writer. One seed is one run, the same every time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

START_MS = 1_795_220_000_000


@dataclass(slots=True)
class World:
    """The clock and the agenda."""

    seed: int
    now: float = 0.0
    rng: random.Random = field(init=False)
    trace: list[str] = field(default_factory=list)
    _agenda: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _count: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def monotonic(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return START_MS + int(self.now * 1000)

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._count, what))

    def note(self, what: str) -> None:
        """Write a line of the run's history."""
        self.trace.append(f"{self.now:.4f} {what}")

    def run(self, until: float) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, what = heapq.heappop(self._agenda)
            self.steps += 1
            what()
        self.now = until
