"""What an M-Bus record measures: the value information field of EN 13757-3 (tables 10 to 13) as quantity, uom, power of ten."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MbusUnit:
    """A quantity in a uom; the value stands in steps of 10^power, times `factor` (seconds in a day, say)."""

    quantity: str
    uom: str
    power: int = 0
    factor: float = 1.0
    is_time: bool = False
    is_text: bool = False


#: Primary VIFs without their low bits: first code, how many, quantity, uom, power of the first.
_RANGES = (
    (0x00, 8, "energy", "Wh", -3),
    (0x08, 8, "energy", "J", 0),
    (0x10, 8, "volume", "m³", -6),
    (0x18, 8, "mass", "kg", -3),
    (0x28, 8, "power", "W", -3),
    (0x30, 8, "power", "J/h", 0),
    (0x38, 8, "volume_flow", "m³/h", -6),
    (0x40, 8, "volume_flow", "m³/min", -7),
    (0x48, 8, "volume_flow", "m³/s", -9),
    (0x50, 8, "mass_flow", "kg/h", -3),
    (0x58, 4, "flow_temperature", "°C", -3),
    (0x5C, 4, "return_temperature", "°C", -3),
    (0x60, 4, "temperature_difference", "K", -3),
    (0x64, 4, "external_temperature", "°C", -3),
    (0x68, 4, "pressure", "bar", -3),
)
#: Durations: the low two bits choose seconds, minutes, hours, days.
_DURATIONS = {
    0x20: "on_time",
    0x24: "operating_time",
    0x70: "averaging_duration",
    0x74: "actuality_duration",
}
_SECONDS = (1.0, 60.0, 3600.0, 86_400.0)
#: First extension table (after FDH, table 12): first code, how many, quantity, uom, power of the first.
_FD_RANGES = (
    (0x00, 4, "credit", "", -3),
    (0x04, 4, "debit", "", -3),
    (0x40, 16, "voltage", "V", -9),
    (0x50, 16, "current", "A", -12),
)
#: Spans of time there: the low two bits choose seconds, minutes, hours, days; in the second table hours, days, months, years.
_FD_SPANS = {
    0x24: "storage_interval",
    0x30: "tariff_duration",
    0x34: "tariff_period",
    0x68: "since_cumulation",
}
_FD_LONG = {0x2C: "since_readout", 0x6C: "battery_time"}
_LONG = ((3600.0, "s"), (86_400.0, "s"), (1.0, "months"), (1.0, "years"))
_FD = {
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
_FD_TEXT = frozenset((0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11))
#: Second extension table (after FBH, table 14).
_FB_RANGES = (
    (0x00, 2, "energy", "Wh", 5),
    (0x08, 2, "energy", "J", 8),
    (0x10, 2, "volume", "m³", 2),
    (0x18, 2, "mass", "kg", 5),
    (0x1A, 2, "humidity", "%", -1),
    (0x28, 2, "power", "W", 5),
    (0x30, 2, "power", "J/h", 8),
    (0x58, 4, "flow_temperature", "°F", -3),
    (0x5C, 4, "return_temperature", "°F", -3),
    (0x60, 4, "temperature_difference", "°F", -3),
    (0x64, 4, "external_temperature", "°F", -3),
    (0x70, 4, "temperature_limit", "°F", -3),
    (0x74, 4, "temperature_limit", "°C", -3),
    (0x78, 8, "power_count", "W", -3),
)


def unit_of(vifs: bytes, custom: str) -> MbusUnit | None:
    """Read a VIF with its extensions; None for what the tables do not hold.

    `custom` is the unit in plain text of VIF 7CH. Orthogonal VIFEs that correct by a power of ten are applied.
    """
    code = vifs[0] & 0x7F
    rest = vifs[1:]
    if vifs[0] in (0xFD, 0xFB) and rest:
        unit = _extended(vifs[0], rest[0] & 0x7F)
        rest = rest[1:]
    elif code == 0x7C:
        unit = MbusUnit(quantity=custom, uom=custom)
    else:
        unit = _primary(code)
    return unit if unit is None else _corrected(unit, rest)


def _primary(code: int) -> MbusUnit | None:
    for first, count, quantity, uom, power in _RANGES:
        if first <= code < first + count:
            return MbusUnit(quantity=quantity, uom=uom, power=power + code - first)
    if code & 0x7C in _DURATIONS:
        return MbusUnit(quantity=_DURATIONS[code & 0x7C], uom="s", factor=_SECONDS[code & 3])
    if code == 0x6C:
        return MbusUnit(quantity="date", uom="", is_time=True)
    if code == 0x6D:
        return MbusUnit(quantity="datetime", uom="", is_time=True)
    if code == 0x6E:
        return MbusUnit(quantity="heat_cost_allocation", uom="")
    if code in (0x78, 0x79, 0x7A):
        return MbusUnit(
            quantity=("fabrication_number", "identification", "address")[code - 0x78],
            uom="",
            is_text=code != 0x7A,
        )
    return MbusUnit(quantity="manufacturer", uom="") if code == 0x7F else None


def _extended(table: int, code: int) -> MbusUnit | None:
    for first, count, quantity, uom, power in _FD_RANGES if table == 0xFD else _FB_RANGES:
        if first <= code < first + count:
            return MbusUnit(quantity=quantity, uom=uom, power=power + code - first)
    if table == 0xFB:
        return None
    if code in _FD:
        return MbusUnit(quantity=_FD[code], uom="", is_text=code in _FD_TEXT)
    if code & 0x7C in _FD_SPANS:
        return MbusUnit(quantity=_FD_SPANS[code & 0x7C], uom="s", factor=_SECONDS[code & 3])
    if code & 0x7C in _FD_LONG:
        factor, uom = _LONG[code & 3]
        return MbusUnit(quantity=_FD_LONG[code & 0x7C], uom=uom, factor=factor)
    return MbusUnit(quantity="battery_changed", uom="", is_time=True) if code == 0x70 else None


def _corrected(unit: MbusUnit, vifes: bytes) -> MbusUnit:
    """Apply the orthogonal VIFEs that change a value: 70H–77H multiply by 10^(n−6), 7DH by 10³ (table 15)."""
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
    return MbusUnit(
        quantity=unit.quantity,
        uom=unit.uom,
        power=power,
        factor=unit.factor,
        is_time=unit.is_time,
        is_text=unit.is_text,
    )
