"""People within the law: shown masked, looked at for a purpose, reported to themselves, and erased
when their time is over.

A list is of one estate, by code, with masked fields. A search by name, number or phone finds only
exact matches, and is limited.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import LookupApprover, LookupRequester, PeopleKeeper, PeopleReader
from api.context import AuditFacts, RequestContext
from api.estates import Code, find_estate
from api.idempotency import IdempotentRoute
from api.people_answers import (
    AskedLookupAnswer,
    HoldAnswer,
    LookupAnswer,
    LookupPage,
    PersonAnswer,
    PersonList,
    PersonPage,
    PersonReportAnswer,
    PurposeAnswer,
    PurposeList,
    ReportedHoldAnswer,
    ReportedLookupAnswer,
    ResidenceAnswer,
    ShownPersonAnswer,
)
from api.problems import Problem
from domain.access import Action
from privacy import lookups, person_vault
from privacy.lookups import LookupQuery, Requester
from store.people import erasures, persons
from store.people import lookups as stored_lookups
from store.people.lookups import LookupFilter
from store.people.persons import SealedPerson

router = APIRouter(prefix="/api/v1", tags=["people"], route_class=IdempotentRoute)
PersonCode = Annotated[
    str, Path(min_length=1, max_length=60, pattern=r"^[^\x00/]+$", examples=["r-1024"])
]
Id = Annotated[int, Path(ge=1, le=2**62)]
Text = Annotated[str, Field(min_length=4, max_length=200, pattern=r"^[^\x00]*$")]
FieldName = Literal["name", "id_number", "phone"]
#: Searches by an exact name, number or phone a minute.
SEARCHES_PER_MINUTE = 10


# Requests -----------------------------------------------------------------------------------------


class PersonSearch(BaseModel):
    """A person's name, number or phone, in full."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"kind": "phone", "text": "13900000000"}]}
    )
    kind: FieldName
    text: str = Field(min_length=2, max_length=80, pattern=r"^[^\x00]*$")


class LookupRequest(BaseModel):
    """Why somebody looks at a person, at which fields, and by what reference: an alert's, a visit's
    or a letter's number.
    """

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
    fields: list[FieldName] = Field(min_length=1, max_length=3)


class Decision(BaseModel):
    """A second person's decision."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"grant": True}]})
    grant: bool = Field(strict=True, description="whether the look-up may go on")


class ErasureReason(BaseModel):
    """A reason, which is entered in the audit record."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "case 7 is open"}]}
    )
    reason: Text


# Routes -------------------------------------------------------------------------------------------


def _find_person(context: RequestContext, code: str) -> SealedPerson:
    person = persons.find_person(context.connection, context.principal.estate_ids, code)
    if person is None:
        raise Problem(404, "unknown_person", "no such person within your reach")
    return person


def _requester(context: RequestContext) -> Requester:
    return Requester(principal=context.principal, source=context.source, now=context.now)


@router.get("/purposes", operation_id="listPurposes")
def list_purposes(context: PeopleReader) -> PurposeList:
    """List the purposes for which one may look at a person, the fields of each, and which need a
    second person.
    """
    purposes = context.people_policy.purposes.items()
    return PurposeList(
        items=[PurposeAnswer(purpose=name, **purpose.model_dump()) for name, purpose in purposes]
    )


