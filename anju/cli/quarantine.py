"""The `anju quarantine` commands: what ingest could not take is shown, mended, tried again, or set
aside by a person.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from anju.cli.terminal import fail, out
from anju.settings import load_settings
from domain.ids import valid_id
from domain.rejection import Reason, Rejected
from ingest.decode import Decoded, decode
from ingest.message import ReceivedMessage
from ingest.write import Writer
from store.database.connection import connect
from store.ingest import quarantine
from store.ingest.ledger import PostgresLedger
from store.ingest.quarantine import QuarantineFilter
from store.register.placement import Placement

quarantine_app = typer.Typer(no_args_is_help=True, help="What ingest could not take.")
#: Refusals that are tried again at a time.
AT_ONCE = 500
#: Topic and bytes of a refusal, to what they should have been.
Mend = Callable[[str, bytes], tuple[str, bytes]]

Ids = Annotated[
    list[int] | None, typer.Argument(help="numbers from `list`; none means all that are open")
]
OfReason = Annotated[str | None, typer.Option("--reason", help="only this reason")]


def _which(ids: list[int] | None, reason: str | None) -> QuarantineFilter:
    if reason is not None and reason not in list(Reason):
        raise fail(f"--reason {reason!r}: use one of {', '.join(Reason)}")
    return QuarantineFilter(ids=tuple(ids or ()), reason=reason)


@quarantine_app.command(name="list")
def list_command(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20) -> None:
    """List what waits for a person, newest first."""
    with connect(load_settings().conninfo()) as connection:
        rows = quarantine.list_open(connection, limit)
        counts = quarantine.count_open(connection)
    table = Table("id", "received", "topic", "reason", "detail")
    for row in rows:
        table.add_row(
            str(row.id),
            f"{row.received_at:%Y-%m-%d %H:%M:%S}",
            row.topic,
            row.reason,
            row.detail,
        )
    out.print(table)
    out.print(
        "open: " + (", ".join(f"{n} {reason}" for reason, n in sorted(counts.items())) or "none")
    )


@quarantine_app.command()
def show(number: Annotated[int, typer.Argument(help="a number from `list`")]) -> None:
    """Show one refusal whole: where it came from, why, and its bytes."""
    with connect(load_settings().conninfo()) as connection:
        row = quarantine.get(connection, number)
    if row is None:
        raise fail(f"{number}: no such refusal; see `anju quarantine list`")
    payload = row.payload
    out.print(f"{row.topic}, received {row.received_at:%Y-%m-%d %H:%M:%S}: {row.reason}")
    out.print(row.detail, markup=False)
    if row.resolution:
        out.print(f"{row.resolution} {row.resolved_at:%Y-%m-%d %H:%M:%S}")
    if len(payload) < row.total_bytes:
        out.print(f"{row.total_bytes} bytes, of which {len(payload)} are kept")
    try:
        out.print(json.dumps(json.loads(payload), ensure_ascii=False, indent=2), markup=False)
    except (ValueError, RecursionError):
        out.print(repr(payload[:2000]), markup=False)


@quarantine_app.command()
def replay(ids: Ids = None, reason: OfReason = None) -> None:
    """Try again what waits, through the same path as new messages; what still does not fit comes
    back.
    """
    tried, back = _again(_which(ids, reason), "replayed", lambda topic, payload: (topic, payload))
    out.print(f"{tried} tried again, {back} came back")


@quarantine_app.command()
def repair(
    ids: Ids = None,
    reason: OfReason = None,
    device: Annotated[
        str | None, typer.Option(help="OLD=NEW: what is said of one device was of another")
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help="ESTATE/GATEWAY: where it should have come from")
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option(help="the message as it should have been ('-' reads it); needs one number"),
    ] = None,
) -> None:
    """Mend what waits, and try it again; the original stays on record."""
    if sum(option is not None for option in (device, gateway, payload)) != 1:
        raise fail("repair: give one of --device OLD=NEW, --gateway ESTATE/GATEWAY, --payload FILE")
    if payload is not None and len(ids or ()) != 1:
        raise fail("--payload: mends one refusal; name its number")
    mended = (
        sys.stdin.buffer.read() if str(payload) == "-" else payload.read_bytes() if payload else b""
    )
    old, _, new = (device or "").partition("=")
    estate, _, code = (gateway or "").partition("/")
    if device is not None and not (old and valid_id(new)):
        raise fail(f"--device {device!r}: write OLD=NEW; ids are 2 to 40 of a-z, 0-9 and hyphen")
    if gateway is not None and not (valid_id(estate) and valid_id(code)):
        raise fail(f"--gateway {gateway!r}: write ESTATE/GATEWAY")

    def mend(topic: str, body: bytes) -> tuple[str, bytes]:
        if device is not None:
            return topic, _rename(body, old, new)
        if gateway is not None:
            return f"anju/v1/{estate}/{code}/up/{topic.rsplit('/', 1)[-1]}", body
        return topic, mended

    if payload is not None:
        with connect(load_settings().conninfo()) as connection:
            row = quarantine.get(connection, (ids or [0])[0])
        found = decode(row.topic, mended, int(time.time() * 1000)) if row else None
        if isinstance(found, Rejected) or (isinstance(found, Decoded) and found.refused):
            why = found if isinstance(found, Rejected) else found.refused[0].why
            raise fail(f"--payload {payload}: still does not fit: {why.detail}")
    tried, back = _again(_which(ids, reason), "repaired", mend)
    out.print(f"{tried} mended and tried again, {back} came back")


@quarantine_app.command()
def discard(ids: Ids = None, reason: OfReason = None) -> None:
    """Set aside what is not wanted; the rows stay, and a resend of the same is known."""
    if not ids and reason is None:
        raise fail(
            "discard: name numbers or a --reason; all that is open is not discarded by accident"
        )
    with connect(load_settings().conninfo()) as connection:
        total = quarantine.resolve(connection, _which(ids, reason), "discarded")
    out.print(f"{total} set aside")


def _rename(body: bytes, old: str, new: str) -> bytes:
    """Put another device into a message's items; what cannot be read stays as it is."""
    try:
        message: Any = json.loads(body)
        for item in message["items"]:
            if item.get("device") == old:
                item["device"] = new
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return body
    return json.dumps(message, ensure_ascii=False).encode()


def _again(which: QuarantineFilter, resolution: str, mend: Mend) -> tuple[int, int]:
    """Put what waits through ingest's own writer; returns how many were tried and how many came
    back.

    First it is written, then resolved: a kill between the two makes it be tried again, and what is
    stored is known then.
    """
    tried = back = 0
    writer = Writer(Placement(clock=time.monotonic))
    dsn = load_settings().conninfo()
    ledger = PostgresLedger.open(dsn)
    try:
        with connect(dsn) as connection:
            after = 0
            while rows := quarantine.list_whole(connection, which, after=after, limit=AT_ONCE):
                connection.commit()
                after = rows[-1].id
                for row in rows:
                    topic, body = mend(row.topic, row.payload)
                    message = ReceivedMessage(topic.encode(), body, 0)
                    outcome = writer.write(ledger, [message], int(time.time() * 1000))
                    tried += 1
                    back += bool(outcome.refused)
                    if row.digest not in outcome.refused:
                        quarantine.resolve(connection, QuarantineFilter(ids=(row.id,)), resolution)
                connection.commit()
    finally:
        ledger.close()
    return tried, back
