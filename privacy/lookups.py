"""Looking at a person's fields: for a purpose, with a reference, at most so many persons a day, and
with a second person's consent by policy.

Every step writes an audit entry in its own transaction. Where it cannot be written, nothing is
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from crypto.sealed_values import NotOpened
from domain.access import Principal
from privacy import person_vault
from privacy.keyring import Keyring
from privacy.purposes import PeoplePolicy
from store.access import audit
from store.access.audit import AuditEntry
from store.database.connection import Connection
from store.people import lookups, persons
from store.people.lookups import LookupDecision, NewLookup
from store.people.persons import SealedPerson


class LookupRefused(Exception):
    """A look-up is not allowed as asked; the message says why and how to mend it."""


class TooManyLookups(Exception):
    """A user has looked at as many persons as policy allows in a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who takes a step, from what network address, at what instant."""

    principal: Principal
    source: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupQuery:
    """Why somebody wants to look at a person, and at which fields."""

    purpose: str
    reference: str
    fields: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLookup:
    """A look-up that was asked for.

    `state` is granted, or asked while it waits for a second person.
    """

    id: int
    state: str


def ask(
    connection: Connection,
    requester: Requester,
    person: SealedPerson,
    query: LookupQuery,
    policy: PeoplePolicy,
) -> AskedLookup:
    """Ask to look at a person.

    Raises: LookupRefused, TooManyLookups.
    """
    principal = requester.principal
    granted = not _needs_second_person(query, policy)
    _check_daily_limit(connection, requester, person, policy)
    if granted:
        duration = timedelta(minutes=policy.shown_minutes)
    else:
        duration = timedelta(hours=policy.waits_hours)
    lookup = NewLookup(
        person_id=person.id,
        estate_id=person.estate_id,
        user_id=principal.user_id,
        asked_by=principal.name,
        role=str(principal.role),
        purpose=query.purpose,
        reference=query.reference,
        fields=sorted(set(query.fields)),
        granted=granted,
        expires_at=requester.now + duration,
    )
    lookup_id = lookups.add_lookup(connection, lookup)
    state = "granted" if granted else "asked"
    step = _Step(
        action="askLookup",
        lookup_id=lookup_id,
        code=person.code,
        estate_id=person.estate_id,
        purpose=query.purpose,
        reference=query.reference,
        result=state,
        fields=sorted(query.fields),
    )
    _write_entry(connection, requester, step)
    return AskedLookup(id=lookup_id, state=state)


def _needs_second_person(query: LookupQuery, policy: PeoplePolicy) -> bool:
    purpose = policy.purposes.get(query.purpose)
    if purpose is None:
        raise LookupRefused(
            f"purpose {query.purpose!r}: use one of {', '.join(sorted(policy.purposes))}"
        )
    refused = sorted(set(query.fields) - set(purpose.fields))
    if refused:
        raise LookupRefused(
            f"for the purpose {query.purpose!r} one looks at {', '.join(purpose.fields)},"
            f" not at {', '.join(refused)}"
        )
    return bool(set(query.fields) & set(purpose.second_person))


def _check_daily_limit(
    connection: Connection, requester: Requester, person: SealedPerson, policy: PeoplePolicy
) -> None:
    a_day_ago = requester.now - timedelta(days=1)
    seen = lookups.persons_asked_for(connection, requester.principal.user_id, a_day_ago)
    if person.id not in seen and len(seen) >= policy.persons_per_day:
        raise TooManyLookups(
            f"{policy.persons_per_day} persons a day; this is one more. Ask your privacy officer"
        )


def decide(
    connection: Connection,
    requester: Requester,
    lookup_id: int,
    *,
    grant: bool,
    policy: PeoplePolicy,
) -> None:
    """Grant or refuse what another user has asked for.

    Raises: LookupError where there is no such look-up, LookupRefused.
    """
    principal = requester.principal
    lookup = lookups.lock_lookup(connection, lookup_id, principal.estate_ids)
    if lookup is None:
        raise LookupError(f"look-up {lookup_id}")
    if lookup.user_id == principal.user_id:
        raise LookupRefused("nobody grants what they asked for themselves; another person has to")
    decision = LookupDecision(
        decider_id=principal.user_id,
        decided_by=principal.name,
        granted=grant,
        expires_at=requester.now + timedelta(minutes=policy.shown_minutes),
    )
    if not lookups.decide_lookup(connection, lookup_id, decision):
        raise LookupRefused("this look-up is decided or over already")
    step = _Step(
        action="decideLookup",
        lookup_id=lookup_id,
        code=lookup.code,
        estate_id=lookup.estate_id,
        purpose=lookup.purpose,
        reference=lookup.reference,
        result="granted" if grant else "refused",
    )
    _write_entry(connection, requester, step)


def show(
    connection: Connection, requester: Requester, lookup_id: int, keyring: Keyring
) -> dict[str, str | None]:
    """Open the fields of the requester's own look-up, which was granted and is not over.

    Raises: LookupError where there is no such look-up of the requester, LookupRefused.
    """
    principal = requester.principal
    lookup = lookups.lock_lookup(connection, lookup_id, principal.estate_ids)
    if lookup is None or lookup.user_id != principal.user_id:
        raise LookupError(f"look-up {lookup_id}")
    if lookup.state != "granted":
        raise LookupRefused("this look-up was not granted")
    if lookup.over:
        raise LookupRefused("this look-up is over; ask again")
    person = None
    if lookup.code is not None:
        person = persons.find_person(connection, principal.estate_ids, lookup.code)
    if person is None:
        raise LookupRefused("this person was erased")
    step = _Step(
        action="showPerson",
        lookup_id=lookup_id,
        code=lookup.code,
        estate_id=lookup.estate_id,
        purpose=lookup.purpose,
        reference=lookup.reference,
        result="shown",
        fields=lookup.fields,
    )
    _write_entry(connection, requester, step)
    lookups.record_shown(connection, lookup_id)
    try:
        fields = person_vault.open_fields(keyring, person)
    except NotOpened as error:
        raise LookupRefused(f"these fields cannot be opened: {error}") from None
    return {name: fields.get(name) for name in lookup.fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What the audit entry of a step says."""

    action: str
    lookup_id: int
    code: str | None
    estate_id: int
    purpose: str
    reference: str
    result: str
    fields: Sequence[str] = ()


def _write_entry(connection: Connection, requester: Requester, step: _Step) -> None:
    entry = AuditEntry(
        actor=requester.principal.name,
        role=str(requester.principal.role),
        action=step.action,
        object=f"lookup:{step.lookup_id}",
        subject=f"person:{step.code}",
        purpose=step.purpose,
        reference=step.reference,
        result=step.result,
        source=requester.source,
        detail={"fields": list(step.fields)} if step.fields else None,
    )
    audit.append(connection, entry, estate_id=step.estate_id)
