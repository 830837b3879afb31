"""Profiles: what ships fits its protocol.

A faulty file is refused by name, whatever is wrong with it.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.polls import check
from devices.profiles import AlarmRule, BadProfile, Profile, load_profiles, parse_profile
from domain.measures import MEASURES

PROFILES = load_profiles()
TEXTS = {
    entry.name.removesuffix(".toml"): entry.read_text("utf-8")
    for entry in files("devices").joinpath("profiles").iterdir()
}
KEYS = sorted(PROFILES)


def test_every_profile_reads_and_bounds_its_registers() -> None:
    assert {"water-dn15", "water-dn20", "electricity-1p-60a"} <= set(PROFILES)
    for profile in PROFILES.values():
        for point in profile.points.values():
            assert point.uom == MEASURES[point.name].uom
            assert (point.max_rate is not None) == (point.kind == "register")


@pytest.mark.parametrize("key", KEYS)
def test_every_shipped_profile_fits_its_protocol(key: str) -> None:
    check(PROFILES[key])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("title =", "not TOML"),
        ('title = "x"\n[points]', "expected_interval_s"),
        (
            'title = "x"\nexpected_interval_s = 60\n[points.wasser]\nresolution = 1',
            "unknown point 'wasser'",
        ),
        (
            'title = "x"\nexpected_interval_s = 60\n[points.water_m3]\nresolution = 0.1',
            "needs max_rate",
        ),
        ('title = "x"\nexpected_interval_s = 60', "the field 'points' is missing; add it"),
        ('title = "x"\nexpected_interval_s = 60\npoints = 3', "points must be a table"),
        ('title = "x"\nexpected_interval_s = true\n[points]', "seconds between 1 and"),
        ('title = "x"\nexpected_interval_s = 60\nalarms = 3\n[points]', "write \\[\\[alarms"),
        (
            'title = "x"\nexpected_interval_s = 60\n[points]\n[freeze]\ntime = "05060001"\n'
            'item = "05060101"\npoint = "energy_kwh"',
            "freeze: point 'energy_kwh' is not a point of this profile",
        ),
    ],
)
def test_a_bad_profile_is_named_with_its_fix(text: str, named: str) -> None:
    with pytest.raises(BadProfile, match=named):
        parse_profile("broken", text)


@settings(deadline=None)
@given(
    key=st.sampled_from(KEYS),
    name=st.sampled_from(
        ["title", "points", "alarms", "freeze", "commands", "expected_interval_s"]
    ),
    value=st.recursive(
        st.one_of(st.booleans(), st.integers(-5, 10**9), st.text("abc", max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2), st.dictionaries(st.text("abc"), inner, max_size=2)
        ),
        max_leaves=4,
    ),
)
def test_a_field_of_any_kind_is_read_or_refused_by_name(key: str, name: str, value: Any) -> None:
    """Whatever a field holds, the file is a profile or a BadProfile that names it.

    Never another error.
    """
    table = {**tomllib.loads(TEXTS[key]), name: value}
    try:
        check(parse_profile("bent", _toml(table)))
    except BadProfile as error:
        assert str(error).startswith("profile 'bent'")


def _toml(value: Any) -> str:
    """Write a table as TOML, inner tables inline."""
    return "\n".join(f"{name} = {_inline(inner)}" for name, inner in value.items())


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f'"{name}" = {_inline(inner)}' for name, inner in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return repr(value) if isinstance(value, int | float) else f'"{value}"'


@pytest.mark.parametrize("key", KEYS)
def test_the_same_table_in_another_layout_is_the_same_profile(key: str) -> None:
    assert parse_profile(key, _toml(tomllib.loads(TEXTS[key]))) == PROFILES[key]


def profile_of(protocol: str | None, **more: Any) -> Profile:
    return Profile(key="k", title="t", expected_interval_s=60, points={}, protocol=protocol, **more)


def test_a_protocol_that_is_not_known_is_named_with_those_that_are() -> None:
    check(profile_of(None))
    with pytest.raises(BadProfile, match="'morse' is not known; use one of access, .*dlt645"):
        check(profile_of("morse"))


@settings(deadline=None)
@given(value=st.integers(0, 2**32 - 1), bit=st.integers(0, 31))
def test_an_alarm_of_a_bit_reads_that_bit(value: int, bit: int) -> None:
    rule = AlarmRule(item="i", kind="device", word="fault", bit=bit)
    assert rule.holds(value) is (format(value, "032b")[31 - bit] == "1")


@settings(deadline=None)
@given(value=st.floats(allow_nan=False), limit=st.floats(allow_nan=False, allow_infinity=False))
def test_above_and_below_never_hold_together(value: float, limit: float) -> None:
    above = AlarmRule(item="i", kind="device", word="fault", above=limit).holds(value)
    below = AlarmRule(item="i", kind="device", word="fault", below=limit).holds(value)
    assert above == (value > limit)
    assert not (above and below)


def test_an_alarm_of_a_text_takes_whole_numbers_for_texts() -> None:
    rule = AlarmRule(item="i", kind="device", word="fault", equals=("1", "open"))
    assert rule.holds(1.0) and rule.holds("OPEN") and rule.holds(1)
    assert not rule.holds("closed")
    assert AlarmRule(item="i", kind="device", word="fault", bit=0).holds("1") is None
