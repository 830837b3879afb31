"""`anju simulate write`.

The same seed gives the same city, and the truth stands beside the register.
"""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from anju.cli.simulate import simulate_app


def write(directory: Path, seed: int) -> dict[str, bytes]:
    arguments = ["write", str(directory), "--units", "24", "--seed", str(seed), "--days", "30"]
    done = CliRunner().invoke(simulate_app, arguments)
    assert done.exit_code == 0
    assert "24 units" in done.output
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_city_is_its_seed(tmp_path: Path) -> None:
    first = write(tmp_path / "first", 1)
    other = write(tmp_path / "other", 2)
    assert {"estates.csv", "units.csv", "devices.csv", "tenancies.csv"} <= first.keys()
    assert first.keys() == other.keys()
    assert first["devices.csv"] != other["devices.csv"] or first != other
    assert [path.name for path in tmp_path.iterdir() if path.is_file()]
