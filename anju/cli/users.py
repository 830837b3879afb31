"""The `anju users` commands: log-ins."""

from __future__ import annotations

from typing import Annotated

import typer

from anju.cli.terminal import fail, load_settings_and_logs, out

users_app = typer.Typer(no_args_is_help=True, help="Log-ins.")


@users_app.command(name="add")
def add(
    name: str,
    role: Annotated[str, typer.Option()],
    jurisdiction: Annotated[str | None, typer.Option(help="reach: a jurisdiction's code")] = None,
    estate: Annotated[str | None, typer.Option(help="reach: one estate's code")] = None,
) -> None:
    """Make a log-in with a password that must be changed, and print it once."""
    from api.passwords import make_user
    from domain.access import Role
    from store.database.connection import connect

    if role not in list(Role):
        raise fail(f"--role {role!r}: use one of {', '.join(Role)}")
    try:
        with connect(load_settings_and_logs().conninfo()) as connection:
            password = make_user(
                connection, name, Role(role), jurisdiction=jurisdiction, estate=estate
            )
    except ValueError as error:
        raise fail(str(error)) from None
    out.print(f"{name}: {password} (to be changed at the first log-in)")
