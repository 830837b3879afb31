"""Faces at doors: consents, what every gateway has reported of them, assessments on file, and the
count of stored people.

No picture, no template and no name passes here. A consent is recorded at the desk, with the
person's code. It can be ended as easily.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.access import ConsentKeeper, ConsentReader, PeopleKeeper
from api.answers import Answer, example
from api.context import AuditFacts, RequestContext
from api.estates import Code, find_estate
from api.idempotency import IdempotentRoute
from api.problems import Problem
from privacy import faces
from privacy.faces import ConsentForm
from store.people import face_consents, face_filings
from store.people.face_consents import StoredConsent
from store.people.face_filings import NewAssessment

router = APIRouter(prefix="/api/v1", tags=["faces"], route_class=IdempotentRoute)
ConsentCode = Annotated[
    str, Path(pattern=r"^k-[a-z0-9]{8,40}$", examples=["k-0123456789abcdef0123"])
]
Text = Annotated[str, Field(min_length=4, max_length=200, pattern=r"^[^\x00]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, hexadecimal")]


# Requests -----------------------------------------------------------------------------------------


class ConsentRequest(BaseModel):
    """A person's consent to face comparison at their own entrance;

    `text_sha256` is of the text that was shown and signed.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "person": "r-1024",
                    "text_version": "2026-01",
                    "text_sha256": "0" * 64,
                    "assessment": "PIA-2026-001",
                    "other_way": "card",
                    "under_14": False,
                    "given_at": "2026-11-20T10:00:00+08:00",
                    "holds_to": "2027-11-19",
                }
            ]
        },
    )
    person: str = Field(min_length=1, max_length=60, pattern=r"^[^\x00/]+$")
    text_version: str = Field(min_length=1, max_length=40, pattern=r"^[^\x00]*$")
    text_sha256: Sha256
    assessment: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{3,39}$")
    other_way: Literal["card", "code", "qr", "id_card", "phone", "fingerprint", "remote", "button"]
    under_14: bool
    guardian: Literal["parent", "other_guardian"] | None = None
    kept_at: Literal["gateway", "terminal"] = "gateway"
    given_at: AwareDatetime
    holds_to: date


class WithdrawalReason(BaseModel):
    """Why a consent ends; "the person asks" is enough."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the person asks"}]}
    )
    reason: Text


class AssessmentRequest(BaseModel):
    """An impact assessment that was done and approved.

    The document itself stays where the estate keeps its papers.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "code": "PIA-2026-001",
                    "title": "Faces at entrances",
                    "done_on": "2026-10-01",
                    "review_by": "2027-10-01",
                    "approved_by": "the privacy officer",
                    "document_sha256": "0" * 64,
                }
            ]
        },
    )
    code: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{3,39}$")
    title: Text
    done_on: date
    review_by: date
    approved_by: Text
    document_sha256: Sha256


