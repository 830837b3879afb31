"""Looking at a person's fields: for a purpose, with a reference, within a day's measure, with a second person's yes where policy wants it.

Every step leaves an audit entry in its own transaction: where it cannot be written, nothing is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from crypto.sealed_values import NotOpened
from domain.access import Principal
from privacy import person_vault
from privacy.keyring import Keyring
from privacy.purposes import PeoplePolicy
from store.access import audit
from store.access.audit import AuditEntry
from store.database.connection import Connection
from store.people import people


class LookupRefused(Exception):
    """A look-up is not allowed as asked; the message says why and how to mend it."""


class TooManyLookups(Exception):
    """A log-in has looked at as many persons as policy allows in a day."""


def ask(
    connection: Connection,
    who: Principal,
    person: dict[str, Any],
    *,
    purpose: str,
    reference: str,
    fields: Sequence[str],
    policy: PeoplePolicy,
    now: datetime,
    source: str,
) -> tuple[int, str]:
    """Ask to look at a person; returns the look-up's id and whether it is `granted`, or `asked` and waits for a second person.

    Raises: Refused, TooManyLookups.
    """
    known = policy.purposes.get(purpose)
    if known is None:
        raise LookupRefused(f"purpose {purpose!r}: use one of {', '.join(sorted(policy.purposes))}")
    beyond = sorted(set(fields) - set(known.fields))
    if beyond:
        raise LookupRefused(
            f"for the purpose {purpose!r} one looks at {', '.join(known.fields)}, not at {', '.join(beyond)}"
        )
    seen = people.persons_looked_at(connection, who.user_id, now - timedelta(days=1))
    if person["id"] not in seen and len(seen) >= policy.persons_per_day:
        raise TooManyLookups(
            f"{policy.persons_per_day} persons a day; this is one more. Ask your privacy officer"
        )
    granted = not set(fields) & set(known.second_person)
    lasts = (
        timedelta(minutes=policy.shown_minutes) if granted else timedelta(hours=policy.waits_hours)
    )
    made = people.add_lookup(
        connection,
        person_id=person["id"],
        estate_id=person["estate_id"],
        user_id=who.user_id,
        asked_by=who.name,
        role=str(who.role),
        purpose=purpose,
        reference=reference,
        fields=sorted(set(fields)),
        granted=granted,
        expires_at=now + lasts,
    )
    state = "granted" if granted else "asked"
    _record(
        connection,
        who,
        "askLookup",
        made,
        person["code"],
        person["estate_id"],
        purpose,
        reference,
        state,
        source,
        sorted(fields),
    )
    return made, state


def decide(
    connection: Connection,
    who: Principal,
    lookup_id: int,
    *,
    grant: bool,
    policy: PeoplePolicy,
    now: datetime,
    source: str,
) -> None:
    """Grant or refuse what somebody else asked for.

    Raises: Refused.
    """
    row = people.find_lookup(connection, lookup_id, who.estate_ids)
    if row is None:
        raise LookupError(f"look-up {lookup_id}")
    if row["user_id"] == who.user_id:
        raise LookupRefused("nobody grants what they asked for themselves; another person has to")
    expires_at = now + timedelta(minutes=policy.shown_minutes)
    if not people.decide_lookup(
        connection, lookup_id, granted=grant, decider=(who.user_id, who.name), expires_at=expires_at
    ):
        raise LookupRefused("this look-up is decided or over already")
    result = "granted" if grant else "refused"
    _record(
        connection,
        who,
        "decideLookup",
        lookup_id,
        row["code"],
        row["estate_id"],
        row["purpose"],
        row["reference"],
        result,
        source,
    )


def show(
    connection: Connection, who: Principal, lookup_id: int, ring: Keyring, *, source: str
) -> dict[str, str | None]:
    """Open the fields of a look-up that was granted to this very log-in and is not over.

    Raises: Refused, LookupError.
    """
    row = people.find_lookup(connection, lookup_id, who.estate_ids)
    if row is None or row["user_id"] != who.user_id:
        raise LookupError(f"look-up {lookup_id}")
    if row["state"] != "granted" or row["over"]:
        raise LookupRefused(
            "this look-up was not granted"
            if row["state"] != "granted"
            else "this look-up is over; ask again"
        )
    person = people.find_person(connection, who.estate_ids, row["code"]) if row["code"] else None
    if person is None:
        raise LookupRefused("this person was erased")
    _record(
        connection,
        who,
        "showPerson",
        lookup_id,
        row["code"],
        row["estate_id"],
        row["purpose"],
        row["reference"],
        "shown",
        source,
        row["fields"],
    )
    people.note_shown(connection, lookup_id)
    try:
        fields = person_vault.opened(ring, person)
    except NotOpened as error:
        raise LookupRefused(f"these fields cannot be opened: {error}") from None
    return {name: fields.get(name) for name in row["fields"]}


def _record(
    connection: Connection,
    who: Principal,
    action: str,
    lookup_id: int,
    code: str | None,
    estate_id: int,
    purpose: str,
    reference: str,
    result: str,
    source: str,
    fields: Sequence[str] = (),
) -> None:
    audit.append(
        connection,
        AuditEntry(
            actor=who.name,
            role=str(who.role),
            action=action,
            object=f"lookup:{lookup_id}",
            subject=f"person:{code}",
            purpose=purpose,
            reference=reference,
            result=result,
            source=source,
            detail={"fields": list(fields)} if fields else None,
        ),
        estate_id=estate_id,
    )
