"""Mapping fields by a profile: values in the uom, alarms, the frozen reading, the clock."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.mapping import CLOCK, FREEZE, FrozenValue, apply_profile, finite_number, scale_decimal
from devices.profiles import load_profiles

PROFILES = load_profiles()
AT = datetime(2026, 3, 1)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=4)
)


@settings(deadline=None)
@given(key=st.sampled_from(sorted(PROFILES)), data=st.data())
def test_any_fields_become_finite_values_of_the_profiles_points(
    key: str, data: st.DataObject
) -> None:
    profile = PROFILES[key]
    items = [point.item for point in profile.points.values() if point.item]
    items += [rule.item for rule in profile.alarms]
    fields: dict[str, Any] = {item: data.draw(VALUES) for item in items}
    mapped = apply_profile(profile, fields)
    assert set(mapped.values) <= set(profile.points)
    assert all(math.isfinite(value) for value in mapped.values.values())
    assert {state.key for state in mapped.alarms} <= {rule.key for rule in profile.alarms}
    assert mapped.clock is None and mapped.frozen is None


@settings(deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([0.1, 0.01, 0.001, 1.0, 1000.0]))
def test_scaling_keeps_decimal_digits(value: int, scale: float) -> None:
    assert scale_decimal(value, scale) == float(f"{value * scale:.12g}")


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_and_its_text_are_the_same_number(value: float) -> None:
    assert finite_number(value) == finite_number(repr(value)) == value


def test_the_clock_and_the_freeze_are_mapped_where_the_profile_has_them() -> None:
    profile = PROFILES["dlt645-2007"]
    assert profile.freeze is not None
    fields = {CLOCK: AT, FREEZE: FrozenValue(at=AT, value=12.5)}
    mapped = apply_profile(profile, fields)
    assert mapped.clock == AT
    assert mapped.frozen is not None
    assert mapped.frozen.at == AT and mapped.frozen.values == {profile.freeze.point: 12.5}
    assert apply_profile(PROFILES["modbus-water"], fields).frozen is None
