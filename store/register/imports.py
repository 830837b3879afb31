"""Import of the register from sheets, all or nothing; the same files twice change nothing.

Codes are resolved to ids from the database and from the sheets before. A row with a fault is
reported with its file and line, and nothing at all is written while one fault stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psycopg import Rollback, sql

from domain.register import SHEET_OF, SHEETS, Column, Sheet
from domain.register_rows import RowError, check_headings, read_row
from store.database.connection import Connection

#: Faults beyond this many are counted, not listed.
MAX_ERRORS = 200


@dataclass(slots=True, kw_only=True)
class SheetInput:
    """One file: its headings as column names, and its rows with their line numbers."""

    file: str
    headings: list[str]
    rows: Iterable[tuple[int, dict[str, str]]]


@dataclass(slots=True, kw_only=True)
class SheetReport:
    """What an import did, or would do, to one sheet."""

    sheet: str
    read: int = 0
    created: int = 0
    changed: int = 0

    @property
    def unchanged(self) -> int:
        """Rows that the database held already as they are."""
        return self.read - self.created - self.changed


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What an import did, or would do."""

    sheets: list[SheetReport] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    more_errors: int = 0

    def add(self, errors: list[RowError]) -> None:
        """Keep faults up to the limit and count the rest."""
        room = MAX_ERRORS - len(self.errors)
        self.errors.extend(errors[:room])
        self.more_errors += max(0, len(errors) - room)


def import_sheets(
    connection: Connection, inputs: dict[str, SheetInput], *, apply: bool
) -> ImportReport:
    """Import sheets, each after those that it refers to.

    Without `apply` everything is tried and rolled back.
    """
    report = ImportReport()
    with connection.transaction(force_rollback=not apply) as transaction:
        for sheet in SHEETS:
            if sheet.name in inputs:
                _import_sheet(connection, sheet, inputs[sheet.name], report)
        if report.errors and apply:
            raise Rollback(transaction)
    return report


def _import_sheet(
    connection: Connection, sheet: Sheet, given: SheetInput, report: ImportReport
) -> None:
    sheet_report = SheetReport(sheet=sheet.name)
    report.sheets.append(sheet_report)
    heading_errors = check_headings(sheet, given.headings, given.file)
    report.add(heading_errors)
    if heading_errors:
        return
    columns = tuple(column for column in sheet.columns if column.name in given.headings)
    # Parents are written before their children are resolved.
    batches = ([row] for row in given.rows) if sheet.refers_to_itself else [given.rows]
    for rows in batches:
        reader = _SheetReader(
            sheet=sheet,
            columns=columns,
            file=given.file,
            ids={column.ref: _read_ids(connection, column.ref) for column in columns if column.ref},
        )
        resolved = reader.read_rows(rows, report)
        sheet_report.read += reader.read
        if resolved:
            _write_rows(connection, sheet, reader.stored_columns, resolved, sheet_report)


#: The ids of a sheet's rows by estate and code; the estate is None for codes that are unique.
RowIds = dict[tuple[str | None, str], int]


@dataclass(slots=True, kw_only=True)
class _SheetReader:
    """Reads rows of one file and turns codes into ids."""

    sheet: Sheet
    columns: tuple[Column, ...]
    file: str
    ids: dict[str, RowIds]
    #: Rows that were read.
    read: int = 0
    _line_of: dict[tuple[str | None, ...], int] = field(default_factory=dict)

    @property
    def stored_columns(self) -> list[Column]:
        """Columns of the table. `estate` may only help to find a unit."""
        return [
            column for column in self.columns if column.name != "estate" or self.sheet.in_estate
        ]

    def read_rows(
        self, rows: Iterable[tuple[int, dict[str, str]]], report: ImportReport
    ) -> list[tuple[Any, ...]]:
        """Return the values of rows without a fault, in the order of the stored columns."""
        stored = self.stored_columns
        resolved = []
        for line, row in rows:
            self.read += 1
            values, errors = read_row(self.sheet, row, self.file, line)
            errors += self._resolve_codes(values, line)
            errors += self._check_key(row, line)
            report.add(errors)
            if not errors:
                resolved.append(tuple(values.get(column.target) for column in stored))
        return resolved

    def _resolve_codes(self, values: dict[str, Any], line: int) -> list[RowError]:
        """Add the ids of the codes in a row, and return the codes that are unknown."""
        errors = []
        for column in self.columns:
            code = values.get(column.name)
            if column.ref is None or code is None:
                continue
            estate = values.get("estate") if SHEET_OF[column.ref].in_estate else None
            row_id = self.ids[column.ref].get((estate, code))
            values[column.target] = row_id
            if row_id is None:
                problem = f"no such code among the {column.ref}; add it to {column.ref}.csv"
                errors.append(self._error(line, column.name, code, problem))
        return errors

    def _check_key(self, row: dict[str, str], line: int) -> list[RowError]:
        """Return an error where the key of a row stood on an earlier line."""
        key = tuple(row.get(name) for name in self.sheet.key)
        earlier = self._line_of.get(key)
        self._line_of[key] = line
        if earlier is None:
            return []
        problem = f"stands on line {earlier} already; a code may stand once"
        return [self._error(line, self.sheet.key[-1], str(key[-1]), problem)]

    def _error(self, line: int, column: str, value: str, problem: str) -> RowError:
        return RowError(file=self.file, line=line, column=column, value=value, problem=problem)


