"""From fields by the maker's names to what Anju stores: a profile applied to what a device said.

Pure: fields in, values and alarms out. A field that no row of the profile names is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from devices.profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmShown:
    """One row of the alarm map as it stands now; `key` names the row."""

    key: str
    kind: str
    word: str
    on: bool
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedValues:
    """What a device said in the terms of the wire contract: values now, values at an earlier local time, alarms, its clock."""

    values: dict[str, float] = field(default_factory=dict)
    frozen: tuple[tuple[datetime, dict[str, float]], ...] = ()
    alarms: tuple[AlarmShown, ...] = ()
    clock: datetime | None = None


#: Fields that polls fill beside the maker's own: the device's clock, and the time and value of a freeze.
CLOCK, FREEZE = "clock", "freeze"


def understand(profile: Profile, fields: dict[str, Any]) -> MappedValues:
    """Apply a profile to fields."""
    values: dict[str, float] = {}
    for point in profile.points.values():
        value = as_number(fields.get(point.item)) if point.item is not None else None
        if value is not None:
            values[point.name] = scaled(value, point.scale)
    alarms = []
    for alarm in profile.alarms:
        value = fields.get(alarm.item)
        on = None if value is None else alarm.holds(value)
        if on is not None:
            alarms.append(
                AlarmShown(key=alarm.key, kind=alarm.kind, word=alarm.word, on=on, value=value)
            )
    frozen: tuple[tuple[datetime, dict[str, float]], ...] = ()
    if profile.freeze is not None and isinstance(fields.get(FREEZE), tuple):
        at, value = fields[FREEZE]
        frozen = (
            (at, {profile.freeze.point: scaled(value, profile.points[profile.freeze.point].scale)}),
        )
    clock = fields.get(CLOCK)
    return MappedValues(
        values=values,
        frozen=frozen,
        alarms=tuple(alarms),
        clock=clock if isinstance(clock, datetime) else None,
    )


def scaled(value: float, scale: float) -> float:
    """Multiply without leaving the dust of binary fractions behind: a meter's digits are decimal."""
    return value if scale == 1.0 else float(f"{value * scale:.12g}")


def as_number(value: Any) -> float | None:
    """Return a value as a finite number, or None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number - number == 0.0 else None
