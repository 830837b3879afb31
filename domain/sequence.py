"""Numbered messages as runs: what has come from a gateway is a few ranges, not a set of numbers.

A gateway counts from 1 within a boot. What has come is nearly always one run; each number that is
missing splits it. So the size of what must be remembered is the number of gaps, however many
messages there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: A run of numbers: its first, and the one behind its last.
Run = tuple[int, int]

#: Numbers that are asked for at a time.
MAX_REQUESTED = 500


def runs(numbers: Iterable[int]) -> list[Run]:
    """Fold numbers, in any order and however often, into disjoint ascending runs."""
    folded: list[Run] = []
    for number in sorted(set(numbers)):
        if folded and folded[-1][1] == number:
            folded[-1] = (folded[-1][0], number + 1)
        else:
            folded.append((number, number + 1))
    return folded


def upto(seen: Sequence[Run]) -> int:
    """Return the highest number up to which nothing is missing; 0 where 1 is missing."""
    if seen and seen[0][0] == 1:
        return seen[0][1] - 1
    return 0


def holds(seen: Sequence[Run], number: int) -> bool:
    """Whether a number lies in one of the runs."""
    return any(low <= number < high for low, high in seen)


def first_of(seen: Sequence[Run], limit: int = MAX_REQUESTED) -> list[int]:
    """List the lowest numbers of some runs, at most `limit`."""
    numbers: list[int] = []
    for low, high in seen:
        remaining = limit - len(numbers)
        numbers.extend(range(low, min(high, low + remaining)))
        if len(numbers) >= limit:
            break
    return numbers
