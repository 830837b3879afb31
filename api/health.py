"""Health: alive (the process answers), ready (what it needs answers), figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from api.answers import Answer
from api.context import Db
from store.database import health

router = APIRouter(tags=["health"])
#: What it means that Redis does not answer.
_WITHOUT_REDIS = "away: live wake-ups fall back to one second, rates are counted by each process"


class AliveAnswer(Answer):
    """The process lives."""

    status: str = Field(description="always ok", examples=["ok"])


class ReadyAnswer(Answer):
    """The database answers. Nothing is said of any estate."""

    status: str = Field(description="always ok", examples=["ok"])
    redis: str = Field(description="up, or what its absence means", examples=["up"])


@router.get("/healthz", operation_id="alive")
def alive() -> AliveAnswer:
    """Answer as long as the process lives."""
    return AliveAnswer(status="ok")


@router.get("/readyz", operation_id="ready")
def ready(request: Request, connection: Db) -> ReadyAnswer:
    """Answer 200 when the database does, and say whether Redis does."""
    health.ping(connection)
    return ReadyAnswer(status="ok", redis="up" if request.app.state.bus.up else _WITHOUT_REDIS)


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Figures of this process for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
