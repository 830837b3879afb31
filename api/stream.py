"""The live stream: updates of alerts within a reader's scope as server-sent events.

One look at the record of changes serves all streams (see `api.hub`). The id of an event stands for
a number below which no update is missing. A reader that comes back with it gets some updates twice
and misses none. The number is enciphered (see `api.cursors`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.access import AlertReader, authenticate
from api.hub import Hub, StreamedUpdate
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import Principal
from domain.alerting import Suppression
from store.access import scope
from store.alerts.changes import AlertUpdate, list_updates
from store.database.connection import Pool

router = APIRouter(prefix="/api/v1", tags=["alerts"], route_class=IdempotentRoute)
MAX_STREAMS = 200
#: Seconds without an update after which a stream sends a comment and authenticates its reader
#: again.
HEARTBEAT_S = 15.0
#: Updates that are replayed at a time.
_REPLAY_BATCH = 500


@router.get("/stream", operation_id="streamAlerts", response_class=StreamingResponse)
async def stream(
    context: AlertReader,
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[str | None, Query(max_length=40, pattern=r"^[0-9a-f]*$")] = None,
) -> StreamingResponse:
    """Stream updates of alerts within your reach (server-sent events), from Last-Event-ID on."""
    hub = context.hub
    if hub.streams >= MAX_STREAMS:
        raise Problem(503, "too_many_streams", f"{MAX_STREAMS} streams are open; try again soon")
    await run_in_threadpool(hub.place)
    if hub.cursors is None:
        raise Problem(503, "database_away", "the database does not answer; try again soon")
    start = hub.cursors.place(last_event_id or after or "")
    return StreamingResponse(
        _stream_events(context.request, context.principal, start),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


async def _stream_events(
    request: Request, principal: Principal, start: int | None
) -> AsyncIterator[str]:
    """Yield events until the reader is gone, is somebody else, or has fallen too far behind.

    `start` is the sequence number that the reader has; None for a reader that wants only what
    comes.
    """
    hub: Hub = request.app.state.hub
    pool: Pool = request.app.state.pool

    def read_batch(after: int) -> list[AlertUpdate]:
        with pool.connection() as connection:
            scope.enter(connection, principal)
            return list_updates(
                connection, after, principal.estate_ids, principal.classes, limit=_REPLAY_BATCH
            )

    def authenticate_again() -> Principal | None:
        with pool.connection() as connection:
            return authenticate(request, connection, rotate=False)

    hub.streams += 1
    try:
        place = hub.place()
        # Taken with the place, before anything is read: below it nothing is missing.
        safe = hub.safe
        last = safe if start is None else start
        yield f"retry: 2000\nid: {hub.word(min(last, safe))}\nevent: hello\ndata: {{}}\n\n"

        replayed: set[int] = set()
        while start is not None and (batch := await run_in_threadpool(read_batch, last)):
            for update in batch:
                last = update.seq
                replayed.add(update.seq)
                yield _write_event(hub.word(min(last, safe)), update)

        async for streamed in _follow(hub, request, place, authenticate_again, principal):
            if streamed is None:
                yield ": still here\n\n"
            elif streamed.update.seq not in replayed and _is_visible(streamed.update, principal):
                yield _write_event(hub.word(streamed.safe), streamed.update)
    finally:
        hub.streams -= 1


async def _follow(
    hub: Hub,
    request: Request,
    place: int,
    authenticate_again: Callable[[], Principal | None],
    principal: Principal,
) -> AsyncIterator[StreamedUpdate | None]:
    """Yield the updates after a place as they come, and None after each silence.

    It ends when the reader is gone or somebody else, or has fallen so far behind that updates are
    missing. The reader then connects again, with the last id that it has.
    """
    while not await request.is_disconnected():
        if not await hub.wait(place, HEARTBEAT_S):
            if await run_in_threadpool(authenticate_again) != principal:
                # Logged out, disabled, or with other grants now.
                return
            yield None
            continue
        streamed_updates = hub.since(place)
        if streamed_updates is None:
            return
        place += len(streamed_updates)
        for streamed in streamed_updates:
            yield streamed


def _is_visible(update: AlertUpdate, principal: Principal) -> bool:
    return update.estate_id in principal.estate_ids and update.alert_class in principal.classes


def _write_event(event_id: str, update: AlertUpdate) -> str:
    """Write an update as a server-sent event."""
    data = {
        "alert": update.alert_id,
        "step": update.step,
        "class": update.alert_class,
        "detector": update.detector,
        "severity": update.severity,
        "shown": update.suppression == Suppression.NONE,
        "drill": update.drill,
        "ended": update.ended_at is not None,
    }
    return f"id: {event_id}\nevent: alert\ndata: {json.dumps(data)}\n\n"