class FilingRequest(BaseModel):
    """When and under what number the filing was done."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"filed_on": "2026-11-20", "reference": "2026-0042"}]},
    )
    filed_on: date
    reference: Text


# Answers ------------------------------------------------------------------------------------------

_CONSENT = {
    "code": "k-0123456789abcdef0123",
    "person": "r-1024",
    "estate": "qingnian",
    "building": "3",
    "entrance": "3-1",
    "purpose": "entrance",
    "text_version": "2026-01",
    "text_sha256": "0" * 64,
    "assessment": "PIA-2026-001",
    "other_way": "card",
    "under_14": False,
    "guardian": None,
    "kept_at": "gateway",
    "given_at": "2026-11-20T02:00:00Z",
    "holds_to": "2027-11-19",
    "recorded_by": "li",
    "withdrawn_at": None,
    "withdrawn_by": None,
    "withdrawn_why": None,
    "held_at": 1,
}


class RecordedConsentAnswer(Answer):
    """A consent that was recorded."""

    model_config = example(
        {
            "code": "k-0123456789abcdef0123",
            "href": "/api/v1/face-consents/k-0123456789abcdef0123",
        }
    )
    code: str = Field(description="code of the consent")
    href: str = Field(description="where its state is read")


class FaceConsentAnswer(Answer):
    """A consent as it was recorded."""

    model_config = example(_CONSENT)
    code: str = Field(description="code of the consent")
    person: str = Field(description="code of the resident")
    estate: str = Field(description="code of the estate")
    building: str = Field(description="code of the building")
    entrance: str = Field(description="code of the entrance")
    purpose: str = Field(description="what the face is compared for")
    text_version: str = Field(description="version of the text that was signed")
    text_sha256: str = Field(description="SHA-256 of the text that was signed, hexadecimal")
    assessment: str = Field(description="code of the impact assessment")
    other_way: str = Field(description="the other way in that the person has")
    under_14: bool = Field(description="whether the person is under fourteen")
    guardian: str | None = Field(description="who has consented for a child")
    kept_at: str = Field(description="where the template lies: gateway or terminal")
    given_at: datetime = Field(description="when the consent was given")
    holds_to: date = Field(description="last day on which it holds")
    recorded_by: str = Field(description="who has recorded it")
    withdrawn_at: datetime | None = Field(description="when it ended")
    withdrawn_by: str | None = Field(description="who has ended it")
    withdrawn_why: str | None = Field(description="why it ended")
    held_at: int = Field(description="number of gateways that hold a template")


class GatewayProofAnswer(Answer):
    """What a gateway has reported of a consent."""

    model_config = example(
        {"gateway": "gw-1", "held_at": "2026-11-20T02:01:00Z", "proven_at": None, "command": None}
    )
    gateway: str = Field(description="code of the gateway")
    held_at: datetime | None = Field(description="last report that it holds a template")
    proven_at: datetime | None = Field(description="since when it reports that it holds none")
    command: str | None = Field(description="command that the report answers")


class FaceConsentStateAnswer(FaceConsentAnswer):
    """A consent, its state, and what every gateway has reported of it."""

    model_config = example({**_CONSENT, "state": "holds", "gateways": []})
    state: str = Field(description="holds, over, withdrawn or deleted")
    gateways: list[GatewayProofAnswer] = Field(description="gateways with a door of the entrance")


class FaceConsentPage(Answer):
    """A page of consents."""

    model_config = example({"items": [], "next": None})
    items: list[FaceConsentAnswer] = Field(description="consents, oldest first")
    next: str | None = Field(description="`after` of the following page; null on the last")


class WithdrawalAnswer(Answer):
    """Where the proof of a deletion is read."""

    model_config = example({"href": "/api/v1/face-consents/k-0123456789abcdef0123"})
    href: str = Field(description="where the consent's state is read")


class AssessmentCodeAnswer(Answer):
    """An assessment that was put on file."""

    model_config = example({"code": "PIA-2026-001"})
    code: str = Field(description="code of the assessment")


class AssessmentAnswer(Answer):
    """An assessment on file."""

    model_config = example(
        {
            "code": "PIA-2026-001",
            "title": "Faces at entrances",
            "done_on": "2026-10-01",
            "review_by": "2027-10-01",
            "approved_by": "the privacy officer",
            "document_sha256": "0" * 64,
            "made_by": "li",
            "made_at": "2026-10-02T01:00:00Z",
        }
    )
    code: str = Field(description="code of the assessment")
    title: str = Field(description="title")
    done_on: date = Field(description="day on which it was done")
    review_by: date = Field(description="day by which it is reviewed")
    approved_by: str = Field(description="who has approved it")
    document_sha256: str = Field(description="SHA-256 of the document, hexadecimal")
    made_by: str = Field(description="who has put it on file")
    made_at: datetime = Field(description="when it was put on file")


class AssessmentList(Answer):
    """An estate's assessments."""

    model_config = example({"items": []})
    items: list[AssessmentAnswer] = Field(description="assessments, newest first")


class FilingAnswer(Answer):
    """The filing with the authority."""

    model_config = example(
        {
            "crossed_on": "2026-10-01",
            "due_on": "2026-11-18",
            "filed_on": None,
            "reference": None,
            "filed_by": None,
        }
    )
    crossed_on: date = Field(description="day on which the line was crossed")
    due_on: date = Field(description="last day for the filing")
    filed_on: date | None = Field(description="day on which it was filed; null while due")
    reference: str | None = Field(description="number of the filing")
    filed_by: str | None = Field(description="who has noted it")


class FaceCountAnswer(Answer):
    """The count of stored people, and the filing."""

    model_config = example(
        {"subjects": 1204, "warn_at": faces.WARN_AT, "file_at": faces.FILE_AT, "filing": None}
    )
    subjects: int = Field(description="distinct people whose faces are stored")
    warn_at: int = Field(description="people at which an alert warns")
    file_at: int = Field(description="people at which filing is due")
    filing: FilingAnswer | None = Field(description="filing that is due or done; null for none")


# Consents -----------------------------------------------------------------------------------------


@router.post("/estates/{estate}/face-consents", operation_id="recordFaceConsent", status_code=201)
def record_consent(
    context: ConsentKeeper, estate: Code, body: ConsentRequest
) -> RecordedConsentAnswer:
    """Record a consent. 422 where a condition of the law is not met, with what is missing."""
    estate_id = find_estate(context.connection, context.principal, estate).id
    form = ConsentForm(**body.model_dump())
    try:
        code = faces.record_consent(
            context.connection,
            estate_id,
            form,
            actor=context.principal.name,
            now=context.now,
        )
    except faces.FaceRequestRefused as error:
        raise Problem(422, "consent", str(error)) from None
    context.audit.describe(
        AuditFacts(subject=f"consent:{code}", estate_id=estate_id, purpose="entrance")
    )
    return RecordedConsentAnswer(code=code, href=f"/api/v1/face-consents/{code}")


