"""Meter stuck: its register does not move while the home lives by every other sign, so its silence is no absence.

The opposite of an empty home, and told apart from it only by another family: power or people with a water meter that stands
still, water with an electricity meter that counts not even the fridge.
"""

from __future__ import annotations

import numpy as np

from analytics import presence
from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import episodes
from analytics.frame import Frame

DEFAULTS: Params = {**presence.DEFAULTS, "fire": 10.0, "drop": 3.0, "still_kwh": 0.02}


def detect(frame: Frame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit by each of its meters."""
    p = presence.read(frame, params)
    with np.errstate(invalid="ignore"):
        people = (frame["residents_nights"] > 0) | (frame["strangers_nights"] > 0)
        watered = frame["water_cover"] >= params["min_cover"]
        powered = frame["energy_cover"] >= params["min_cover"]
        still_water = watered & (frame["water_l"] <= 0.5)
        still_energy = powered & (frame["energy_kwh"] <= params["still_kwh"])
    # People tell more than power: a short holiday with the heating on looks lived in to a meter.
    water = np.where(still_water & people, 1.0, np.where(still_water & p.energy_lived, 0.6, 0.0))
    water = np.where(watered & ~still_water, -3.0, water)
    water = np.where(still_water & ~p.energy_lived & ~people, -0.5, water)
    energy = np.where(still_energy & p.water_used, 1.0, np.where(powered & ~still_energy, -3.0, 0.0))
    energy = np.where(still_energy & p.water_quiet, -0.2, energy)
    found = []
    for supply, evidence in (("water", water), ("electricity", energy)):
        for e in episodes(evidence, fire=params["fire"], drop=params["drop"]):
            found.append(
                over_days(
                    frame, e.unit, e.start, e.last, score=0.9, reasons=(f"{supply}_stuck",),
                    evidence={"families": ["meter"], "supply": supply, "lived_days": int(e.height)},
                    known=watered | powered,
                )
            )  # fmt: skip
    return sorted(found, key=lambda f: (f.unit, f.since_ms)), []


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
