"""The `anju keys`, `anju people` and `anju audit` commands: the site's keys, people's data from a
file, erasure, and the record's chain.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import asdict, dataclass, replace
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
from store.database.connection import Connection, connect
from store.people import erasures, wrapped_keys
from store.people.erasures import Erasure

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
#: Faults of a file that are shown at most.
MAX_SHOWN_FAULTS = 50
_ACTOR = "command line"


def _load_key_file() -> tuple[Path, Keyring]:
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
    """Make a new key the current one, wrap everything anew under it while all services run, and
    take out the keys that wrap nothing.
    """
    if scheme is not None and scheme not in NAMES:
        raise fail(f"--scheme {scheme!r}: use one of {SCHEMES}")
    path, keyring = _load_key_file()
    new_scheme = NAMES[scheme] if scheme else keyring.scheme
    keyring = with_new_key(keyring, new_scheme)
    save_keyring(path, keyring)
    _rewrap(path, keyring)


@keys_app.command(name="rewrap")
def keys_rewrap() -> None:
    """Go on with a rotation that was stopped half way."""
    _rewrap(*_load_key_file())


def _rewrap(path: Path, keyring: Keyring) -> None:
    with connect(load_settings().conninfo(), autocommit=True, statement_s=600) as connection:
        try:
            rewrapped = person_vault.rewrap_keys(connection, keyring)
        except NotOpened as error:
            raise fail(str(error)) from None
        in_use = wrapped_keys.count_wrapped(connection)
        erasures.vacuum(connection)
    keys = {
        name: key for name, key in keyring.keys.items() if name == keyring.current or name in in_use
    }
    save_keyring(path, replace(keyring, keys=keys))
    removed = len(keyring.keys) - len(keys)
    out.print(
        f"{rewrapped} keys wrapped anew under {keyring.current}; {removed} old keys taken out of "
        f"{path.name}"
    )


@keys_app.command(name="show")
def keys_show() -> None:
    """List the keys of the file and what each wraps; never a key itself."""
    _, keyring = _load_key_file()
    with connect(load_settings().conninfo()) as connection:
        in_use = wrapped_keys.count_wrapped(connection)
    scheme_names = {scheme: name for name, scheme in NAMES.items()}
    table = Table("key", "scheme", "current", "wraps")
    for name in sorted({*keyring.keys, *in_use}):
        scheme = "missing: put it back"
        if name in keyring.keys:
            scheme = scheme_names[keyring.keys[name].scheme]
        is_current = "yes" if name == keyring.current else ""
        table.add_row(name, scheme, is_current, str(in_use.get(name, 0)))
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
    """Store people's data for residents of the register, all or nothing.

    No value of anybody is ever printed.
    """
    _, keyring = _load_key_file()
    with connect(load_settings().conninfo(), statement_s=600) as connection:
        saved, faults = _save_people(connection, keyring, file, collected_for)
        if apply and not faults:
            entry = AuditEntry(
                actor=_ACTOR, action="importPeople", object="people", detail={"persons": saved}
            )
            audit.append(connection, entry)
        else:
            connection.rollback()
    for fault in faults[:MAX_SHOWN_FAULTS]:
        typer.echo(fault, err=True)
    if faults:
        raise fail(f"{len(faults)} faults; nothing was written")
    result = "taken in" if apply else "fit; nothing was written. Run it again with --apply"
    out.print(f"{saved} people {result}")


def _save_people(
    connection: Connection, keyring: Keyring, file: Path, collected_for: str
) -> tuple[int, list[str]]:
    """Store the people of a CSV file.

    Returns how many rows were read without a fault of theirs, and all faults.
    """
    saved = 0
    faults = []
    with file.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text)
        if "code" not in (reader.fieldnames or ()):
            raise fail(f"{file.name}: line 1: the headings are code, name, id_number, phone")
        for number, row in enumerate(reader, 2):
            fields = {name: value or "" for name, value in row.items() if name}
            try:
                is_known = person_vault.save_person(
                    connection, keyring, fields["code"], fields, collected_for=collected_for
                )
            except person_vault.BadPerson as error:
                faults.append(f"{file.name}: line {number}: {error}")
                continue
            saved += 1
            if not is_known:
                faults.append(
                    f"{file.name}: line {number}: code: the register knows no such resident with "
                    f"a home"
                )
    return saved, faults


@people_app.command(name="erase")
def people_erase(
    code: Annotated[str, typer.Argument(help="the resident's code in the register")],
    reason: Annotated[str, typer.Option(help="why; it stays on record")],
) -> None:
    """Erase a person's fields and key for good. Refused while there is a hold."""
    _, keyring = _load_key_file()
    with connect(load_settings().conninfo()) as connection:
        try:
            is_erased = person_vault.erase_person(
                connection, keyring, code, actor=_ACTOR, reason=reason
            )
        except person_vault.ErasureHeld as error:
            raise fail(str(error)) from None
        if not is_erased:
            raise fail(f"no person {code!r}")
        entry = AuditEntry(
            actor=_ACTOR,
            action="erasePerson",
            object="people",
            subject=f"person:{code}",
            reference=reason,
        )
        audit.append(connection, entry)
    _vacuum()
    out.print(f"{code} is erased")


