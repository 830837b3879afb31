"""`anju register columns` prints what the documents hold."""

from __future__ import annotations

from typer.testing import CliRunner

from anju.cli.register import register_app
from tests.conftest import ROOT


def test_the_printed_columns_are_those_of_the_document() -> None:
    done = CliRunner().invoke(register_app, ["columns"])
    assert done.exit_code == 0
    assert done.output == (ROOT / "docs" / "registers.md").read_text("utf-8")
