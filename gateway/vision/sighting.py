"""What a camera's rules have to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A hazard, or a condition of the camera, that began or ended at `at_s` (stream seconds).

    `polygon` and `path` say where in the picture, in shares of its width and height. They are for
    the reviewer.
    """

    state: str
    at_s: float
    hazard: str | None = None
    condition: str | None = None
    detail: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    polygon: list[tuple[float, float]] = field(default_factory=list)
    path: list[tuple[float, float]] = field(default_factory=list)
