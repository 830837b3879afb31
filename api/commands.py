"""Commands to devices: a valve, a door. Who gave one, why, and its result stay on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.access import CommandIssuer, CommandReader
from api.answers import Answer
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import COMMANDS_OF, Principal
from domain.ids import ID_PATTERN
from domain.wire import CommandKind
from store.database.connection import Connection
from store.gateways import commands
from store.gateways.commands import CommandTarget, GivenCommand, NewCommand

router = APIRouter(prefix="/api/v1", tags=["commands"], route_class=IdempotentRoute)
Code = Annotated[str, Path(pattern=ID_PATTERN)]


class CommandRequest(BaseModel):
    """What is asked of a device. `reason` is kept with the audit id."""

    command: Literal[CommandKind.VALVE, CommandKind.DOOR] = Field(
        description="what is to act", examples=["valve"]
    )
    to: Literal["open", "close"] = Field(
        "open", description="for a valve; a door can only be opened", examples=["close"]
    )
    door: int = Field(1, ge=1, le=16, description="the door's number at its terminal")
    reason: str = Field(min_length=4, max_length=300, examples=["a leak under the sink"])
    expires_in_s: int = Field(60, ge=5, le=3600, description="not carried out later, seconds")

    @property
    def argument(self) -> dict[str, Any]:
        """What the device is told."""
        return {"door": self.door} if self.command == CommandKind.DOOR else {"to": self.to}


class CommandGiven(Answer):
    """A command was given."""

    id: str = Field(description="the audit id", examples=["c-5f0c2a9be1d47c03"])
    href: str = Field(
        description="where to ask for its result",
        examples=["/api/v1/commands/c-5f0c2a9be1d47c03"],
    )


class CommandItem(Answer):
    """A command and its result; `result` is null while it is open."""

    code: str = Field(description="the audit id", examples=["c-5f0c2a9be1d47c03"])
    estate: str = Field(description="the estate's code", examples=["qingnian"])
    device: str = Field(description="the device's code", examples=["wm-3-1-502"])
    kind: str = Field(description="what it is about", examples=["valve"])
    argument: dict[str, Any] = Field(
        description="what the device is told; of a list only its size", examples=[{"to": "close"}]
    )
    issued_by: str = Field(description="the log-in or service that gave it", examples=["wang"])
    reason: str = Field(description="why", examples=["a leak under the sink"])
    issued_at: datetime = Field(description="when", examples=["2026-11-18T08:12:00Z"])
    expires_at: datetime = Field(
        description="not carried out later", examples=["2026-11-18T08:13:00Z"]
    )
    result: str | None = Field(description="what became of it", examples=["done"])
    detail: str | None = Field(description="the gateway's words", examples=["closed"])
    result_at: datetime | None = Field(
        description="when the result came", examples=["2026-11-18T08:12:03Z"]
    )

    @classmethod
    def of(cls, command: GivenCommand) -> CommandItem:
        """Return the item of a command; lists of people are replaced by their size."""
        item = cls.model_validate(command)
        if command.kind == CommandKind.CREDENTIALS:
            item.argument = {"people": len(command.argument.get("people", []))}
        elif command.kind == CommandKind.FACES:
            item.argument = {"consents": len(command.argument.get("consents", []))}
        return item


class CommandPage(Answer):
    """Commands, newest first."""

    items: list[CommandItem] = Field(description="commands")
    next: int | None = Field(
        description="`before` of the following page; null on the last", examples=[712]
    )


@router.post(
    "/estates/{estate}/devices/{device}/commands", operation_id="commandDevice", status_code=202
)
def give_command(
    context: CommandIssuer, estate: Code, device: Code, body: CommandRequest
) -> CommandGiven:
    """Give a command. It is carried out at most once, until it expires.

    The answer names the audit id to ask for.
    """
    target = _find_target(context.connection, context.principal, estate, device, body)
    code = commands.new_code()
    command = NewCommand(
        code=code,
        device_id=target.id,
        kind=body.command,
        argument=body.argument,
        issued_by=context.principal.name,
        reason=body.reason,
        expires_at=datetime.now(UTC) + timedelta(seconds=body.expires_in_s),
    )
    commands.give_command(context.connection, command)
    return CommandGiven(id=code, href=f"/api/v1/commands/{code}")


def _find_target(
    connection: Connection, principal: Principal, estate: str, device: str, body: CommandRequest
) -> CommandTarget:
    """Find the device that a command is for.

    Raises: Problem where the principal may not give the command, or the device cannot do it.
    """
    if body.command not in COMMANDS_OF.get(principal.role, frozenset()):
        raise Problem(403, "role", f"the role {principal.role} gives no {body.command} command")
    if body.command == CommandKind.DOOR and body.to != "open":
        raise Problem(422, "argument", "a door can be opened, and closes by itself")
    target = commands.find_device(connection, principal.estate_ids, estate, device)
    if target is None:
        raise Problem(404, "not_found", f"device {device!r} is not at an estate within your reach")
    if body.command == CommandKind.DOOR and target.kind != "door":
        raise Problem(422, "argument", f"device {device!r} is a {target.kind}, not a door")
    if target.gateway_id is None:
        raise Problem(
            409, "no_gateway", f"no gateway speaks for device {device!r}; name one in the register"
        )
    return target


@router.get("/commands", operation_id="listCommands")
def list_commands(
    context: CommandReader,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> CommandPage:
    """List commands within your reach, newest first; lists of who may pass show their size only."""
    rows = commands.list_commands(
        context.connection, context.principal.estate_ids, limit=limit, before=before
    )
    return CommandPage(
        items=[CommandItem.of(row) for row in rows],
        next=rows[-1].id if len(rows) == limit else None,
    )


@router.get("/commands/{code}", operation_id="getCommand")
def get_command(context: CommandReader, code: Code) -> CommandItem:
    """Read a command and its result."""
    command = commands.get_command(context.connection, context.principal.estate_ids, code)
    if command is None:
        raise Problem(404, "not_found", f"there is no command {code!r} within your reach")
    return CommandItem.of(command)
