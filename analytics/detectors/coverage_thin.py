"""Coverage thin: a device is fitted and sends too little to judge by; what cannot be seen must not
pass for normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.contract import (
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
)
from analytics.episodes import OUTSIDE, Episode, find_episodes
from analytics.frame import UnitDayFrame, often
from analytics.parameters import DaysOfEvidence, Share

SCORE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageThinParams:
    """From when on a meter is silent."""

    min_cover: Share = 0.5
    """Share of a day that readings must cover."""
    fire: DaysOfEvidence = 14.0
    """Days of thin cover, covered days taken off, until it is sure."""
    drop: DaysOfEvidence = 3.0
    """Covered days until it is over."""


def detect(frame: UnitDayFrame, params: CoverageThinParams) -> Judgement:
    """Judge every unit by each kind of meter that it has; an entrance's door is no unit's own."""
    found = []
    for supply in ("water", "energy"):
        cover = frame[f"{supply}_cover"]
        fitted = frame.fitted[supply]
        with np.errstate(invalid="ignore"):
            thin = fitted & ~(cover >= params.min_cover)
        rows = often(thin, params.fire)
        evidence = np.where(fitted[rows], np.where(thin[rows], 1.0, -1.0), OUTSIDE)
        for episode in find_episodes(evidence, fire=params.fire, drop=params.drop, rows=rows):
            found.append(_finding(frame, supply, cover, episode))
    return Judgement(sorted(found, key=lambda f: (f.unit, f.since_ms)), [])


def _finding(
    frame: UnitDayFrame, supply: str, cover: NDArray[np.float32], episode: Episode
) -> Finding:
    days = cover[episode.row, episode.span(frame.days)]
    evidence = Evidence(
        row=episode.row,
        start=episode.start,
        last=episode.last,
        score=SCORE,
        reasons=(f"{supply}_meter_silent",),
        numbers={
            "families": ["meter"],
            "supply": supply,
            "cover": round(float(np.nansum(days)) / len(days), 2),
        },
    )
    return finding_over_days(frame, evidence)


DETECTOR = Detector(
    key="coverage_thin",
    version="1",
    family="data",
    inputs=frozenset({"water_cover", "energy_cover"}),
    params_type=CoverageThinParams,
    reasons=("water_meter_silent", "energy_meter_silent"),
    legal_basis="长住建发〔2021〕120号 四（七）1（提高数据质量）",
    runbook="docs/runbooks/coverage_thin.md",
    detect=detect,
)