def _read_ids(connection: Connection, sheet_name: str) -> RowIds:
    """Read the ids of a sheet's table."""
    query = _IDS_IN_ESTATE if SHEET_OF[sheet_name].in_estate else _IDS
    rows = connection.execute(sql.SQL(query).format(table=sql.Identifier(sheet_name)))
    return {(row["estate"], row["code"]): row["id"] for row in rows}


_IDS_IN_ESTATE = """
    SELECT e.code AS estate, t.code, t.id
    FROM {table} t
    JOIN estates e ON e.id = t.estate_id
"""
_IDS = """
    SELECT NULL::text AS estate, t.code, t.id
    FROM {table} t
"""


def _write_rows(
    connection: Connection,
    sheet: Sheet,
    columns: list[Column],
    rows: list[tuple[Any, ...]],
    report: SheetReport,
) -> None:
    """Write rows through a staging table, and count those that were created or changed."""
    names = sql.SQL(", ").join(sql.Identifier(column.target) for column in columns)
    table = sql.Identifier(sheet.name)
    connection.execute("DROP TABLE IF EXISTS sheet_rows")
    connection.execute(sql.SQL(_MAKE_STAGE).format(names=names, table=table))
    copy = sql.SQL("COPY sheet_rows ({names}) FROM STDIN").format(names=names)
    with connection.cursor() as cursor, cursor.copy(copy) as stream:
        for row in rows:
            stream.write_row(row)
    merge = _merge_statement(sheet, columns, _read_defaults(connection, sheet.name))
    for row in connection.execute(merge):
        if row["created"]:
            report.created += 1
        else:
            report.changed += 1


_MAKE_STAGE = """
    CREATE TEMP TABLE sheet_rows ON COMMIT DROP AS
    SELECT {names}
    FROM {table}
    WHERE false
"""


def _merge_statement(sheet: Sheet, columns: list[Column], defaults: dict[str, str]) -> sql.Composed:
    """Return the statement that moves staged rows into a table; it returns the rows it wrote.

    An empty optional cell gives the column its default. A row that is as it was is not written.
    """
    keys = [sql.Identifier("estate_id" if name == "estate" else name) for name in sheet.key]
    others = [sql.Identifier(c.target) for c in columns if c.name not in sheet.key]
    return sql.SQL(_MERGE_CHANGED if others else _MERGE_NEW).format(
        table=sql.Identifier(sheet.name),
        names=sql.SQL(", ").join(sql.Identifier(column.target) for column in columns),
        values=sql.SQL(", ").join(_staged_value(column, defaults) for column in columns),
        keys=sql.SQL(", ").join(keys),
        others=sql.SQL(", ").join(others),
        existing=sql.SQL(", ").join(sql.SQL("t.{}").format(name) for name in others),
        staged=sql.SQL(", ").join(sql.SQL("excluded.{}").format(name) for name in others),
    )


def _staged_value(column: Column, defaults: dict[str, str]) -> sql.Composable:
    name = sql.Identifier(column.target)
    if column.target not in defaults:
        return name
    return sql.SQL("coalesce({}, {})").format(name, sql.SQL(defaults[column.target]))


_MERGE_NEW = """
    INSERT INTO {table} AS t ({names})
    SELECT {values}
    FROM sheet_rows
    ON CONFLICT ({keys}) DO NOTHING
    RETURNING xmax = 0 AS created
"""
_MERGE_CHANGED = """
    INSERT INTO {table} AS t ({names})
    SELECT {values}
    FROM sheet_rows
    ON CONFLICT ({keys}) DO UPDATE
    SET ({others}) = ROW({staged})
    WHERE ROW({existing}) IS DISTINCT FROM ROW({staged})
    RETURNING xmax = 0 AS created
"""


def _read_defaults(connection: Connection, table: str) -> dict[str, str]:
    """Read the defaults of a table's columns, as SQL."""
    rows = connection.execute(_DEFAULTS, [table])
    return {row["column_name"]: row["column_default"] for row in rows}


_DEFAULTS = """
    SELECT column_name, column_default
    FROM information_schema.columns
    WHERE table_schema = current_schema()
      AND table_name = %s
      AND column_default IS NOT NULL
      AND is_identity = 'NO'
"""
