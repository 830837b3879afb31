"""What is typed wrongly is said in one line that names the option, the value and the fix.

Evaluation runs from the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anju.cli import evaluate, terminal, visits


def anju(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "anju", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("leads", "--as-of", "yesterday"), "--as-of 'yesterday': must be a date like"),
        (("leads", "--lang", "fr"), "--lang 'fr': use one of zh, en"),
        (("nightly", "--from", "2026-01-01"), "--from and --to belong together"),
        (
            ("backtest", "nothing", "--from", "2026-01-01", "--to", "2026-02-01"),
            "no such detector; use one of unoccupied",
        ),
        (
            (
                "backtest",
                "unoccupied",
                "--from",
                "2026-01-01",
                "--to",
                "2026-02-01",
                "--param",
                "x=1",
            ),
            "--param 'x=1': unoccupied has",
        ),
        (
            (
                "backtest",
                "unoccupied",
                "--from",
                "2026-01-01",
                "--to",
                "2026-02-01",
                "--param",
                "warn_days=x",
            ),
            "must be name=number",
        ),
        (("play", "/nowhere.gz"), "/nowhere.gz: no such file"),
        (("record", "/nowhere/x.gz", "--estate", "es"), "its directory does not exist"),
        (("record", "x.gz", "--estate", "E S"), "--estate 'E S': must be 2 to 40"),
        (("visits", "import", "/nowhere.csv"), "/nowhere.csv: cannot be read"),
    ],
)
def test_a_wrong_word_is_told_in_a_line(arguments: tuple[str, ...], said: str) -> None:
    done = anju(*arguments, ANJU_DSN="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 2 and said in (done.stderr + done.stdout).replace("\n", " "), (
        done.stderr + done.stdout
    )
    assert "Traceback" not in done.stderr


def test_a_world_is_not_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert "is not empty" in anju("simulate", "world", str(tmp_path)).stderr
    made = tmp_path / "world"
    assert anju("simulate", "world", str(made), "--units", "48", "--days", "30").returncode == 0
    assert {p.name for p in made.iterdir()} == {"register", "traffic", "truth.json"}
    assert json.loads((made / "truth.json").read_text())["days"] == 30
    assert (
        evaluate.FIRST.year == 2024
        and visits.visits_app
        and terminal.parse_day("--x", "2026-01-02").day == 2
    )
