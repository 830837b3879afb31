"""Log-ins and machines' keys, kept by administrators within their own reach: nobody hands out more than they hold."""

from __future__ import annotations

import binascii
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api import passwords
from api.access import KEY_PREFIX, UserManager
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import FOR_KEYS, Action, Principal, Role, actions_of
from domain.ids import ID_PATTERN
from store.access import scope, sessions, users
from store.database.connection import Connection, DuplicateKey

router = APIRouter(prefix="/api/v1", tags=["users"], route_class=IdempotentRoute)
Name = Annotated[str, Path(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f/]+$")]
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
LONGEST_KEY = timedelta(days=366)


class GrantRequest(BaseModel):
    """What a log-in reaches: a jurisdiction with all below it, one estate, or (neither) everything; until `to`, if given."""

    model_config = ConfigDict(extra="forbid")
    jurisdiction: str | None = Field(None, max_length=60, pattern=r"^[^\x00]+$")
    estate: str | None = Field(None, pattern=ID_PATTERN)
    to: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one(self) -> GrantRequest:
        if self.jurisdiction is not None and self.estate is not None:
            raise ValueError("name a jurisdiction or an estate, not both")
        return self


class NewUser(BaseModel):
    """A new log-in. With `subject` it comes from the bureau's directory and has no password here."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "wang", "role": "guard", "reaches": [{"estate": "qingnian"}]}]
        },
    )
    name: str = Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f/]+$")
    role: Role
    reaches: list[GrantRequest] = Field(min_length=1, max_length=50)
    subject: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00]+$")


class NewRole(BaseModel):
    """Another role."""

    model_config = ConfigDict(extra="forbid")
    role: Role


class NewKey(BaseModel):
    """A machine's key: it acts for a log-in, with these actions and no others, until it expires."""

    model_config = ConfigDict(extra="forbid")
    user: str = Field(min_length=1, max_length=60, pattern=r"^[^\x00]+$")
    name: str = Field(
        min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]+$", examples=["district dashboard"]
    )
    actions: list[Action] = Field(
        min_length=1, max_length=len(Action), examples=[["see_places", "see_alerts"]]
    )
    expires_at: AwareDatetime


def _find(connection: Connection, principal: Principal, name: str) -> dict[str, Any]:
    found = users.list_users(connection, principal, None, 1, name=name)
    if not found:
        raise Problem(404, "unknown_user", "no such log-in within your reach")
    return found[0]


def _another(principal: Principal, row: dict[str, Any]) -> None:
    if row["id"] == principal.user_id:
        raise Problem(
            409,
            "yourself",
            "nobody changes their own role, reach or state; ask another administrator",
        )


