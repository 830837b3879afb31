"""The `anju quarantine` commands, for what ingest could not take.

A person shows it, mends it, tries it again, or sets it aside.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
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


def _filter_of(ids: list[int] | None, reason: str | None) -> QuarantineFilter:
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
        received = f"{row.received_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(row.id), received, row.topic, row.reason, row.detail)
    out.print(table)
    by_reason = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    out.print(f"open: {by_reason or 'none'}")


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
    """Try again what waits, through the same path as new messages.

    What still does not fit comes back.
    """
    counts = _try_again(_filter_of(ids, reason), "replayed", lambda topic, body: (topic, body))
    out.print(f"{counts.tried} tried again, {counts.refused} came back")


@quarantine_app.command()
def repair(
    ids: Ids = None,
    reason: OfReason = None,
    device: Annotated[
        str | None, typer.Option(help="OLD=NEW: what was reported of one device was of another")
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
    if device is not None:
        mend = _rename_device(device)
    elif gateway is not None:
        mend = _move_to_gateway(gateway)
    else:
        assert payload is not None
        if len(ids or ()) != 1:
            raise fail("--payload: mends one refusal; name its number")
        mend = _put_payload((ids or [0])[0], payload)
    counts = _try_again(_filter_of(ids, reason), "repaired", mend)
    out.print(f"{counts.tried} mended and tried again, {counts.refused} came back")


def _rename_device(option: str) -> Mend:
    """Return what puts another device into a message's items, by OLD=NEW."""
    old, _, new = option.partition("=")
    if not (old and valid_id(new)):
        raise fail(f"--device {option!r}: write OLD=NEW; ids are 2 to 40 of a-z, 0-9 and hyphen")
    return lambda topic, body: (topic, _rename(body, old, new))


def _move_to_gateway(option: str) -> Mend:
    """Return what moves a message to the topic of another gateway, by ESTATE/GATEWAY."""
    estate, _, code = option.partition("/")
    if not (valid_id(estate) and valid_id(code)):
        raise fail(f"--gateway {option!r}: write ESTATE/GATEWAY")

    def move(topic: str, body: bytes) -> tuple[str, bytes]:
        kind = topic.rsplit("/", 1)[-1]
        return f"anju/v1/{estate}/{code}/up/{kind}", body

    return move


def _put_payload(number: int, file: Path) -> Mend:
    """Return what puts a file's bytes in place of a refusal's, if these bytes are a message."""
    mended = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    with connect(load_settings().conninfo()) as connection:
        refusal = quarantine.get(connection, number)
    fault = _find_fault(refusal.topic, mended) if refusal else None
    if fault is not None:
        raise fail(f"--payload {file}: still does not fit: {fault.detail}")
    return lambda topic, _: (topic, mended)


def _find_fault(topic: str, payload: bytes) -> Rejected | None:
    """Return why ingest would refuse a message, whole or an item of it; None where it fits."""
    decoded = decode(topic, payload, int(time.time() * 1000))
    if isinstance(decoded, Rejected):
        return decoded
    if isinstance(decoded, Decoded) and decoded.refused:
        return decoded.refused[0].why
    return None


@quarantine_app.command()
def discard(ids: Ids = None, reason: OfReason = None) -> None:
    """Set aside what is not wanted; the rows stay, and a resend of the same is known."""
    if not ids and reason is None:
        raise fail(
            "discard: name numbers or a --reason; all that is open is not discarded by accident"
        )
    with connect(load_settings().conninfo()) as connection:
        total = quarantine.resolve(connection, _filter_of(ids, reason), "discarded")
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


@dataclass(slots=True)
class _RetryCounts:
    """How many refusals were tried again, and how many were refused again."""

    tried: int = 0
    refused: int = 0


def _try_again(chosen: QuarantineFilter, resolution: str, mend: Mend) -> _RetryCounts:
    """Put the chosen refusals through ingest's own writer.

    First a message is written, then its refusal is resolved. A kill between the two makes it be
    tried again, and what is stored is known then.
    """
    counts = _RetryCounts()
    writer = Writer(Placement(clock=time.monotonic))
    dsn = load_settings().conninfo()
    ledger = PostgresLedger.open(dsn)
    try:
        with connect(dsn) as connection:
            after = 0
            while rows := quarantine.list_whole(connection, chosen, after=after, limit=AT_ONCE):
                connection.commit()
                after = rows[-1].id
                for row in rows:
                    topic, body = mend(row.topic, row.payload)
                    message = ReceivedMessage(topic.encode(), body, 0)
                    outcome = writer.write(ledger, [message], int(time.time() * 1000))
                    counts.tried += 1
                    counts.refused += bool(outcome.refused)
                    if row.digest not in outcome.refused:
                        quarantine.resolve(connection, QuarantineFilter(ids=(row.id,)), resolution)
                connection.commit()
    finally:
        ledger.close()
    return counts
