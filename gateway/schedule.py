"""Who is asked next on a half-duplex line: one device at a time, the healthy before the failing. Pure; time is passed in.

Time is cut into slots of each device's interval, on the round hour for all of them, so that the readings of different meters
can be compared. A slot that was answered is done, also across a restart. A device that does not answer is tried again later and later within
its slot, at most once an interval when it stays silent, and only when no healthy one is waiting: one bad meter costs its line
one time-out a retry and never its turn.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The first retry of a device that did not answer comes after this, doubled each time, but within one interval.
FIRST_RETRY_MS, SLOWEST_MS = 5_000, 900_000


@dataclass(slots=True, kw_only=True)
class ScheduledPoll:
    """One device's place in the schedule. `done` is the last slot that was answered."""

    device: str
    every_ms: int
    slow_every_ms: int
    done: int = -1
    slow_done: int = -1
    failures: int = 0
    not_before_ms: int = 0

    def slot(self, now_ms: int) -> int:
        """Return the slot that an instant falls in."""
        return now_ms // self.every_ms

    def slow(self, now_ms: int) -> bool:
        """Tell whether the slow questions are due too."""
        return now_ms // self.slow_every_ms > self.slow_done

    def due_ms(self) -> int:
        """Return when this device is to be asked next."""
        return max((self.done + 1) * self.every_ms, self.not_before_ms)


class Schedule:
    """The turns of one line."""

    def __init__(self, turns: list[ScheduledPoll]) -> None:
        self.turns = {turn.device: turn for turn in turns}

    def next(self, now_ms: int) -> ScheduledPoll | None:
        """Return who is to be asked now: the healthy one that waits longest, else a failing one; None where nobody is due."""
        due = [turn for turn in self.turns.values() if turn.due_ms() <= now_ms]
        return min(
            due, key=lambda turn: (turn.failures > 0, turn.due_ms(), turn.device), default=None
        )

    def wait_ms(self, now_ms: int) -> int:
        """Return how long nobody will be due, in milliseconds."""
        return max(
            0,
            min((turn.due_ms() for turn in self.turns.values()), default=now_ms + 60_000) - now_ms,
        )

    def answered(self, turn: ScheduledPoll, asked_ms: int, *, slow: bool) -> dict[str, str]:
        """Note an answer; returns what must be remembered in the transaction that stores it."""
        turn.done, turn.failures, turn.not_before_ms = turn.slot(asked_ms), 0, 0
        if slow:
            turn.slow_done = asked_ms // turn.slow_every_ms
        return {f"poll/{turn.device}": f"{turn.done} {turn.slow_done}"}

    def failed(self, turn: ScheduledPoll, now_ms: int) -> None:
        """Note that a device did not answer."""
        turn.failures += 1
        pause = min(FIRST_RETRY_MS * 2 ** min(turn.failures - 1, 16), SLOWEST_MS, turn.every_ms)
        turn.not_before_ms = now_ms + pause

    @staticmethod
    def recall(turn: ScheduledPoll, text: str | None, now_ms: int) -> None:
        """Take up where the last run ended; slots that passed meanwhile are not asked for any more."""
        if text is not None:
            done, _, slow = text.partition(" ")
            turn.done, turn.slow_done = int(done), int(slow or -1)
        turn.done = min(max(turn.done, turn.slot(now_ms) - 1), turn.slot(now_ms))
