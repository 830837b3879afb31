"""What a detector is: a record with a pure function, and the two things it can say.

`detect(frame, params)` sees numpy columns for one estate and one window; it has no clock, does no I/O and writes no
prose. What it says is a finding (a reasoned suspicion with a start, a score and evidence that a person can check) or
an abstention (it could not judge, and why).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, UnitDayFrame
from domain.calendar import DAY_MS

Params = dict[str, float]
#: Days without a word at the end of a frame after which what lasted is frozen: neither going on nor over.
SILENT_DAYS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A reasoned suspicion about a unit.

    `since_ms` and `until_ms` (None while it lasts) are ms UTC. `frozen` says that the data ended before it did: it is
    neither going on nor over. `score` is how likely it is true (0 to 1), `reasons` are codes, and `evidence` holds
    the numbers behind them by name.
    """

    unit: int
    since_ms: int
    until_ms: int | None
    frozen: bool
    score: float
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    #: Between which instants (ms) it is thought to have begun: nine in ten lie within. None: exactly at `since_ms`.
    since_between: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """A stretch of days, both included, as column indices of the frame, that could not be judged."""

    unit: int
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A detector's record: what it is called, what it reads, its defaults, the clause that it serves and what to do.

    `family` is compliance, hazard or data (docs/design.md). One that is `hourly` is shown the day that is not over, too, and asked by day.
    """

    key: str
    version: str
    inputs: tuple[str, ...]
    family: str
    defaults: Params
    legal_basis: str
    runbook: str
    detect: Callable[[UnitDayFrame, Params], tuple[list[Finding], list[Abstention]]]
    hourly: bool = False


def over_days(
    frame: UnitDayFrame,
    u: int,
    start: int,
    last: int | None,
    *,
    score: float,
    reasons: tuple[str, ...],
    evidence: dict[str, Any],
    known: Mask | None,
    between: tuple[int, int] | None = None,
) -> Finding:
    """Make the finding about unit row `u` of the days from `start` to `last`, as columns; `last` None: it lasts.

    `between` are the columns between which it is thought to have begun. `known` (units, days) says where there are data;
    None: it is no matter of data.
    """
    told = known is None or bool(known[u, -SILENT_DAYS:].any())
    end = frame.days - 1 if last is None else last
    low, high = between or (start, start)
    return Finding(
        unit=int(frame.units[u]),
        since_ms=_at(frame, start),
        until_ms=None if last is None else _at(frame, last + 1),
        frozen=last is None and not told,
        score=round(float(min(max(score, 0.01), 0.99)), 3),
        reasons=reasons,
        evidence={
            "days": end - start + 1,
            "from_day": frame.day(start).isoformat(),
            "to_day": frame.day(end).isoformat(),
            **evidence,
        },
        since_between=(_at(frame, low), _at(frame, high + 1)),
    )


def mean_of(values: NDArray[Any], digits: int) -> float | None:
    """Return the mean of what is known for people to read; None where nothing is."""
    known = values[~np.isnan(values)]
    return round(float(known.mean()), digits) if len(known) else None


def _at(frame: UnitDayFrame, day: int) -> int:
    """Return the instant at which a day begins, also one before the frame."""
    return int(frame.day_starts[day]) if day >= 0 else int(frame.day_starts[0] + day * DAY_MS)
