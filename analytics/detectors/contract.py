"""What a detector is: a record with a pure function, and the two things it can return.

`detect(frame, params)` sees numpy columns for one estate and one window; it has no clock, does no
I/O and writes no prose. It returns findings (a reasoned suspicion with a start, a score and
evidence that a person can check) and abstentions (it could not judge, and why).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, UnitDayFrame
from analytics.parameters import P
from domain.calendar import DAY_MS

#: Days without data at the end of a frame after which a finding that lasts is frozen: neither
#: active nor over.
SILENT_DAYS = 3
#: A score says neither "impossible" nor "certain".
LEAST_SCORE = 0.01
GREATEST_SCORE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A reasoned suspicion about a unit.

    `since_ms` and `until_ms` (None while it lasts) are ms UTC. `frozen` says that the data ended
    before it did: it is neither going on nor over. `score` is how likely it is true (0 to 1),
    `reasons` are codes, and `evidence` holds the numbers behind them by name.
    """

    unit: int
    since_ms: int
    until_ms: int | None
    frozen: bool
    score: float
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    #: Between which instants (ms) it is thought to have begun: nine in ten lie within. None:
    #: exactly at `since_ms`.
    since_between: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """A stretch of days, both included, as columns of the frame, that could not be judged."""

    unit: int
    first: int
    last: int
    reason: str


class Judgement(NamedTuple):
    """What a detector returns of a frame."""

    findings: list[Finding]
    abstentions: list[Abstention]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector(Generic[P]):
    """A detector's record: what it is called, what it reads, its parameters, the clause that it
    serves and what to do.

    `params_type` is a class of parameters (see `analytics.parameters`); made without arguments it
    holds the defaults.
    """

    key: str
    version: str
    #: The columns of the frame that it reads; the nightly run loads these and no others.
    inputs: frozenset[str]
    family: Literal["compliance", "hazard", "data"]
    params_type: type[P]
    #: Every reason code that a finding may carry; each has its clause in `policy.toml`.
    reasons: tuple[str, ...]
    legal_basis: str
    runbook: str
    detect: Callable[[UnitDayFrame, P], Judgement]
    #: Every reason of an abstention; each has its remedy in `analytics.remedies`.
    abstention_reasons: tuple[str, ...] = ()
    #: It is shown the day that is not over, too, and runs by day.
    hourly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for a finding over a stretch of days: columns of the frame, both ends included.

    `last` is None while it lasts. `began_between` are the columns between which it is thought to
    have begun; None: at `start`. `numbers` are what a person can check, by name, as JSON values.
    """

    row: int
    start: int
    last: int | None
    score: float
    reasons: tuple[str, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)
    began_between: tuple[int, int] | None = None


def finding_over_days(
    frame: UnitDayFrame, evidence: Evidence, *, known: Mask | None = None
) -> Finding:
    """Return the finding that evidence leads to.

    `known`, of shape (units, days), says where there are data: a finding that lasts is frozen where
    there are none at the end. None: it does not rest on data and is never frozen.
    """
    start = evidence.start
    last = evidence.last
    has_recent_data = known is None or bool(known[evidence.row, -SILENT_DAYS:].any())
    end = frame.days - 1 if last is None else last
    low, high = evidence.began_between or (start, start)
    score = min(max(evidence.score, LEAST_SCORE), GREATEST_SCORE)
    period = {
        "days": end - start + 1,
        "from_day": frame.day(start).isoformat(),
        "to_day": frame.day(end).isoformat(),
    }
    return Finding(
        unit=int(frame.units[evidence.row]),
        since_ms=_day_start(frame, start),
        until_ms=None if last is None else _day_start(frame, last + 1),
        frozen=last is None and not has_recent_data,
        score=round(float(score), 3),
        reasons=evidence.reasons,
        evidence={**period, **evidence.numbers},
        since_between=(_day_start(frame, low), _day_start(frame, high + 1)),
    )


def days_around(frame: UnitDayFrame, day: int, within: int) -> tuple[int, int]:
    """Return the first and the last column that lie at most `within` days from a day, inside the
    frame.
    """
    return max(0, day - within), min(day + within, frame.days - 1)


def mean_of(values: NDArray[Any], digits: int) -> float | None:
    """Return the mean of the values that are known, rounded; None where none is."""
    known = values[~np.isnan(values)]
    return round(float(known.mean()), digits) if len(known) else None


def _day_start(frame: UnitDayFrame, day: int) -> int:
    """Return the instant (ms UTC) at which a day begins, also one before the frame."""
    if day >= 0:
        return int(frame.day_starts[day])
    return int(frame.day_starts[0] + day * DAY_MS)
