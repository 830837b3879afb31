"""Device profiles: what a model measures, within which bounds, how often it speaks, and where its protocol keeps each value.

A profile is a TOML file in `devices/profiles/`, or in a site's own folder, so that a property company's engineer can add a
model without Python (docs/profiles.md). Bounds come from the standards: Q4, the overload flow rate of a water meter by
size (GB/T 778.1-2018, 4.1), and Imax of an electricity meter (GB/T 17215.321-2021).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from domain.errors import UserError
from domain.measures import MEASURES, Kind
from domain.wire import DeviceCondition, Hazard


class BadProfile(UserError):
    """A profile file does not say what it must; the message names the file, the field and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointProfile:
    """One point of a model.

    `max_rate` is the most that a register can grow in an hour (uom/h), `resolution` its smallest step, `rollover`
    the value at which it starts again from zero. `item` is where the protocol keeps it; the value there, times
    `scale`, is in `uom`.
    """

    name: str
    kind: Kind
    uom: str
    resolution: float
    max_rate: float | None = None
    rollover: float | None = None
    item: str | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One row of the alarm map: when `item` shows this, the device says `word` (a hazard or a condition).

    Exactly one test: a bit of a word, one of some values, above or below a limit.
    """

    item: str
    kind: str
    word: str
    bit: int | None = None
    equals: tuple[str, ...] = ()
    above: float | None = None
    below: float | None = None

    @property
    def key(self) -> str:
        """Name the row, to remember whether it held."""
        return f"{self.item}:{self.bit if self.bit is not None else ''}:{self.word}"

    def holds(self, value: Any) -> bool | None:
        """Tell whether a value raises it; None where the value cannot tell."""
        if self.equals:
            shown = (
                str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
            )
            return shown.lower() in self.equals
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.bit is not None:
            return bool(int(value) >> self.bit & 1)
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A register that the meter freezes at set times, with the time: DL/T 645's daily freeze."""

    time: str
    item: str
    point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model: its points and the interval at which it normally speaks (seconds).

    `protocol` says how a gateway reads it, with the protocol's own `options`; alarms, clock and freeze are asked for every
    `slow_interval_s`. `commands` maps a command's words to what is written.
    """

    key: str
    title: str
    expected_interval_s: int
    points: dict[str, PointProfile]
    protocol: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    slow_interval_s: int = 3600
    alarms: tuple[Alarm, ...] = ()
    freeze: Freeze | None = None
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)


_FIELDS = frozenset(
    (
        "title",
        "expected_interval_s",
        "points",
        "protocol",
        "options",
        "slow_interval_s",
        "alarms",
        "freeze",
        "commands",
    )
)
_POINT_FIELDS = frozenset(("resolution", "max_rate", "rollover", "item", "scale"))
_ALARM_FIELDS = frozenset(("item", "bit", "equals", "above", "below", "hazard", "condition"))


def load_profiles(folder: Path | None = None) -> dict[str, Profile]:
    """Read every profile that ships with Anju and those of a site's own folder, by key; the site's stand before ours.

    Raises: BadProfile.
    """
    entries: list[Any] = list(files("devices").joinpath("profiles").iterdir())
    if folder is not None:
        if not folder.is_dir():
            raise BadProfile(f"profiles: {folder} is no folder")
        entries += folder.iterdir()
    found: dict[str, Profile] = {}
    for entry in entries:
        if entry.name.endswith(".toml"):
            profile = parse_profile(entry.name.removesuffix(".toml"), entry.read_text("utf-8"))
            found[profile.key] = profile
    return dict(sorted(found.items()))


def parse_profile(key: str, text: str) -> Profile:
    """Read one profile from its TOML text.

    Raises: BadProfile.
    """
    where = f"profile {key!r}"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadProfile(f"{where}: not TOML: {error}") from None
    _known(where, table, _FIELDS)
    try:
        profile = Profile(
            key=key,
            title=str(table["title"]),
            expected_interval_s=_whole(where, table, "expected_interval_s"),
            points={name: _point(where, name, row) for name, row in table["points"].items()},
            protocol=table.get("protocol"),
            options=dict(table.get("options", {})),
            slow_interval_s=_whole(where, table, "slow_interval_s")
            if "slow_interval_s" in table
            else 3600,
            alarms=tuple(_alarm(where, n, row) for n, row in enumerate(table.get("alarms", []), 1)),
            freeze=Freeze(**table["freeze"]) if "freeze" in table else None,
            commands=dict(table.get("commands", {})),
        )
    except KeyError as error:
        raise BadProfile(f"{where}: the field {error} is missing; add it") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise BadProfile(f"{where}: {error}") from None
    return profile


def check_profile(profile: Profile, protocols: dict[str, Callable[[Profile], None]]) -> None:
    """Hold a profile against its protocol: every item must be one that the protocol can read.

    Raises: BadProfile.
    """
    if profile.protocol is None:
        return
    check = protocols.get(profile.protocol)
    where = f"profile {profile.key!r}"
    if check is None:
        raise BadProfile(
            f"{where}: protocol {profile.protocol!r} is not known; use one of {', '.join(sorted(protocols))}"
        )
    try:
        check(profile)
    except (ValueError, KeyError, TypeError) as error:
        raise BadProfile(f"{where}: {error}") from None


def _known(where: str, row: dict[str, Any], known: frozenset[str]) -> None:
    for name in row:
        if name not in known:
            near = get_close_matches(name, sorted(known), 1)
            raise BadProfile(
                f"{where}: unknown field {name!r}; {'did you mean ' + near[0] + '?' if near else 'remove it'}"
            )


def _whole(where: str, table: dict[str, Any], name: str) -> int:
    value = table[name]
    if not isinstance(value, int) or not 1 <= value <= 31_536_000:
        raise BadProfile(f"{where}: {name} must be seconds between 1 and 31536000, not {value!r}")
    return value


def _point(where: str, name: str, row: dict[str, Any]) -> PointProfile:
    measure = MEASURES.get(name)
    if measure is None:
        raise BadProfile(
            f"{where}: unknown point {name!r}; use one of {', '.join(sorted(MEASURES))}"
        )
    _known(f"{where}: point {name!r}", row, _POINT_FIELDS)
    if measure.kind is Kind.REGISTER and "max_rate" not in row:
        raise BadProfile(
            f"{where}: point {name!r} is a register and needs max_rate (in {measure.uom}/h)"
        )
    return PointProfile(
        name=name,
        kind=measure.kind,
        uom=measure.uom,
        resolution=float(row["resolution"]),
        max_rate=float(row["max_rate"]) if "max_rate" in row else None,
        rollover=float(row["rollover"]) if "rollover" in row else None,
        item=str(row["item"]) if "item" in row else None,
        scale=float(row.get("scale", 1.0)),
    )


def _alarm(where: str, n: int, row: dict[str, Any]) -> Alarm:
    where = f"{where}: alarm {n}"
    _known(where, row, _ALARM_FIELDS)
    if ("hazard" in row) == ("condition" in row):
        raise BadProfile(f"{where}: name either a hazard or a condition")
    kind, word = ("hazard", row["hazard"]) if "hazard" in row else ("device", row["condition"])
    words = list(Hazard) if kind == "hazard" else list(DeviceCondition)
    if word not in words:
        raise BadProfile(f"{where}: {word!r} is not known; use one of {', '.join(words)}")
    if sum(name in row for name in ("bit", "equals", "above", "below")) != 1:
        raise BadProfile(f"{where}: give exactly one of bit, equals, above, below")
    equals = row.get("equals", [])
    return Alarm(
        item=str(row["item"]),
        kind=kind,
        word=word,
        bit=row.get("bit"),
        equals=tuple(
            str(value).lower() for value in (equals if isinstance(equals, list) else [equals])
        ),
        above=row.get("above"),
        below=row.get("below"),
    )
