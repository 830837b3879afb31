"""The `anju register` commands: the register's files in, and their columns out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from anju.cli.terminal import fail, load_settings_and_logs, out

register_app = typer.Typer(no_args_is_help=True, help="The register: places, tenancies, devices.")


@register_app.command(name="import")
def import_register(
    directory: Annotated[Path, typer.Argument(help="directory of CSV files")],
    mapping: Annotated[Path | None, typer.Option(help="TOML file that maps other headings")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="write; without it everything is only tried")
    ] = False,
) -> None:
    """Import the register from CSV files. Tried first, all or nothing; see docs/registers.md for
    the columns.
    """
    from anju.register_files import read_directory
    from store.database.connection import connect
    from store.register.imports import import_sheets

    settings = load_settings_and_logs()
    inputs = read_directory(directory, mapping)
    with connect(settings.conninfo(), statement_s=600) as connection:
        report = import_sheets(connection, inputs, apply=apply)
    table = Table("sheet", "rows", "new", "changed", "unchanged")
    for sheet in report.sheets:
        table.add_row(
            sheet.sheet,
            str(sheet.read),
            str(sheet.created),
            str(sheet.changed),
            str(sheet.unchanged),
        )
    out.print(table)
    for error in report.errors:
        print(str(error), file=sys.stderr)
    if report.errors:
        raise fail(f"{len(report.errors) + report.more_errors} faults; nothing was written")
    out.print(
        "written" if apply else "nothing is wrong; nothing was written. Run it again with --apply"
    )


@register_app.command(name="columns")
def print_columns() -> None:
    """Print the documented column list of every register file, as Markdown."""
    from anju.contract import register_markdown

    print(register_markdown(), end="")
