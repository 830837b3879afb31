"""What a register's own course shows: it runs backwards, or it was changed for another that the
register of devices does not know.

Facts keep what intervals found (`analytics.intervals`): a register that fell and stayed there. Once
is another meter, or one that was set back; on several days within a fortnight it runs backwards
(pipes crossed, a solar panel, a magnet).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial

import numpy as np

from analytics.detectors.contract import Detector, Evidence, Judgement, finding_over_days
from analytics.frame import UnitDayFrame
from analytics.parameters import DayCount

REVERSED_SCORE = 0.9
SWAPPED_SCORE = 0.7
_LEGAL_BASIS = "长住建发〔2021〕120号 四（七）1（提高数据质量）"
_INPUTS = frozenset({"water_cover", "energy_cover"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFaultParams:
    """What tells a meter that runs backwards from one that was changed."""

    reversed_days: DayCount = 4
    """Days with a fall from which the meter runs backwards; fewer are a change of meter."""
    within_days: DayCount = 14
    """Days between two falls that belong together at most."""
    shown_days: DayCount = 60
    """Days for which a change of meter is reported: by then it is registered or forgotten."""


def detect(frame: UnitDayFrame, params: MeterFaultParams, *, backwards: bool) -> Judgement:
    """Judge every unit whose registers fell; `backwards` chooses which of the two faults is
    reported.
    """
    known = (frame["water_cover"] > 0) | (frame["energy_cover"] > 0)
    found = []
    for (row, supply), days in sorted(_falls(frame).items()):
        for group in _groups(sorted(days), params.within_days):
            if (len(group) >= params.reversed_days) is not backwards:
                continue
            if backwards:
                evidence = _runs_backwards(frame, params, row, supply, group)
            else:
                evidence = _was_changed(frame, params, row, supply, group)
            found.append(finding_over_days(frame, evidence, known=known))
    return Judgement(found, [])


def _falls(frame: UnitDayFrame) -> dict[tuple[int, str], set[int]]:
    """Return the days on which a register fell, by row and supply."""
    falls: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    for report in frame.reports:
        supply, _, fault = report.kind.partition("_")
        if report.source == "meter" and fault == "reset":
            falls[report.unit, supply].add(report.day)
    return falls


def _groups(days: list[int], within: int) -> list[list[int]]:
    """Divide sorted days where more than `within` lie between two."""
    cuts = np.flatnonzero(np.diff(days) > within) + 1
    return [part.tolist() for part in np.split(np.array(days), cuts)]


def _runs_backwards(
    frame: UnitDayFrame, params: MeterFaultParams, row: int, supply: str, group: list[int]
) -> Evidence:
    last = group[-1]
    may_go_on = last >= frame.days - params.within_days - 1
    return Evidence(
        row=row,
        start=group[0],
        last=None if may_go_on else last,
        score=REVERSED_SCORE,
        reasons=(f"{supply}_runs_backwards",),
        numbers=_numbers(supply, group),
    )


def _was_changed(
    frame: UnitDayFrame, params: MeterFaultParams, row: int, supply: str, group: list[int]
) -> Evidence:
    last = group[0] + params.shown_days
    return Evidence(
        row=row,
        start=group[0],
        last=None if last >= frame.days - 1 else last,
        score=SWAPPED_SCORE,
        reasons=(f"{supply}_register_fell",),
        numbers=_numbers(supply, group),
    )


def _numbers(supply: str, group: list[int]) -> dict[str, object]:
    return {"families": ["meter"], "supply": supply, "falls": len(group)}


REVERSED = Detector(
    key="meter_reversed",
    version="1",
    family="data",
    inputs=_INPUTS,
    params_type=MeterFaultParams,
    reasons=("water_runs_backwards", "energy_runs_backwards"),
    legal_basis=_LEGAL_BASIS,
    runbook="docs/runbooks/meter_reversed.md",
    detect=partial(detect, backwards=True),
)
SWAPPED = Detector(
    key="meter_swapped",
    version="1",
    family="data",
    inputs=_INPUTS,
    params_type=MeterFaultParams,
    reasons=("water_register_fell", "energy_register_fell"),
    legal_basis=_LEGAL_BASIS,
    runbook="docs/runbooks/meter_swapped.md",
    detect=partial(detect, backwards=False),
)
