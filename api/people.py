"""People within the law: shown masked, looked at for a purpose, reported to themselves, erased when their time is over.

A person is never a row to be browsed: the list is of one estate, by code, with masks; looking a person up by number or phone finds only
who is equal to what was typed, and counts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.access import LookupApprover, LookupRequester, PeopleKeeper, PeopleReader
from api.context import AuditFacts
from api.estates import Code, find_estate
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import Action
from privacy import lookups, person_vault
from privacy.purposes import PeoplePolicy
from store.database.connection import Connection
from store.people import people

router = APIRouter(prefix="/api/v1", tags=["people"], route_class=IdempotentRoute)
PersonCode = Annotated[
    str, Path(min_length=1, max_length=60, pattern=r"^[^\x00/]+$", examples=["r-1024"])
]
Id = Annotated[int, Path(ge=1, le=2**62)]
Text = Annotated[str, Field(min_length=4, max_length=200, pattern=r"^[^\x00]*$")]
#: Searches by an exact name, number or phone a minute.
SEARCHES_PER_MINUTE = 10


def _policy(request: Request) -> PeoplePolicy:
    policy: PeoplePolicy = request.app.state.people
    return policy


def _person(connection: Connection, principal: Any, code: str) -> dict[str, Any]:
    found = people.find_person(connection, principal.estate_ids, code)
    if found is None:
        raise Problem(404, "unknown_person", "no such person within your reach")
    return found


@router.get("/purposes", operation_id="listPurposes")
def list_purposes(context: PeopleReader) -> dict[str, Any]:
    """List the purposes for which one may look at a person, what may be looked at for each, and what needs a second person."""
    return {
        "items": [
            {"purpose": name, **one.model_dump()}
            for name, one in context.people_policy.purposes.items()
        ]
    }


@router.get("/estates/{estate}/people", operation_id="listPeople")
def list_people(
    context: PeopleReader,
    estate: Code,
    after: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> dict[str, Any]:
    """List an estate's persons by code, masked; `next` is the `after` of the following page. That somebody looked is on record."""
    found, ring = find_estate(context.connection, context.principal, estate), context.keyring()
    rows = people.list_persons(context.connection, found.id, after, limit)
    context.audit.describe_read(
        AuditFacts(
            subject=f"people:{estate}",
            estate_id=found.id,
            detail={"after": after, "shown": len(rows)},
        )
    )
    return {
        "items": [person_vault.masked(ring, row) for row in rows],
        "next": rows[-1]["code"] if len(rows) == limit else None,
    }


class PersonSearch(BaseModel):
    """What a person's name, number or phone is, in full."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"kind": "phone", "text": "13900000000"}]}
    )
    kind: Literal["name", "id_number", "phone"]
    text: str = Field(min_length=2, max_length=80, pattern=r"^[^\x00]*$")


@router.post("/people/search", operation_id="searchPeople")
def search(context: PeopleReader, body: PersonSearch) -> dict[str, Any]:
    """Find who has exactly this name, number or phone within your reach, masked. What was searched for is not written down."""
    context.limit_rate("search", SEARCHES_PER_MINUTE)
    ring = context.keyring()
    found = people.find_by_index(
        context.connection, context.principal.estate_ids, ring.index(body.kind, body.text)
    )
    context.audit.describe(AuditFacts(detail={"kind": body.kind, "found": len(found)}))
    return {"items": [person_vault.masked(ring, row) for row in found]}


class LookupRequest(BaseModel):
    """Why somebody looks, at what, and on what it rests: an alert's, a visit's or a letter's number."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"purpose": "visit", "reference": "visit 2026-w47-03", "fields": ["name", "phone"]}
            ]
        },
    )
    purpose: str = Field(max_length=40, pattern=r"^[a-z_]+$")
    reference: Text
    fields: list[Literal["name", "id_number", "phone"]] = Field(min_length=1, max_length=3)


@router.post("/people/{code}/lookups", operation_id="askLookup", status_code=201)
def ask_lookup(context: LookupRequester, code: PersonCode, body: LookupRequest) -> dict[str, Any]:
    """Ask to look at a person. `granted` may be shown for some minutes; `asked` waits for a second person."""
    person = _person(context.connection, context.principal, code)
    try:
        made, state = lookups.ask(
            context.connection,
            context.principal,
            person,
            purpose=body.purpose,
            reference=body.reference,
            fields=body.fields,
            policy=context.people_policy,
            now=datetime.now(UTC),
            source=context.source,
        )
    except lookups.LookupRefused as error:
        raise Problem(422, "purpose", str(error)) from None
    except lookups.TooManyLookups as error:
        raise Problem(429, "too_many_persons", str(error)) from None
    context.audit.skip()
    return {"id": made, "state": state}


