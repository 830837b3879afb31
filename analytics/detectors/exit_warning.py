"""Exit warning: what another office told contradicts the tenancy (江门 三: 保障家庭条件变化的退出预警机制).

The fact itself is somebody else's; what is added here is only whether the home is lived in, and by nobody who is registered.
"""

from __future__ import annotations

import numpy as np

from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.frame import UnitDayFrame

#: How surely each fact means that the tenancy has to be looked at.
DEFAULTS: Params = {
    "owns_home": 0.9,
    "income_over_limit": 0.9,
    "disqualified": 0.95,
    "lives_elsewhere": 0.7,
    "deceased": 0.8,
}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit of whose household something was told while it holds the tenancy."""
    found = []
    facts: dict[int, list[tuple[int, str]]] = {}
    for told in frame.told:
        if told.source == "outside" and told.kind in params and frame.let[told.unit, -1:].all():
            facts.setdefault(told.unit, []).append((told.day, told.kind))
    for u, kinds in sorted(facts.items()):
        start = min(day for day, _ in kinds)
        seen = frame["residents_seen"][u, -28:]
        doors = int((~np.isnan(seen)).sum())
        found.append(
            over_days(
                frame,
                u,
                start,
                None,
                score=max(params[kind] for _, kind in kinds),
                reasons=tuple(sorted({kind for _, kind in kinds})),
                evidence={
                    "families": ["outside"],
                    "days_seen": int(np.nansum(seen > 0)) if doors else None,
                    "doors": doors,
                },
                known=None,
            )
        )
    return found, []


DETECTOR = Detector(
    key="exit_warning",
    version="1",
    family="compliance",
    inputs=("residents_seen",),
    defaults=DEFAULTS,
    legal_basis="江门市公租房行动方案 三（退出预警机制）；公共租赁住房管理办法 第三十一条",
    runbook="docs/runbooks/exit_warning.md",
    detect=detect,
)
