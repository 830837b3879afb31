"""`anju replay` refuses what it cannot read, and says how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anju.cli import replay
from anju.cli.app import app

GOOD = {
    "--kind": "water",
    "--estate": "small",
    "--device-column": "id",
    "--time-column": "at",
    "--value-column": "litres",
    "--uom": "l",
}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"--estate": "No Such"}, "--estate 'No Such': must be 2 to 40 lower-case letters"),
        ({"--gateway": "?"}, "--gateway '?': must be 2 to 40 lower-case letters"),
        ({"--device": "meter 1"}, "--device-column: name the column that holds the meter"),
        ({"--uom": "kwh"}, "--uom 'kwh': for water use one of m3, l, gal"),
        ({"--timezone": "Mars"}, "--timezone 'Mars': use a zone like Asia/Shanghai"),
    ],
)
def test_a_wrong_option_is_named_with_its_remedy(
    changed: dict[str, str], problem: str, tmp_path: Path
) -> None:
    options = [word for pair in (GOOD | changed).items() for word in pair]
    done = CliRunner().invoke(app, ["replay", str(tmp_path / "meters.csv"), *options])
    assert done.exit_code == 2
    assert problem in done.output
    assert replay.__doc__