@router.get("/lookups", operation_id="listLookups")
def list_lookups(
    context: LookupRequester,
    waiting: bool = False,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """List your look-ups, newest first; everybody's within your reach if you may grant them. No field of anybody is in it."""
    everybody = context.principal.may(Action.APPROVE_UNMASK)
    rows = people.list_lookups(
        context.connection,
        context.principal.estate_ids,
        me=context.principal.user_id,
        everybody=everybody,
        open_only=waiting,
        before=before,
        limit=limit,
    )
    hidden = ("person_id", "user_id", "estate_id")
    items = [{name: value for name, value in row.items() if name not in hidden} for row in rows]
    return {"items": items, "next": rows[-1]["id"] if len(rows) == limit else None}


class Decision(BaseModel):
    """A second person's yes or no."""

    model_config = ConfigDict(extra="forbid")
    grant: bool


@router.post("/lookups/{lookup_id}/decision", operation_id="decideLookup", status_code=204)
def decide_lookup(context: LookupApprover, lookup_id: Id, body: Decision) -> None:
    """Grant or refuse what another person asked for."""
    try:
        lookups.decide(
            context.connection,
            context.principal,
            lookup_id,
            grant=body.grant,
            policy=context.people_policy,
            now=datetime.now(UTC),
            source=context.source,
        )
    except LookupError:
        raise Problem(404, "unknown_lookup", "no such look-up within your reach") from None
    except lookups.LookupRefused as error:
        raise Problem(409, "not_allowed", str(error)) from None
    context.audit.skip()


@router.post("/lookups/{lookup_id}/show", operation_id="showPerson")
def show_person(context: LookupRequester, lookup_id: Id) -> dict[str, Any]:
    """Show the fields of your own look-up that was granted and is not over."""
    try:
        fields = lookups.show(
            context.connection,
            context.principal,
            lookup_id,
            context.keyring(),
            source=context.source,
        )
    except LookupError:
        raise Problem(404, "unknown_lookup", "no such look-up of yours") from None
    except lookups.LookupRefused as error:
        raise Problem(409, "not_allowed", str(error)) from None
    context.audit.skip()
    return {"fields": fields}


@router.post("/people/{code}/report", operation_id="reportPerson")
def report(context: PeopleKeeper, code: PersonCode, body: LookupRequest) -> dict[str, Any]:
    """Put together what is held about a person, for that person (PIPL art. 45): fields, homes, and by what roles and why they were looked at."""
    person = _person(context.connection, context.principal, code)
    if body.purpose != "subject_request":
        raise Problem(422, "purpose", "a report is made for the purpose subject_request")
    fields = person_vault.opened(context.keyring(), person)
    context.audit.describe(
        AuditFacts(
            subject=f"person:{code}",
            purpose=body.purpose,
            reference=body.reference,
            estate_id=person["estate_id"],
        )
    )
    return {
        "code": code,
        "estate": person["estate"],
        "collected_for": person["collected_for"],
        "fields": fields,
        **people.held_about(context.connection, person["id"]),
    }


class LookupReason(BaseModel):
    """A reason that stays on record."""

    model_config = ConfigDict(extra="forbid")
    reason: Text


@router.post("/people/{code}/erasure", operation_id="erasePerson", status_code=204)
def erase_person(context: PeopleKeeper, code: PersonCode, body: LookupReason) -> None:
    """Erase a person's fields and key for good (PIPL art. 47). 409 while a hold stands; what they did as a code stays for statistics."""
    person = _person(context.connection, context.principal, code)
    try:
        person_vault.erase(
            context.connection,
            context.keyring(),
            code,
            actor=context.principal.name,
            reason=body.reason,
        )
    except person_vault.StoredPerson as error:
        raise Problem(409, "held", str(error)) from None
    context.audit.describe(
        AuditFacts(subject=f"person:{code}", estate_id=person["estate_id"], reference=body.reason)
    )


@router.post("/people/{code}/holds", operation_id="holdPerson", status_code=201)
def hold_person(context: PeopleKeeper, code: PersonCode, body: LookupReason) -> dict[str, Any]:
    """Keep a person from being erased while a case is open or a court asks for it."""
    person = _person(context.connection, context.principal, code)
    made = people.add_hold(
        context.connection, person["id"], body.reason, actor=context.principal.name
    )
    context.audit.describe(
        AuditFacts(subject=f"person:{code}", estate_id=person["estate_id"], reference=body.reason)
    )
    return {"id": made}


@router.delete("/holds/{hold_id}", operation_id="releaseHold", status_code=204)
def release_hold(context: PeopleKeeper, hold_id: Id) -> None:
    """Release a hold."""
    if not people.release_hold(
        context.connection, hold_id, context.principal.estate_ids, actor=context.principal.name
    ):
        raise Problem(404, "unknown_hold", "no such hold within your reach")
