"""Device profiles: what a model measures and within which bounds, how often it reports, and where
its protocol keeps each value.

A profile is a TOML file in `devices/profiles/`, or in a site's own folder, so that a property
company's engineer can add a model without Python (docs/profiles.md). Bounds come from the
standards: Q4, the overload flow rate of a water meter by size (GB/T 778.1-2018, 4.1), and Imax of
an electricity meter (GB/T 17215.321-2021).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from domain.errors import UserError
from domain.measures import MEASURES, Kind
from domain.wire import DeviceCondition, Hazard


class BadProfile(UserError):
    """A profile file is wrong; the message names the profile, the place and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointProfile:
    """One point of a model.

    `max_rate` is the most that a register can grow in an hour (uom/h), `resolution` its smallest
    step (uom), `rollover` the value at which it starts again from zero (uom). `item` is where the
    protocol keeps it; the value there, times `scale`, is in `uom`.
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
class AlarmRule:
    """One row of the alarm map: when the value of `item` passes the test, the device reports
    `word`.

    `word` is a hazard or a condition, as `kind` says. Exactly one test is set: a bit of the value,
    one of some texts, above or below a limit.
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
        """Name the row, to remember its state."""
        bit = "" if self.bit is None else self.bit
        return f"{self.item}:{bit}:{self.word}"

    def holds(self, value: Any) -> bool | None:
        """Tell whether a value raises the alarm; None where the value cannot tell."""
        if self.equals:
            return self._as_text(value) in self.equals
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.bit is not None:
            return bool(int(value) >> self.bit & 1)
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below

    @staticmethod
    def _as_text(value: Any) -> str:
        """Write a value as a profile's `equals` has it: lower case, whole numbers without `.0`."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return str(value).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeRegister:
    """A register that the meter freezes at set times, with the time: DL/T 645's daily freeze.

    `time` and `item` are the identifiers of the time and of the value; `point` is what it measures.
    """

    time: str
    item: str
    point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model: its points and the interval at which it normally reports (seconds).

    `protocol` says how a gateway reads it, with the protocol's own `options`. Alarms, clock and
    freeze are queried every `slow_interval_s`. `commands` maps a command's words to what is
    written.
    """

    key: str
    title: str
    expected_interval_s: int
    points: dict[str, PointProfile]
    protocol: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    slow_interval_s: int = 3600
    alarms: tuple[AlarmRule, ...] = ()
    freeze: FreezeRegister | None = None
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)


LONGEST_INTERVAL_S = 31_536_000

_FIELDS = frozenset((
    "title", "expected_interval_s", "points", "protocol", "options", "slow_interval_s", "alarms",
    "freeze", "commands",
))  # fmt: skip
_POINT_FIELDS = frozenset(("resolution", "max_rate", "rollover", "item", "scale"))
_ALARM_FIELDS = frozenset(("item", "bit", "equals", "above", "below", "hazard", "condition"))
_ALARM_TESTS = ("bit", "equals", "above", "below")
_FREEZE_FIELDS = frozenset(("time", "item", "point"))


def load_profiles(folder: Path | None = None) -> dict[str, Profile]:
    """Read the profiles that ship with Anju and those of a site's own folder, by key.

    A site's profile replaces a shipped one with the same key.

    Raises: BadProfile.
    """
    entries: list[Traversable] = list(files("devices").joinpath("profiles").iterdir())
    if folder is not None:
        if not folder.is_dir():
            raise BadProfile(f"profiles: {folder} is no folder")
        entries += folder.iterdir()
    profiles: dict[str, Profile] = {}
    for entry in entries:
        if entry.name.endswith(".toml"):
            profile = parse_profile(entry.name.removesuffix(".toml"), entry.read_text("utf-8"))
            profiles[profile.key] = profile
    return dict(sorted(profiles.items()))


