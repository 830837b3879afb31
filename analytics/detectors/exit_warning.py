"""Exit warning: a fact reported by another office contradicts the tenancy (江门 三:
保障家庭条件变化的退出预警机制).

The fact itself is the other office's; added here is only on how many days a registered resident was
seen.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from analytics.detectors.contract import (
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
)
from analytics.frame import OutsideReport, UnitDayFrame
from analytics.parameters import Share, numbers_of

#: Days at the end of the frame over which residents' days are counted.
_RECENT_DAYS = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitWarningParams:
    """How surely each kind of fact means that the tenancy has to be reviewed."""

    owns_home: Share = 0.9
    """A member of the household owns another home."""
    income_over_limit: Share = 0.9
    """The household's income is over the programme's limit."""
    disqualified: Share = 0.95
    """The household no longer qualifies."""
    lives_elsewhere: Share = 0.7
    """The tenant is registered at another address."""
    deceased: Share = 0.8
    """The tenant has died; the household may be entitled to stay."""


def detect(frame: UnitDayFrame, params: ExitWarningParams) -> Judgement:
    """Judge every unit about whose household a fact was reported and that holds a tenancy on the
    last day.
    """
    score_of = numbers_of(params)
    reports: defaultdict[int, list[OutsideReport]] = defaultdict(list)
    for report in frame.reports:
        is_fact = report.source == "outside" and report.kind in score_of
        if is_fact and frame.let[report.unit, -1:].all():
            reports[report.unit].append(report)
    found = [_finding(frame, row, reports[row], score_of) for row in sorted(reports)]
    return Judgement(found, [])


def _finding(
    frame: UnitDayFrame, row: int, reports: list[OutsideReport], score_of: dict[str, float]
) -> Finding:
    seen = frame["residents_seen"][row, -_RECENT_DAYS:]
    days_with_door = int((~np.isnan(seen)).sum())
    evidence = Evidence(
        row=row,
        start=min(report.day for report in reports),
        last=None,
        score=max(score_of[report.kind] for report in reports),
        reasons=tuple(sorted({report.kind for report in reports})),
        numbers={
            "families": ["outside"],
            "days_seen": int(np.nansum(seen > 0)) if days_with_door else None,
            "doors": days_with_door,
        },
    )
    return finding_over_days(frame, evidence)


DETECTOR = Detector(
    key="exit_warning",
    version="1",
    family="compliance",
    inputs=frozenset({"residents_seen"}),
    params_type=ExitWarningParams,
    reasons=("owns_home", "income_over_limit", "disqualified", "lives_elsewhere", "deceased"),
    legal_basis="江门市公租房行动方案 三（退出预警机制）；公共租赁住房管理办法 第三十一条",
    runbook="docs/runbooks/exit_warning.md",
    detect=detect,
)
