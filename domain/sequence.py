"""Numbered messages as runs: what has been seen of a gateway is a handful of ranges, not a set of numbers.

A gateway counts from 1 within a boot. What has come is nearly always one run; each number that is missing splits it. So the
size of what must be remembered is the number of gaps, however many messages there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: A run of numbers, from the first to before the second.
Run = tuple[int, int]

#: Numbers that are asked for at a time.
MOST = 500


def runs(numbers: Iterable[int]) -> list[Run]:
    """Fold numbers, in any order and however often, into disjoint ascending runs."""
    found: list[Run] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def upto(seen: Sequence[Run]) -> int:
    """Return the highest number up to which nothing is missing; 0 where the first is."""
    return seen[0][1] - 1 if seen and seen[0][0] == 1 else 0


def holds(seen: Sequence[Run], number: int) -> bool:
    """Tell whether a number has been seen."""
    return any(low <= number < high for low, high in seen)


def first_of(found: Sequence[Run], limit: int = MOST) -> list[int]:
    """List the lowest numbers of some runs."""
    numbers: list[int] = []
    for low, high in found:
        numbers.extend(range(low, min(high, low + limit - len(numbers))))
        if len(numbers) >= limit:
            break
    return numbers
