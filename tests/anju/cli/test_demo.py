"""`anju demo` bounds what it may be asked for."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from anju.cli import demo
from anju.cli.app import app


@pytest.mark.parametrize("units", ["23", "5001", "many"])
def test_a_demo_is_no_smaller_and_no_larger_than_it_says(units: str) -> None:
    done = CliRunner().invoke(app, ["demo", "--units", units])
    assert done.exit_code == 2
    assert "--units" in done.output
    assert demo.demo.__doc__
