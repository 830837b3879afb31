"""Unlet too long: a flat that came back and has not been let again within a year (赣建字〔2019〕4号
五（一）: 一年内再分配).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.detectors.contract import (
    Abstention,
    Detector,
    Evidence,
    Judgement,
    finding_over_days,
)
from analytics.frame import UnitDayFrame
from analytics.parameters import DayCount

SCORE = 0.99
#: Days before the limit from which an unknown past is reported as an abstention, so that there is
#: time to register it.
_NOTICE_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class UnletTooLongParams:
    """From when on a flat has been unlet for too long."""

    warn_days: DayCount = 365
    """Days without a tenancy: a returned flat is to be let again within a year."""


def detect(frame: UnitDayFrame, params: UnletTooLongParams) -> Judgement:
    """Judge every unit that is not let on the last day.

    Where the register knows no tenancy at all, the days count from the frame's first.
    """
    judgement = Judgement([], [])
    if not frame.days:
        return judgement
    last = frame.days - 1
    never_let = ~np.any(frame.let, axis=1)
    for row in np.flatnonzero(~frame.let[:, last]).tolist():
        ended = float(frame.ended[row, last])
        end_is_known = not np.isnan(ended)
        if not end_is_known and not never_let[row]:
            continue
        start = int(ended) + 1 if end_is_known else 0
        days = last - start + 1
        if days >= params.warn_days:
            evidence = Evidence(
                row=row,
                start=start,
                last=None,
                score=SCORE,
                reasons=("not_let_again" if end_is_known else "never_let",),
                numbers={"families": ["register"]},
            )
            judgement.findings.append(finding_over_days(frame, evidence))
        elif not end_is_known and days >= params.warn_days - _NOTICE_DAYS:
            unit = int(frame.units[row])
            judgement.abstentions.append(
                Abstention(unit=unit, first=0, last=last, reason="no_tenancy_known")
            )
    return judgement


DETECTOR = Detector(
    key="unlet_too_long",
    version="1",
    family="compliance",
    inputs=frozenset(),
    params_type=UnletTooLongParams,
    reasons=("not_let_again", "never_let"),
    abstention_reasons=("no_tenancy_known",),
    legal_basis="赣建字〔2019〕4号 五（一）（腾退房源一年内再分配）",
    runbook="docs/runbooks/unlet_too_long.md",
    detect=detect,
)