@router.get("/users", operation_id="listUsers")
def list_users(
    context: UserManager,
    after: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> dict[str, Any]:
    """List log-ins whose whole reach lies within yours, by name; `next` is the `after` of the following page."""
    rows = users.list_users(context.connection, context.principal, after, limit)
    return {"items": rows, "next": rows[-1]["name"] if len(rows) == limit else None}


@router.post("/users", operation_id="addUser", status_code=201)
def add_user(context: UserManager, body: NewUser) -> dict[str, Any]:
    """Make a log-in. The password is told once and has to be changed."""
    password = None if body.subject else secrets.token_urlsafe(12)
    directory = context.request.app.state.directory
    if body.subject and directory is None:
        raise Problem(
            422,
            "no_directory",
            "subject: this site has no directory; leave it out for a log-in with a password",
        )
    issuer = directory.issuer if body.subject else None
    try:
        # At the door: a log-in that reaches nothing yet is within nobody's reach.
        with scope.at_door(context.connection), context.connection.transaction():
            made = users.add_user(
                context.connection,
                body.name,
                passwords.hash_password(password) if password else None,
                body.role,
                issuer=issuer,
                subject=body.subject,
            )
    except DuplicateKey:
        raise Problem(
            409, "known_user", f"there is a log-in {body.name!r} already, or one of that subject"
        ) from None
    for reach in body.reaches:
        _grant(context.connection, context.principal, made, reach)
    return {"name": body.name, "password": password}


def _grant(connection: Connection, principal: Principal, user_id: int, reach: GrantRequest) -> None:
    if reach.jurisdiction is None and reach.estate is None and not principal.everywhere:
        raise Problem(403, "reach", "you do not reach everything yourself")
    if reach.to is not None and reach.to <= datetime.now(UTC):
        raise Problem(422, "over", "reaches.to lies behind us")
    within = users.estates_of(connection, reach.jurisdiction, reach.estate)
    if within is None or not set(within) <= set(principal.estate_ids):
        raise Problem(404, "unknown_place", "no such jurisdiction or estate within your reach")
    users.grant(
        connection,
        user_id,
        by=principal.name,
        jurisdiction=reach.jurisdiction,
        estate=reach.estate,
        valid_to=reach.to,
    )


@router.post("/users/{name}/reaches", operation_id="grantReach", status_code=201)
def grant_reach(context: UserManager, name: Name, body: GrantRequest) -> dict[str, Any]:
    """Let a log-in reach more."""
    row = _find(context.connection, context.principal, name)
    _another(context.principal, row)
    _grant(context.connection, context.principal, row["id"], body)
    return {"name": name}


@router.delete("/users/{name}/reaches/{reach_id}", operation_id="withdrawReach", status_code=204)
def withdraw_reach(context: UserManager, name: Name, reach_id: Id) -> None:
    """End a part of what a log-in reaches, from now on; open streams end with it within a quarter of a minute."""
    row = _find(context.connection, context.principal, name)
    _another(context.principal, row)
    if not users.withdraw(context.connection, reach_id, row["id"]):
        raise Problem(404, "unknown_reach", "no such reach of this log-in, or it is over")


@router.post("/users/{name}/role", operation_id="changeRole", status_code=204)
def change_role(context: UserManager, name: Name, body: NewRole) -> None:
    """Give a log-in another role; its sessions end."""
    row = _find(context.connection, context.principal, name)
    _another(context.principal, row)
    users.set_role(context.connection, row["id"], body.role)


@router.post("/users/{name}/{step}", operation_id="stepOnUser")
def step_on_user(
    context: UserManager,
    name: Name,
    step: Literal["disable", "enable", "reset-password", "reset-second-factor"],
) -> dict[str, Any]:
    """Shut a log-in out at once, let it in again, or give it a new first password or no second factor; its sessions end."""
    row = _find(context.connection, context.principal, name)
    _another(context.principal, row)
    password = None
    if step == "reset-password":
        if row["issuer"] is not None:
            raise Problem(
                409, "directory", "this log-in's password is kept by the bureau's directory"
            )
        password = secrets.token_urlsafe(12)
        users.set_password(
            context.connection, row["id"], passwords.hash_password(password), must_change=True
        )
    elif step == "reset-second-factor":
        users.clear_totp(context.connection, row["id"])
    else:
        users.set_disabled(context.connection, row["id"], disabled=step == "disable")
    return {"name": name, "password": password}


# Keys -----------------------------------------------------------------------------------------------------------------


def new_key() -> str:
    """Make a key's text: a prefix that leak scanners know, 256 random bits, and a checksum that tells a typing error from a guess."""
    body = KEY_PREFIX + secrets.token_hex(32)
    return f"{body}{binascii.crc32(body.encode()):08x}"


@router.get("/keys", operation_id="listKeys")
def list_keys(
    context: UserManager,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> dict[str, Any]:
    """List keys of log-ins within your reach, newest first, with when each was used last; never their text."""
    rows = sessions.list_keys(context.connection, context.principal, before, limit)
    return {"items": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


@router.post("/keys", operation_id="addKey", status_code=201)
def add_key(context: UserManager, body: NewKey) -> dict[str, Any]:
    """Make a key. Its text is told once."""
    row = _find(context.connection, context.principal, body.user)
    now = datetime.now(UTC)
    if not now < body.expires_at <= now + LONGEST_KEY:
        raise Problem(422, "expires_at", f"a key expires within {LONGEST_KEY.days} days")
    beyond = sorted(set(body.actions) - (FOR_KEYS & actions_of(Role(row["role"]))))
    if beyond:
        raise Problem(
            422, "actions", f"a key for {body.user!r} cannot be given {', '.join(beyond)}"
        )
    token = new_key()
    made = sessions.add_key(
        context.connection,
        row["id"],
        body.name,
        token,
        sorted(set(body.actions)),
        body.expires_at,
        by=context.principal.name,
    )
    return {"id": made, "key": token}


@router.delete("/keys/{key_id}", operation_id="revokeKey", status_code=204)
def revoke_key(context: UserManager, key_id: Id) -> None:
    """End a key, at once."""
    if not sessions.revoke_key(context.connection, key_id, context.principal):
        raise Problem(404, "unknown_key", "no such key within your reach")
