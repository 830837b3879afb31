"""The `anju gateway` commands, and the tools of whoever stands before a meter: `anju decode`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from anju.cli.terminal import fail, out

if TYPE_CHECKING:
    from gateway.check import GatewayCheckReport

gateway_app = typer.Typer(
    no_args_is_help=True, help="The gateway at the edge: run it, check it, give it its identity."
)
CONFIG = Path("gateway.toml")


@gateway_app.command()
def run(
    config: Annotated[Path, typer.Argument(help="the gateway's configuration")] = CONFIG,
) -> None:
    """Run the gateway until it is told to stop."""
    from anju.services import set_up_logs
    from gateway.process import run_gateway

    set_up_logs(as_json=False)
    run_gateway(config)


@gateway_app.command()
def check(
    config: Annotated[Path, typer.Argument(help="the gateway's configuration")] = CONFIG,
    only_faults: Annotated[bool, typer.Option("--faults", help="only what is wrong")] = False,
) -> None:
    """Show each device's last report, and why it is silent. Exit code 1 where anything is wrong."""
    from gateway.check import inspect_gateway
    from gateway.clock import GatewayClock
    from gateway.config import load_config

    loaded = load_config(config)
    clock = loaded.table.clock
    report = inspect_gateway(
        loaded,
        GatewayClock(speed=clock.speed, start_ms=clock.start_ms, real_ms=clock.real_ms).now_ms(),
    )
    print_report(report, only_faults=only_faults)
    raise typer.Exit(0 if report.healthy else 1)


def print_report(report: GatewayCheckReport, *, only_faults: bool) -> None:
    """Print what a gateway knows of its devices and of itself."""
    from gateway.check import time_span

    table = Table("device", "profile", "heard", "said", "clock", "wrong")
    # What is wrong stands last, where the eye ends.
    for line in sorted(
        report.devices, key=lambda status: (status.fault is not None, status.device)
    ):
        if line.fault is None and only_faults:
            continue
        quiet = "never" if line.quiet_s is None else f"{line.quiet_s} s ago"
        drift = "" if line.drift_ms is None else time_span(line.drift_ms)
        table.add_row(line.device, line.profile, quiet, line.summary, drift, line.fault or "")
    out.print(table)
    for name, fault in sorted(report.faults.items()):
        out.print(f"[bold]{name}[/bold]: {fault}")
    for note in report.unknown_devices:
        out.print(f"heard and not taken: {note}")
    wrong = sum(line.fault is not None for line in report.devices)
    lost = ", ".join(f"{count} {kind}" for kind, count in report.lost.items()) or "nothing"
    offset = (
        "not known yet"
        if report.offset_ms is None
        else f"{report.offset_ms:+d} ms against the server's"
    )
    out.print(
        f"{len(report.devices)} devices, {wrong} with something wrong; outbox: "
        f"{report.waiting} items wait, lost: {lost}; clock: {offset}"
    )


@gateway_app.command()
def claim(
    code: Annotated[
        str, typer.Argument(help="the one-time code that `anju gateway invite` printed")
    ],
    server: Annotated[str, typer.Option(help="address of the API, such as https://anju.example")],
    folder: Annotated[Path, typer.Option(help="where key and certificate are written")] = Path(),
    ca_file: Annotated[Path | None, typer.Option(help="authority of the API's certificate")] = None,
) -> None:
    """Turn a claim code into this gateway's own certificate.

    The key is made here and stays here.
    """
    from gateway.enrolment import claim as run_claim

    answer = run_claim(server, code, folder, ca_file=ca_file)
    out.print(
        f"certificate of {answer['estate']}/{answer['gateway']} until "
        f"{answer['valid_to']}; name it in [broker] of gateway.toml"
    )


@gateway_app.command(name="token-key")
def token_key() -> None:
    """Print a new random secret.

    It is for `token_key_file` (one for the whole estate) or a source's `token_file`.
    """
    print(secrets.token_hex(16))


