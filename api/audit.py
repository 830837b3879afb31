"""The audit record as it is read: searched, exported for a check elsewhere, and what the last check of the chain found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api.access import AuditReader
from api.context import AuditFacts
from api.problems import Problem
from store.access import audit, scope

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
Word = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


@router.get("", operation_id="listAudit")
def list_audit(
    context: AuditReader,
    actor: Word = None,
    action: Word = None,
    subject: Word = None,
    before: Annotated[str | None, Query(max_length=40, pattern=r"^[0-9a-f]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """List who did what to whose data and why, newest first, about estates within your reach; the site's own affairs for those who reach all.

    An entry's number counts the whole site's entries, so it is shown to those who reach everything; `id` and `next` are words for it.
    """
    hub = context.hub
    hub.place()
    search = audit.AuditFilter(
        actor=actor,
        action=action,
        subject=subject,
        limit=limit,
        before=hub.cursors.place(before) if before and hub.cursors else None,
    )
    rows = audit.list_entries(context.connection, context.principal, search)
    hidden = frozenset[str]() if context.principal.everywhere else frozenset({"seq", "hash"})
    items = [
        {"id": hub.word(row["seq"]), **{name: row[name] for name in row if name not in hidden}}
        for row in rows
    ]
    return {"items": items, "next": items[-1]["id"] if len(rows) == limit else None}


@router.get("/integrity", operation_id="getAuditIntegrity")
def integrity(context: AuditReader) -> dict[str, Any]:
    """Say what the last nightly check found: the head it saw, and where the chain is broken, if it is."""
    if not context.principal.everywhere:
        raise Problem(
            403,
            "reach",
            "the chain is the whole site's; who reaches only a part of it sees entries, and no head",
        )
    return {"last_check": audit.last_check(context.connection)}


@router.get("/export", operation_id="exportAudit", response_class=StreamingResponse)
def export(context: AuditReader) -> StreamingResponse:
    """Fetch the whole chain as JSON lines, for `anju audit verify FILE` or any check elsewhere: SHA-256 of prev, number|estate|entry."""
    if not context.principal.everywhere:
        raise Problem(
            403, "reach", "a chain is checked whole; only who reaches everything is given it"
        )
    context.audit.describe_read(AuditFacts())
    pool = context.request.app.state.pool

    def lines() -> Iterator[str]:
        with pool.connection() as own:
            scope.enter(own, context.principal)
            for row in audit.export_lines(own):
                yield json.dumps(row, ensure_ascii=False) + "\n"

    return StreamingResponse(
        lines(),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
    )
