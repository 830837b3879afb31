"""People within the law: shown masked, looked at for a purpose, reported to themselves, and erased
when their time is over.

A list is of one estate, by code, with masked fields. A search by name, number or phone finds only
exact matches, and is limited.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import LookupApprover, LookupRequester, PeopleKeeper, PeopleReader
from api.answers import Answer, example
from api.context import AuditFacts, RequestContext
from api.estates import Code, find_estate
from api.idempotency import IdempotentRoute
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
    grant: bool


class ErasureReason(BaseModel):
    """A reason, which is entered in the audit record."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "case 7 is open"}]}
    )
    reason: Text


# Answers ------------------------------------------------------------------------------------------


class PurposeAnswer(Answer):
    """A purpose for which one may look at a person."""

    model_config = example(
        {
            "purpose": "visit",
            "zh": "入户核查准备",
            "en": "preparing a home visit",
            "fields": ["name", "phone"],
            "second_person": ["id_number"],
        }
    )
    purpose: str = Field(description="name of the purpose")
    zh: str = Field(description="what it means, in Chinese")
    en: str = Field(description="what it means, in English")
    fields: list[str] = Field(description="fields that may be looked at")
    second_person: list[str] = Field(description="fields that need a second person's consent")


class PurposeList(Answer):
    """The purposes of this site."""

    model_config = example({"items": []})
    items: list[PurposeAnswer] = Field(description="purposes")


class PersonAnswer(Answer):
    """A person with masked fields."""

    model_config = example(
        {
            "code": "r-1024",
            "estate": "qingnian",
            "unit": "3-1-201",
            "readable": True,
            "name": "王**",
            "id_number": "4****************3",
            "phone": "139****0000",
        }
    )
    code: str = Field(description="code of the resident")
    estate: str = Field(description="code of the estate")
    unit: str | None = Field(description="code of the home where the person lived last")
    readable: bool = Field(description="whether the fields could be opened")
    name: str | None = Field(description="masked name")
    id_number: str | None = Field(description="masked number of the identity document")
    phone: str | None = Field(description="masked phone number")


class PersonPage(Answer):
    """A page of persons."""

    model_config = example({"items": [], "next": None})
    items: list[PersonAnswer] = Field(description="persons by code")
    next: str | None = Field(description="`after` of the following page; null on the last")


class PersonList(Answer):
    """Persons that were found."""

    model_config = example({"items": []})
    items: list[PersonAnswer] = Field(description="persons by code")


class AskedLookupAnswer(Answer):
    """A look-up that was asked for."""

    model_config = example({"id": 31, "state": "granted"})
    id: int = Field(description="number of the look-up")
    state: str = Field(description="granted, or asked while it waits for a second person")


class LookupAnswer(Answer):
    """A look-up; it holds no field of the person."""

    model_config = example(
        {
            "id": 31,
            "code": "r-1024",
            "estate": "qingnian",
            "asked_by": "wang",
            "role": "compliance",
            "asked_at": "2026-11-01T08:00:00Z",
            "purpose": "visit",
            "reference": "visit 2026-w47-03",
            "fields": ["name"],
            "state": "granted",
            "decided_by": None,
            "decided_at": "2026-11-01T08:00:00Z",
            "shown_at": None,
            "expires_at": "2026-11-01T08:15:00Z",
            "over": False,
        }
    )
    id: int = Field(description="number of the look-up")
    code: str | None = Field(description="code of the resident; null once the person is gone")
    estate: str = Field(description="code of the estate")
    asked_by: str = Field(description="who has asked")
    role: str = Field(description="role of who has asked")
    asked_at: datetime = Field(description="when it was asked for")
    purpose: str = Field(description="name of the purpose")
    reference: str = Field(description="what it rests on")
    fields: list[str] = Field(description="fields that it shows")
    state: str = Field(description="asked, granted or refused")
    decided_by: str | None = Field(description="second person who has decided")
    decided_at: datetime | None = Field(description="when it was granted or refused")
    shown_at: datetime | None = Field(description="when it was used first")
    expires_at: datetime = Field(description="when it is over")
    over: bool = Field(description="whether it is over")


class LookupPage(Answer):
    """A page of look-ups."""

    model_config = example({"items": [], "next": None})
    items: list[LookupAnswer] = Field(description="look-ups, newest first")
    next: int | None = Field(description="`before` of the following page; null on the last")


class ShownPersonAnswer(Answer):
    """The fields of a look-up."""

    model_config = example({"fields": {"name": "王小明", "phone": "13900000000"}})
    fields: dict[str, str | None] = Field(description="the fields; null where one is unknown")


class ResidenceAnswer(Answer):
    """A home of a person."""

    model_config = example(
        {
            "estate": "qingnian",
            "unit": "3-1-201",
            "role": "tenant",
            "from_day": "2024-01-01",
            "to_day": None,
        }
    )
    estate: str = Field(description="code of the estate")
    unit: str = Field(description="code of the home")
    role: str = Field(description="role in the household")
    from_day: date = Field(description="first day, local")
    to_day: date | None = Field(description="last day, local; null if it has not ended")


class ReportedLookupAnswer(Answer):
    """A look-up as the person is told of it."""

    model_config = example(
        {
            "asked_at": "2026-11-01T08:00:00Z",
            "role": "compliance",
            "purpose": "visit",
            "reference": "visit 2026-w47-03",
            "fields": ["name"],
            "state": "granted",
            "shown_at": None,
        }
    )
    asked_at: datetime = Field(description="when it was asked for")
    role: str = Field(description="role of who has asked")
    purpose: str = Field(description="name of the purpose")
    reference: str = Field(description="what it rests on")
    fields: list[str] = Field(description="fields that it shows")
    state: str = Field(description="asked, granted or refused")
    shown_at: datetime | None = Field(description="when it was used first")


class ReportedHoldAnswer(Answer):
    """A hold as the person is told of it."""

    model_config = example(
        {"reason": "case 7 is open", "made_at": "2026-11-01T08:00:00Z", "released_at": None}
    )
    reason: str = Field(description="why the person is not erased")
    made_at: datetime = Field(description="when the hold was made")
    released_at: datetime | None = Field(description="when it was released")


class PersonReportAnswer(Answer):
    """What is stored about a person, for that person."""

    model_config = example(
        {
            "code": "r-1024",
            "estate": "qingnian",
            "collected_for": "tenancy",
            "fields": {"name": "王小明"},
            "residences": [],
            "looked_at": [],
            "holds": [],
        }
    )
    code: str = Field(description="code of the resident")
    estate: str = Field(description="code of the estate")
    collected_for: str = Field(description="what the fields were collected for")
    fields: dict[str, str] = Field(description="the fields that are known, open")
    residences: list[ResidenceAnswer] = Field(description="homes, oldest first")
    looked_at: list[ReportedLookupAnswer] = Field(description="look-ups, oldest first")
    holds: list[ReportedHoldAnswer] = Field(description="holds, oldest first")


class HoldAnswer(Answer):
    """A hold that was made."""

    model_config = example({"id": 4})
    id: int = Field(description="number of the hold")


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
