"""The `anju` command: every service and every tool, thin over the modules that do the work."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.table import Table

from anju import services
from anju.cli.bench import bench_app
from anju.cli.evaluate import evaluate, simulate_world
from anju.cli.faces import faces_app
from anju.cli.gateway import decode, fail, gateway_app, out, simulate_devices, simulate_field
from anju.cli.leads import leads, rehearse, visits_app
from anju.cli.nightly import nightly, play, record
from anju.cli.notices import notices_app
from anju.cli.people import audit_app, keys_app, people_app
from anju.cli.quarantine import quarantine_app
from anju.cli.vision import vision_app
from anju.settings import BadSettings, Settings, load_settings
from domain.calendar import DEFAULT_ZONE
from domain.ids import valid_id
from domain.measures import Supply

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Anju 安居: a smart-community backend for public-housing estates.",
)
register = typer.Typer(no_args_is_help=True, help="The register: places, tenancies, devices.")
simulate_app = typer.Typer(no_args_is_help=True, help="A simulated city.")
users_app = typer.Typer(no_args_is_help=True, help="Log-ins.")
app.add_typer(register, name="register")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(users_app, name="users")
app.add_typer(simulate_app, name="simulate")
app.add_typer(gateway_app, name="gateway")
app.add_typer(bench_app, name="bench")
app.add_typer(visits_app, name="visits")
app.add_typer(notices_app, name="notices")
app.add_typer(keys_app, name="keys")
app.add_typer(people_app, name="people")
app.add_typer(audit_app, name="audit")
app.add_typer(vision_app, name="vision")
app.add_typer(faces_app, name="faces")
app.command()(decode)
app.command()(record)
app.command()(play)
app.command()(nightly)
app.command()(leads)
app.command()(rehearse)
app.command()(evaluate)
simulate_app.command(name="world")(simulate_world)
simulate_app.command(name="devices")(simulate_devices)
simulate_app.command(name="field")(simulate_field)
T = TypeVar("T")


def _settings() -> Settings:
    settings = load_settings()
    services.set_up_logs(as_json=settings.log_json)
    return settings


@app.command()
def migrate() -> None:
    """Bring the database's tables to the newest version."""
    from api.passwords import make_user
    from domain.access import Role
    from store.access import users
    from store.database.connection import connect, set_api_password
    from store.database.migration import migrate as run

    settings = _settings()
    level = run(settings.conninfo(), level=settings.wanted_level())
    password = settings.api_db_password()
    if password:
        with connect(settings.conninfo(), autocommit=True) as connection:
            set_api_password(connection, password)
    with connect(settings.conninfo()) as connection:
        if users.count_users(connection) == 0:
            made = make_user(connection, "admin", Role.ADMINISTRATOR, by="first start")
            print(f"first start: log in as admin with {made} and change it", flush=True)
    out.print(f"database is up to date, level {level}")


@app.command()
def doctor(
    messages: Annotated[
        int,
        typer.Option(help="messages that the broker must keep for a session that is away", min=100),
    ] = 20_000,
) -> None:
    """Try whether database, broker and Redis can keep what is promised. Exit code 1 where one of them cannot."""
    from anju.doctor import CheckVerdict, examine

    table, refused = Table("what", "verdict", "says"), False
    for check in examine(_settings(), messages):
        table.add_row(check.what, check.verdict, check.says)
        refused = refused or check.verdict is CheckVerdict.REFUSES
    out.print(table)
    raise typer.Exit(1 if refused else 0)


@app.command()
def ingest() -> None:
    """Run an ingest worker."""
    services.run_ingest(_settings())


@app.command()
def analytics() -> None:
    """Run watch and the loop that turns readings into facts, leads and alerts."""
    services.run_analytics(_settings())


@app.command()
def casework() -> None:
    """Run what tells people: notices by mail, chat, phone and webhook, again until somebody has seen it."""
    services.run_casework(_settings())


