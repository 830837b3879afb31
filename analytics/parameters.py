"""Parameters as frozen classes: each field carries its bounds, and a table of numbers is checked
against them.

A parameter class may hold smaller ones. In a table (`policy.toml`, `--param name=number`) all of
their fields stand side by side, so a field's name stands once in a class and all that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

P = TypeVar("P")


class BadParameter(ValueError):
    """A parameter is unknown, of the wrong type or out of bounds; the message names it and what
    fits.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterBounds:
    """The least and the greatest value of a parameter, both allowed."""

    low: float
    high: float


Share = Annotated[float, ParameterBounds(low=0.0, high=1.0)]
"""A part of a whole, 0 to 1."""
Multiple = Annotated[float, ParameterBounds(low=0.0, high=100.0)]
"""So many times something else."""
DayCount = Annotated[int, ParameterBounds(low=1, high=3_660)]
"""Whole days."""
HourCount = Annotated[float, ParameterBounds(low=0.0, high=8_784.0)]
"""Hours; a year at most."""
Minutes = Annotated[float, ParameterBounds(low=0.0, high=10_080.0)]
"""Minutes; a week at most."""
Seconds = Annotated[float, ParameterBounds(low=0.0, high=604_800.0)]
"""Seconds; a week at most."""
WholeCount = Annotated[int, ParameterBounds(low=1, high=10_000)]
"""A whole number of things."""
Litres = Annotated[float, ParameterBounds(low=0.0, high=100_000.0)]
"""Litres of water."""
KilowattHours = Annotated[float, ParameterBounds(low=0.0, high=10_000.0)]
"""Electricity in kWh."""
Watts = Annotated[float, ParameterBounds(low=0.0, high=100_000.0)]
"""Electric power in W."""
Count = Annotated[float, ParameterBounds(low=0.0, high=1_000.0)]
"""A number of people, nights or passages; a mean may be a fraction."""
DaysOfEvidence = Annotated[float, ParameterBounds(low=0.01, high=3_660.0)]
"""Evidence added up by `analytics.episodes`; a day that speaks for something counts about 1."""
LikelihoodRatio = Annotated[float, ParameterBounds(low=1.0, high=1e6)]
"""How much rarer one explanation is than another."""
LogOdds = Annotated[float, ParameterBounds(low=-10.0, high=10.0)]
"""A term or a factor of log odds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    whole_number: bool
    bounds: ParameterBounds

    def read(self, value: object) -> float:
        """Return a value as the field's type. Raises: BadParameter."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadParameter(f"{self.name} = {value!r} is no number; write a number")
        if not self.bounds.low <= value <= self.bounds.high:
            raise BadParameter(
                f"{self.name} = {value:g} is out of bounds; "
                f"use {self.bounds.low:g} to {self.bounds.high:g}"
            )
        if not self.whole_number:
            return float(value)
        if value != int(value):
            raise BadParameter(f"{self.name} = {value:g} is no whole number; use one")
        return int(value)


def build_params(params_type: type[P], table: Mapping[str, object]) -> P:
    """Build parameters from a table of numbers; what the table leaves out keeps its default.

    Raises: BadParameter: a name is unknown, or a value has the wrong type or is out of bounds.
    """
    known = parameter_names(params_type)
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise BadParameter(f"has unknown {unknown}; use {sorted(known)}")
    return _build(params_type, table)


def parameter_names(params_type: type[Any]) -> tuple[str, ...]:
    """List the names of all parameters of a class and of those that it holds."""
    return tuple(found.name for found in _fields_of(params_type))


def numbers_of(params: object) -> dict[str, float]:
    """Return parameters as a table of numbers by name, the opposite of `build_params`."""
    numbers: dict[str, float] = {}
    for declared in fields(params):  # type: ignore[arg-type]
        value = getattr(params, declared.name)
        numbers |= numbers_of(value) if is_dataclass(value) else {declared.name: value}
    return numbers


def _build(params_type: type[P], table: Mapping[str, object]) -> P:
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(params_type, include_extras=True).items():
        if is_dataclass(hint):
            values[name] = _build(hint, table)  # type: ignore[arg-type]
        elif name in table:
            values[name] = _field_of(name, hint).read(table[name])
    return params_type(**values)


def _fields_of(params_type: type[Any]) -> tuple[_Field, ...]:
    found = tuple(_walk(params_type))
    names = [each.name for each in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TypeError(f"{params_type.__name__} has {twice} twice; rename one")
    return found


def _walk(params_type: type[Any]) -> Iterator[_Field]:
    for name, hint in get_type_hints(params_type, include_extras=True).items():
        if is_dataclass(hint):
            yield from _walk(hint)  # type: ignore[arg-type]
        else:
            yield _field_of(name, hint)


def _field_of(name: str, hint: Any) -> _Field:
    number_type, bounds = get_args(hint)
    return _Field(name=name, whole_number=number_type is int, bounds=bounds)