@router.get("/estates/{estate}/face-consents", operation_id="listFaceConsents")
def list_consents(
    context: ConsentReader,
    estate: Code,
    after: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> FaceConsentPage:
    """List an estate's consents as they were recorded, with people's codes.

    The read is entered in the audit record.
    """
    estate_id = find_estate(context.connection, context.principal, estate).id
    consents = face_consents.list_consents(context.connection, estate_id, after=after, limit=limit)
    context.audit.describe_read(
        AuditFacts(
            subject=f"face-consents:{estate}",
            estate_id=estate_id,
            detail={"after": after, "shown": len(consents)},
        )
    )
    return FaceConsentPage(
        items=[FaceConsentAnswer.model_validate(consent) for consent in consents],
        next=consents[-1].code if len(consents) == limit else None,
    )


@router.get("/face-consents/{consent}", operation_id="getFaceConsent")
def get_consent(context: ConsentReader, consent: ConsentCode) -> FaceConsentStateAnswer:
    """Read a consent's state, and whether each gateway holds a template or has proven that it holds
    none.
    """
    found = _find_consent(context, consent)
    context.audit.describe_read(AuditFacts(subject=f"consent:{consent}", estate_id=found.estate_id))
    proofs = face_consents.list_proofs(context.connection, found.id)
    recorded = FaceConsentAnswer.model_validate(found)
    return FaceConsentStateAnswer(
        **recorded.model_dump(),
        state=faces.state_of(found, proofs, context.now.date()),
        gateways=[GatewayProofAnswer.model_validate(proof) for proof in proofs],
    )


@router.post(
    "/face-consents/{consent}/withdrawal", operation_id="withdrawFaceConsent", status_code=202
)
def withdraw_consent(
    context: ConsentKeeper, consent: ConsentCode, body: WithdrawalReason
) -> WithdrawalAnswer:
    """End a consent.

    Every gateway deletes key and template within a minute of being on line, and reports it: read
    `href` for the proof.
    """
    found = _find_consent(context, consent)
    is_ended = faces.withdraw_consent(
        context.connection,
        context.keyring(),
        consent,
        actor=context.principal.name,
        why=body.reason,
    )
    if not is_ended:
        raise Problem(409, "ended", f"consent {consent} has ended already")
    context.audit.describe(
        AuditFacts(subject=f"consent:{consent}", estate_id=found.estate_id, reference=body.reason)
    )
    return WithdrawalAnswer(href=f"/api/v1/face-consents/{consent}")


def _find_consent(context: RequestContext, code: str) -> StoredConsent:
    consent = face_consents.find_consent(context.connection, context.principal.estate_ids, code)
    if consent is None:
        raise Problem(404, "unknown_consent", "no such consent within your reach")
    return consent


# Assessments, counts and filings ------------------------------------------------------------------


@router.post("/estates/{estate}/assessments", operation_id="fileAssessment", status_code=201)
def file_assessment(
    context: PeopleKeeper, estate: Code, body: AssessmentRequest
) -> AssessmentCodeAnswer:
    """Put an impact assessment on file."""
    estate_id = find_estate(context.connection, context.principal, estate).id
    if body.review_by <= body.done_on:
        raise Problem(422, "review_by", "the review lies after the day on which it was done")
    assessment = NewAssessment(
        **body.model_dump(), estate_id=estate_id, made_by=context.principal.name
    )
    if not face_filings.add_assessment(context.connection, assessment):
        raise Problem(409, "taken", f"an assessment {body.code!r} is on file already")
    context.audit.describe(AuditFacts(subject=f"assessment:{body.code}", estate_id=estate_id))
    return AssessmentCodeAnswer(code=body.code)


@router.get("/estates/{estate}/assessments", operation_id="listAssessments")
def list_assessments(context: ConsentReader, estate: Code) -> AssessmentList:
    """List an estate's impact assessments, newest first."""
    estate_id = find_estate(context.connection, context.principal, estate).id
    found = face_filings.list_assessments(context.connection, estate_id)
    return AssessmentList(items=[AssessmentAnswer.model_validate(row) for row in found])


@router.get("/faces", operation_id="countFaces")
def count_faces(context: PeopleKeeper) -> FaceCountAnswer:
    """Count the people whose faces are stored, and read the filing that is due or done.

    Needs a grant of every estate.
    """
    subjects = None
    if context.principal.everywhere:
        subjects = face_filings.count_subjects(context.connection)
    if subjects is None:
        raise Problem(
            403, "reach", "the count is the whole site's: it needs a reach over everything"
        )
    filing = face_filings.find_filing(context.connection)
    return FaceCountAnswer(
        subjects=subjects,
        warn_at=faces.WARN_AT,
        file_at=faces.FILE_AT,
        filing=FilingAnswer.model_validate(filing) if filing else None,
    )


@router.post("/faces/filing", operation_id="noteFaceFiling", status_code=204)
def note_filing(context: PeopleKeeper, body: FilingRequest) -> None:
    """Note that the filing was done. 409 where none is due."""
    if not context.principal.everywhere:
        raise Problem(403, "reach", "filing is the whole site's: it needs a reach over everything")
    if not face_filings.complete_filing(
        context.connection, body.filed_on, body.reference, actor=context.principal.name
    ):
        raise Problem(409, "not_due", "no filing is due")
    context.audit.describe(AuditFacts(subject="faces:filing", reference=body.reference))
