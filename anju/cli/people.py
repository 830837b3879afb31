"""The `anju keys`, `anju people` and `anju audit` commands: the site's keys, people's data from a file, erasure, and the record's chain."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from anju.cli.terminal import fail, out
from anju.settings import load_settings
from crypto.sealed_values import NAMES, NotOpened
from privacy import faces, person_vault
from privacy.keyring import Keyring, load_keyring, save_keyring, with_new_key
from store.access import audit
from store.access.audit import AuditEntry
from store.database.connection import connect
from store.people import people

keys_app = typer.Typer(
    no_args_is_help=True, help="The site's keys for people's data and second factors."
)
people_app = typer.Typer(
    no_args_is_help=True, help="People's names, numbers and phones: taken in, erased, erased again."
)
audit_app = typer.Typer(
    no_args_is_help=True, help="The record of who did what: checked and exported."
)
SCHEMES = ", ".join(NAMES)


def _ring() -> tuple[Path, Keyring]:
    path = load_settings().keys_file
    if path is None:
        raise fail("ANJU_KEYS_FILE is not set; `anju keys make FILE` makes one")
    return path, load_keyring(path)


@keys_app.command(name="make")
def keys_make(
    file: Annotated[
        Path,
        typer.Argument(help="where to write it; keep it apart from the database and its backups"),
    ],
    scheme: Annotated[
        str, typer.Option(help=f"how people's data are sealed: {SCHEMES}")
    ] = "aes-256-gcm",
) -> None:
    """Make a key file. One that is there already is never written over."""
    if scheme not in NAMES:
        raise fail(f"--scheme {scheme!r}: use one of {SCHEMES}")
    if file.exists():
        raise fail(f"{file}: there is a key file already; `anju keys rotate` gives it a new key")
    save_keyring(file, with_new_key(None, NAMES[scheme]))
    out.print(f"made {file}; set ANJU_KEYS_FILE to it")


@keys_app.command(name="rotate")
def keys_rotate(
    scheme: Annotated[
        str | None, typer.Option(help=f"change how new people are sealed: {SCHEMES}")
    ] = None,
) -> None:
    """Make a new key the current one, wrap everything anew under it while all services run, and take out the keys that wrap nothing."""
    if scheme is not None and scheme not in NAMES:
        raise fail(f"--scheme {scheme!r}: use one of {SCHEMES}")
    path, ring = _ring()
    ring = with_new_key(ring, NAMES[scheme] if scheme else ring.scheme)
    save_keyring(path, ring)
    _rewrap(path, ring)


@keys_app.command(name="rewrap")
def keys_rewrap() -> None:
    """Go on with a rotation that was stopped half way."""
    _rewrap(*_ring())


def _rewrap(path: Path, ring: Keyring) -> None:
    with connect(load_settings().conninfo(), autocommit=True, statement_s=600) as connection:
        try:
            done = person_vault.rewrap(connection, ring)
        except NotOpened as error:
            raise fail(str(error)) from None
        used = people.keys_in_use(connection)
        people.vacuum(connection)
    keys = {name: key for name, key in ring.keys.items() if name == ring.current or name in used}
    save_keyring(path, replace(ring, keys=keys))
    out.print(
        f"{done} keys wrapped anew under {ring.current}; {len(ring.keys) - len(keys)} old keys taken out of {path.name}"
    )


@keys_app.command(name="show")
def keys_show() -> None:
    """Say which keys the file holds and what each wraps; never a key itself."""
    _, ring = _ring()
    with connect(load_settings().conninfo()) as connection:
        used = people.keys_in_use(connection)
    words = {scheme: name for name, scheme in NAMES.items()}
    table = Table("key", "scheme", "current", "wraps")
    for name in sorted({*ring.keys, *used}):
        known = words[ring.keys[name][0]] if name in ring.keys else "missing: put it back"
        table.add_row(name, known, "yes" if name == ring.current else "", str(used.get(name, 0)))
    out.print(table)


@people_app.command(name="import")
def people_import(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV: code, name, id_number, phone")
    ],
    collected_for: Annotated[str, typer.Option(help="what the people were told that it is for")],
    apply: Annotated[
        bool, typer.Option("--apply", help="write; without it everything is only tried")
    ] = False,
) -> None:
    """Take in people's data for residents of the register. Tried first, all or nothing; no value of anybody is ever printed."""
    _, ring = _ring()
    faults, taken = [], 0
    with (
        connect(load_settings().conninfo(), statement_s=600) as connection,
        file.open(encoding="utf-8-sig", newline="") as text,
    ):
        reader = csv.DictReader(text)
        if "code" not in (reader.fieldnames or ()):
            raise fail(f"{file.name}: line 1: the headings are code, name, id_number, phone")
        for number, row in enumerate(reader, 2):
            try:
                if not person_vault.put(
                    connection,
                    ring,
                    row["code"] or "",
                    {k: v or "" for k, v in row.items() if k},
                    collected_for=collected_for,
                ):
                    faults.append(
                        f"{file.name}: line {number}: code: the register knows no such resident with a home"
                    )
                taken += 1
            except person_vault.BadPerson as error:
                faults.append(f"{file.name}: line {number}: {error}")
        if apply and not faults:
            audit.append(
                connection,
                AuditEntry(
                    actor="command line",
                    action="importPeople",
                    object="people",
                    detail={"persons": taken},
                ),
            )
        else:
            connection.rollback()
    for fault in faults[:50]:
        typer.echo(fault, err=True)
    if faults:
        raise fail(f"{len(faults)} faults; nothing was written")
    out.print(
        f"{taken} people {'taken in' if apply else 'fit; nothing was written. Run it again with --apply'}"
    )


