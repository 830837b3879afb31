"""What profiles say of registers, and the facts of one supply from the readings of its meters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.facts.intervals import RegisterLimits, to_intervals
from analytics.facts.supply_days import TRICKLE_L, Samples, SeriesRules, SupplyDays, share_over_days
from domain.measures import Supply

#: A meter counts as observed while no interval is longer than so many of its usual ones.
OBSERVED_INTERVALS = 2.5
#: Litres in a cubic metre.
LITRES = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBounds:
    """What a profile says of a register."""

    max_rate: float
    """The most that it grows in an hour, in its uom."""
    resolution: float
    """Its smallest step, in its uom."""
    rollover: float | None
    """Where it begins again at zero, in its uom; None: never."""
    expected_interval_s: int
    """Seconds between two readings."""


#: The bounds of registers by profile and point name.
MeterBoundsTable = Mapping[tuple[str, str], MeterBounds]

#: Bounds of a register whose profile is unknown: a DN20 water meter, a 100 A single-phase meter.
DEFAULT_BOUNDS = {
    Supply.WATER: MeterBounds(
        max_rate=5.0, resolution=0.001, rollover=None, expected_interval_s=3600
    ),
    Supply.ELECTRICITY: MeterBounds(
        max_rate=26.4, resolution=0.01, rollover=None, expected_interval_s=3600
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSeries:
    """The readings of one register while it was mounted at a unit, sorted by time."""

    unit_row: int
    """The row of its unit in arrays of shape (units, days)."""
    at: NDArray[np.float64]
    """Instants, ms UTC, of shape (readings,)."""
    value: NDArray[np.float64]
    """The register in its uom, of shape (readings,)."""
    bounds: MeterBounds


def registers_to_days(
    supply: Supply,
    registers: Sequence[RegisterSeries],
    units: int,
    day_starts: NDArray[np.float64],
) -> SupplyDays:
    """Turn the registers of one supply into facts of shape (units, days).

    `day_starts`, of shape (days + 1,), are ms UTC.
    """
    at = _joined([register.at for register in registers])
    value = _joined([register.value for register in registers])
    lengths = [len(register.at) for register in registers]
    series = np.repeat(np.arange(len(registers), dtype=np.int64), lengths)
    unit_of_series = np.array([register.unit_row for register in registers], dtype=np.int64)
    bounds = [register.bounds for register in registers]
    limits = RegisterLimits(
        max_rate=np.array([bound.max_rate for bound in bounds]),
        resolution=np.array([bound.resolution for bound in bounds]),
        rollover=np.array([bound.rollover or np.inf for bound in bounds]),
    )
    expected_ms = np.array([bound.expected_interval_s * 1000.0 for bound in bounds])
    rules = SeriesRules(
        unit=unit_of_series,
        trickle=_trickle_limits(supply, limits),
        observed_ms=OBSERVED_INTERVALS * expected_ms,
    )
    samples = Samples(unit=unit_of_series[series], at=at)
    intervals = to_intervals(series, at, value, limits)
    return share_over_days(intervals, rules, samples, units, day_starts)


def _trickle_limits(supply: Supply, limits: RegisterLimits) -> NDArray[np.float64]:
    """Return per series the most within one interval, in its uom, that is no one's use."""
    if supply is Supply.WATER:
        return np.maximum(limits.resolution, TRICKLE_L / LITRES)
    return np.zeros(len(limits.resolution))


def _joined(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(arrays) if arrays else np.empty(0)
