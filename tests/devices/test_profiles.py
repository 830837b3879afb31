from __future__ import annotations

import pytest

from devices.profiles import BadProfile, load_profiles, parse_profile
from domain.measures import MEASURES


def test_every_profile_reads_and_bounds_its_registers() -> None:
    profiles = load_profiles()
    assert {"water-dn15", "water-dn20", "electricity-1p-60a"} <= set(profiles)
    for profile in profiles.values():
        for point in profile.points.values():
            assert point.uom == MEASURES[point.name].uom
            assert (point.max_rate is not None) == (point.kind == "register")


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
    ],
)
def test_a_bad_profile_is_named_with_its_fix(text: str, named: str) -> None:
    with pytest.raises(BadProfile, match=named):
        parse_profile("broken", text)
