"""Commands that run a service or look after the database.

They are migrate, doctor, ingest, analytics, casework, api and contract.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from anju import services
from anju.cli.terminal import load_settings_and_logs, out


def migrate() -> None:
    """Bring the database's tables to the newest version."""
    from api.passwords import make_user
    from domain.access import Role
    from store.access import users
    from store.database.connection import connect, set_api_password
    from store.database.migration import migrate as run

    settings = load_settings_and_logs()
    level = run(settings.conninfo(), level=settings.forced_level())
    password = settings.api_db_password()
    if password:
        with connect(settings.conninfo(), autocommit=True) as connection:
            set_api_password(connection, password)
    with connect(settings.conninfo()) as connection:
        if users.count_users(connection) == 0:
            made = make_user(connection, "admin", Role.ADMINISTRATOR)
            print(f"first start: log in as admin with {made} and change it", flush=True)
    out.print(f"database is up to date, level {level}")


def doctor(
    messages: Annotated[
        int,
        typer.Option(help="messages that the broker must keep for a session that is away", min=100),
    ] = 20_000,
) -> None:
    """Try whether database, broker and Redis can keep what is promised.

    Exit code 1 where one of them cannot.
    """
    from anju.doctor import CheckVerdict, examine

    table = Table("what", "verdict", "message")
    refused = False
    for check in examine(load_settings_and_logs(), messages):
        table.add_row(check.what, check.verdict, check.message)
        refused = refused or check.verdict is CheckVerdict.REFUSES
    out.print(table)
    raise typer.Exit(1 if refused else 0)


def ingest() -> None:
    """Run an ingest worker."""
    services.run_ingest(load_settings_and_logs())


def analytics() -> None:
    """Run watch and the loop that turns readings into facts, leads and alerts."""
    services.run_analytics(load_settings_and_logs())


def casework() -> None:
    """Run the service that notifies people by mail, chat, phone and webhook.

    It notifies them again until somebody has seen the alert.
    """
    services.run_casework(load_settings_and_logs())


def api() -> None:
    """Run the API and the live page."""
    from api.serve import serve

    serve(load_settings_and_logs())


def contract(
    write: Annotated[Path, typer.Option(help="directory to write to")] = Path("docs/wire"),
    database: Annotated[
        bool, typer.Option(help="also write the database schema, from a PostgreSQL started for it")
    ] = True,
) -> None:
    """Write the documents that are generated from the code.

    These are the wire contract's JSON Schema and AsyncAPI, the register's column list, and the
    database schema.
    """
    from anju.contract import write_contract

    for path in write_contract(write):
        out.print(str(path))
    if not database:
        return
    from anju.demo.embedded import find_timescale
    from anju.schema_documents import write_schemas

    timescale = find_timescale(os.environ.get("ANJU_TEST_TIMESCALE_BIN"))
    for path in write_schemas(write.parent / "schema", timescale):
        out.print(str(path))
    if timescale is None:
        out.print(f"{write.parent}/schema/timescale.sql stays as it is: no TimescaleDB here")
