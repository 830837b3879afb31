"""Which numbered messages of a gateway have been seen: a watermark and the few numbers above it.

`upto` is the highest number up to which nothing is missing; `also` are numbers above it that came early. It answers
the two questions of the wire contract: what can be acknowledged, and what is missing. Numbers start at 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """The numbers seen so far of one gateway, one kind and one boot."""

    upto: int = 0
    also: set[int] = field(default_factory=set)

    def see(self, seq: int) -> bool:
        """Note a number; False where it had been seen before."""
        if seq <= self.upto or seq in self.also:
            return False
        self.also.add(seq)
        while self.upto + 1 in self.also:
            self.upto += 1
            self.also.discard(self.upto)
        return True

    def missing(self, limit: int = 500) -> list[int]:
        """List the lowest numbers that are missing below the highest one seen."""
        if not self.also:
            return []
        found: list[int] = []
        for seq in range(self.upto + 1, max(self.also)):
            if seq not in self.also:
                found.append(seq)
                if len(found) == limit:
                    break
        return found
