"""`anju users add` knows the roles."""

from __future__ import annotations

from typer.testing import CliRunner

from anju.cli.app import app
from anju.cli.users import users_app
from domain.access import Role


def test_an_unknown_role_is_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(app, ["users", "add", "wang", "--role", "king"])
    assert done.exit_code == 2
    assert users_app.info.help
    for role in Role:
        assert role in done.output