@app.command()
def api() -> None:
    """Run the API and the live page."""
    from api.serve import serve

    serve(_settings())


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="CSV of meter readings, .gz or not")],
    kind: Annotated[Supply, typer.Option(help="what the meters measure")],
    estate: Annotated[str, typer.Option(help="the estate they belong to")],
    time_column: Annotated[str, typer.Option(help="column that holds the time")],
    value_column: Annotated[str, typer.Option(help="column that holds the value")],
    uom: Annotated[
        str, typer.Option(help="l, m3, gal; kwh, wh, mwh, kwmin (kW summed per minute)")
    ],
    device_column: Annotated[str | None, typer.Option(help="column that names the meter")] = None,
    device: Annotated[
        str, typer.Option(help="the meter's name, for a file of one meter without such a column")
    ] = "",
    timezone: Annotated[str, typer.Option(help="time zone of the file's times")] = DEFAULT_ZONE,
    time_format: Annotated[
        str | None, typer.Option(help="such as %d/%m/%Y %H:%M:%S; ISO 8601 if left out")
    ] = None,
    interval: Annotated[
        bool, typer.Option("--interval", help="values are used per interval, not a register's")
    ] = False,
    gateway: Annotated[str, typer.Option(help="gateway to speak as")] = "replay",
    make_register: Annotated[
        bool,
        typer.Option(
            "--register",
            help="register the estate, a unit, a tenancy and a meter for each device met",
        ),
    ] = False,
    profile: Annotated[str | None, typer.Option(help="the meters' profile, for --register")] = None,
) -> None:
    """Send a file of real meter readings through a gateway's topic, as a gateway would."""
    from anju.replay import run_replay
    from gateway.replay import FACTORS, Layout

    for option, value in (("--estate", estate), ("--gateway", gateway)):
        if not valid_id(value):
            raise fail(f"{option} {value!r}: must be 2 to 40 lower-case letters, digits or hyphens")
    if (device_column is None) == (not device):
        raise fail(
            "--device-column: name the column that holds the meter, or with --device the file's only meter"
        )
    if uom not in FACTORS[kind]:
        raise fail(f"--uom {uom!r}: for {kind} use one of {', '.join(FACTORS[kind])}")
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise fail(f"--timezone {timezone!r}: use a zone like Asia/Shanghai") from None
    layout = Layout(
        supply=kind,
        device_column=device_column,
        device=device,
        time_column=time_column,
        value_column=value_column,
        uom=uom,
        timezone=zone,
        time_format=time_format,
        interval=interval,
    )
    raise typer.Exit(
        run_replay(
            _settings(),
            file,
            layout,
            estate,
            gateway,
            make_register=make_register,
            profile=profile,
            out=out,
        )
    )


@simulate_app.command(name="write")
def simulate_write(
    directory: Annotated[
        Path, typer.Argument(help="directory for the register's files; the truth goes beside it")
    ],
    units: Annotated[int, typer.Option(min=24, max=20_000)] = 240,
    seed: Annotated[int, typer.Option()] = 1,
    days: Annotated[int, typer.Option(help="length of the simulated past", min=1, max=800)] = 180,
) -> None:
    """Write a simulated city's register files and its truth, without sending anything."""
    from simulators.city import build_city
    from simulators.files import write_city

    city = build_city(seed=seed, units=units, days=days, until=datetime.now(UTC))
    write_city(city, directory)
    out.print(f"{len(city.homes)} units, seed {seed}: `anju register import {directory} --apply`")


@simulate_app.command(name="live")
def simulate_live(
    units: Annotated[int, typer.Option(min=24, max=576)] = 240,
    seed: Annotated[int, typer.Option()] = 1,
    days: Annotated[int, typer.Option(help="length of the simulated past", min=1, max=800)] = 180,
) -> None:
    """Register a simulated city, send its past and then its present, until told to stop."""
    from anju.register_files import import_rows
    from anju.simulate import LiveCity
    from simulators.city import build_city
    from simulators.files import register_rows
    from store.database.connection import connect

    settings = _settings()
    stopping = threading.Event()
    services.on_stop(stopping.set)
    now = datetime.now(UTC)
    city = build_city(seed=seed, units=units, days=days, until=now)
    with connect(settings.conninfo()) as connection:
        import_rows(connection, register_rows(city))
    with LiveCity(city, settings.broker(), f"s{int(now.timestamp())}", {}) as live:
        live.send_past(int(now.timestamp() * 1000), out, lambda: None)
        live.run(stopping.is_set, lambda: None)


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="where the demo keeps its data")] = Path(".anju/demo"),
    units: Annotated[int, typer.Option(min=24, max=5000)] = 240,
    seed: Annotated[int, typer.Option()] = 1,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    once: Annotated[bool, typer.Option("--once", help="print the summary and end")] = False,
) -> None:
    """Run the whole product on embedded parts with a simulated estate."""
    from anju.demo.run import run_demo

    raise typer.Exit(run_demo(home, units=units, seed=seed, port=port, once=once, out=out))


