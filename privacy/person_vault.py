"""Sealing and opening a person's fields.

Each person has a key of their own, wrapped by the site's; a sealed field fits one place only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from crypto.sealed_values import NotOpened, seal, unseal
from privacy.keyring import Keyring
from privacy.masks import MASKS
from privacy.purposes import FIELDS
from store.database.connection import Connection
from store.people import erasures, face_consents, persons, wrapped_keys
from store.people.persons import NewPerson, SealedPerson

_PHONE = re.compile(r"\+?[0-9]{5,15}")
_MAX_FIELD_LENGTH = 80
#: Weights and check digits of a citizen number (GB 11643-1999, ISO 7064 MOD 11-2).
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"


class BadPerson(Exception):
    """A person's fields do not fit; the message names the field and how to mend it, and never the
    value.
    """


class ErasureHeld(Exception):
    """A person cannot be erased while there is a hold; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPerson:
    """A person as shown without a purpose. `readable` tells whether the fields could be opened."""

    code: str
    estate: str
    unit: str | None
    readable: bool
    name: str | None
    id_number: str | None
    phone: str | None


def check_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Check and normalise a person's fields; empty ones are left out.

    Raises: BadPerson.
    """
    stripped = {name: fields.get(name, "").strip() for name in FIELDS}
    return {name: _check_field(name, text) for name, text in stripped.items() if text}


def _check_field(name: str, text: str) -> str:
    if "\x00" in text or len(text) > _MAX_FIELD_LENGTH:
        raise BadPerson(f"{name}: 1 to {_MAX_FIELD_LENGTH} characters")
    if name == "id_number":
        text = text.upper()
        if len(text) == 18 and not is_valid_id_number(text):
            raise BadPerson(
                "id_number: its check digit is wrong (GB 11643); look at the document again"
            )
    if name == "phone":
        text = re.sub(r"[\s()-]", "", text)
        if not _PHONE.fullmatch(text):
            raise BadPerson("phone: 5 to 15 digits, a + in front if need be")
    return text


def is_valid_id_number(number: str) -> bool:
    """Tell whether the check digit of an 18-digit citizen number is right (GB 11643-1999, ISO 7064
    MOD 11-2).
    """
    if not re.fullmatch(r"[0-9]{17}[0-9X]", number):
        return False
    weighted = sum(int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=False))
    return _CHECK_DIGITS[weighted % 11] == number[-1]


def _place(code: str, field: str) -> str:
    """Return what a sealed field belongs to."""
    return f"person|{code}|{field}"


def save_person(
    connection: Connection,
    keyring: Keyring,
    code: str,
    fields: Mapping[str, str],
    *,
    collected_for: str,
) -> bool:
    """Store a resident's fields, sealed under a new key;

    False where the register has no such resident.

    Raises: BadPerson, also for a person who was erased.
    """
    checked = check_fields(fields)
    if erasures.was_erased(connection, keyring.index("code", code)):
        raise BadPerson("this resident was erased; take up a new code with a new consent")
    key = keyring.new_data_key()
    wrapped_by, wrapped = keyring.wrap(key, code)
    sealed: dict[str, bytes | None] = dict.fromkeys(FIELDS)
    indexes: dict[str, bytes | None] = dict.fromkeys(FIELDS)
    for name, text in checked.items():
        sealed[name] = seal(keyring.scheme, key, text.encode(), _place(code, name))
        indexes[name] = keyring.index(name, text)
    person = NewPerson(
        code=code,
        collected_for=collected_for,
        sealed=sealed,
        indexes=indexes,
        wrapped=wrapped,
        wrapped_by=wrapped_by,
    )
    return persons.save_person(connection, person)


def open_fields(keyring: Keyring, person: SealedPerson) -> dict[str, str]:
    """Open a person's fields; none for a person who was erased.

    Raises: NotOpened.
    """
    if person.wrapped is None or person.wrapped_by is None:
        return {}
    key = keyring.unwrap(person.wrapped_by, person.wrapped, person.code)
    return {
        name: unseal(key, sealed, _place(person.code, name)).decode()
        for name, sealed in person.sealed_fields().items()
    }


def mask_person(keyring: Keyring, person: SealedPerson) -> MaskedPerson:
    """Return a person as shown without a purpose."""
    try:
        fields = open_fields(keyring, person)
    except NotOpened:
        fields = {}
    masked = {name: MASKS[name](text) for name, text in fields.items()}
    return MaskedPerson(
        code=person.code,
        estate=person.estate,
        unit=person.unit,
        readable=bool(fields),
        name=masked.get("name"),
        id_number=masked.get("id_number"),
        phone=masked.get("phone"),
    )


def erase_person(
    connection: Connection, keyring: Keyring, code: str, *, actor: str, reason: str
) -> bool:
    """Destroy a person's key and fields, now and after every restore;

    False where nobody has that code.

    Raises: ErasureHeld.
    """
    holds = erasures.list_holds(connection, code)
    if holds:
        plural = "s" if len(holds) > 1 else ""
        raise ErasureHeld(
            f"{len(holds)} hold{plural} stand on this person: {holds[0].reason}; release it first"
        )
    ended = face_consents.withdraw_consents_of(connection, code, actor=actor, why=reason)
    for consent in ended:
        erasures.record_erasure(
            connection,
            keyring.index("consent", consent),
            actor=actor,
            reason="its person was erased",
        )
    return erasures.erase_person(
        connection, code, keyring.index("code", code), actor=actor, reason=reason
    )


def erase_again(connection: Connection, keyring: Keyring) -> int:
    """Erase the persons whom a restored backup has brought back; returns how many."""
    erased = 0
    for code in persons.list_readable_codes(connection):
        code_index = keyring.index("code", code)
        if erasures.was_erased(connection, code_index):
            erasures.erase_person(
                connection, code, code_index, actor="restore", reason="erased before the restore"
            )
            erased += 1
    return erased


def rewrap_keys(connection: Connection, keyring: Keyring, *, batch: int = 500) -> int:
    """Wrap under the current key what older keys have wrapped; returns how much.

    Commits after each batch, so it can be stopped.

    Raises: NotOpened, where a key that is still needed is not in the key file.
    """
    rewrapped = 0
    while True:
        with connection.transaction():
            keys = wrapped_keys.lock_keys_of_others(connection, keyring.current, batch)
            for key in keys:
                data_key = keyring.unwrap(key.wrapped_by, key.wrapped, key.code)
                name, wrapped = keyring.wrap(data_key, key.code)
                wrapped_keys.save_wrapped_key(connection, key.person_id, name, wrapped)
        rewrapped += len(keys)
        if len(keys) < batch:
            return rewrapped + _reseal_second_factors(connection, keyring)


def _reseal_second_factors(connection: Connection, keyring: Keyring) -> int:
    resealed = 0
    with connection.transaction():
        for factor in wrapped_keys.lock_second_factors(connection):
            if keyring.sealed_by_current(factor.sealed):
                continue
            place = f"totp|{factor.user_id}"
            sealed = keyring.seal(keyring.unseal(factor.sealed, place), place)
            wrapped_keys.save_second_factor(connection, factor.user_id, sealed)
            resealed += 1
    return resealed
