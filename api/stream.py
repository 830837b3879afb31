"""The live stream: changes of alerts within a reader's reach as server-sent events, replayed from the last one that was seen.

One look at the record of changes serves all streams (see `api.hub`). What a stream tells as an event's id is a number below which
nothing is missing, so that whoever comes back with it is told some changes twice and none never; it is told as a word (`api.cursors`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.access import AlertReader, authenticate
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import Principal
from store.access import scope
from store.alerts.changes import AlertUpdate, list_updates

router = APIRouter(prefix="/api/v1", tags=["alerts"], route_class=IdempotentRoute)
MAX_STREAMS = 200
#: Seconds of silence after which a stream says that it is there, and asks whether its reader still is who it was.
HEARTBEAT_S = 15.0
_REPLAY = 500


@router.get("/stream", operation_id="streamAlerts", response_class=StreamingResponse)
async def stream(
    context: AlertReader,
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[str | None, Query(max_length=40, pattern=r"^[0-9a-f]*$")] = None,
) -> StreamingResponse:
    """Stream changes of alerts within your reach (server-sent events); replays from Last-Event-ID."""
    if context.hub.streams >= MAX_STREAMS:
        raise Problem(503, "too_many_streams", f"{MAX_STREAMS} streams are open; try again soon")
    hub = context.hub
    await run_in_threadpool(hub.place)
    if hub.cursors is None:
        raise Problem(503, "database_away", "the database does not answer; try again soon")
    return StreamingResponse(
        _changes(
            context.request, context.principal, hub.cursors.place(last_event_id or after or "")
        ),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


async def _changes(request: Request, principal: Principal, start: int | None) -> AsyncIterator[str]:
    hub, pool = request.app.state.hub, request.app.state.pool

    def replay(after: int) -> list[AlertUpdate]:
        with pool.connection() as connection:
            scope.enter(connection, principal)
            return list_updates(
                connection, after, principal.estate_ids, principal.classes, limit=_REPLAY
            )

    def authenticate_again() -> Principal | None:
        with pool.connection() as connection:
            return authenticate(request, connection, rotate=False)

    hub.streams += 1
    try:
        place = hub.place()
        # Taken with the place, and before anything is read: what is told as safe must have been told.
        safe = hub.safe
        seq = safe if start is None else start
        yield f"retry: 2000\nid: {hub.word(min(seq, safe))}\nevent: hello\ndata: {{}}\n\n"
        told: set[int] = set()
        while start is not None and (rows := await run_in_threadpool(replay, seq)):
            for row in rows:
                seq = row.seq
                told.add(seq)
                yield _event(hub.word(min(seq, safe)), row)
        while not await request.is_disconnected():
            if not await hub.wait(place, HEARTBEAT_S):
                current = await run_in_threadpool(authenticate_again)
                if current != principal:
                    # Logged out, disabled, or with other grants now: the reader has to connect again.
                    return
                yield ": still here\n\n"
                continue
            changes = hub.since(place)
            if changes is None:
                # It fell too far behind; it comes back with the last id that it has.
                return
            place += len(changes)
            for streamed in changes:
                row = streamed.update
                if (
                    row.seq not in told
                    and row.estate_id in principal.estate_ids
                    and row.alert_class in principal.classes
                ):
                    yield _event(hub.word(streamed.safe), row)
    finally:
        hub.streams -= 1


def _event(place: str, row: AlertUpdate) -> str:
    data = {
        "alert": row.alert_id,
        "step": row.step,
        "class": row.alert_class,
        "detector": row.detector,
        "severity": row.severity,
        "shown": row.suppression == "none",
        "drill": row.drill,
        "ended": row.ended_at is not None,
    }
    return f"id: {place}\nevent: alert\ndata: {json.dumps(data)}\n\n"
