"""Rules are read whole or refused with what to mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tables import Table
from gateway.vision.rules import BadRules, ClockRule, FallingRule, LaneRule, load_rules, parse_rules
from gateway.vision.tables import CameraTable, VisionTable

GOOD = """
rules:
  - kind: lane
    hazard: exit_blocked
    polygon: [[0.1, 0.9], [0.6, 0.9], [0.5, 0.3], [0.4, 0.3]]
    dwell_s: 90
  - kind: falling
    heights: [[0.95, 3], [0.60, 15], [0.15, 45]]
  - kind: clock
    box: [0.02, 0.02, 0.34, 0.06]
"""


def test_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    lane, falling, clock = load_rules(tmp_path / "a.yaml").rules
    assert isinstance(lane, LaneRule) and lane.dwell_s == 90 and lane.hazard == "exit_blocked"
    assert isinstance(falling, FallingRule) and falling.roof == 45
    assert isinstance(clock, ClockRule)
    (tmp_path / "b.yaml").write_text("kind: lane\npolygon: [[0, 0], [1, 0], [1, 1]]\n")
    assert len(load_rules(tmp_path / "b.yaml").rules) == 1, "one rule may stand alone"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("kind: lane", "kind: parking"), "Invalid value"),
        (("dwell_s", "dwel_s"), "dwel_s"),
        (("dwell_s: 90", "dwell_s: 1"), "between 5"),
        (("[0.6, 0.9], ", "[1.6, 0.9], "), "shares of the picture"),
        (("[0.60, 15], [0.15, 45]", ""), "two to ten marks"),
        (("[0.15, 45]", "[0.15, 5]"), "the fewer metres"),
        (("0.34, 0.06", "1.34, 0.06"), "box"),
        (("rules:", "rules: ["), "not YAML"),
        (
            (
                "[0.1, 0.9], [0.6, 0.9], [0.5, 0.3], [0.4, 0.3]",
                "[0.1, 0.9], [0.11, 0.9], [0.1, 0.91]",
            ),
            "under 0.2 %",
        ),
    ],
)
def test_a_bad_one_is_told(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace(*change))
    with pytest.raises(BadRules, match=told):
        load_rules(tmp_path / "a.yaml")


def test_odd_files(tmp_path: Path) -> None:
    for name, body in (
        ("bomb", b"a: &a [x]\n" + b"b: " + b"[" * 5000),
        ("large", b"#" * 70_000),
        ("binary", b"\xff\xfe\x00"),
    ):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(BadRules):
            load_rules(tmp_path / name)
    with pytest.raises(BadRules, match="cannot be read"):
        load_rules(tmp_path / "nothing")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
    )
)
def test_nothing_but_a_refusal_comes_of_anything(raw: object) -> None:
    try:
        parse_rules(raw, "here")
    except BadRules:
        return


def test_tables() -> None:
    assert issubclass(CameraTable, Table) and VisionTable().fault() is None
    assert "keep_days" in str(VisionTable(keep_days=0).fault())
