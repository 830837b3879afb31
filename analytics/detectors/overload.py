"""Overload pattern: again and again the flat draws what its line hardly carries.

A pattern, never a fire alarm: that is the certified detector's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.detectors.contract import (
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
)
from analytics.episodes import Episode, find_episodes
from analytics.frame import UnitDayFrame, often
from analytics.parameters import DaysOfEvidence, Watts

SCORE = 0.5
#: Weight of a day whose power stays under the limit.
_BELOW = -0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadParams:
    """From when on power at the limit is a pattern."""

    limit_w: Watts = 6600.0
    """30 A at 220 V, the usual main switch of a small flat; a site sets its own."""
    fire: DaysOfEvidence = 3.0
    """Days at the limit, a fifth of the others taken off, until it is a pattern."""
    drop: DaysOfEvidence = 2.0
    """The same sum of other days until it is over: ten in a row."""


def detect(frame: UnitDayFrame, params: OverloadParams) -> Judgement:
    """Judge every unit by the greatest mean power of an interval in each day."""
    peak_w = frame["energy_peak_w"]
    with np.errstate(invalid="ignore"):
        over = peak_w >= params.limit_w
        rows = often(over, params.fire)
        below = peak_w[rows] < params.limit_w
    evidence = np.where(over[rows], 1.0, np.where(below, _BELOW, 0.0))
    episodes = find_episodes(evidence, fire=params.fire, drop=params.drop, rows=rows)
    return Judgement([_finding(frame, episode) for episode in episodes], [])


def _finding(frame: UnitDayFrame, episode: Episode) -> Finding:
    peak_w = frame["energy_peak_w"]
    greatest = float(np.nanmax(peak_w[episode.row, episode.span(frame.days)]))
    evidence = Evidence(
        row=episode.row,
        start=episode.start,
        last=episode.last,
        score=SCORE,
        reasons=("power_at_the_limit",),
        numbers={"families": ["electricity"], "peak_w": round(greatest)},
    )
    return finding_over_days(frame, evidence, known=~np.isnan(peak_w))


DETECTOR = Detector(
    key="overload",
    version="1",
    family="hazard",
    inputs=frozenset({"energy_peak_w"}),
    params_type=OverloadParams,
    reasons=("power_at_the_limit",),
    legal_basis="赣州市公租房管理 第十三条（电气线路巡查）",
    runbook="docs/runbooks/overload.md",
    detect=detect,
)
