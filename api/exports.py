"""Files to take away: alerts and visits within reach, and counts in which nobody can be told apart.

A file is made once and fetched by an address that is signed for its owner and a quarter of an hour, so that it can be opened without a
log-in in the same browser and is worth nothing afterwards.
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
from api.context import AuditFacts, Db, client_address, limit_rate
from api.estates import find_estate
from api.idempotency import IdempotentRoute
from api.problems import Problem
from casework import csv_export
from domain.access import Action, Principal
from domain.ids import ID_PATTERN
from store.access import exports, scope
from store.alerts import lists
from store.casework import visits
from store.database.connection import Connection

router = APIRouter(prefix="/api/v1/exports", tags=["exports"], route_class=IdempotentRoute)
#: Files a day of one log-in, rows of one file, and seconds that an address holds.
PER_DAY, MOST_ROWS, SIGNED_S = 20, 50_000, 900
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
    """What to put into a file. `occupancy` counts homes by building, no cell of fewer than policy's least."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"kind": "occupancy", "estate": "qingnian"}]},
    )
    kind: Literal["alerts", "visits", "occupancy"]
    estate: str | None = Field(None, pattern=ID_PATTERN)


@router.post("", operation_id="makeExport", status_code=201)
def make(context: Exporter, body: ExportRequest) -> dict[str, Any]:
    """Make a file; `href` fetches it, without a log-in, for a quarter of an hour."""
    context.limit_rate("export", PER_DAY, period_s=86_400)
    found = find_estate(context.connection, context.principal, body.estate) if body.estate else None
    columns, rows = _rows(
        context.connection,
        context.request,
        context.principal,
        body.kind,
        (found.id,) if found else context.principal.estate_ids,
    )
    name = f"anju-{body.kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}.csv"
    secret = secrets.token_bytes(32)
    made = exports.save_export(
        context.connection,
        context.principal.user_id,
        body.kind,
        name,
        secret,
        csv_export.to_csv(columns, rows),
        len(rows),
    )
    context.audit.describe(
        AuditFacts(
            estate_id=found.id if found else None,
            detail={"kind": body.kind, "rows": len(rows), "export": made},
        )
    )
    until = int(time.time()) + SIGNED_S
    signed = _sign(secret, made, context.principal.user_id, until)
    return {
        "id": made,
        "name": name,
        "rows": len(rows),
        "href": f"/api/v1/exports/{made}/file?owner={context.principal.user_id}&until={until}&signature={signed}",
    }


def _rows(
    connection: Connection,
    request: Request,
    principal: Principal,
    kind: str,
    estates: tuple[int, ...],
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    if kind == "alerts":
        wanted = AlertQuery.model_validate({"open": False, "suppressed": None}).to_filter(principal)
        chosen = lists.narrow_to(wanted, estates)
        found = lists.list_alerts(connection, chosen, limit=MOST_ROWS)
        return _ALERTS, [{name: getattr(alert, name) for name in _ALERTS} for alert in found]
    if not principal.may(Action.SEE_LEADS):
        raise Problem(403, "role", f"the role {principal.role} may not {Action.SEE_LEADS}")
    if kind == "visits":
        rows = visits.list_visits(connection, estates, limit=MOST_ROWS)
        return _VISITS, [asdict(row) for row in rows]
    least = request.app.state.people.least_homes
    counted = exports.occupancy(connection, estates)
    return _OCCUPANCY, csv_export.suppress(
        counted, group="estate", size="homes", counts=("let", "unoccupied_leads"), least=least
    )


@router.get("/{export_id}/file", operation_id="fetchExport", response_class=Response)
def fetch(
    export_id: Annotated[int, Path(ge=1, le=2**62)],
    request: Request,
    connection: Db,
    owner: Annotated[int, Query(ge=1, le=2**31 - 1)],
    until: Annotated[int, Query(ge=0, le=2**40)],
    signature: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
) -> Response:
    """Fetch a file by its signed address. What is wrong with an address is not told."""
    limit_rate(request, f"fetch:{client_address(request)}", 60)
    refused = Problem(404, "unknown_export", "no such file, or its address is over; make it anew")
    scope.enter_owner(connection, owner)
    found = exports.find_export(connection, export_id, owner) if until >= time.time() else None
    if found is None or not hmac.compare_digest(
        signature, _sign(bytes(found["secret"]), export_id, owner, until)
    ):
        raise refused
    return Response(
        bytes(found["content"]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{found["name"]}"'},
    )


def _sign(secret: bytes, export_id: int, owner: int, until: int) -> str:
    """Sign an address with the file's own secret, which goes away with the file."""
    return hmac.new(secret, f"{export_id}|{owner}|{until}".encode(), hashlib.sha256).hexdigest()
