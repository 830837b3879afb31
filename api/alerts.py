"""Alerts and leads with their evidence, a person's steps on them, and the live stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.problems import Problem
from api.session import Db, Who, sees_leads
from casework.acknowledge import Unknown, acknowledge, comment
from domain.access import SEES_UNITS, Principal
from domain.alerting import AlertClass
from domain.ids import ID_PATTERN
from store import alerts, unit_days

router = APIRouter(prefix="/api/v1", tags=["alerts"])
#: Days before a lead's start that its evidence shows, so that the change can be seen.
BEFORE_DAYS = 30
MAX_STREAMS = 200
Language = Annotated[str, Query(pattern="^(zh|en)$")]
EstateFilter = Annotated[str | None, Query(pattern=ID_PATTERN)]

_SHOWN = ("id", "estate", "detector", "subject_kind", "subject", "alert_class", "severity", "score", "condition",
          "acknowledgement", "suppression", "reasons", "evidence", "policy_version", "since_at", "until_at", "occurrences",
          "raised_at", "last_seen_at", "ended_at", "version")  # fmt: skip


def describe(request: Request, row: dict[str, Any], language: str) -> dict[str, Any]:
    """Make an alert's answer: its columns, and its title, sentence and advice in words."""
    policy = request.app.state.policy
    return {
        **{name: row[name] for name in _SHOWN},
        "title": policy.title(row, language),
        "sentence": policy.sentence(row, language),
        "advice": policy.advice(row, language),
    }


@router.get("/alerts", operation_id="listAlerts")
def list_alerts(
    request: Request,
    who: Who,
    connection: Db,
    open: bool = True,
    alert_class: AlertClass | None = None,
    estate: EstateFilter = None,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    lang: Language = "zh",
) -> dict[str, Any]:
    """List alerts within your reach, newest first; `next` is the `before` of the following page."""
    rows = alerts.list_alerts(
        connection,
        who.estate_ids,
        who.classes,
        open_only=open,
        alert_class=alert_class,
        estate=estate,
        before_id=before,
        limit=limit,
    )
    return {
        "items": [describe(request, row, lang) for row in rows],
        "next": rows[-1]["id"] if len(rows) == limit else None,
    }


@router.get("/leads", operation_id="listLeads")
def list_leads(
    request: Request,
    who: Who,
    connection: Db,
    estate: EstateFilter = None,
    visits: Annotated[int, Query(ge=1, le=500)] = 20,
    lang: Language = "zh",
) -> dict[str, Any]:
    """List the compliance leads that stand, likeliest first, as many as visits can be made."""
    sees_leads(who)
    return {
        "items": [describe(request, row, lang) for row in alerts.list_leads(connection, who.estate_ids, estate, visits)]
    }


def find(connection: Any, who: Principal, alert_id: int) -> dict[str, Any]:
    """Read an alert within reach.

    Raises: Unknown.
    """
    row = alerts.get_alert(connection, alert_id, who.estate_ids, who.classes)
    if row is None:
        raise Unknown(f"alert {alert_id}")
    return row


def evidence_days(connection: Any, who: Principal, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the unit-day facts behind an alert about a unit, with the weeks before it, where the role may see them."""
    if row["subject_kind"] != "unit" or who.role not in SEES_UNITS:
        return []
    zone = ZoneInfo(row["timezone"])
    first = row["since_at"].astimezone(zone).date()
    last = (row["until_at"] or row["last_seen_at"]).astimezone(zone).date() + timedelta(days=7)
    return unit_days.list_unit_days(connection, row["subject_id"], first - timedelta(days=BEFORE_DAYS), last)


@router.get("/alerts/{alert_id}", operation_id="getAlert")
def get_alert(
    alert_id: int, request: Request, response: Response, who: Who, connection: Db, lang: Language = "zh"
) -> dict[str, Any]:
    """Read an alert with its record and the facts behind it. The ETag is for If-Match."""
    row = find(connection, who, alert_id)
    response.headers["ETag"] = f'"{row["version"]}"'
    days = [
        {
            k: v
            for k, v in day.items()
            if k in ("day", "water_l", "water_cover", "energy_kwh", "energy_cover", "entries", "faults")
        }
        for day in evidence_days(connection, who, row)
    ]
    return {**describe(request, row, lang), "days": days, "history": alerts.history(connection, alert_id)}


class Step(BaseModel):
    """A remark with a step."""

    model_config = ConfigDict(extra="forbid")
    note: str | None = Field(None, max_length=500, pattern=r"^[^\x00]*$", examples=["called the tenant: in hospital"])


class Remark(BaseModel):
    """A remark."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")


@router.post("/alerts/{alert_id}/acknowledge", operation_id="acknowledgeAlert")
def acknowledge_alert(
    alert_id: int,
    body: Step,
    response: Response,
    who: Who,
    connection: Db,
    request: Request,
    if_match: Annotated[str | None, Header(description="the ETag that you read")] = None,
) -> dict[str, Any]:
    """Say that you have seen an alert. 409 where it was acknowledged already, 412 where it changed since you read it."""
    version = None
    if if_match is not None:
        text = if_match.strip().removeprefix("W/").strip('"')
        if not text.isascii() or not text.isdecimal() or len(text) > 9:
            raise Problem(412, "stale", f"If-Match {if_match[:40]!r} is no version of this alert; read it again")
        version = int(text)
    new = acknowledge(connection, who, alert_id, version=version, note=body.note)
    response.headers["ETag"] = f'"{new}"'
    request.app.state.hub.poke()
    return {"id": alert_id, "version": new}


@router.post("/alerts/{alert_id}/comments", operation_id="commentAlert", status_code=201)
def comment_alert(alert_id: int, body: Remark, who: Who, connection: Db) -> dict[str, Any]:
    """Add a remark to an alert's record."""
    comment(connection, who, alert_id, body.text)
    return {"id": alert_id}


@router.get("/stream", operation_id="streamAlerts", response_class=StreamingResponse)
async def stream(
    request: Request,
    who: Who,
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> StreamingResponse:
    """Stream changes of alerts within your reach (server-sent events); replays from Last-Event-ID."""
    hub = request.app.state.hub
    if hub.streams >= MAX_STREAMS:
        raise Problem(503, "too_many_streams", f"{MAX_STREAMS} streams are open; try again soon")
    start = (
        int(last_event_id)
        if last_event_id and last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19
        else after
    )
    return StreamingResponse(
        _changes(request, who, start), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _changes(request: Request, who: Principal, start: int | None) -> AsyncIterator[str]:
    hub, pool = request.app.state.hub, request.app.state.pool

    def newest() -> int:
        with pool.connection() as connection:
            return alerts.last_change(connection)

    def read(after: int) -> list[dict[str, Any]]:
        with pool.connection() as connection:
            return alerts.changes_after(connection, after, who.estate_ids, who.classes)

    hub.streams += 1
    try:
        seq = start if start is not None else await run_in_threadpool(newest)
        yield f"retry: 2000\nid: {seq}\nevent: hello\ndata: {{}}\n\n"
        while not await request.is_disconnected():
            turn = hub.turn
            rows = await run_in_threadpool(read, seq)
            for row in rows:
                seq = row["seq"]
                data = {
                    "alert": row["id"],
                    "step": row["step"],
                    "class": row["alert_class"],
                    "severity": row["severity"],
                    "ended": row["ended_at"] is not None,
                }
                yield f"id: {seq}\nevent: alert\ndata: {json.dumps(data)}\n\n"
            if not rows and not await hub.wait(turn, 15.0):
                yield ": still here\n\n"
    except asyncio.CancelledError:
        raise
    finally:
        hub.streams -= 1
