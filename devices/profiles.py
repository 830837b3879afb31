"""Device profiles: what a meter model measures, within which bounds, and how often it speaks.

A profile is a TOML file in `devices/profiles/`, so that a property company's engineer can add a model without
Python. Bounds come from the standards: Q4, the overload flow rate of a water meter by size (GB/T 778.1-2018, 4.1),
and Imax of an electricity meter (GB/T 17215.321-2021).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from domain.measures import MEASURES, Kind


class BadProfile(Exception):
    """A profile file does not say what it must; the message names the file, the field and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointProfile:
    """One point of a model.

    `max_rate` is the most that a register can grow in an hour (uom/h), `resolution` its smallest step, `rollover`
    the value at which it starts again from zero.
    """

    name: str
    kind: Kind
    uom: str
    resolution: float
    max_rate: float | None = None
    rollover: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model: its points and the interval at which it normally speaks (seconds)."""

    key: str
    title: str
    expected_interval_s: int
    points: dict[str, PointProfile]


def load_profiles() -> dict[str, Profile]:
    """Read every profile that ships with Anju, by key.

    Raises: BadProfile.
    """
    found: dict[str, Profile] = {}
    for entry in sorted(files("devices").joinpath("profiles").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            profile = parse_profile(entry.name.removesuffix(".toml"), entry.read_text("utf-8"))
            found[profile.key] = profile
    return found


def parse_profile(key: str, text: str) -> Profile:
    """Read one profile from its TOML text.

    Raises: BadProfile.
    """
    where = f"profile {key!r}"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadProfile(f"{where}: not TOML: {error}") from None
    try:
        points = {name: _point(where, name, row) for name, row in table["points"].items()}
        return Profile(
            key=key,
            title=str(table["title"]),
            expected_interval_s=int(table["expected_interval_s"]),
            points=points,
        )
    except KeyError as error:
        raise BadProfile(f"{where}: the field {error} is missing; add it") from None


def _point(where: str, name: str, row: dict[str, Any]) -> PointProfile:
    measure = MEASURES.get(name)
    if measure is None:
        raise BadProfile(f"{where}: unknown point {name!r}; use one of {', '.join(sorted(MEASURES))}")
    if measure.kind is Kind.REGISTER and "max_rate" not in row:
        raise BadProfile(f"{where}: point {name!r} is a register and needs max_rate (in {measure.uom}/h)")
    return PointProfile(
        name=name,
        kind=measure.kind,
        uom=measure.uom,
        resolution=float(row["resolution"]),
        max_rate=float(row["max_rate"]) if "max_rate" in row else None,
        rollover=float(row["rollover"]) if "rollover" in row else None,
    )