@gateway_app.command()
def token(
    kind: Annotated[str, typer.Argument(help="person, card or plate")],
    value: Annotated[str, typer.Argument(help="what the device says")],
    config: Annotated[Path, typer.Option(help="the gateway's configuration")] = CONFIG,
) -> None:
    """Print the token that a person, card or plate has on this estate, for the register."""
    from gateway.config import load_config
    from gateway.intake import make_token

    if kind not in ("person", "card", "plate"):
        raise fail(f"{kind!r}: use person, card or plate")
    key = load_config(config).token_key
    if not key:
        raise fail(f"{config}: has no token_key_file")
    print(make_token(key, kind, value))


def decode(
    protocol: Annotated[
        str, typer.Argument(help="dlt645, cjt188, gb26875, mbus, modbus-rtu, modbus-tcp")
    ],
    data: Annotated[list[str], typer.Argument(help="the bytes in hex, with or without spaces")],
) -> None:
    """Say what the bytes of a frame mean, or why they are none."""
    from devices.explain import CODECS, explain

    if protocol not in CODECS:
        raise fail(f"{protocol!r}: use one of {', '.join(CODECS)}")
    try:
        raw = bytes.fromhex("".join(data))
    except ValueError as error:
        raise fail(f"the bytes are not hex: {error}") from None
    explanation = explain(protocol, raw)
    for line in explanation.lines:
        out.print(line, markup=False)
    raise typer.Exit(0 if explanation.understood else 1)


@gateway_app.command()
def invite(
    estate: Annotated[str, typer.Option(help="the estate's code")],
    gateway: Annotated[str, typer.Option(help="the gateway's code, as the register has it")],
    minutes: Annotated[int, typer.Option(help="how long the code works", min=1, max=10_080)] = 60,
) -> None:
    """Print a one-time code by which a gateway claims its certificate.

    It is shown once and stored as a hash.
    """
    from datetime import UTC, datetime, timedelta

    from anju.settings import load_settings
    from store.database.connection import connect
    from store.gateways import identities

    code = f"{estate}.{gateway}.{secrets.token_urlsafe(20)}"
    with connect(load_settings().conninfo()) as connection:
        found = identities.find_gateway(connection, estate, gateway)
        if found is None:
            raise fail(
                f"gateway {gateway!r} is not registered at estate {estate!r}; put it into "
                "gateways.csv first"
            )
        identities.add_claim(
            connection,
            found.id,
            code,
            expires_at=datetime.now(UTC) + timedelta(minutes=minutes),
            made_by="cli",
        )
    print(code)


@gateway_app.command()
def revoke(
    estate: Annotated[str, typer.Option(help="the estate's code")],
    gateway: Annotated[str, typer.Option(help="the gateway's code")],
    why: Annotated[str, typer.Option(help="kept with the certificate")],
) -> None:
    """Revoke a gateway's certificates and write the broker's revocation list.

    The broker reads the list at SIGHUP.
    """
    from anju.settings import load_settings
    from api.pki import utc_now, write_revocations
    from store.database.connection import connect
    from store.gateways import identities

    settings = load_settings()
    if settings.authority_dir is None or settings.crl_file is None:
        raise fail(
            "ANJU_AUTHORITY_DIR and ANJU_CRL_FILE are needed to write the broker's revocation list"
        )
    with connect(settings.conninfo()) as connection:
        found = identities.find_gateway(connection, estate, gateway)
        if found is None:
            raise fail(f"gateway {gateway!r} is not registered at estate {estate!r}")
        count = identities.revoke(connection, found.id, why)
        write_revocations(
            settings.authority_dir,
            settings.crl_file,
            identities.list_revoked(connection),
            utc_now(),
        )
    out.print(
        f"{count} certificates revoked; {settings.crl_file} is written: send the broker SIGHUP"
    )


@gateway_app.command(name="make-authority")
def make_authority(
    folder: Annotated[Path, typer.Argument(help="the folder that ANJU_AUTHORITY_DIR names")],
    estate: Annotated[
        str, typer.Option(help="an estate's own authority; the site's if left out")
    ] = "ca",
) -> None:
    """Make the authority that signs gateways' certificates, with an empty revocation list."""
    from api.pki import make_authority as make
    from api.pki import utc_now, write_revocations

    path = make(folder, estate, utc_now())
    if not (folder / "revoked.pem").exists():
        write_revocations(folder, folder / "revoked.pem", [], utc_now())
    out.print(
        f"{path}: let the broker trust it (cafile), and {folder / 'revoked.pem'} be its crlfile"
    )
