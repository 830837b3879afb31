"""Evidence of people and other offices: tip-offs, and facts that say that the household lives
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.detectors.subletting.signs import Stretch
from analytics.frame import UnitDayFrame
from analytics.fusion import Weight
from analytics.parameters import LikelihoodRatio

_DOUBT = 0.7
#: A tip-off belongs to a stretch from so many days before it to so many after it.
_DAYS_BEFORE = 60
_DAYS_AFTER = 30
#: Facts of other offices that say that the household lives elsewhere.
_FACTS = frozenset({"owns_home", "lives_elsewhere"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWeights:
    """Limits of what is reported."""

    limit_tip: LikelihoodRatio = 12.0
    """A tip-off: neighbours err, and quarrel."""
    limit_fact: LikelihoodRatio = 5.0
    """Another office's fact: who owns another home may still live here."""


def weigh_reports(frame: UnitDayFrame, stretch: Stretch, weights: ReportWeights) -> list[Weight]:
    """Weigh the tip-offs about a stretch and facts about its household; each kind counts once."""
    reports = [report for report in frame.reports if report.unit == stretch.row]
    first_day = stretch.start - _DAYS_BEFORE
    stop_day = stretch.end + _DAYS_AFTER
    found = []
    if any(r.source == "tip_off" and first_day <= r.day < stop_day for r in reports):
        ratio = float(np.log(weights.limit_tip))
        found.append(Weight(family="tip_off", reason="tip_off", doubt=_DOUBT, ratio=ratio))
    if any(r.source == "outside" and r.kind in _FACTS for r in reports):
        ratio = float(np.log(weights.limit_fact))
        found.append(Weight(family="outside", reason="lives_elsewhere", doubt=_DOUBT, ratio=ratio))
    return found
