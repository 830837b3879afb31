"""What the register is imported from: a directory of CSV files, or rows that a program made.

A mapping is a TOML file. `[units.columns] "房号" = "code"` names the column of a heading, and
`[units.constants] estate = "qingnian"` gives a column that the file does not have.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domain.errors import UserError
from domain.register import SHEET_OF
from store.database.connection import Connection
from store.register.imports import ImportReport, SheetInput, import_sheets

#: A register file larger than this is refused: a city's is 50 MB.
MAX_BYTES = 512 * 1024 * 1024


class BadRegister(UserError):
    """The directory or the mapping cannot be used; the message names the file and the fix."""


def read_directory(directory: Path, mapping_file: Path | None) -> dict[str, SheetInput]:
    """Find the register's files in a directory.

    Raises: BadRegister.
    """
    if not directory.is_dir():
        raise BadRegister(f"{directory}: no such directory")
    mapping = _read_mapping(mapping_file) if mapping_file else {}
    found = {}
    for path in sorted(directory.glob("*.csv")):
        if path.stem not in SHEET_OF:
            names = ", ".join(f"{name}.csv" for name in SHEET_OF)
            raise BadRegister(f"{path.name}: unknown file; the register's files are {names}")
        found[path.stem] = _read_sheet(path, mapping.get(path.stem, {}))
    if not found:
        raise BadRegister(
            f"{directory}: holds no register file; "
            "see docs/registers.md for their names and columns"
        )
    return found


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        mapping = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRegister(f"{path}: cannot be read as TOML: {error}") from None
    for name in mapping:
        if name not in SHEET_OF:
            raise BadRegister(f"{path}: [{name}] is no sheet; use one of {', '.join(SHEET_OF)}")
    return mapping


def _read_sheet(path: Path, mapping: dict[str, Any]) -> SheetInput:
    """Read one file, with its headings replaced by the names of columns."""
    reader = csv.DictReader(io.StringIO(_read_text(path)))
    columns: dict[str, str] = mapping.get("columns", {})
    constants = {name: str(value) for name, value in mapping.get("constants", {}).items()}

    def column_of(heading: str) -> str:
        return columns.get(heading.strip(), heading.strip())

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        for row in reader:
            # Cells beyond the last heading stand under None.
            cells = {
                column_of(heading): cell or ""
                for heading, cell in row.items()
                if heading is not None
            }
            yield reader.line_num, {**constants, **cells}

    headings = [column_of(heading) for heading in reader.fieldnames or []]
    added = [name for name in constants if name not in headings]
    return SheetInput(file=path.name, headings=[*added, *headings], rows=rows())


def _read_text(path: Path) -> str:
    """Read a file in UTF-8 or GB 18030.

    Raises: BadRegister.
    """
    if path.stat().st_size > MAX_BYTES:
        raise BadRegister(f"{path.name}: larger than {MAX_BYTES >> 20} MB; split it")
    raw = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadRegister(f"{path.name}: neither UTF-8 nor GB 18030; save it as one of them")


def as_input(name: str, rows: list[dict[str, str]]) -> SheetInput:
    """Return rows made by a program as a sheet, numbered as they would stand in a file."""
    headings = list(rows[0]) if rows else []
    # Line 1 has the headings.
    numbered = list(enumerate(rows, 2))
    return SheetInput(file=f"{name}.csv", headings=headings, rows=numbered)


def import_rows(connection: Connection, sheets: dict[str, list[dict[str, str]]]) -> ImportReport:
    """Write sheets made by a program, and commit."""
    inputs = {name: as_input(name, rows) for name, rows in sheets.items() if rows}
    report = import_sheets(connection, inputs, apply=True)
    connection.commit()
    return report