@router.get("/estates/{estate}/people", operation_id="listPeople")
def list_people(
    context: PeopleReader,
    estate: Code,
    after: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> PersonPage:
    """List an estate's persons by code, masked; `next` is the `after` of the following page.

    The read is entered in the audit record.
    """
    estate_id = find_estate(context.connection, context.principal, estate).id
    keyring = context.keyring()
    found = persons.list_persons(context.connection, estate_id, after=after, limit=limit)
    context.audit.describe_read(
        AuditFacts(
            subject=f"people:{estate}",
            estate_id=estate_id,
            detail={"after": after, "shown": len(found)},
        )
    )
    masked = [person_vault.mask_person(keyring, person) for person in found]
    return PersonPage(
        items=[PersonAnswer.model_validate(person) for person in masked],
        next=found[-1].code if len(found) == limit else None,
    )


@router.post("/people/search", operation_id="searchPeople")
def search(context: PeopleReader, body: PersonSearch) -> PersonList:
    """Find who has exactly this name, number or phone within your grants, masked.

    What was searched for is not written down.
    """
    context.limit_rate("search", SEARCHES_PER_MINUTE)
    keyring = context.keyring()
    index = keyring.index(body.kind, body.text)
    found = persons.find_by_index(context.connection, context.principal.estate_ids, index)
    context.audit.describe(AuditFacts(detail={"kind": body.kind, "found": len(found)}))
    masked = [person_vault.mask_person(keyring, person) for person in found]
    return PersonList(items=[PersonAnswer.model_validate(person) for person in masked])


@router.post("/people/{code}/lookups", operation_id="askLookup", status_code=201)
def ask_lookup(
    context: LookupRequester, code: PersonCode, body: LookupRequest
) -> AskedLookupAnswer:
    """Ask to look at a person. `granted` may be shown for some minutes;

    `asked` waits for a second person.
    """
    person = _find_person(context, code)
    query = LookupQuery(purpose=body.purpose, reference=body.reference, fields=body.fields)
    try:
        lookup = lookups.ask(
            context.connection, _requester(context), person, query, context.people_policy
        )
    except lookups.LookupRefused as error:
        raise Problem(422, "purpose", str(error)) from None
    except lookups.TooManyLookups as error:
        raise Problem(429, "too_many_persons", str(error)) from None
    context.audit.skip()
    return AskedLookupAnswer.model_validate(lookup)


@router.get("/lookups", operation_id="listLookups")
def list_lookups(
    context: LookupRequester,
    waiting: bool = False,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> LookupPage:
    """List your look-ups, newest first; everybody's within your grants if you may grant them."""
    principal = context.principal
    criteria = LookupFilter(
        estates=principal.estate_ids,
        user_id=None if principal.may(Action.APPROVE_UNMASK) else principal.user_id,
        open_only=waiting,
        before=before,
        limit=limit,
    )
    found = stored_lookups.list_lookups(context.connection, criteria)
    return LookupPage(
        items=[LookupAnswer.model_validate(lookup) for lookup in found],
        next=found[-1].id if len(found) == limit else None,
    )


@router.post("/lookups/{lookup_id}/decision", operation_id="decideLookup", status_code=204)
def decide_lookup(context: LookupApprover, lookup_id: Id, body: Decision) -> None:
    """Grant or refuse what another person has asked for."""
    try:
        lookups.decide(
            context.connection,
            _requester(context),
            lookup_id,
            grant=body.grant,
            policy=context.people_policy,
        )
    except LookupError:
        raise Problem(404, "unknown_lookup", "no such look-up within your reach") from None
    except lookups.LookupRefused as error:
        raise Problem(409, "not_allowed", str(error)) from None
    context.audit.skip()


@router.post("/lookups/{lookup_id}/show", operation_id="showPerson")
def show_person(context: LookupRequester, lookup_id: Id) -> ShownPersonAnswer:
    """Show the fields of your own look-up, which was granted and is not over."""
    try:
        fields = lookups.show(context.connection, _requester(context), lookup_id, context.keyring())
    except LookupError:
        raise Problem(404, "unknown_lookup", "no such look-up of yours") from None
    except lookups.LookupRefused as error:
        raise Problem(409, "not_allowed", str(error)) from None
    context.audit.skip()
    return ShownPersonAnswer(fields=fields)


@router.post("/people/{code}/report", operation_id="reportPerson")
def report(context: PeopleKeeper, code: PersonCode, body: LookupRequest) -> PersonReportAnswer:
    """Report what is stored about a person, for that person (PIPL art.

    45): fields, homes, and the roles and purposes of look-ups.
    """
    person = _find_person(context, code)
    if body.purpose != "subject_request":
        raise Problem(422, "purpose", "a report is made for the purpose subject_request")
    fields = person_vault.open_fields(context.keyring(), person)
    context.audit.describe(
        AuditFacts(
            subject=f"person:{code}",
            purpose=body.purpose,
            reference=body.reference,
            estate_id=person.estate_id,
        )
    )
    stored = stored_lookups.report_person(context.connection, person.id)
    return PersonReportAnswer(
        code=code,
        estate=person.estate,
        collected_for=person.collected_for,
        fields=fields,
        residences=[ResidenceAnswer.model_validate(home) for home in stored.residences],
        looked_at=[ReportedLookupAnswer.model_validate(lookup) for lookup in stored.looked_at],
        holds=[ReportedHoldAnswer.model_validate(hold) for hold in stored.holds],
    )


@router.post("/people/{code}/erasure", operation_id="erasePerson", status_code=204)
def erase_person(context: PeopleKeeper, code: PersonCode, body: ErasureReason) -> None:
    """Erase a person's fields and key for good (PIPL art. 47). 409 while there is a hold.

    What was recorded of the code stays for statistics.
    """
    person = _find_person(context, code)
    try:
        person_vault.erase_person(
            context.connection,
            context.keyring(),
            code,
            actor=context.principal.name,
            reason=body.reason,
        )
    except person_vault.ErasureHeld as error:
        raise Problem(409, "held", str(error)) from None
    context.audit.describe(_facts(person, body.reason))


@router.post("/people/{code}/holds", operation_id="holdPerson", status_code=201)
def hold_person(context: PeopleKeeper, code: PersonCode, body: ErasureReason) -> HoldAnswer:
    """Keep a person from being erased while a case is open or a court asks for it."""
    person = _find_person(context, code)
    hold_id = erasures.add_hold(
        context.connection, person.id, body.reason, actor=context.principal.name
    )
    context.audit.describe(_facts(person, body.reason))
    return HoldAnswer(id=hold_id)


def _facts(person: SealedPerson, reason: str) -> AuditFacts:
    return AuditFacts(subject=f"person:{person.code}", estate_id=person.estate_id, reference=reason)


@router.delete("/holds/{hold_id}", operation_id="releaseHold", status_code=204)
def release_hold(context: PeopleKeeper, hold_id: Id) -> None:
    """Release a hold."""
    principal = context.principal
    if not erasures.release_hold(
        context.connection, hold_id, principal.estate_ids, actor=principal.name
    ):
        raise Problem(404, "unknown_hold", "no such hold within your reach")
