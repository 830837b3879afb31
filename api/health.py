"""Health: alive (the process answers) and ready (what it needs answers too), and figures for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.session import Db
from store import ingest_log, quarantine

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="alive")
def alive() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="ready")
def ready(request: Request, connection: Db) -> JSONResponse:
    """Answer 200 when the database does, and say what else is away and what that means."""
    tallies = ingest_log.read_tallies(connection)
    body: dict[str, Any] = {
        "status": "ok",
        "redis": "up" if request.app.state.bus.up else "away: live wake-ups fall back to one second",
        "conservation": all(tally.balanced for tally in tallies.values()),
        "quarantine_open": sum(quarantine.count_open(connection).values()),
    }
    return JSONResponse(body)


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Figures of this process for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
