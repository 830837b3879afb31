"""When each device of a line is polled: at its time, the healthy before the failing.

Pure; time is passed in. Time is divided into slots of each device's interval, on the round hour for
all of them, so that the readings of different meters can be compared. A slot with a reply is done,
also across a restart. A device that does not reply is tried again with growing pauses within its
slot, at most once an interval when it stays silent, and only when no healthy one is waiting. So one
bad meter costs its line one time-out a retry and never its turn.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The first retry of a silent device comes after this; each pause doubles, up to the slowest.
FIRST_RETRY_MS = 5_000
SLOWEST_MS = 900_000
#: The wait of a line without devices.
IDLE_MS = 60_000
_MOST_DOUBLINGS = 16


@dataclass(slots=True, kw_only=True)
class ScheduledPoll:
    """One device's place in the schedule. `done` is the last slot with a reply."""

    device: str
    every_ms: int
    slow_every_ms: int
    done: int = -1
    slow_done: int = -1
    failures: int = 0
    not_before_ms: int = 0

    def slot(self, now_ms: int) -> int:
        """Return the slot of an instant."""
        return now_ms // self.every_ms

    def slow(self, now_ms: int) -> bool:
        """Tell whether the slow queries are due too."""
        return now_ms // self.slow_every_ms > self.slow_done

    def due_ms(self) -> int:
        """Return when this device is to be polled next."""
        return max((self.done + 1) * self.every_ms, self.not_before_ms)


class Schedule:
    """The polls of one line."""

    def __init__(self, polls: list[ScheduledPoll]) -> None:
        self.polls = {poll.device: poll for poll in polls}

    def next(self, now_ms: int) -> ScheduledPoll | None:
        """Return the poll that is due: the healthy one that waits longest, else a failing one.

        None where no poll is due.
        """
        due = [poll for poll in self.polls.values() if poll.due_ms() <= now_ms]
        return min(due, key=_precedence, default=None)

    def wait_ms(self, now_ms: int) -> int:
        """Return how long no poll will be due, in milliseconds."""
        times = (poll.due_ms() for poll in self.polls.values())
        return max(0, min(times, default=now_ms + IDLE_MS) - now_ms)

    def answered(self, poll: ScheduledPoll, started_ms: int, *, slow: bool) -> dict[str, str]:
        """Note a reply to a poll.

        Return what must be remembered in the transaction that stores it.
        """
        poll.done = poll.slot(started_ms)
        poll.failures = 0
        poll.not_before_ms = 0
        if slow:
            poll.slow_done = started_ms // poll.slow_every_ms
        return {f"poll/{poll.device}": f"{poll.done} {poll.slow_done}"}

    def failed(self, poll: ScheduledPoll, now_ms: int) -> None:
        """Note that a device did not reply."""
        poll.failures += 1
        doublings = min(poll.failures - 1, _MOST_DOUBLINGS)
        pause_ms = min(FIRST_RETRY_MS * 2**doublings, SLOWEST_MS, poll.every_ms)
        poll.not_before_ms = now_ms + pause_ms

    @staticmethod
    def recall(poll: ScheduledPoll, remembered: str | None, now_ms: int) -> None:
        """Continue where the last run ended; slots that passed meanwhile are not polled any more.

        `remembered` is what `answered` returned, or None.
        """
        if remembered is not None:
            done, _, slow_done = remembered.partition(" ")
            poll.done = int(done)
            poll.slow_done = int(slow_done or -1)
        current = poll.slot(now_ms)
        poll.done = min(max(poll.done, current - 1), current)


def _precedence(poll: ScheduledPoll) -> tuple[bool, int, str]:
    return poll.failures > 0, poll.due_ms(), poll.device
