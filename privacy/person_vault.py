"""Sealing and opening a person's fields: each person has a key of their own, wrapped by the site's; every field knows where it belongs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crypto.sealed_values import NotOpened, seal, unseal
from privacy.keyring import Keyring
from privacy.masks import MASKS
from privacy.purposes import FIELDS
from store.database.connection import Connection
from store.people import faces, people

_PHONE = re.compile(r"\+?[0-9]{5,15}")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


class BadPerson(Exception):
    """A person's data do not fit; the message names the field and how to mend it, and never the value."""


class StoredPerson(Exception):
    """A person cannot be erased while somebody's work rests on it; the message says what."""


def checked(fields: Mapping[str, str]) -> dict[str, str]:
    """Check and tidy a person's fields; empty ones are left out.

    Raises: BadPerson.
    """
    out: dict[str, str] = {}
    for name in FIELDS:
        text = fields.get(name, "").strip()
        if not text:
            continue
        if "\x00" in text or len(text) > 80:
            raise BadPerson(f"{name}: 1 to 80 characters")
        if name == "id_number":
            text = text.upper()
            if len(text) == 18 and not valid_id_number(text):
                raise BadPerson(
                    "id_number: its check digit is wrong (GB 11643); look at the document again"
                )
        if name == "phone":
            text = re.sub(r"[\s()-]", "", text)
            if not _PHONE.fullmatch(text):
                raise BadPerson("phone: 5 to 15 digits, a + in front if need be")
        out[name] = text
    return out


def valid_id_number(number: str) -> bool:
    """Tell whether an 18-digit citizen number's check digit is right (GB 11643-1999, ISO 7064 MOD 11-2)."""
    if not re.fullmatch(r"[0-9]{17}[0-9X]", number):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == number[-1]


def _place(code: str, field: str) -> str:
    return f"person|{code}|{field}"


def put(
    connection: Connection,
    ring: Keyring,
    code: str,
    fields: Mapping[str, str],
    *,
    collected_for: str,
) -> bool:
    """Keep a resident's fields, sealed under a new key of their own; False where the register knows no such resident.

    Raises: BadPerson, also for one who was erased.
    """
    known, key = checked(fields), ring.new_data_key()
    if people.was_erased(connection, ring.index("code", code)):
        raise BadPerson("this resident was erased; take up a new code with a new consent")
    wrapped_by, wrapped = ring.wrap(key, code)
    return people.save_person(
        connection,
        code,
        collected_for=collected_for,
        wrapped=wrapped,
        wrapped_by=wrapped_by,
        sealed={
            name: seal(ring.scheme, key, known[name].encode(), _place(code, name))
            if name in known
            else None
            for name in FIELDS
        },
        indexes={name: ring.index(name, known[name]) if name in known else None for name in FIELDS},
    )


def opened(ring: Keyring, row: Mapping[str, Any]) -> dict[str, str]:
    """Open a person's fields; one whose key is gone has none.

    Raises: NotOpened.
    """
    if row["wrapped"] is None:
        return {}
    key = ring.unwrap(row["wrapped_by"], bytes(row["wrapped"]), row["code"])
    return {
        name: unseal(key, bytes(row[name]), _place(row["code"], name)).decode()
        for name in FIELDS
        if row[name] is not None
    }


def masked(ring: Keyring, row: Mapping[str, Any]) -> dict[str, Any]:
    """Show a person as those see it who gave no reason."""
    try:
        fields = opened(ring, row)
    except NotOpened:
        fields = {}
    shown: dict[str, Any] = {
        name: MASKS[name](fields[name]) if name in fields else None for name in FIELDS
    }
    return {
        "code": row["code"],
        "estate": row["estate"],
        "unit": row["unit"],
        "readable": bool(fields),
        **shown,
    }


def erase(connection: Connection, ring: Keyring, code: str, *, actor: str, reason: str) -> bool:
    """Destroy a person's key and fields, now and after every restore; False where nobody has that code.

    Raises: Held.
    """
    held = people.holds_on(connection, code)
    if held:
        raise StoredPerson(
            f"{len(held)} hold{'s' if len(held) > 1 else ''} stand on this person: {held[0]['reason']}; release it first"
        )
    for consent in faces.withdraw_of_person(connection, code, actor=actor, why=reason):
        faces.note_ended(
            connection, ring.index("consent", consent), actor=actor, why="its person was erased"
        )
    return people.erase(connection, code, ring.index("code", code), actor=actor, reason=reason)


def erase_again(connection: Connection, ring: Keyring) -> int:
    """Erase whom a restored backup brought back, by the list of those who were erased; returns how many."""
    back = [
        row["code"]
        for row in people.list_codes(connection)
        if people.was_erased(connection, ring.index("code", row["code"]))
    ]
    for code in back:
        people.erase(
            connection,
            code,
            ring.index("code", code),
            actor="restore",
            reason="erased before the restore",
        )
    return len(back)


def rewrap(connection: Connection, ring: Keyring, *, batch: int = 500) -> int:
    """Wrap again, under the current key, what older keys wrapped; commits by batches and goes on where it was stopped.

    Raises: NotOpened, where a key that is still needed is not in the key file.
    """
    done = 0
    while True:
        with connection.transaction():
            rows = people.wrapped_by_others(connection, ring.current, batch)
            for row in rows:
                key = ring.unwrap(row["wrapped_by"], bytes(row["wrapped"]), row["code"])
                name, wrapped = ring.wrap(key, row["code"])
                people.save_wrapped(connection, row["person_id"], name, wrapped)
        done += len(rows)
        if len(rows) < batch:
            return done + _reseal_second_factors(connection, ring)


def _reseal_second_factors(connection: Connection, ring: Keyring) -> int:
    done = 0
    with connection.transaction():
        for row in people.sealed_second_factors(connection):
            sealed = bytes(row["totp_sealed"])
            if sealed.partition(b"\0")[0] != ring.current.encode():
                place = f"totp|{row['id']}"
                people.save_second_factor(
                    connection, row["id"], ring.seal(ring.unseal(sealed, place), place)
                )
                done += 1
    return done
