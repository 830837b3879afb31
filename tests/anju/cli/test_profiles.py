"""`anju profiles check`: what ships is right; what is wrong is named with its place and its fix."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from anju.cli.app import app

SHIPPED = Path(str(files("devices").joinpath("profiles")))
GOOD = (SHIPPED / "modbus-water.toml").read_text("utf-8")


def check(*paths: Path) -> Result:
    return CliRunner().invoke(app, ["profiles", "check", *map(str, paths)])


def test_every_shipped_profile_is_right() -> None:
    paths = sorted(SHIPPED.glob("*.toml"))
    result = check(*paths)
    assert result.exit_code == 0, result.output
    assert result.output.count(": right: ") == len(paths) > 20


@pytest.mark.parametrize(
    ("before", "after", "place", "fix"),
    [
        ("resolution = 0.001", "resolutoin = 0.001", "water_m3", "did you mean resolution?"),
        ("max_rate = 3.125", "", "water_m3", "needs max_rate (in m³/h)"),
        ('"holding:0:uint32"', '"holdin:0:uint32"', "holdin:0", "write table:address:type"),
        ('"modbus-rtu"', '"modbus-rtx"', "modbus-rtx", "use one of"),
        ("[points.water_m3]", "[points.wasser_m3]", "wasser_m3", "use one of"),
        ("bit = 0", "bit = 0\nabove = 1", "alarm 1", "give exactly one of bit"),
        ('item = "coil:0", ', "", "item", "add it"),
        ("title =", "titel =", "titel", "did you mean title?"),
    ],
)
def test_a_wrong_profile_is_named_with_its_place_and_its_fix(
    tmp_path: Path, before: str, after: str, place: str, fix: str
) -> None:
    assert before in GOOD
    path = tmp_path / "my-meter.toml"
    path.write_text(GOOD.replace(before, after), "utf-8")
    result = check(path)
    assert result.exit_code == 1
    assert f"{path}: wrong: profile 'my-meter'" in result.output
    assert place in result.output
    assert fix in result.output


def test_one_wrong_profile_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("title =", "utf-8")
    result = check(path, SHIPPED / "modbus-water.toml", tmp_path / "missing.toml")
    assert result.exit_code == 1
    assert "not TOML" in result.output
    assert "modbus-water.toml: right: " in result.output
    assert "cannot be read" in result.output
