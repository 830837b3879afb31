"""A camera's rules: a YAML file, read into types and checked as a whole.

    rules:
      - kind: lane
        hazard: fire_lane_blocked
        polygon: [[0.1, 0.9], [0.6, 0.9], [0.5, 0.3], [0.4, 0.3]]
        dwell_s: 120
      - kind: falling
        heights: [[0.95, 3], [0.60, 15], [0.15, 45]]
      - kind: clock
        box: [0.02, 0.02, 0.34, 0.06]
        format: "YYYY-MM-DD hh:mm:ss"

Places are shares of the picture's width and height, so that a rule outlives a change of resolution.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec

from domain.errors import UserError

MOST_BYTES = 64 * 1024
MOST_RULES = 8


class BadRules(UserError):
    """The file is wrong; the message names where and how to mend it."""


class _Rule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    pass


class LaneRule(_Rule, tag="lane"):
    """A fire lane or an exit that is to stay free.

    Something blocks it when it hides the ground for `dwell_s` and its foot takes `least_width` of
    the lane's width, measured along the picture's rows (take less where the lane runs across the
    picture).
    """

    polygon: list[tuple[float, float]]
    hazard: Literal["fire_lane_blocked", "exit_blocked"] = "fire_lane_blocked"
    dwell_s: float = 120.0
    gone_s: float = 10.0
    least_width: float = 0.1


class FallingRule(_Rule, tag="falling"):
    """A facade past which nothing should fall.

    `heights` are measured marks: (share of the picture's height, metres above ground).
    """

    heights: list[tuple[float, float]]
    polygon: list[tuple[float, float]] = []
    roof_m: float | None = None
    least_drop_m: float = 1.5
    most_size_m: float = 1.5

    @property
    def roof(self) -> float:
        """Height of the roof: as given, or the highest mark."""
        return self.roof_m or max(metres for _, metres in self.heights)


class ClockRule(_Rule, tag="clock"):
    """The clock that the camera burns into its picture: its box and its characters.

    The box is tight: left, top, width, height. Y M D h m s are digits of the date and time; any
    other character is passed over. Characters are of one width.
    """

    box: tuple[float, float, float, float]
    format: str = "YYYY-MM-DD hh:mm:ss"
    most_off_s: float = 60.0


Rule = LaneRule | FallingRule | ClockRule


class Rules(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """All rules of a camera. Whether it sees at all is always watched."""

    rules: list[Rule] = []


def load_rules(path: Path) -> Rules:
    """Read and check a file of rules; one rule may stand alone, without the list around it.

    Raises: BadRules.
    """
    import yaml

    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadRules(f"{path}: larger than {MOST_BYTES} bytes")
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRules(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadRules(f"{path}: not YAML: {str(error)[:200]}") from None
    return parse_rules(raw, str(path))


def parse_rules(raw: Any, where: str) -> Rules:
    """Check what a file holds.

    Raises: BadRules.
    """
    if isinstance(raw, dict) and "kind" in raw:
        raw = {"rules": [raw]}
    try:
        rules = msgspec.convert(raw, Rules)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadRules(f"{where}: {error}") from None
    if len(rules.rules) > MOST_RULES:
        raise BadRules(f"{where}: {len(rules.rules)} rules; a camera holds {MOST_RULES}")
    for number, rule in enumerate(rules.rules, 1):
        fault = _fault(rule)
        if fault:
            raise BadRules(f"{where}: rule {number}: {fault}")
    return rules


def _fault(rule: Rule) -> str | None:
    """Return what is wrong with a rule, or None."""
    if isinstance(rule, ClockRule):
        return _clock_fault(rule)
    if isinstance(rule, LaneRule):
        return _polygon_fault(rule.polygon) or _lane_fault(rule)
    polygon_fault = _polygon_fault(rule.polygon) if rule.polygon else None
    return polygon_fault or _falling_fault(rule)


def _clock_fault(rule: ClockRule) -> str | None:
    left, top, width, height = rule.box
    if not (0 <= left < 1 and 0 <= top < 1 and 0 < width <= 1 - left and 0 < height <= 1 - top):
        return "box: left, top, width and height are shares of the picture and lie within it"
    if not all(letters in rule.format for letters in ("hh", "mm", "ss")) or len(rule.format) > 40:
        return (
            "format: write the clock's characters, such as 'YYYY-MM-DD hh:mm:ss' (hh, mm "
            "and ss are needed; at most 40)"
        )
    return None


def _polygon_fault(corners: list[tuple[float, float]]) -> str | None:
    if not 3 <= len(corners) <= 40:
        return "polygon: 3 to 40 corners, each [x, y]"
    if any(not (0 <= x <= 1 and 0 <= y <= 1) for x, y in corners):
        return "polygon: corners are shares of the picture's width and height, 0 to 1"
    return None


def _lane_fault(rule: LaneRule) -> str | None:
    if (
        not 5 <= rule.dwell_s <= 86_400
        or not 1 <= rule.gone_s <= 3_600
        or not 0.01 <= rule.least_width <= 1
    ):
        return (
            "dwell_s lies between 5 and 86400, gone_s between 1 and 3600, least_width "
            "between 0.01 and 1"
        )
    if _area(rule.polygon) < 0.002:
        return (
            "polygon: its area is under 0.2 % of the picture; draw the lane larger, or "
            "move the camera nearer"
        )
    return None


def _falling_fault(rule: FallingRule) -> str | None:
    heights = sorted(rule.heights)
    if len(heights) < 2 or any(not 0 <= y <= 1 or not -50 <= h <= 700 for y, h in heights):
        return (
            "heights: two to ten marks [share of the picture's height from above, metres "
            "above ground]; three or more hold a tilted view"
        )
    if any(b[0] - a[0] < 0.02 or b[1] >= a[1] for a, b in pairwise(heights)):
        return "heights: the lower in the picture, the fewer metres, and marks stand apart"
    if not 0.5 <= rule.least_drop_m <= 100 or not 0.05 <= rule.most_size_m <= 10:
        return "least_drop_m lies between 0.5 and 100, most_size_m between 0.05 and 10"
    return None


def _area(corners: list[tuple[float, float]]) -> float:
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairs)) / 2
