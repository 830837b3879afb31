"""Writing the register from sheets, all or nothing, idempotent: the same files twice change nothing.

Codes are resolved to ids from the database and from the rows read before them, a row with a fault is reported with
its file and line, and nothing at all is written while one fault stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psycopg import Rollback, sql

from store.database.connection import Connection
from store.register.sheets import SHEETS, Column, RowError, Sheet, check_headings, read_row

#: Faults beyond this many are counted, not listed.
MAX_ERRORS = 200


@dataclass(slots=True, kw_only=True)
class SheetInput:
    """One file's contents: its headings (already mapped to column names) and its rows with their line numbers."""

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
    """Import sheets in the order of their dependence; with `apply` false everything is tried and rolled back."""
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
    done = SheetReport(sheet=sheet.name)
    report.sheets.append(done)
    wrong = check_headings(sheet, given.headings, given.file)
    report.add(wrong)
    if wrong:
        return
    columns = [column for column in sheet.columns if column.name in given.headings]
    if sheet.name == "jurisdictions":
        # The only sheet that refers to itself: parents are written before children are resolved.
        for line, row in given.rows:
            _write(
                connection,
                sheet,
                columns,
                _resolve(connection, sheet, columns, [(line, row)], given.file, done, report),
                done,
            )
        return
    _write(
        connection,
        sheet,
        columns,
        _resolve(connection, sheet, columns, given.rows, given.file, done, report),
        done,
    )


def _resolve(
    connection: Connection,
    sheet: Sheet,
    columns: list[Column],
    rows: Iterable[tuple[int, dict[str, str]]],
    file: str,
    done: SheetReport,
    report: ImportReport,
) -> list[tuple[Any, ...]]:
    """Read rows and turn codes into ids."""
    known = {column.ref: _ids(connection, column.ref) for column in columns if column.ref}
    seen: dict[tuple[Any, ...], int] = {}
    resolved = []
    for line, row in rows:
        done.read += 1
        values, errors = read_row(sheet, row, file, line)
        for column in columns:
            if column.ref and values.get(column.name) is not None:
                code = values[column.name]
                estate = values.get("estate") if _scoped(column.ref) else None
                found = known[column.ref].get((estate, code))
                if found is None:
                    errors.append(
                        RowError(
                            file=file,
                            line=line,
                            column=column.name,
                            value=code,
                            problem=f"no such code among the {column.ref}; add it to {column.ref}.csv",
                        )
                    )
                values[column.target] = found
        key = tuple(row.get(name) for name in sheet.key)
        if key in seen:
            errors.append(
                RowError(
                    file=file,
                    line=line,
                    column=sheet.key[-1],
                    value=str(key[-1]),
                    problem=f"stands on line {seen[key]} already; a code may stand once",
                )
            )
        seen[key] = line
        report.add(errors)
        if not errors:
            resolved.append(
                tuple(
                    values.get(c.target if c.ref else c.name) for c in columns if _stored(sheet, c)
                )
            )
    return resolved


def _scoped(sheet_name: str) -> bool:
    return next(s.in_estate for s in SHEETS if s.name == sheet_name)


def _stored(sheet: Sheet, column: Column) -> bool:
    """Tell whether a column is the table's own: `estate` only helps to find a unit where the key does not hold it."""
    return column.name != "estate" or sheet.in_estate


def _ids(connection: Connection, sheet_name: str) -> dict[tuple[str | None, str], int]:
    if _scoped(sheet_name):
        query = sql.SQL(
            "SELECT e.code AS estate, t.code, t.id FROM {t} t JOIN estates e ON e.id = t.estate_id"
        )
    else:
        query = sql.SQL("SELECT NULL::text AS estate, t.code, t.id FROM {t} t")
    rows = connection.execute(query.format(t=sql.Identifier(sheet_name)))
    return {(row["estate"], row["code"]): row["id"] for row in rows}


def _write(
    connection: Connection,
    sheet: Sheet,
    columns: list[Column],
    rows: list[tuple[Any, ...]],
    done: SheetReport,
) -> None:
    if not rows:
        return
    stored = [column for column in columns if _stored(sheet, column)]
    names = [sql.Identifier(column.target) for column in stored]
    keys = [sql.Identifier("estate_id" if name == "estate" else name) for name in sheet.key]
    others = [sql.Identifier(column.target) for column in stored if column.name not in sheet.key]
    # An empty optional cell leaves a column with a default to its default.
    connection.execute("DROP TABLE IF EXISTS sheet_rows")
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE sheet_rows ON COMMIT DROP AS SELECT {names} FROM {table} WHERE false"
        ).format(names=sql.SQL(", ").join(names), table=sql.Identifier(sheet.name))
    )
    copy = sql.SQL("COPY sheet_rows ({names}) FROM STDIN").format(names=sql.SQL(", ").join(names))
    with connection.cursor() as cursor, cursor.copy(copy) as stream:
        for row in rows:
            stream.write_row(row)
    defaults = _defaults(connection, sheet.name)
    selected = [
        sql.SQL("coalesce({c}, {d})").format(
            c=sql.Identifier(c.target), d=sql.SQL(defaults[c.target])
        )
        if c.target in defaults
        else sql.Identifier(c.target)
        for c in stored
    ]
    insert = sql.SQL(
        "INSERT INTO {table} AS t ({names}) SELECT {selected} FROM sheet_rows ON CONFLICT ({keys}) "
    ).format(
        table=sql.Identifier(sheet.name),
        names=sql.SQL(", ").join(names),
        selected=sql.SQL(", ").join(selected),
        keys=sql.SQL(", ").join(keys),
    )
    if others:
        excluded = [sql.SQL("excluded.") + name for name in others]
        insert += sql.SQL("DO UPDATE SET {sets} WHERE {changed} ").format(
            sets=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(n, e) for n, e in zip(others, excluded, strict=True)
            ),
            changed=sql.SQL(" OR ").join(
                sql.SQL("t.{} IS DISTINCT FROM {}").format(n, e)
                for n, e in zip(others, excluded, strict=True)
            ),
        )
    else:
        insert += sql.SQL("DO NOTHING ")
    for row in connection.execute(insert + sql.SQL("RETURNING xmax = 0 AS created")):
        done.created += bool(row["created"])
        done.changed += not row["created"]


def _defaults(connection: Connection, table: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT column_name, column_default FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND table_name = %s AND column_default IS NOT NULL AND is_identity = 'NO'",
        [table],
    )
    return {row["column_name"]: row["column_default"] for row in rows}
