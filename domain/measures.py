"""What a point can measure: unit of measure, kind, and the range that physics allows.

A *register* only grows and is differenced into intervals. A *gauge* is a value at an instant. A
point that is not in the table is stored all the same, since vendors have more points than we know;
but no analytics reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the values of a point are to be read."""

    REGISTER = "register"
    GAUGE = "gauge"


class Supply(StrEnum):
    """What a meter measures for a unit."""

    WATER = "water"
    ELECTRICITY = "electricity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measurable: its unit, its kind, and the range outside which a value cannot be true."""

    name: str
    uom: str
    kind: Kind
    low: float
    high: float


def _table(*rows: tuple[str, str, Kind, float, float]) -> dict[str, Measure]:
    return {
        name: Measure(name=name, uom=uom, kind=kind, low=low, high=high)
        for name, uom, kind, low, high in rows
    }


#: Eight whole digits is the widest register of the household meters in GB/T 17215.321 and CJ/T 188.
MEASURES: dict[str, Measure] = _table(
    ("energy_kwh", "kWh", Kind.REGISTER, 0.0, 1e8),
    ("water_m3", "m³", Kind.REGISTER, 0.0, 1e8),
    ("gas_m3", "m³", Kind.REGISTER, 0.0, 1e8),
    ("heat_kwh", "kWh", Kind.REGISTER, 0.0, 1e9),
    ("power_w", "W", Kind.GAUGE, -1e6, 1e6),
    ("voltage_v", "V", Kind.GAUGE, 0.0, 1000.0),
    ("current_a", "A", Kind.GAUGE, -2000.0, 2000.0),
    ("residual_ma", "mA", Kind.GAUGE, 0.0, 30_000.0),
    ("temperature_c", "°C", Kind.GAUGE, -60.0, 1000.0),
    ("pressure_kpa", "kPa", Kind.GAUGE, -100.0, 10_000.0),
    ("flow_m3_h", "m³/h", Kind.GAUGE, -100.0, 100.0),
    ("battery_v", "V", Kind.GAUGE, 0.0, 60.0),
    ("humidity_pct", "%", Kind.GAUGE, 0.0, 100.0),
    ("gas_lel_pct", "%LEL", Kind.GAUGE, 0.0, 100.0),
    ("battery_pct", "%", Kind.GAUGE, 0.0, 100.0),
    ("power_factor", "1", Kind.GAUGE, -1.0, 1.0),
    ("rssi_dbm", "dBm", Kind.GAUGE, -200.0, 20.0),
)

#: The register that tells how much of a supply a unit used.
REGISTER_OF: dict[Supply, str] = {Supply.WATER: "water_m3", Supply.ELECTRICITY: "energy_kwh"}