def load_profile(path: Path) -> Profile:
    """Read one profile; its key is the file's name without `.toml`.

    Raises: BadProfile.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadProfile(f"profile {path}: cannot be read: {error}") from None
    return parse_profile(path.name.removesuffix(".toml"), text)


def parse_profile(key: str, text: str) -> Profile:
    """Read one profile from its TOML text.

    Raises: BadProfile.
    """
    place = f"profile {key!r}"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadProfile(f"{place}: not TOML: {error}") from None
    _check_fields(place, table, _FIELDS)
    points = {
        name: _parse_point(f"{place}: point {name!r}", name, entry)
        for name, entry in _table_of(place, table, "points").items()
    }
    slow_interval_s = 3600
    if "slow_interval_s" in table:
        slow_interval_s = _parse_seconds(place, table, "slow_interval_s")
    return Profile(
        key=key,
        title=str(_required(place, table, "title")),
        expected_interval_s=_parse_seconds(place, table, "expected_interval_s"),
        points=points,
        protocol=table.get("protocol"),
        options=_optional_table(place, table, "options"),
        slow_interval_s=slow_interval_s,
        alarms=_parse_alarms(place, table.get("alarms", [])),
        freeze=_parse_freeze(place, table, points),
        commands=_parse_commands(place, table),
    )


def check_profile(profile: Profile, protocols: Mapping[str, Callable[[Profile], None]]) -> None:
    """Compare a profile with its protocol: every item must be one that the protocol can read.

    `protocols` are the checks by protocol; a check raises ValueError, KeyError or TypeError.

    Raises: BadProfile.
    """
    if profile.protocol is None:
        return
    place = f"profile {profile.key!r}"
    check = protocols.get(profile.protocol)
    if check is None:
        problem = f"protocol {profile.protocol!r} is not known"
        raise BadProfile(f"{place}: {problem}; use one of {', '.join(sorted(protocols))}")
    try:
        check(profile)
    except KeyError as error:
        raise BadProfile(f"{place}: the field {error} is missing; add it") from None
    except (ValueError, TypeError) as error:
        raise BadProfile(f"{place}: {error}") from None


# Parts of a file ----------------------------------------------------------------------------------


def _check_fields(place: str, entry: object, known: frozenset[str]) -> None:
    """Refuse what is no table, and a field that is not known.

    Raises: BadProfile.
    """
    if not isinstance(entry, dict):
        raise BadProfile(f"{place}: must be a table, not {entry!r}")
    for name in entry:
        if name in known:
            continue
        near = get_close_matches(name, sorted(known), 1)
        fix = f"did you mean {near[0]}?" if near else "remove it"
        raise BadProfile(f"{place}: unknown field {name!r}; {fix}")


def _required(place: str, entry: dict[str, Any], name: str) -> Any:
    if name not in entry:
        raise BadProfile(f"{place}: the field {name!r} is missing; add it")
    return entry[name]


def _table_of(place: str, entry: dict[str, Any], name: str) -> dict[str, Any]:
    table = _required(place, entry, name)
    if not isinstance(table, dict):
        raise BadProfile(f"{place}: {name} must be a table, not {table!r}")
    return table


def _optional_table(place: str, entry: dict[str, Any], name: str) -> dict[str, Any]:
    return _table_of(place, entry, name) if name in entry else {}


def _parse_seconds(place: str, entry: dict[str, Any], name: str) -> int:
    value = _required(place, entry, name)
    if type(value) is not int or not 1 <= value <= LONGEST_INTERVAL_S:
        limits = f"seconds between 1 and {LONGEST_INTERVAL_S}"
        raise BadProfile(f"{place}: {name} must be {limits}, not {value!r}")
    return value


def _parse_number(place: str, entry: dict[str, Any], name: str) -> float:
    value = _required(place, entry, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadProfile(f"{place}: {name} must be a number, not {value!r}")
    return float(value)


def _optional_number(place: str, entry: dict[str, Any], name: str) -> float | None:
    return _parse_number(place, entry, name) if name in entry else None


def _parse_point(place: str, name: str, entry: dict[str, Any]) -> PointProfile:
    measure = MEASURES.get(name)
    if measure is None:
        raise BadProfile(
            f"{place}: unknown point {name!r}; use one of {', '.join(sorted(MEASURES))}"
        )
    _check_fields(place, entry, _POINT_FIELDS)
    if measure.kind is Kind.REGISTER and "max_rate" not in entry:
        raise BadProfile(f"{place}: a register needs max_rate (in {measure.uom}/h)")
    return PointProfile(
        name=name,
        kind=measure.kind,
        uom=measure.uom,
        resolution=_parse_number(place, entry, "resolution"),
        max_rate=_optional_number(place, entry, "max_rate"),
        rollover=_optional_number(place, entry, "rollover"),
        item=str(entry["item"]) if "item" in entry else None,
        scale=_parse_number(place, entry, "scale") if "scale" in entry else 1.0,
    )


def _parse_alarms(place: str, rows: object) -> tuple[AlarmRule, ...]:
    if not isinstance(rows, list):
        raise BadProfile(f"{place}: alarms must be a list of tables; write [[alarms]] above each")
    return tuple(
        _parse_alarm(f"{place}: alarm {number}", entry) for number, entry in enumerate(rows, 1)
    )


def _parse_alarm(place: str, entry: dict[str, Any]) -> AlarmRule:
    _check_fields(place, entry, _ALARM_FIELDS)
    if ("hazard" in entry) == ("condition" in entry):
        raise BadProfile(f"{place}: name either a hazard or a condition")
    if "hazard" in entry:
        kind = "hazard"
        word = entry["hazard"]
        words: list[str] = list(Hazard)
    else:
        kind = "device"
        word = entry["condition"]
        words = list(DeviceCondition)
    if word not in words:
        raise BadProfile(f"{place}: {word!r} is not known; use one of {', '.join(words)}")
    if sum(name in entry for name in _ALARM_TESTS) != 1:
        raise BadProfile(f"{place}: give exactly one of {', '.join(_ALARM_TESTS)}")
    equals = entry.get("equals", [])
    if not isinstance(equals, list):
        equals = [equals]
    return AlarmRule(
        item=str(_required(place, entry, "item")),
        kind=kind,
        word=word,
        bit=_parse_bit(place, entry),
        equals=tuple(str(value).lower() for value in equals),
        above=_optional_number(place, entry, "above"),
        below=_optional_number(place, entry, "below"),
    )


def _parse_bit(place: str, entry: dict[str, Any]) -> int | None:
    bit = entry.get("bit")
    if bit is not None and (type(bit) is not int or not 0 <= bit <= 63):
        raise BadProfile(f"{place}: bit must be a whole number from 0 to 63, not {bit!r}")
    return bit


def _parse_freeze(
    place: str, table: dict[str, Any], points: Mapping[str, PointProfile]
) -> FreezeRegister | None:
    if "freeze" not in table:
        return None
    entry = table["freeze"]
    place = f"{place}: freeze"
    _check_fields(place, entry, _FREEZE_FIELDS)
    register = FreezeRegister(
        time=str(_required(place, entry, "time")),
        item=str(_required(place, entry, "item")),
        point=str(_required(place, entry, "point")),
    )
    if register.point not in points:
        problem = f"point {register.point!r} is not a point of this profile"
        raise BadProfile(f"{place}: {problem}; use one of {', '.join(sorted(points))}")
    return register


def _parse_commands(place: str, table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    commands = _optional_table(place, table, "commands")
    for name, words in commands.items():
        if not isinstance(words, dict):
            raise BadProfile(f"{place}: command {name!r} must be a table, not {words!r}")
    return commands