@people_app.command(name="erase")
def people_erase(
    code: Annotated[str, typer.Argument(help="the resident's code in the register")],
    reason: Annotated[str, typer.Option(help="why; it stays on record")],
) -> None:
    """Erase a person's fields and key for good. Refused while a hold stands."""
    _, ring = _ring()
    with connect(load_settings().conninfo()) as connection:
        try:
            done = person_vault.erase(connection, ring, code, actor="command line", reason=reason)
        except person_vault.StoredPerson as error:
            raise fail(str(error)) from None
        if not done:
            raise fail(f"no person {code!r}")
        audit.append(
            connection,
            AuditEntry(
                actor="command line",
                action="erasePerson",
                object="people",
                subject=f"person:{code}",
                reference=reason,
            ),
        )
    with connect(load_settings().conninfo(), autocommit=True) as connection:
        people.vacuum(connection)
    out.print(f"{code} is erased")


@people_app.command(name="erase-again")
def people_erase_again(
    list_file: Annotated[
        Path | None,
        typer.Option("--list", help="the list that `export-erasures` wrote after the backup"),
    ] = None,
) -> None:
    """After a restore: erase everybody again who had been erased when the backup was older than the erasure."""
    _, ring = _ring()
    with connect(load_settings().conninfo()) as connection:
        if list_file is not None:
            people.import_erasures(
                connection,
                [json.loads(line) for line in list_file.read_text("utf-8").splitlines() if line],
            )
        done, ended = (
            person_vault.erase_again(connection, ring),
            faces.withdraw_again(connection, ring),
        )
        audit.append(
            connection,
            AuditEntry(
                actor="command line",
                action="eraseAgain",
                object="people",
                detail={"persons": done, "consents": ended},
            ),
        )
    with connect(load_settings().conninfo(), autocommit=True) as connection:
        people.vacuum(connection)
    out.print(
        f"{done} people that the backup had brought back are erased again, {ended} consents to faces ended again"
    )


@people_app.command(name="export-erasures")
def people_export_erasures(
    file: Annotated[Path, typer.Argument(help="where to write the list; it names nobody")],
) -> None:
    """Write the list of who was erased (as codes under the site's key), to be kept beside the backups."""
    with connect(load_settings().conninfo()) as connection:
        rows = people.export_erasures(connection)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    out.print(f"{len(rows)} erasures are listed in {file}")


@audit_app.command(name="verify")
def audit_verify(
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="an export; the database if left out"),
    ] = None,
) -> None:
    """Check the chain link by link. Exit code 1 names the first entry that does not fit."""
    if file is not None:
        count, fault = verify_lines(file)
        if fault:
            typer.echo(f"{file.name}: {fault}", err=True)
            raise typer.Exit(1)
        out.print(f"{count} entries, every link whole")
        return
    with connect(load_settings().conninfo(), statement_s=600) as connection:
        verdict = audit.check_chain(connection)
        audit.save_check(connection, verdict)
    if verdict.broken_at is not None:
        typer.echo(f"entry {verdict.broken_at}: {verdict.why}", err=True)
        raise typer.Exit(1)
    out.print(f"{verdict.seq} entries, every link whole; head {verdict.hash.hex()}")


def verify_lines(file: Path) -> tuple[int, str | None]:
    """Check an exported chain with nothing but SHA-256; returns how many entries there are, and what is wrong with the first that is."""
    before, count = "", 0
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                text = f"{row['seq']}|{row['estate']}|{row['entry']}".encode()
                digest = hashlib.sha256(bytes.fromhex(row["prev"]) + text).hexdigest()
            except (ValueError, KeyError, TypeError) as error:
                return count, f"line {number} cannot be read: {error!r}"
            if row["seq"] != number or row["prev"] != before or row["hash"] != digest:
                return (
                    count,
                    f"entry {row['seq']} does not fit: it was changed, or one before it is missing",
                )
            before, count = row["hash"], number
    return count, None


@audit_app.command(name="export")
def audit_export(file: Annotated[Path, typer.Argument(help="where to write JSON lines")]) -> None:
    """Write the whole chain to a file, for a check elsewhere."""
    with (
        connect(load_settings().conninfo(), statement_s=600) as connection,
        file.open("w", encoding="utf-8") as lines,
    ):
        count = 0
        for row in audit.read_chain(connection):
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    out.print(f"{count} entries are in {file}")
