"""Periods of time that may still last, and which of them overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A half-open period: `start` belongs to it, `end` does not; None: it lasts.

    Both ends are local days, or both are instants (a `datetime` is a `date`). Only periods of the
    same sort can be compared.
    """

    start: date
    end: date | None

    def overlaps(self, other: Period) -> bool:
        """Tell whether two periods share a moment; periods that only touch do not."""
        starts_before_end = other.end is None or self.start < other.end
        ends_after_start = self.end is None or other.start < self.end
        return starts_before_end and ends_after_start


class HasPeriod(Protocol):
    """Something that has a period, such as a finding or an alert."""

    @property
    def period(self) -> Period:
        """When it began and ended."""


Candidate = TypeVar("Candidate", bound=HasPeriod)


def overlapping(period: Period, candidates: Iterable[Candidate]) -> list[Candidate]:
    """List the candidates whose period overlaps another one, in their order."""
    return [candidate for candidate in candidates if period.overlaps(candidate.period)]
