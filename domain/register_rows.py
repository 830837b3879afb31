"""Rows of the register's files: values by column, or what is wrong with which cell."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from domain.register import Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """What is wrong with one cell: where it stands, what it holds and how to mend it."""

    file: str
    line: int
    column: str
    value: str
    problem: str

    def __str__(self) -> str:
        shown = f" {self.value!r}" if self.value else ""
        return f"{self.file}:{self.line}: {self.column}{shown}: {self.problem}"


def check_headings(sheet: Sheet, headings: list[str], file: str) -> list[RowError]:
    """Compare a file's headings with its sheet, and return what is missing or unknown."""
    names = [column.name for column in sheet.columns]
    missing = [
        column.name
        for column in sheet.columns
        if (column.required or column.name in sheet.key) and column.name not in headings
    ]
    faults = dict.fromkeys(
        missing, "this column is missing; add it, or name its heading in the mapping file"
    )
    for heading in headings:
        if heading not in names:
            faults[heading] = f"unknown column; {_suggest(heading, names)}"
    return [
        RowError(file=file, line=1, column=column, value="", problem=problem)
        for column, problem in faults.items()
    ]


def _suggest(heading: str, names: list[str]) -> str:
    near = get_close_matches(heading, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"known columns are {', '.join(names)}"


def read_row(
    sheet: Sheet, row: dict[str, str], file: str, line: int
) -> tuple[dict[str, Any], list[RowError]]:
    """Read the cells of one row.

    Returns the values by column name, None for an empty cell, and what is wrong. Columns that the
    sheet does not have are left out.
    """
    values: dict[str, Any] = {}
    errors = []
    for name, raw in row.items():
        column = sheet.column(name)
        if column is None:
            continue
        cell = (raw or "").strip()
        try:
            values[name] = column.read_cell(cell)
        except ValueError as error:
            problem = RowError(
                file=file, line=line, column=name, value=cell[:60], problem=str(error)
            )
            errors.append(problem)
    if not errors and _ends_before_it_begins(values):
        problem = RowError(
            file=file,
            line=line,
            column="valid_to",
            value=str(values["valid_to"]),
            problem="must not lie before valid_from",
        )
        errors.append(problem)
    return values, errors


def _ends_before_it_begins(values: dict[str, Any]) -> bool:
    first = values.get("valid_from")
    last = values.get("valid_to")
    return first is not None and last is not None and last < first
