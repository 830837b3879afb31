"""The audit record as it is read: searched, exported for a check elsewhere, and what the last check of the chain found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from api.access import Db, SeesAudit, look
from api.problems import Problem
from store.access import audit, scope

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
Word = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


@router.get("", operation_id="listAudit")
def list_audit(
    request: Request,
    who: SeesAudit,
    connection: Db,
    actor: Word = None,
    action: Word = None,
    subject: Word = None,
    before: Annotated[str | None, Query(max_length=40, pattern=r"^[0-9a-f]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """List who did what to whose data and why, newest first, about estates within your reach; the site's own affairs for those who reach all.

    An entry's number counts the whole site's entries, so it is shown to those who reach everything; `id` and `next` are words for it.
    """
    hub = request.app.state.hub
    hub.place()
    search = audit.AuditFilter(
        actor=actor,
        action=action,
        subject=subject,
        limit=limit,
        before=hub.cursors.place(before) if before and hub.cursors else None,
    )
    rows = audit.list_entries(connection, who, search)
    hidden = frozenset[str]() if who.everywhere else frozenset({"seq", "hash"})
    items = [
        {"id": hub.word(row["seq"]), **{name: row[name] for name in row if name not in hidden}}
        for row in rows
    ]
    return {"items": items, "next": items[-1]["id"] if len(rows) == limit else None}


@router.get("/integrity", operation_id="getAuditIntegrity")
def integrity(who: SeesAudit, connection: Db) -> dict[str, Any]:
    """Say what the last nightly check found: the head it saw, and where the chain is broken, if it is."""
    if not who.everywhere:
        raise Problem(
            403,
            "reach",
            "the chain is the whole site's; who reaches only a part of it sees entries, and no head",
        )
    return {"last_check": audit.last_check(connection)}


@router.get("/export", operation_id="exportAudit", response_class=StreamingResponse)
def export(request: Request, who: SeesAudit) -> StreamingResponse:
    """Fetch the whole chain as JSON lines, for `anju audit verify FILE` or any check elsewhere: SHA-256 of prev, number|estate|entry."""
    if not who.everywhere:
        raise Problem(
            403, "reach", "a chain is checked whole; only who reaches everything is given it"
        )
    look(request)
    pool = request.app.state.pool

    def lines() -> Iterator[str]:
        with pool.connection() as own:
            scope.enter(own, who)
            for row in audit.export_lines(own):
                yield json.dumps(row, ensure_ascii=False) + "\n"

    return StreamingResponse(
        lines(),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'},
    )
