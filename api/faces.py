"""Faces at doors: consents, what became of them on every gateway, assessments on file, and the count of stored people.

No picture, no template and no name passes here. A consent is recorded at the desk, with the person's code; ending it is as easy as giving it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.access import ConsentKeeper, ConsentReader, PeopleKeeper
from api.context import AuditFacts
from api.estates import Code, find_estate
from api.idempotency import IdempotentRoute
from api.problems import Problem
from privacy import faces as law
from store.database.connection import Connection
from store.people import faces

router = APIRouter(prefix="/api/v1", tags=["faces"], route_class=IdempotentRoute)
ConsentCode = Annotated[
    str, Path(pattern=r"^k-[a-z0-9]{8,40}$", examples=["k-0123456789abcdef0123"])
]
Text = Annotated[str, Field(min_length=4, max_length=200, pattern=r"^[^\x00]*$")]
Sum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_HIDDEN = ("id", "estate_id")


class ConsentRequest(BaseModel):
    """A person's consent to their face being compared at their own entrance; `text_sha256` is of the text that was shown and signed."""

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
    text_sha256: Sum
    assessment: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{3,39}$")
    other_way: Literal["card", "code", "qr", "id_card", "phone", "fingerprint", "remote", "button"]
    under_14: bool
    guardian: Literal["parent", "other_guardian"] | None = None
    kept_at: Literal["gateway", "terminal"] = "gateway"
    given_at: AwareDatetime
    holds_to: date


@router.post("/estates/{estate}/face-consents", operation_id="recordFaceConsent", status_code=201)
def record(context: ConsentKeeper, estate: Code, body: ConsentRequest) -> dict[str, Any]:
    """Record a consent. 422 where the law's conditions are not met, with what is missing."""
    found, now = find_estate(context.connection, context.principal, estate), datetime.now(UTC)
    try:
        code = law.record(
            context.connection,
            found.id,
            body.model_dump(),
            actor=context.principal.name,
            now=now,
            today=now.date(),
        )
    except law.FaceRequestRefused as error:
        raise Problem(422, "consent", str(error)) from None
    context.audit.describe(
        AuditFacts(subject=f"consent:{code}", estate_id=found.id, purpose="entrance")
    )
    return {"code": code, "href": f"/api/v1/face-consents/{code}"}


@router.get("/estates/{estate}/face-consents", operation_id="listFaceConsents")
def list_consents(
    context: ConsentReader,
    estate: Code,
    after: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> dict[str, Any]:
    """List an estate's consents as they were recorded, with people's codes; that somebody looked is on record."""
    found = find_estate(context.connection, context.principal, estate)
    rows = faces.list_consents(context.connection, found.id, after, limit)
    context.audit.describe_read(
        AuditFacts(
            subject=f"face-consents:{estate}",
            estate_id=found.id,
            detail={"after": after, "shown": len(rows)},
        )
    )
    items = [{name: value for name, value in row.items() if name not in _HIDDEN} for row in rows]
    return {"items": items, "next": rows[-1]["code"] if len(rows) == limit else None}


@router.get("/face-consents/{consent}", operation_id="getFaceConsent")
def get(context: ConsentReader, consent: ConsentCode) -> dict[str, Any]:
    """Tell a consent's state, and of every gateway before its doors whether it holds something, and since when it has said that it does not."""
    found = _find(context.connection, context.principal, consent)
    context.audit.describe_read(
        AuditFacts(subject=f"consent:{consent}", estate_id=found["estate_id"])
    )
    gateways = faces.proofs(context.connection, found["id"])
    shown = {name: value for name, value in found.items() if name not in _HIDDEN}
    return {
        **shown,
        "state": law.state_of(found, gateways, datetime.now(UTC).date()),
        "gateways": gateways,
    }


class FaceReason(BaseModel):
    """Why a consent ends; "the person asks" is enough."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the person asks"}]}
    )
    reason: Text


@router.post(
    "/face-consents/{consent}/withdrawal", operation_id="withdrawFaceConsent", status_code=202
)
def withdraw(context: ConsentKeeper, consent: ConsentCode, body: FaceReason) -> dict[str, Any]:
    """End a consent: every gateway destroys key and template within a minute of being on line, and says so; ask `href` for the proof."""
    found = _find(context.connection, context.principal, consent)
    if not law.withdraw(
        context.connection,
        context.keyring(),
        consent,
        actor=context.principal.name,
        why=body.reason,
    ):
        raise Problem(409, "ended", f"consent {consent} has ended already")
    context.audit.describe(
        AuditFacts(
            subject=f"consent:{consent}", estate_id=found["estate_id"], reference=body.reason
        )
    )
    return {"href": f"/api/v1/face-consents/{consent}"}


def _find(connection: Connection, principal: Any, code: str) -> dict[str, Any]:
    found = faces.find_consent(connection, principal.estate_ids, code)
    if found is None:
        raise Problem(404, "unknown_consent", "no such consent within your reach")
    return found


class Assessment(BaseModel):
    """An impact assessment that was done and approved; the document itself is kept where the estate keeps its papers."""

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
    document_sha256: Sum


@router.post("/estates/{estate}/assessments", operation_id="fileAssessment", status_code=201)
def file_assessment(context: PeopleKeeper, estate: Code, body: Assessment) -> dict[str, Any]:
    """Put an impact assessment on file."""
    found = find_estate(context.connection, context.principal, estate)
    if body.review_by <= body.done_on:
        raise Problem(422, "review_by", "the review lies after the day on which it was done")
    if not faces.add_assessment(
        context.connection,
        {**body.model_dump(), "estate_id": found.id, "made_by": context.principal.name},
    ):
        raise Problem(409, "taken", f"an assessment {body.code!r} is on file already")
    context.audit.describe(AuditFacts(subject=f"assessment:{body.code}", estate_id=found.id))
    return {"code": body.code}


@router.get("/estates/{estate}/assessments", operation_id="listAssessments")
def list_assessments(context: ConsentReader, estate: Code) -> dict[str, Any]:
    """List an estate's impact assessments, the newest first."""
    return {
        "items": faces.list_assessments(
            context.connection, find_estate(context.connection, context.principal, estate).id
        )
    }


@router.get("/faces", operation_id="countFaces")
def count_faces(context: PeopleKeeper) -> dict[str, Any]:
    """Tell how many distinct people's faces are stored, the lines, and the filing that is due or done. For whoever reaches the whole site."""
    subjects = faces.count_subjects(context.connection) if context.principal.everywhere else None
    if subjects is None:
        raise Problem(
            403, "reach", "the count is the whole site's: it needs a reach over everything"
        )
    return {
        "subjects": subjects,
        "warn_at": law.WARN_AT,
        "file_at": law.FILE_AT,
        "filing": faces.open_filing(context.connection),
    }


class Filed(BaseModel):
    """When and under what number it was filed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"filed_on": "2026-11-20", "reference": "2026-0042"}]},
    )
    filed_on: date
    reference: Text


@router.post("/faces/filing", operation_id="noteFaceFiling", status_code=204)
def note_filing(context: PeopleKeeper, body: Filed) -> None:
    """Note that the filing was done. 409 where none is due."""
    if not context.principal.everywhere:
        raise Problem(403, "reach", "filing is the whole site's: it needs a reach over everything")
    if not faces.note_filed(
        context.connection, body.filed_on, body.reference, actor=context.principal.name
    ):
        raise Problem(409, "not_due", "no filing is due")
    context.audit.describe(AuditFacts(subject="faces:filing", reference=body.reference))