def _vacuum() -> None:
    with connect(load_settings().conninfo(), autocommit=True) as connection:
        erasures.vacuum(connection)


@people_app.command(name="erase-again")
def people_erase_again(
    list_file: Annotated[
        Path | None,
        typer.Option("--list", help="the list that `export-erasures` wrote after the backup"),
    ] = None,
) -> None:
    """After a restore: erase again the persons who had been erased after the backup was made."""
    _, keyring = _load_key_file()
    with connect(load_settings().conninfo()) as connection:
        if list_file is not None:
            lines = list_file.read_text("utf-8").splitlines()
            erasures.import_erasures(
                connection, [Erasure(**json.loads(line)) for line in lines if line]
            )
        persons = person_vault.erase_again(connection, keyring)
        consents = faces.withdraw_again(connection, keyring)
        entry = AuditEntry(
            actor=_ACTOR,
            action="eraseAgain",
            object="people",
            detail={"persons": persons, "consents": consents},
        )
        audit.append(connection, entry)
    _vacuum()
    out.print(
        f"{persons} people that the backup had brought back are erased again, {consents} "
        f"consents to faces ended again"
    )


@people_app.command(name="export-erasures")
def people_export_erasures(
    file: Annotated[Path, typer.Argument(help="where to write the list; it names nobody")],
) -> None:
    """Write the list of erased people, to be kept beside the backups.

    It names them by codes under the site's key.
    """
    with connect(load_settings().conninfo()) as connection:
        listed = erasures.export_erasures(connection)
    lines = [json.dumps(asdict(erasure)) + "\n" for erasure in listed]
    file.write_text("".join(lines), "utf-8")
    out.print(f"{len(listed)} erasures are listed in {file}")


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
    """Check an exported chain with nothing but SHA-256.

    Returns the number of entries that fit, and what is wrong with the first that does not; None
    where all fit.
    """
    hash_before = ""
    count = 0
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = _read_entry(line)
                digest = entry.compute_digest()
            except (ValueError, KeyError, TypeError) as error:
                return count, f"line {number} cannot be read: {error!r}"
            is_next = entry.seq == number and entry.previous == hash_before
            if not is_next or entry.digest != digest:
                fault = (
                    f"entry {entry.seq} does not fit: it was changed, or one before it is missing"
                )
                return count, fault
            hash_before = entry.digest
            count = number
    return count, None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedEntry:
    """One entry of an exported chain; digests are hex."""

    seq: int
    estate: int | None
    entry: str
    previous: str
    digest: str

    def compute_digest(self) -> str:
        """Return what the digest must be, by the digest before it and the entry."""
        content = f"{self.seq}|{self.estate}|{self.entry}".encode()
        return hashlib.sha256(bytes.fromhex(self.previous) + content).hexdigest()


def _read_entry(line: str) -> ExportedEntry:
    """Read a line of an exported chain.

    Raises: ValueError, KeyError or TypeError where it is not one.
    """
    fields = json.loads(line)
    return ExportedEntry(
        seq=fields["seq"],
        estate=fields["estate"],
        entry=fields["entry"],
        previous=fields["prev"],
        digest=fields["hash"],
    )


@audit_app.command(name="export")
def audit_export(file: Annotated[Path, typer.Argument(help="where to write JSON lines")]) -> None:
    """Write the whole chain to a file, for a check elsewhere."""
    with (
        connect(load_settings().conninfo(), statement_s=600) as connection,
        file.open("w", encoding="utf-8") as lines,
    ):
        count = 0
        for entry in audit.read_chain(connection):
            lines.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
            count += 1
    out.print(f"{count} entries are in {file}")
