"""What a detector is: a record with a pure function, and the two things it can say.

`detect(frame, params)` sees numpy columns for one estate and one window; it has no clock, does no I/O and writes no
prose. What it says is a finding (a reasoned suspicion with a start, a score and evidence that a person can check) or
an abstention (it could not judge, and why).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analytics.frame import Frame

Params = dict[str, float]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """A stretch of days, both included, as column indices of the frame, that could not be judged."""

    unit: int
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A detector's record: what it is called, what it reads, its defaults, the clause that it serves and what to do."""

    key: str
    version: str
    inputs: tuple[str, ...]
    defaults: Params
    legal_basis: str
    runbook: str
    detect: Callable[[Frame, Params], tuple[list[Finding], list[Abstention]]]
