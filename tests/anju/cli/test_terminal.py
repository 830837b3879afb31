"""What every command shares."""

from __future__ import annotations

from datetime import date

import pytest
import typer

from anju.cli.app import guarded
from anju.cli.terminal import fail, parse_day
from domain.errors import UserError


def test_a_day_is_read_or_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_day("--from", "2026-03-31") == date(2026, 3, 31)
    with pytest.raises(typer.Exit) as left:
        parse_day("--from", "31.3.")
    assert left.value.exit_code == 2
    assert capsys.readouterr().err == "anju: --from '31.3.': must be a date like 2026-03-31\n"
    assert fail("x").exit_code == 2


def test_what_a_person_can_mend_is_one_line_and_a_bug_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong_file() -> None:
        raise UserError("a.csv:3: no such column; use `at`")

    with pytest.raises(SystemExit) as ended:
        guarded(wrong_file)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "anju: a.csv:3: no such column; use `at`\n"

    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 / 0)