@app.command(name="demo-clean")
def demo_clean(home: Annotated[Path, typer.Option()] = Path(".anju/demo")) -> None:
    """Remove everything that the demo left on this machine."""
    from anju.demo.run import clean_demo

    clean_demo(home, out)


@register.command(name="import")
def register_import(
    directory: Annotated[Path, typer.Argument(help="directory of CSV files")],
    mapping: Annotated[Path | None, typer.Option(help="TOML file that maps other headings")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="write; without it everything is only tried")
    ] = False,
) -> None:
    """Import the register from CSV files. Tried first, all or nothing; see docs/registers.md for the columns."""
    from anju.register_files import read_directory
    from store.database.connection import connect
    from store.register.imports import import_sheets

    settings = _settings()
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


@register.command(name="columns")
def register_columns() -> None:
    """Print the documented column list of every register file, as Markdown."""
    from anju.contract import register_markdown

    print(register_markdown(), end="")


@users_app.command(name="add")
def users_add(
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
        with connect(_settings().conninfo()) as connection:
            password = make_user(
                connection, name, Role(role), jurisdiction=jurisdiction, estate=estate
            )
    except ValueError as error:
        raise fail(str(error)) from None
    out.print(f"{name}: {password} (to be changed at the first log-in)")


@app.command()
def contract(
    write: Annotated[Path, typer.Option(help="directory to write to")] = Path("docs/wire"),
) -> None:
    """Write the wire contract's JSON Schema and AsyncAPI, and the register's column list, from the code."""
    from anju.contract import write_contract

    for path in write_contract(write):
        out.print(str(path))


def main() -> None:
    """Run the command; what a person can mend is one line, not a traceback."""
    guarded(app)


def guarded(run: Callable[[], T]) -> T | Any:
    """Run something and turn the errors that name their own fix into one line and exit code 2."""
    from analytics.policy import BadPolicy
    from anju.demo.embedded import NotInstalled
    from anju.processes import ChildFailed
    from anju.register_files import BadRegister
    from api.clips import BadClipPlaces
    from api.pki import CertificateAuthorityMissing
    from api.serve import BadDirectory
    from devices.profiles import BadProfile
    from gateway.config import BadConfig
    from gateway.enrolment import EnrolmentFailed
    from gateway.outbox import OutboxUnusable
    from gateway.replay import BadFile
    from gateway.uplink import NotAcknowledged
    from privacy.keyring import BadKeyring
    from privacy.purposes import BadPeoplePolicy
    from store.casework.visits import BadVisit
    from store.database.connection import Unavailable, UndefinedTable
    from store.database.migration import MigrationError

    try:
        return run()
    except (
        BadSettings,
        BadDirectory,
        BadKeyring,
        BadClipPlaces,
        BadPeoplePolicy,
        BadPolicy,
        BadRegister,
        BadVisit,
        BadFile,
        NotAcknowledged,
        BadConfig,
        BadProfile,
        CertificateAuthorityMissing,
        EnrolmentFailed,
        OutboxUnusable,
        MigrationError,
        NotInstalled,
        ChildFailed,
    ) as error:
        print(f"anju: {error}", file=sys.stderr)
    except UndefinedTable:
        print("anju: the database has no tables yet: run `anju migrate` first", file=sys.stderr)
    except Unavailable as error:
        print(
            f"anju: ANJU_DSN: the database does not answer: {str(error).strip().splitlines()[0]}",
            file=sys.stderr,
        )
    sys.exit(2)
