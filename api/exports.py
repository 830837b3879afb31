"""Files to take away: alerts and visits within a user's grants, and counts in which nobody can be
told apart.

A file is made once and fetched by an address that is signed for its owner and a quarter of an hour.
It opens in a browser without a log-in, and is worth nothing afterwards.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Exporter
from api.alerts import AlertQuery
from api.answers import Answer, example
from api.context import AuditFacts, Db, RequestContext, client_address, limit_rate
from api.estates import find_estate
from api.idempotency import IdempotentRoute
from api.problems import Problem
from casework import csv_export
from domain.access import Action
from domain.ids import ID_PATTERN
from store.access import exports, scope
from store.access.exports import ExportFile
from store.alerts import lists
from store.casework import visits

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], route_class=IdempotentRoute)
#: Files that a user may make in a day, and rows of one file.
FILES_PER_DAY = 20
MAX_ROWS = 50_000
#: Seconds for which an address holds, and fetches a minute from one network address.
SIGNED_SECONDS = 900
FETCHES_PER_MINUTE = 60
#: Columns of each kind of file.
_ALERTS = (
    "id",
    "estate",
    "detector",
    "subject",
    "alert_class",
    "severity",
    "condition",
    "acknowledgement",
    "raised_at",
    "ended_at",
    "occurrences",
)
_VISITS = (
    "id",
    "code",
    "estate",
    "unit",
    "reason",
    "visited_on",
    "outcome",
    "kind",
    "began_on",
    "recorded_by",
)
_OCCUPANCY = ("estate", "building", "homes", "let", "unoccupied_leads")


class ExportRequest(BaseModel):
    """What to put into a file.

    `occupancy` counts homes by building, no cell of fewer than policy's least.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"kind": "occupancy", "estate": "qingnian"}]},
    )
    kind: Literal["alerts", "visits", "occupancy"]
    estate: str | None = Field(None, pattern=ID_PATTERN)


class ExportAnswer(Answer):
    """A file that was made."""

    model_config = example(
        {
            "id": 5,
            "name": "anju-occupancy-20261101-080000.csv",
            "rows": 12,
            "href": "/api/v1/exports/5/file?owner=12&until=1793520900&signature=5e88…",
        }
    )
    id: int = Field(description="number of the file")
    name: str = Field(description="name of the file")
    rows: int = Field(description="rows below the heading")
    href: str = Field(description="signed address; holds for a quarter of an hour, needs no log-in")


@router.post("", operation_id="makeExport", status_code=201)
def make(context: Exporter, body: ExportRequest) -> ExportAnswer:
    """Make a file; `href` fetches it, without a log-in, for a quarter of an hour."""
    context.limit_rate("export", FILES_PER_DAY, period_s=86_400)
    user_id = context.principal.user_id
    estates = context.principal.estate_ids
    estate_id = None
    if body.estate is not None:
        estate_id = find_estate(context.connection, context.principal, body.estate).id
        estates = (estate_id,)
    columns, rows = _read_rows(context, body.kind, estates)
    file = ExportFile(
        kind=body.kind,
        name=f"anju-{body.kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}.csv",
        secret=secrets.token_bytes(32),
        content=csv_export.to_csv(columns, rows),
    )
    export_id = exports.save_export(context.connection, user_id, file, rows=len(rows))
    context.audit.describe(
        AuditFacts(
            estate_id=estate_id,
            detail={"kind": body.kind, "rows": len(rows), "export": export_id},
        )
    )
    until = int(time.time()) + SIGNED_SECONDS
    signature = _sign(file.secret, export_id, user_id, until)
    query = f"owner={user_id}&until={until}&signature={signature}"
    return ExportAnswer(
        id=export_id,
        name=file.name,
        rows=len(rows),
        href=f"/api/v1/exports/{export_id}/file?{query}",
    )


def _read_rows(
    context: RequestContext, kind: str, estates: tuple[int, ...]
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Read the columns and rows of a file; counts are suppressed by policy.

    Raises: Problem 403 for a kind that tells of leads, where the role may not see them.
    """
    connection = context.connection
    principal = context.principal
    if kind == "alerts":
        query = AlertQuery.model_validate({"open": False, "suppressed": None})
        criteria = lists.narrow_to(query.to_filter(principal), estates)
        alerts = lists.list_alerts(connection, criteria, limit=MAX_ROWS)
        return _ALERTS, [{name: getattr(alert, name) for name in _ALERTS} for alert in alerts]
    if not principal.may(Action.SEE_LEADS):
        raise Problem(403, "role", f"the role {principal.role} may not {Action.SEE_LEADS}")
    if kind == "visits":
        found = visits.list_visits(connection, estates, limit=MAX_ROWS)
        return _VISITS, [asdict(visit) for visit in found]
    counts = [asdict(building) for building in exports.count_occupancy(connection, estates)]
    return _OCCUPANCY, csv_export.suppress(
        counts,
        group="estate",
        size="homes",
        counts=("let", "unoccupied_leads"),
        least=context.people_policy.least_homes,
    )


@router.get("/{export_id}/file", operation_id="fetchExport", response_class=Response)
def fetch(
    request: Request,
    connection: Db,
    export_id: Annotated[int, Path(ge=1, le=2**62)],
    owner: Annotated[int, Query(ge=1, le=2**31 - 1)],
    until: Annotated[int, Query(ge=0, le=2**40)],
    signature: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
) -> Response:
    """Fetch a file by its signed address. What is wrong with an address is not told."""
    limit_rate(request, f"fetch:{client_address(request)}", FETCHES_PER_MINUTE)
    scope.enter_owner(connection, owner)
    file = None
    if until >= time.time():
        file = exports.find_export(connection, export_id, owner)
    if file is None or not hmac.compare_digest(
        signature, _sign(file.secret, export_id, owner, until)
    ):
        raise Problem(404, "unknown_export", "no such file, or its address is over; make it anew")
    return Response(
        file.content,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{file.name}"'},
    )


def _sign(secret: bytes, export_id: int, owner: int, until: int) -> str:
    """Sign an address with the file's own secret, which is deleted with the file."""
    return hmac.new(secret, f"{export_id}|{owner}|{until}".encode(), hashlib.sha256).hexdigest()
