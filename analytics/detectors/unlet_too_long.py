"""Unlet too long: a flat that came back and has not been let again within a year (赣建字〔2019〕4号 五（一）: 一年内再分配)."""

from __future__ import annotations

import numpy as np

from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.frame import Mask, UnitDayFrame

DEFAULTS: Params = {"warn_days": 365}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit that is not let on the last day; of one whose last tenancy nobody knows it counts from the frame's first day."""
    if not frame.days:
        return [], []
    last = frame.days - 1
    empty: Mask = ~frame.let[:, last]
    ended = frame.ended[:, last]
    never: Mask = ~np.any(frame.let, axis=1)
    since = np.where(np.isnan(ended), 0.0, ended + 1)
    found, unknown = [], []
    for u in np.flatnonzero(empty).tolist():
        if np.isnan(ended[u]) and not never[u]:
            continue
        start, days = int(since[u]), last - int(since[u]) + 1
        if days >= params["warn_days"]:
            reason = "not_let_again" if not np.isnan(ended[u]) else "never_let"
            found.append(
                over_days(
                    frame,
                    u,
                    start,
                    None,
                    score=0.99,
                    reasons=(reason,),
                    evidence={"families": ["register"]},
                    known=None,
                )
            )
        elif np.isnan(ended[u]) and days >= params["warn_days"] - 30:
            unknown.append(
                Abstention(unit=int(frame.units[u]), first=0, last=last, reason="no_tenancy_known")
            )
    return found, unknown


DETECTOR = Detector(
    key="unlet_too_long",
    version="1",
    family="compliance",
    inputs=(),
    defaults=DEFAULTS,
    legal_basis="赣建字〔2019〕4号 五（一）（腾退房源一年内再分配）",
    runbook="docs/runbooks/unlet_too_long.md",
    detect=detect,
)
