"""Rows of register files: values by column, or which cell is wrong and how to mend it."""

from __future__ import annotations

from datetime import date

from domain.register import SHEET_OF
from domain.register_rows import RowError, check_headings, read_row

TENANCIES = SHEET_OF["tenancies"]
ROW = {
    "code": "t-1",
    "estate": "es",
    "unit": "u-1",
    "household": "h-1",
    "valid_from": "2026-01-01",
}


def test_a_missing_and_an_unknown_heading_are_named_with_the_fix() -> None:
    headings = ["code", "estate", "unit", "houshold", "valid_from"]
    missing, unknown = check_headings(TENANCIES, headings, "t.csv")
    assert (missing.column, unknown.column) == ("household", "houshold")
    assert "add it" in missing.problem and "did you mean 'household'?" in unknown.problem
    (strange,) = check_headings(TENANCIES, [*ROW, "qqq"], "t.csv")
    assert "known columns are code, estate" in strange.problem
    assert check_headings(TENANCIES, list(ROW), "t.csv") == []


def test_a_row_becomes_values() -> None:
    values, errors = read_row(TENANCIES, {**ROW, "valid_to": " ", "note": "?"}, "t.csv", 2)
    assert errors == [] and "note" not in values
    assert values["valid_from"] == date(2026, 1, 1) and values["valid_to"] is None


def test_a_fault_says_where_and_how_to_mend_it() -> None:
    _, errors = read_row(TENANCIES, {**ROW, "household": "", "valid_to": "soon"}, "t.csv", 7)
    assert [str(error) for error in errors] == [
        "t.csv:7: household: must not be empty",
        "t.csv:7: valid_to 'soon': must be a date like 2026-03-31",
    ]


def test_nothing_ends_before_it_begins() -> None:
    _, errors = read_row(TENANCIES, {**ROW, "valid_to": "2025-12-31"}, "t.csv", 3)
    assert errors == [
        RowError(
            file="t.csv",
            line=3,
            column="valid_to",
            value="2025-12-31",
            problem="must not lie before valid_from",
        )
    ]
