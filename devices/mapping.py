"""The fields that a device reports, mapped by its profile to what Anju stores: values and alarms.

Pure: fields in, values and alarms out. A field that no row of the profile names is ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from devices.profiles import FreezeRegister, Profile

#: Fields that polls add to the maker's own: the device's clock (a datetime) and a `FrozenValue`.
CLOCK = "clock"
FREEZE = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """The state of one row of the alarm map; `key` names the row."""

    key: str
    kind: str
    word: str
    on: bool
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenValue:
    """A register's value in the meter's own steps, and the local time of the freeze."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenReading:
    """Values by point, in the points' uom, as they were at an earlier local time."""

    at: datetime
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedValues:
    """A report in the words of the wire contract.

    `values` are the present values by point in the points' uom; `clock` is the device's local time.
    """

    values: dict[str, float] = field(default_factory=dict)
    frozen: FrozenReading | None = None
    alarms: tuple[AlarmState, ...] = ()
    clock: datetime | None = None


def apply_profile(profile: Profile, fields: dict[str, Any]) -> MappedValues:
    """Map a device's fields to points, alarms, the frozen reading and the clock."""
    clock = fields.get(CLOCK)
    return MappedValues(
        values=_map_points(profile, fields),
        frozen=_map_freeze(profile, profile.freeze, fields.get(FREEZE)),
        alarms=_map_alarms(profile, fields),
        clock=clock if isinstance(clock, datetime) else None,
    )


def _map_points(profile: Profile, fields: dict[str, Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for point in profile.points.values():
        if point.item is None:
            continue
        number = finite_number(fields.get(point.item))
        if number is not None:
            values[point.name] = scale_decimal(number, point.scale)
    return values


def _map_alarms(profile: Profile, fields: dict[str, Any]) -> tuple[AlarmState, ...]:
    states: list[AlarmState] = []
    for rule in profile.alarms:
        value = fields.get(rule.item)
        if value is None:
            continue
        on = rule.holds(value)
        if on is None:
            continue
        state = AlarmState(key=rule.key, kind=rule.kind, word=rule.word, on=on, value=value)
        states.append(state)
    return tuple(states)


def _map_freeze(
    profile: Profile, register: FreezeRegister | None, frozen: Any
) -> FrozenReading | None:
    if register is None or not isinstance(frozen, FrozenValue):
        return None
    scale = profile.points[register.point].scale
    values = {register.point: scale_decimal(frozen.value, scale)}
    return FrozenReading(at=frozen.at, values=values)


def scale_decimal(value: float, scale: float) -> float:
    """Multiply by a scale and round to twelve digits.

    A meter's digits are decimal: 3 × 0.1 is 0.3 here, not 0.30000000000000004.
    """
    if scale == 1.0:
        return value
    return float(f"{value * scale:.12g}")


def finite_number(value: Any) -> float | None:
    """Return a number or a numeric text as a finite float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
