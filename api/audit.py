"""The audit record: searched, exported for a check elsewhere, and what the last check of its chain
found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.access import AuditReader
from api.answers import Answer, example
from api.context import AuditFacts
from api.problems import Problem
from store.access import audit, scope
from store.access.audit import AuditFilter

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
Word = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


class AuditEntryAnswer(Answer):
    """An entry.

    `seq` and `hash` are absent unless your grants cover every estate, since they count the whole
    site's entries.
    """

    model_config = example(
        {
            "id": "9c1f…",
            "at": "2026-11-01T08:00:00Z",
            "estate": "qingnian",
            "entry": {"actor": "wang", "action": "getUnit", "subject": "unit:qingnian/3-1-201"},
            "seq": 1203,
            "hash": "5e88…",
        }
    )
    id: str = Field(description="opaque name of the entry")
    at: datetime = Field(description="when it was written")
    estate: str | None = Field(description="code of the estate; null for the whole site")
    entry: dict[str, Any] = Field(
        description="actor, role, action, object, result, subject, purpose, reference, source, "
        "detail"
    )
    seq: int | None = Field(None, description="number of the entry among all of the site")
    hash: str | None = Field(None, description="SHA-256 of the entry and the hash before it, hex")


class AuditPage(Answer):
    """A page of entries."""

    model_config = example({"items": [], "next": None})
    items: list[AuditEntryAnswer] = Field(description="entries, newest first")
    next: str | None = Field(description="`before` of the following page; null on the last")


class AuditCheckAnswer(Answer):
    """What a check of the chain found."""

    model_config = example(
        {
            "checked_at": "2026-11-01T02:00:00Z",
            "seq": 1203,
            "hash": "5e88…",
            "broken_at": None,
            "why": None,
        }
    )
    checked_at: datetime = Field(description="when it was checked")
    seq: int = Field(description="number of the last entry then")
    hash: str = Field(description="hash of the last entry then, hex")
    broken_at: int | None = Field(description="number of the first entry that does not fit")
    why: str | None = Field(description="why it does not fit")


class AuditIntegrityAnswer(Answer):
    """What the last nightly check found."""

    model_config = example({"last_check": None})
    last_check: AuditCheckAnswer | None = Field(description="null before the first check")


@router.get("", operation_id="listAudit", response_model_exclude_unset=True)
def list_audit(
    context: AuditReader,
    actor: Word = None,
    action: Word = None,
    subject: Word = None,
    before: Annotated[str | None, Query(max_length=40, pattern=r"^[0-9a-f]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPage:
    """List entries about the estates of your grants, newest first.

    Entries about the whole site need a grant of every estate.

    An entry's number counts the entries of the whole site, so `id` and `next` are opaque.
    """
    hub = context.hub
    hub.place()
    criteria = AuditFilter(
        actor=actor,
        action=action,
        subject=subject,
        limit=limit,
        before=hub.cursors.place(before) if before and hub.cursors else None,
    )
    hidden = set() if context.principal.everywhere else {"seq", "hash"}
    items = []
    for stored in audit.list_entries(context.connection, context.principal, criteria):
        fields = {name: value for name, value in asdict(stored).items() if name not in hidden}
        items.append(AuditEntryAnswer(id=hub.word(stored.seq), **fields))
    return AuditPage(items=items, next=items[-1].id if len(items) == limit else None)


@router.get("/integrity", operation_id="getAuditIntegrity")
def integrity(context: AuditReader) -> AuditIntegrityAnswer:
    """Read what the last nightly check found: the last entry then, and where the chain is broken,
    if it is.
    """
    if not context.principal.everywhere:
        raise Problem(
            403,
            "reach",
            "the chain is the whole site's; who reaches only a part of it sees entries, and no "
            "head",
        )
    check = audit.last_check(context.connection)
    return AuditIntegrityAnswer(
        last_check=AuditCheckAnswer.model_validate(check) if check else None
    )


@router.get("/export", operation_id="exportAudit", response_class=StreamingResponse)
def export(context: AuditReader) -> StreamingResponse:
    """Fetch the whole chain as JSON lines, for `anju audit verify FILE` or any check elsewhere:

    SHA-256 of prev, number|estate|entry.
    """
    if not context.principal.everywhere:
        raise Problem(
            403, "reach", "a chain is checked whole; only who reaches everything is given it"
        )
    context.audit.describe_read(AuditFacts())
    pool = context.request.app.state.pool

    def lines() -> Iterator[str]:
        with pool.connection() as connection:
            scope.enter(connection, context.principal)
            for entry in audit.read_chain(connection):
                yield json.dumps(asdict(entry), ensure_ascii=False) + "\n"

    return StreamingResponse(
        lines(),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
    )
