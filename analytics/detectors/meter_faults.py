"""What a register's own course shows: it runs backwards, or it was changed for another without a word in the register.

Facts keep what intervals found (`analytics.intervals`): a register that fell and stayed there. Once is another meter, or one that
was set back; on several days within a fortnight it runs backwards (pipes crossed, a solar panel, a magnet).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.frame import UnitDayFrame

DEFAULTS: Params = {"reversed_days": 4, "within_days": 14, "shown_days": 60}


def detect(
    frame: UnitDayFrame, params: Params, *, reversed_: bool
) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit whose registers fell; `reversed_` chooses which of the two is reported."""
    falls: dict[tuple[int, str], set[int]] = {}
    for told in frame.told:
        supply, _, word = told.kind.partition("_")
        if told.source == "meter" and word == "reset":
            falls.setdefault((told.unit, supply), set()).add(told.day)
    found = []
    known = (frame["water_cover"] > 0) | (frame["energy_cover"] > 0)
    for (u, supply), days in sorted(falls.items()):
        for group in _groups(sorted(days), int(params["within_days"])):
            backwards = len(group) >= params["reversed_days"]
            if backwards is not reversed_:
                continue
            last = group[-1] if reversed_ else group[0] + int(params["shown_days"])
            found.append(
                over_days(
                    frame,
                    u,
                    group[0],
                    None if last >= frame.days - params["within_days"] * reversed_ - 1 else last,
                    score=0.9 if reversed_ else 0.7,
                    reasons=(
                        f"{supply}_runs_backwards" if reversed_ else f"{supply}_register_fell",
                    ),
                    evidence={"families": ["meter"], "supply": supply, "falls": len(group)},
                    known=known,
                )
            )
    return found, []


def _groups(days: list[int], within: int) -> list[list[int]]:
    """Divide sorted days where more than `within` lie between two."""
    cuts = np.flatnonzero(np.diff(days) > within) + 1
    return [part.tolist() for part in np.split(np.array(days), cuts)]


_BASIS = "长住建发〔2021〕120号 四（七）1（提高数据质量）"
REVERSED = Detector(
    key="meter_reversed",
    version="1",
    family="data",
    inputs=("faults",),
    defaults=DEFAULTS,
    legal_basis=_BASIS,
    runbook="docs/runbooks/meter_reversed.md",
    detect=partial(detect, reversed_=True),
)
SWAPPED = Detector(
    key="meter_swapped",
    version="1",
    family="data",
    inputs=("faults",),
    defaults=DEFAULTS,
    legal_basis=_BASIS,
    runbook="docs/runbooks/meter_swapped.md",
    detect=partial(detect, reversed_=False),
)
