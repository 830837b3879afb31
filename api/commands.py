"""Commands to devices: a valve, a door. Who gave it, why, and what became of it stay on record under an audit id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.access import CommandIssuer, CommandReader
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import COMMANDS_OF
from domain.ids import ID_PATTERN
from domain.wire import CommandKind
from store.gateways import commands

router = APIRouter(prefix="/api/v1", tags=["commands"], route_class=IdempotentRoute)
Code = Annotated[str, Path(pattern=ID_PATTERN)]


class CommandRequest(BaseModel):
    """What is asked of a device. `to` is open or close for a valve; `reason` is kept with the audit id."""

    command: Literal[CommandKind.VALVE, CommandKind.DOOR]
    to: Literal["open", "close"] = "open"
    door: int = Field(1, ge=1, le=16)
    reason: str = Field(min_length=4, max_length=300)
    expires_in_s: int = Field(60, ge=5, le=3600)


@router.post(
    "/estates/{estate}/devices/{device}/commands", operation_id="commandDevice", status_code=202
)
def give(
    context: CommandIssuer, estate: Code, device: Code, body: CommandRequest
) -> dict[str, Any]:
    """Give a command; it is carried out at most once, until it expires. The answer names the audit id to ask for."""
    if body.command not in COMMANDS_OF.get(context.principal.role, frozenset()):
        raise Problem(
            403, "role", f"the role {context.principal.role} gives no {body.command} command"
        )
    if body.command == CommandKind.DOOR and body.to != "open":
        raise Problem(422, "argument", "a door can be opened, and closes by itself")
    found = commands.find_device(context.connection, context.principal.estate_ids, estate, device)
    if found is None:
        raise Problem(404, "not_found", f"device {device!r} is not at an estate within your reach")
    if body.command == CommandKind.DOOR and found["kind"] != "door":
        raise Problem(422, "argument", f"device {device!r} is a {found['kind']}, not a door")
    if found["gateway_id"] is None:
        raise Problem(
            409, "no_gateway", f"no gateway speaks for device {device!r}; name one in the register"
        )
    code = commands.new_code()
    argument: dict[str, Any] = (
        {"door": body.door} if body.command == CommandKind.DOOR else {"to": body.to}
    )
    commands.issue(
        context.connection,
        code=code,
        device_id=found["id"],
        kind=body.command,
        argument=argument,
        issued_by=context.principal.name,
        reason=body.reason,
        expires_at=datetime.now(UTC) + timedelta(seconds=body.expires_in_s),
    )
    return {"id": code, "href": f"/api/v1/commands/{code}"}


@router.get("/commands", operation_id="listCommands")
def list_commands(
    context: CommandReader,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """List commands within your reach, newest first; lists of who may pass show their size only."""
    rows = commands.list_commands(context.connection, context.principal.estate_ids, limit, before)
    return {
        "items": [_shown(row) for row in rows],
        "next": rows[-1]["id"] if len(rows) == limit else None,
    }


@router.get("/commands/{code}", operation_id="getCommand")
def get(context: CommandReader, code: Annotated[str, Path(pattern=ID_PATTERN)]) -> dict[str, Any]:
    """Tell what became of a command."""
    row = commands.get_command(context.connection, context.principal.estate_ids, code)
    if row is None:
        raise Problem(404, "not_found", f"there is no command {code!r} within your reach")
    return _shown(row)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    argument = row["argument"]
    if row["kind"] == CommandKind.CREDENTIALS:
        argument = {"people": len(argument.get("people", []))}
    elif row["kind"] == CommandKind.FACES:
        argument = {"consents": len(argument.get("consents", []))}
    return {**{name: value for name, value in row.items() if name != "id"}, "argument": argument}
