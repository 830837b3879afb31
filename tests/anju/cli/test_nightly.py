"""The days of `anju nightly --from --to` are read whole, or refused in a line."""

from __future__ import annotations

from datetime import date

import pytest
import typer

from anju.cli.nightly import _read_span


def test_both_days_or_neither() -> None:
    span = _read_span("2026-03-01", "2026-03-04")
    assert span is not None and (span.first, span.last) == (date(2026, 3, 1), date(2026, 3, 4))
    assert _read_span(None, None) is None


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2026-03-01", None, "give both, or neither"),
        (None, "2026-03-01", "give both, or neither"),
        ("2026-03-02", "2026-03-01", "lies after --to 2026-03-01"),
        ("2026-03-40", "2026-03-01", "must be a date"),
    ],
)
def test_days_that_cannot_be_meant(
    first: str | None, last: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        _read_span(first, last)
    assert message in capsys.readouterr().err
