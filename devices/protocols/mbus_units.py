"""What an M-Bus record measures: the value information field of EN 13757-3 (tables 10 to 15) as
quantity, uom, power of ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class MbusUnit:
    """A quantity in a uom.

    A value is in steps of 10^power, times `factor` (seconds in a day, say).
    """

    quantity: str
    uom: str
    power: int = 0
    factor: float = 1.0
    is_time: bool = False
    is_text: bool = False


class _Range(NamedTuple):
    """Codes in a row for one quantity, each with ten times the step of the one before.

    `power` is the first one's.
    """

    first: int
    length: int
    quantity: str
    uom: str
    power: int


class _Step(NamedTuple):
    """What one of four codes in a row counts in."""

    factor: float
    uom: str


#: VIFs that say where the quantity is: in the first or second extension table, or in plain text.
_FIRST_EXTENSION = 0xFD
_SECOND_EXTENSION = 0xFB
_PLAIN_TEXT = 0x7C

#: Primary VIFs (table 10).
_PRIMARY_RANGES = (
    _Range(0x00, 8, "energy", "Wh", -3),
    _Range(0x08, 8, "energy", "J", 0),
    _Range(0x10, 8, "volume", "m³", -6),
    _Range(0x18, 8, "mass", "kg", -3),
    _Range(0x28, 8, "power", "W", -3),
    _Range(0x30, 8, "power", "J/h", 0),
    _Range(0x38, 8, "volume_flow", "m³/h", -6),
    _Range(0x40, 8, "volume_flow", "m³/min", -7),
    _Range(0x48, 8, "volume_flow", "m³/s", -9),
    _Range(0x50, 8, "mass_flow", "kg/h", -3),
    _Range(0x58, 4, "flow_temperature", "°C", -3),
    _Range(0x5C, 4, "return_temperature", "°C", -3),
    _Range(0x60, 4, "temperature_difference", "K", -3),
    _Range(0x64, 4, "external_temperature", "°C", -3),
    _Range(0x68, 4, "pressure", "bar", -3),
)
#: Four codes in a row each: seconds, minutes, hours, days.
_PRIMARY_DURATIONS = {
    0x20: "on_time",
    0x24: "operating_time",
    0x70: "averaging_duration",
    0x74: "actuality_duration",
}
_PRIMARY_UNITS = {
    0x6C: MbusUnit(quantity="date", uom="", is_time=True),
    0x6D: MbusUnit(quantity="datetime", uom="", is_time=True),
    0x6E: MbusUnit(quantity="heat_cost_allocation", uom=""),
    0x78: MbusUnit(quantity="fabrication_number", uom="", is_text=True),
    0x79: MbusUnit(quantity="identification", uom="", is_text=True),
    0x7A: MbusUnit(quantity="address", uom=""),
    0x7F: MbusUnit(quantity="manufacturer", uom=""),
}
_SHORT_STEPS = (_Step(1.0, "s"), _Step(60.0, "s"), _Step(3600.0, "s"), _Step(86_400.0, "s"))

#: First extension table (after FDH, table 12).
_FIRST_RANGES = (
    _Range(0x00, 4, "credit", "", -3),
    _Range(0x04, 4, "debit", "", -3),
    _Range(0x40, 16, "voltage", "V", -9),
    _Range(0x50, 16, "current", "A", -12),
)
#: Four codes in a row each: seconds, minutes, hours, days.
_FIRST_SHORT_DURATIONS = {
    0x24: "storage_interval",
    0x30: "tariff_duration",
    0x34: "tariff_period",
    0x68: "since_cumulation",
}
#: Four codes in a row each: hours, days, months, years.
_FIRST_LONG_DURATIONS = {0x2C: "since_readout", 0x6C: "battery_time"}
_LONG_STEPS = (_Step(3600.0, "s"), _Step(86_400.0, "s"), _Step(1.0, "months"), _Step(1.0, "years"))
#: Quantities without a uom.
_FIRST_QUANTITIES = {
    0x08: "access_number",
    0x09: "medium",
    0x0A: "maker",
    0x0B: "parameter_set",
    0x0C: "model",
    0x0D: "hardware_version",
    0x0E: "firmware_version",
    0x0F: "software_version",
    0x10: "customer_location",
    0x11: "customer",
    0x17: "error_flags",
    0x12: "access_code_user",
    0x13: "access_code_operator",
    0x14: "access_code_system",
    0x15: "access_code_developer",
    0x16: "password",
    0x18: "error_mask",
    0x1A: "digital_output",
    0x1B: "digital_input",
    0x1C: "baud_rate",
    0x1D: "response_delay",
    0x1E: "retry",
    0x20: "first_storage",
    0x21: "last_storage",
    0x22: "storage_size",
    0x28: "storage_interval_months",
    0x29: "storage_interval_years",
    0x3A: "dimensionless",
    0x3B: "window",
    0x60: "reset_counter",
    0x61: "cumulation_counter",
    0x62: "control_signal",
    0x63: "day_of_week",
    0x64: "week",
    0x65: "day_change_time",
    0x66: "parameter_state",
    0x67: "supplier_information",
}
_FIRST_TEXTS = frozenset((0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11))
_BATTERY_CHANGED = MbusUnit(quantity="battery_changed", uom="", is_time=True)

#: Second extension table (after FBH, table 14).
_SECOND_RANGES = (
    _Range(0x00, 2, "energy", "Wh", 5),
    _Range(0x08, 2, "energy", "J", 8),
    _Range(0x10, 2, "volume", "m³", 2),
    _Range(0x18, 2, "mass", "kg", 5),
    _Range(0x1A, 2, "humidity", "%", -1),
    _Range(0x28, 2, "power", "W", 5),
    _Range(0x30, 2, "power", "J/h", 8),
    _Range(0x58, 4, "flow_temperature", "°F", -3),
    _Range(0x5C, 4, "return_temperature", "°F", -3),
    _Range(0x60, 4, "temperature_difference", "°F", -3),
    _Range(0x64, 4, "external_temperature", "°F", -3),
    _Range(0x70, 4, "temperature_limit", "°F", -3),
    _Range(0x74, 4, "temperature_limit", "°C", -3),
    _Range(0x78, 8, "power_count", "W", -3),
)


def _expand_ranges(ranges: Iterable[_Range]) -> dict[int, MbusUnit]:
    """Return the unit of every code of some ranges."""
    return {
        row.first + step: MbusUnit(quantity=row.quantity, uom=row.uom, power=row.power + step)
        for row in ranges
        for step in range(row.length)
    }


def _expand_durations(durations: Mapping[int, str], steps: Sequence[_Step]) -> dict[int, MbusUnit]:
    """Return the unit of every code of some durations."""
    return {
        first + index: MbusUnit(quantity=quantity, uom=step.uom, factor=step.factor)
        for first, quantity in durations.items()
        for index, step in enumerate(steps)
    }


def _expand_quantities(quantities: Mapping[int, str]) -> dict[int, MbusUnit]:
    return {
        code: MbusUnit(quantity=quantity, uom="", is_text=code in _FIRST_TEXTS)
        for code, quantity in quantities.items()
    }


_PRIMARY = {
    **_expand_ranges(_PRIMARY_RANGES),
    **_expand_durations(_PRIMARY_DURATIONS, _SHORT_STEPS),
    **_PRIMARY_UNITS,
}
_FIRST = {
    **_expand_durations(_FIRST_LONG_DURATIONS, _LONG_STEPS),
    **_expand_durations(_FIRST_SHORT_DURATIONS, _SHORT_STEPS),
    **_expand_quantities(_FIRST_QUANTITIES),
    **_expand_ranges(_FIRST_RANGES),
    0x70: _BATTERY_CHANGED,
}
_SECOND = _expand_ranges(_SECOND_RANGES)


def decode_vif(vifs: bytes, unit_text: str) -> MbusUnit | None:
    """Return the unit that a VIF with its extensions names; None for what the tables do not hold.

    `unit_text` is the unit in plain text of VIF 7CH. Orthogonal VIFEs that correct by a power of
    ten are applied.
    """
    table = vifs[0]
    code = table & 0x7F
    extensions = vifs[1:]
    unit: MbusUnit | None
    if table == _FIRST_EXTENSION and extensions:
        unit = _FIRST.get(extensions[0] & 0x7F)
        extensions = extensions[1:]
    elif table == _SECOND_EXTENSION and extensions:
        unit = _SECOND.get(extensions[0] & 0x7F)
        extensions = extensions[1:]
    elif code == _PLAIN_TEXT:
        unit = MbusUnit(quantity=unit_text, uom=unit_text)
    else:
        unit = _PRIMARY.get(code)
    if unit is None or not extensions:
        return unit
    return _correct_power(unit, extensions)


def _correct_power(unit: MbusUnit, vifes: bytes) -> MbusUnit:
    """Apply the orthogonal VIFEs that change a value: 70H–77H multiply by 10^(n−6), 7DH by 10³
    (table 15).
    """
    power = unit.power
    for vife in vifes:
        code = vife & 0x7F
        if 0x70 <= code <= 0x77:
            power += code - 0x70 - 6
        elif code == 0x7D:
            power += 3
        elif code == 0x7F:
            # What follows is the maker's own.
            break
    return replace(unit, power=power)
