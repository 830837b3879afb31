"""The `anju` command: one line a group of commands or a command; each stands in its own module."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import typer

from anju.cli.backtest import backtest
from anju.cli.bench import bench_app
from anju.cli.demo import demo, demo_clean
from anju.cli.evaluate import evaluate
from anju.cli.faces import faces_app
from anju.cli.gateway import decode, gateway_app
from anju.cli.leads import leads
from anju.cli.nightly import nightly, play, record
from anju.cli.notices import notices_app
from anju.cli.people import audit_app, keys_app, people_app
from anju.cli.profiles import profiles_app
from anju.cli.quarantine import quarantine_app
from anju.cli.register import register_app
from anju.cli.replay import replay
from anju.cli.services import analytics, api, casework, contract, doctor, ingest, migrate
from anju.cli.simulate import simulate_app
from anju.cli.users import users_app
from anju.cli.vision import vision_app
from anju.cli.visits import visits_app
from domain.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Anju 安居: a smart-community backend for public-housing estates.",
)
app.add_typer(register_app, name="register")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(users_app, name="users")
app.add_typer(simulate_app, name="simulate")
app.add_typer(gateway_app, name="gateway")
app.add_typer(profiles_app, name="profiles")
app.add_typer(bench_app, name="bench")
app.add_typer(visits_app, name="visits")
app.add_typer(notices_app, name="notices")
app.add_typer(keys_app, name="keys")
app.add_typer(people_app, name="people")
app.add_typer(audit_app, name="audit")
app.add_typer(vision_app, name="vision")
app.add_typer(faces_app, name="faces")
app.command()(migrate)
app.command()(doctor)
app.command()(ingest)
app.command()(analytics)
app.command()(casework)
app.command()(api)
app.command()(contract)
app.command()(replay)
app.command()(record)
app.command()(play)
app.command()(nightly)
app.command()(leads)
app.command()(backtest)
app.command()(evaluate)
app.command()(decode)
app.command()(demo)
app.command(name="demo-clean")(demo_clean)
Result = TypeVar("Result")


def main() -> None:
    """Run the command; what a person can mend is one line, not a traceback."""
    guarded(app)


def guarded(run: Callable[[], Result]) -> Result:
    """Run something; an error that a person can mend becomes one line and exit code 2."""
    from store.database.connection import Unavailable, UndefinedTable

    try:
        return run()
    except UserError as error:
        problem = str(error)
    except UndefinedTable:
        problem = "the database has no tables yet: run `anju migrate` first"
    except Unavailable as error:
        first_line = str(error).strip().splitlines()[0]
        problem = f"ANJU_DSN: the database does not answer: {first_line}"
    print(f"anju: {problem}", file=sys.stderr)
    sys.exit(2)
