"""Periods of time that may still last, and which of them overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, Protocol, TypeVar

#: An instant or a local day; periods of both never meet.
Moment = TypeVar("Moment", date, datetime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period(Generic[Moment]):
    """A half-open period: `start` belongs to it, `end` does not. `end` is None while it lasts."""

    start: Moment
    end: Moment | None

    def overlaps(self, other: Period[Moment]) -> bool:
        """Tell whether two periods share a moment; periods that only touch do not."""
        starts_before_end = other.end is None or self.start < other.end
        ends_after_start = self.end is None or other.start < self.end
        return starts_before_end and ends_after_start


class HasPeriod(Protocol[Moment]):
    """Something that has a period, such as a finding or an alert."""

    @property
    def period(self) -> Period[Moment]:
        """When it began and ended."""


Candidate = TypeVar("Candidate", bound=HasPeriod[date] | HasPeriod[datetime])


def overlapping(period: Period[Moment], candidates: Iterable[Candidate]) -> list[Candidate]:
    """List the candidates whose period overlaps another one, in their order."""
    return [candidate for candidate in candidates if period.overlaps(candidate.period)]
