"""What the register is imported from: a directory of CSV files, in either encoding and with a mapping, or a program's rows.

The mapping is a TOML file: `[units.columns] "房号" = "code"` names a heading's column, and `[units.constants]
estate = "qingnian"` gives a column that the file does not have.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domain.errors import UserError
from store.database.connection import Connection
from store.register.imports import ImportReport, SheetInput, import_sheets
from store.register.sheets import SHEET_OF

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
            raise BadRegister(
                f"{path.name}: unknown file; the register's files are {', '.join(n + '.csv' for n in SHEET_OF)}"
            )
        found[path.stem] = _read_sheet(path, mapping.get(path.stem, {}))
    if not found:
        raise BadRegister(
            f"{directory}: holds no register file; see docs/registers.md for their names and columns"
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
    if path.stat().st_size > MAX_BYTES:
        raise BadRegister(f"{path.name}: larger than {MAX_BYTES >> 20} MB; split it")
    raw = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise BadRegister(f"{path.name}: neither UTF-8 nor GB 18030; save it as one of them")
    reader = csv.DictReader(io.StringIO(text))
    columns: dict[str, str] = mapping.get("columns", {})
    constants: dict[str, str] = {k: str(v) for k, v in mapping.get("constants", {}).items()}
    headings = [columns.get(h.strip(), h.strip()) for h in reader.fieldnames or []]

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        for row in reader:
            cells = {
                columns.get(k.strip(), k.strip()): v or "" for k, v in row.items() if k is not None
            }
            yield reader.line_num, {**constants, **cells}

    return SheetInput(
        file=path.name,
        headings=[*(c for c in constants if c not in headings), *headings],
        rows=rows(),
    )


def as_input(name: str, rows: list[dict[str, str]]) -> SheetInput:
    """Give rows made by a program to the register's import, numbered as they would stand in a file."""
    headings = list(rows[0]) if rows else []
    return SheetInput(
        file=f"{name}.csv", headings=headings, rows=[(i + 2, row) for i, row in enumerate(rows)]
    )


def import_rows(connection: Connection, sheets: dict[str, list[dict[str, str]]]) -> ImportReport:
    """Write sheets made by a program, and commit."""
    inputs = {name: as_input(name, rows) for name, rows in sheets.items() if rows}
    report = import_sheets(connection, inputs, apply=True)
    connection.commit()
    return report
