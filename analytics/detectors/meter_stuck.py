"""Meter stuck: its register does not move while the home lives by every other sign, so its silence
is no absence.

The opposite of an empty home, and told apart from it only by another family: power or people with a
water meter that stands still, water with an electricity meter that counts not even the fridge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics import presence
from analytics.detectors.contract import (
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
)
from analytics.episodes import find_episodes
from analytics.frame import UnitDayFrame, often
from analytics.parameters import DaysOfEvidence, KilowattHours
from analytics.presence import Presence, PresenceParams, read_presence

SCORE = 0.9
#: Litres a day up to which a register stands still: its last digit may tremble.
_STILL_L = 0.5
#: kWh a day up to which an electricity register stands still: not even a standby draws so little.
STILL_KWH = 0.02
#: Weight of a day on which the register moves.
_MOVES = -3.0
#: A still water register: weight of a day with power and without people, and of a day without
#: either. People tell more than power: a short holiday with the heating on looks lived in to a
#: meter.
_POWER_ONLY = 0.6
_NOBODY = -0.5
#: A still electricity register: weight of a day on which the tap was dry, too.
_DRY = -0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterStuckParams:
    """From when on a meter is stuck."""

    presence: PresenceParams = field(default_factory=PresenceParams)
    fire: DaysOfEvidence = 10.0
    """Days of life with a still register, days without life taken off, until it is sure."""
    drop: DaysOfEvidence = 3.0
    """Evidence against until it is over; one day on which the register moves is enough."""
    still_kwh: KilowattHours = STILL_KWH
    """kWh a day up to which the electricity register stands still."""


def detect(frame: UnitDayFrame, params: MeterStuckParams) -> Judgement:
    """Judge every unit by each of its meters; few stand still for so many days at all."""
    with np.errstate(invalid="ignore"):
        water_still = frame["water_l"] <= _STILL_L
        energy_still = frame["energy_kwh"] <= params.still_kwh
    days = read_presence(frame, params.presence)
    found: list[Finding] = []
    rows = often(water_still, params.fire)
    if len(rows):
        found += _judge_water(frame.of(rows), params, days.of(rows))
    rows = often(energy_still, params.fire)
    if len(rows):
        found += _judge_energy(frame.of(rows), params, days.of(rows))
    return Judgement(sorted(found, key=lambda f: (f.unit, f.since_ms)), [])


def _judge_water(frame: UnitDayFrame, params: MeterStuckParams, days: Presence) -> list[Finding]:
    with np.errstate(invalid="ignore"):
        people = (frame["residents_nights"] > 0) | (frame["strangers_nights"] > 0)
        known = frame["water_cover"] >= params.presence.min_cover
        still = frame["water_l"] <= _STILL_L
    life = np.where(people, 1.0, np.where(days.energy_lived, _POWER_ONLY, _NOBODY))
    evidence = np.where(known, np.where(still, life, _MOVES), 0.0)
    return _findings(frame, params, "water", evidence)


def _judge_energy(frame: UnitDayFrame, params: MeterStuckParams, days: Presence) -> list[Finding]:
    with np.errstate(invalid="ignore"):
        known = frame["energy_cover"] >= params.presence.min_cover
        still = frame["energy_kwh"] <= params.still_kwh
    life = np.where(days.water_used, 1.0, np.where(days.water_quiet, _DRY, 0.0))
    evidence = np.where(known, np.where(still, life, _MOVES), 0.0)
    return _findings(frame, params, "electricity", evidence)


def _findings(
    frame: UnitDayFrame, params: MeterStuckParams, supply: str, evidence: NDArray[np.float64]
) -> list[Finding]:
    least = params.presence.min_cover
    with np.errstate(invalid="ignore"):
        known = (frame["water_cover"] >= least) | (frame["energy_cover"] >= least)
    found = []
    for episode in find_episodes(evidence, fire=params.fire, drop=params.drop):
        stuck = Evidence(
            row=episode.row,
            start=episode.start,
            last=episode.last,
            score=SCORE,
            reasons=(f"{supply}_stuck",),
            numbers={
                "families": ["meter"],
                "supply": supply,
                "lived_days": int(episode.height),
            },
        )
        found.append(finding_over_days(frame, stuck, known=known))
    return found


DETECTOR = Detector(
    key="meter_stuck",
    version="1",
    family="data",
    inputs=presence.INPUTS | {"residents_nights", "strangers_nights"},
    params_type=MeterStuckParams,
    reasons=("water_stuck", "electricity_stuck"),
    legal_basis="长住建发〔2021〕120号 四（七）1（提高数据质量）；JJG 162、JJG 596",
    runbook="docs/runbooks/meter_stuck.md",
    detect=detect,
)
