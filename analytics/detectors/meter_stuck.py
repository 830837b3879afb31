"""Meter stuck: its register does not move while the home lives by every other sign, so its silence is no absence.

The opposite of an empty home, and told apart from it only by another family: power or people with a water meter that stands
still, water with an electricity meter that counts not even the fridge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analytics import presence
from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import episodes
from analytics.frame import UnitDayFrame, often
from analytics.presence import Presence

DEFAULTS: Params = {**presence.DEFAULTS, "fire": 10.0, "drop": 3.0, "still_kwh": 0.02}
#: Litres a day up to which a register stands still: its last digit may tremble.
_STILL_L = 0.5


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit by each of its meters; few stand still for so many days at all."""
    with np.errstate(invalid="ignore"):
        water, energy = frame["water_l"] <= _STILL_L, frame["energy_kwh"] <= params["still_kwh"]
    p = presence.read(frame, params)
    found = []
    for still, judge in ((water, _water), (energy, _energy)):
        some = often(still, params["fire"])
        if len(some):
            found += judge(frame.of(some), params, p.of(some))
    return sorted(found, key=lambda f: (f.unit, f.since_ms)), []


def _water(frame: UnitDayFrame, params: Params, p: Presence) -> list[Finding]:
    with np.errstate(invalid="ignore"):
        people = (frame["residents_nights"] > 0) | (frame["strangers_nights"] > 0)
        known = frame["water_cover"] >= params["min_cover"]
        still = frame["water_l"] <= _STILL_L
    # People tell more than power: a short holiday with the heating on looks lived in to a meter.
    signs = np.where(people, 1.0, np.where(p.energy_lived, 0.6, -0.5))
    return _findings(frame, params, "water", np.where(known, np.where(still, signs, -3.0), 0.0))


def _energy(frame: UnitDayFrame, params: Params, p: Presence) -> list[Finding]:
    with np.errstate(invalid="ignore"):
        known = frame["energy_cover"] >= params["min_cover"]
        still = frame["energy_kwh"] <= params["still_kwh"]
    signs = np.where(p.water_used, 1.0, np.where(p.water_quiet, -0.2, 0.0))
    return _findings(
        frame, params, "electricity", np.where(known, np.where(still, signs, -3.0), 0.0)
    )


def _findings(
    frame: UnitDayFrame, params: Params, supply: str, evidence: NDArray[np.float64]
) -> list[Finding]:
    with np.errstate(invalid="ignore"):
        known = (frame["water_cover"] >= params["min_cover"]) | (
            frame["energy_cover"] >= params["min_cover"]
        )
    return [
        over_days(
            frame,
            e.unit,
            e.start,
            e.last,
            score=0.9,
            reasons=(f"{supply}_stuck",),
            evidence={"families": ["meter"], "supply": supply, "lived_days": int(e.height)},
            known=known,
        )
        for e in episodes(evidence, fire=params["fire"], drop=params["drop"])
    ]


DETECTOR = Detector(
    key="meter_stuck",
    version="1",
    family="data",
    inputs=("water_l", "energy_kwh", "residents_nights"),
    defaults=DEFAULTS,
    legal_basis="长住建发〔2021〕120号 四（七）1（提高数据质量）；JJG 162、JJG 596",
    runbook="docs/runbooks/meter_stuck.md",
    detect=detect,
)
