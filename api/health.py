"""Health: alive (the process answers) and ready (what it needs answers too), and figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.context import Db
from store.database import health

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="alive")
def alive() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="ready")
def ready(request: Request, connection: Db) -> JSONResponse:
    """Answer 200 when the database does, and say what else is away and what that means; no figure of anybody's estate."""
    health.ping(connection)
    away = "away: live wake-ups fall back to one second, rates are counted by each process"
    return JSONResponse({"status": "ok", "redis": "up" if request.app.state.bus.up else away})


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Figures of this process for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
