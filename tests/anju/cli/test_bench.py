"""`anju bench ingest` and `latency`, small: every part runs to its end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anju.cli import bench
from anju.cli.app import app
from anju.demo import embedded

pytestmark = pytest.mark.real


@pytest.mark.long
def test_the_whole_bench_runs_small() -> None:
    if embedded.find_program("mosquitto") is None:
        pytest.skip("mosquitto is not on this machine")
    done = CliRunner().invoke(
        app,
        ["bench", "ingest", "--rounds", "1", "--messages", "6000", "--dense", "2000"],
        env={"COLUMNS": "200"},
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert "of the lower limit" in done.output and "acknowledge" in done.output
    done = CliRunner().invoke(
        app, ["bench", "latency", "--rate", "500", "--seconds", "6"], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert re.search(r"to the row .* ms", done.output)


def test_a_peer_without_its_packages_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(bench.bench_app, ["ingest", "--peer", str(tmp_path)])
    assert done.exit_code == 2
