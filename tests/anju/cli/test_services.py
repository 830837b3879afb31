"""`anju contract` writes the documents that stand in the repository."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from anju.cli import services
from anju.cli.app import app
from tests.conftest import ROOT


def test_the_contract_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    where = str(tmp_path / "docs" / "wire")
    done = CliRunner().invoke(app, ["contract", "--no-database", "--write", where])
    assert done.exit_code == 0, done.output
    written = tmp_path / "docs" / "wire" / "events.schema.json"
    assert written.read_text("utf-8") == (ROOT / "docs/wire/events.schema.json").read_text("utf-8")


def test_each_service_says_what_it_runs() -> None:
    for command in (services.ingest, services.analytics, services.casework, services.api):
        assert command.__doc__
