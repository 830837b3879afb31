"""Users, their grants, and API keys.

Administrators manage those whose grants lie within their own, and grant no more than they have.
"""

from __future__ import annotations

import binascii
import secrets
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api import passwords
from api.access import KEY_PREFIX, UserManager
from api.answers import Answer, example
from api.context import RequestContext
from api.idempotency import IdempotentRoute
from api.problems import Problem
from domain.access import KEY_ACTIONS, Action, Role, actions_of
from domain.ids import ID_PATTERN
from store.access import api_keys, scope, users
from store.access.api_keys import NewApiKey
from store.access.users import OidcIdentity, User
from store.database.connection import DuplicateKey

router = APIRouter(prefix="/api/v1", tags=["users"], route_class=IdempotentRoute)
Name = Annotated[str, Path(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f/]+$")]
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
LONGEST_KEY = timedelta(days=366)


class GrantRequest(BaseModel):
    """What to grant: a jurisdiction with all below it, one estate, or (neither) every estate; until
    `to`, if given.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"estate": "qingnian"}]}
    )
    jurisdiction: str | None = Field(None, max_length=60, pattern=r"^[^\x00]+$")
    estate: str | None = Field(None, pattern=ID_PATTERN)
    to: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_place(self) -> GrantRequest:
        if self.jurisdiction is not None and self.estate is not None:
            raise ValueError("name a jurisdiction or an estate, not both")
        return self


class NewUser(BaseModel):
    """A user to add. With `subject` the user is of the bureau's directory and has no password."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "wang", "role": "guard", "grants": [{"estate": "qingnian"}]}]
        },
    )
    name: str = Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f/]+$")
    role: Role
    grants: list[GrantRequest] = Field(min_length=1, max_length=50)
    subject: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00]+$")


class NewRole(BaseModel):
    """Another role."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "guard"}]})
    role: Role


class NewKey(BaseModel):
    """An API key: it acts for a user, with these actions and no others, until it expires."""

    model_config = ConfigDict(extra="forbid")
    user: str = Field(min_length=1, max_length=60, pattern=r"^[^\x00]+$")
    name: str = Field(
        min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]+$", examples=["district dashboard"]
    )
    actions: list[Action] = Field(
        min_length=1, max_length=len(Action), examples=[["see_places", "see_alerts"]]
    )
    expires_at: AwareDatetime


_GRANT = {
    "id": 7,
    "jurisdiction": None,
    "estate": "qingnian",
    "from": "2026-11-01T00:00:00Z",
    "to": None,
    "granted_by": "li",
}


class GrantAnswer(Answer):
    """A grant. Without jurisdiction and estate it covers every estate."""

    model_config = example(_GRANT)
    id: int = Field(description="number of the grant")
    jurisdiction: str | None = Field(description="code of the jurisdiction, with all below it")
    estate: str | None = Field(description="code of the one estate")
    valid_from: datetime = Field(
        validation_alias=AliasChoices("valid_from", "from"),
        serialization_alias="from",
        description="start",
    )
    valid_to: datetime | None = Field(
        validation_alias=AliasChoices("valid_to", "to"),
        serialization_alias="to",
        description="end; null for none",
    )
    granted_by: str = Field(description="who has granted it")


class UserAnswer(Answer):
    """A user, with grants."""

    model_config = example(
        {
            "id": 12,
            "name": "wang",
            "role": "guard",
            "created_at": "2026-11-01T00:00:00Z",
            "disabled_at": None,
            "issuer": None,
            "second_factor": False,
            "must_change_password": True,
            "locked": False,
            "grants": [_GRANT],
        }
    )
    id: int = Field(description="number of the user")
    name: str = Field(description="name, with which the user logs in")
    role: Role = Field(description="role")
    created_at: datetime = Field(description="when the user was added")
    disabled_at: datetime | None = Field(description="since when the user may not log in")
    issuer: str | None = Field(description="URL of the bureau's directory; null for a password")
    second_factor: bool = Field(description="whether a second factor was confirmed")
    must_change_password: bool = Field(description="whether the password is a first one")
    locked: bool = Field(description="whether too many wrong passwords lock the user now")
    grants: list[GrantAnswer] = Field(description="grants, also those that have ended")


class UserPage(Answer):
    """A page of users."""

    model_config = example({"items": [], "next": None})
    items: list[UserAnswer] = Field(description="users by name")
    next: str | None = Field(description="`after` of the following page; null on the last")


class UserPasswordAnswer(Answer):
    """A user, and the password that was made for it."""

    model_config = example({"name": "wang", "password": None})
    name: str = Field(description="name of the user")
    password: str | None = Field(description="first password, shown once; null if none was made")


class UserNameAnswer(Answer):
    """The user whose grants were changed."""

    model_config = example({"name": "wang"})
    name: str = Field(description="name of the user")


class ApiKeyAnswer(Answer):
    """A key; its text is never shown again."""

    model_config = example(
        {
            "id": 3,
            "user": "wang",
            "name": "district dashboard",
            "hint": "anju_4f2a",
            "actions": ["see_alerts", "see_places"],
            "made_at": "2026-11-01T00:00:00Z",
            "made_by": "li",
            "expires_at": "2027-11-01T00:00:00Z",
            "last_used_at": None,
            "revoked_at": None,
        }
    )
    id: int = Field(description="number of the key")
    user: str = Field(description="name of the user that it acts for")
    name: str = Field(description="what the key is for")
    hint: str = Field(description="first characters of its text")
    actions: list[str] = Field(description="what it may do")
    made_at: datetime = Field(description="when it was made")
    made_by: str = Field(description="who has made it")
    expires_at: datetime = Field(description="when it expires")
    last_used_at: datetime | None = Field(description="last use, to the minute; null for never")
    revoked_at: datetime | None = Field(description="when it was revoked; null if it was not")


class ApiKeyPage(Answer):
    """A page of keys."""

    model_config = example({"items": [], "next": None})
    items: list[ApiKeyAnswer] = Field(description="keys, newest first")
    next: int | None = Field(description="`before` of the following page; null on the last")


class NewApiKeyAnswer(Answer):
    """A key that was made."""

    model_config = example({"id": 3, "key": "anju_4f2a…"})
    id: int = Field(description="number of the key")
    key: str = Field(description="its text, shown once")


def _find_user(context: RequestContext, name: str) -> User:
    user = users.find_user(context.connection, context.principal, name)
    if user is None:
        raise Problem(404, "unknown_user", "no such log-in within your reach")
    return user


def _find_other_user(context: RequestContext, name: str) -> User:
    user = _find_user(context, name)
    if user.id == context.principal.user_id:
        raise Problem(
            409,
            "yourself",
            "nobody changes their own role, grants or state; ask another administrator",
        )
    return user


@router.get("/users", operation_id="listUsers")
def list_users(
    context: UserManager,
    after: Annotated[str | None, Query(max_length=60, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> UserPage:
    """List users all of whose grants lie within yours, by name;

    `next` is the `after` of the following page.
    """
    items = users.list_users(context.connection, context.principal, after=after, limit=limit)
    return UserPage(
        items=[UserAnswer.model_validate(user) for user in items],
        next=items[-1].name if len(items) == limit else None,
    )


@router.post("/users", operation_id="addUser", status_code=201)
def add_user(context: UserManager, body: NewUser) -> UserPasswordAnswer:
    """Add a user. The password is shown once and has to be changed."""
    identity = _directory_identity(context, body.subject) if body.subject else None
    password = None if identity else secrets.token_urlsafe(12)
    password_hash = passwords.hash_password(password) if password else None
    connection = context.connection
    try:
        # A user without a grant is within nobody's grants, so the usual reader could not see the
        # row.
        with scope.signing_in(connection), connection.transaction():
            user_id = users.add_user(
                connection, body.name, password_hash, body.role, identity=identity
            )
    except DuplicateKey:
        raise Problem(
            409, "known_user", f"there is a log-in {body.name!r} already, or one of that subject"
        ) from None
    for grant in body.grants:
        _add_grant(context, user_id, grant)
    return UserPasswordAnswer(name=body.name, password=password)


def _directory_identity(context: RequestContext, subject: str) -> OidcIdentity:
    directory = context.request.app.state.directory
    if directory is None:
        raise Problem(
            422,
            "no_directory",
            "subject: this site has no directory; leave it out for a log-in with a password",
        )
    return OidcIdentity(issuer=directory.issuer, subject=subject)


def _add_grant(context: RequestContext, user_id: int, grant: GrantRequest) -> None:
    principal = context.principal
    covers_everything = grant.jurisdiction is None and grant.estate is None
    if covers_everything and not principal.everywhere:
        raise Problem(403, "reach", "you have no grant of every estate yourself")
    if grant.to is not None and grant.to <= context.now:
        raise Problem(422, "over", "grants.to lies in the past")
    covered = users.estates_of_grant(context.connection, grant.jurisdiction, grant.estate)
    if covered is None or not set(covered) <= set(principal.estate_ids):
        raise Problem(404, "unknown_place", "no such jurisdiction or estate within your reach")
    users.add_grant(
        context.connection,
        user_id,
        by=principal.name,
        jurisdiction=grant.jurisdiction,
        estate=grant.estate,
        valid_to=grant.to,
    )


@router.post("/users/{name}/grants", operation_id="addGrant", status_code=201)
def add_grant(context: UserManager, name: Name, body: GrantRequest) -> UserNameAnswer:
    """Grant a user more."""
    user = _find_other_user(context, name)
    _add_grant(context, user.id, body)
    return UserNameAnswer(name=name)


@router.delete("/users/{name}/grants/{grant_id}", operation_id="withdrawGrant", status_code=204)
def withdraw_grant(context: UserManager, name: Name, grant_id: Id) -> None:
    """End a grant from now on; open streams end within a quarter of a minute."""
    user = _find_other_user(context, name)
    if not users.withdraw_grant(context.connection, grant_id, user.id):
        raise Problem(404, "unknown_grant", "no such grant of this log-in, or it is over")


@router.post("/users/{name}/role", operation_id="changeRole", status_code=204)
def change_role(context: UserManager, name: Name, body: NewRole) -> None:
    """Give a user another role; the user's sessions end."""
    user = _find_other_user(context, name)
    users.set_role(context.connection, user.id, body.role)


@router.post("/users/{name}/{step}", operation_id="stepOnUser")
def step_on_user(
    context: UserManager,
    name: Name,
    step: Literal["disable", "enable", "reset-password", "reset-second-factor"],
) -> UserPasswordAnswer:
    """Disable a user at once, enable the user again, or reset password or second factor; the user's
    sessions end.
    """
    user = _find_other_user(context, name)
    if step == "reset-password":
        return UserPasswordAnswer(name=name, password=_reset_password(context, user))
    if step == "reset-second-factor":
        users.clear_totp_secret(context.connection, user.id)
    else:
        users.set_disabled(context.connection, user.id, disabled=step == "disable")
    return UserPasswordAnswer(name=name, password=None)


def _reset_password(context: RequestContext, user: User) -> str:
    if user.issuer is not None:
        raise Problem(409, "directory", "this log-in's password is kept by the bureau's directory")
    password = secrets.token_urlsafe(12)
    password_hash = passwords.hash_password(password)
    users.set_password(context.connection, user.id, password_hash, must_change=True)
    return password


# API keys -----------------------------------------------------------------------------------------


def new_key() -> str:
    """Make a key's text: a prefix that leak scanners know, 256 random bits, and a checksum against
    typing errors.
    """
    body = KEY_PREFIX + secrets.token_hex(32)
    return f"{body}{binascii.crc32(body.encode()):08x}"


@router.get("/keys", operation_id="listKeys")
def list_keys(
    context: UserManager,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> ApiKeyPage:
    """List keys of users within your grants, newest first; never their text."""
    keys = api_keys.list_api_keys(context.connection, context.principal, before=before, limit=limit)
    return ApiKeyPage(
        items=[ApiKeyAnswer.model_validate(key) for key in keys],
        next=keys[-1].id if len(keys) == limit else None,
    )


@router.post("/keys", operation_id="addKey", status_code=201)
def add_key(context: UserManager, body: NewKey) -> NewApiKeyAnswer:
    """Make a key. Its text is shown once."""
    user = _find_user(context, body.user)
    if not context.now < body.expires_at <= context.now + LONGEST_KEY:
        raise Problem(422, "expires_at", f"a key expires within {LONGEST_KEY.days} days")
    permitted = KEY_ACTIONS & actions_of(Role(user.role))
    refused = sorted(set(body.actions) - permitted)
    if refused:
        raise Problem(
            422, "actions", f"a key for {body.user!r} cannot be given {', '.join(refused)}"
        )
    key = NewApiKey(
        user_id=user.id,
        name=body.name,
        token=new_key(),
        actions=sorted(set(body.actions)),
        expires_at=body.expires_at,
        made_by=context.principal.name,
    )
    key_id = api_keys.add_api_key(context.connection, key)
    return NewApiKeyAnswer(id=key_id, key=key.token)


@router.delete("/keys/{key_id}", operation_id="revokeKey", status_code=204)
def revoke_key(context: UserManager, key_id: Id) -> None:
    """End a key at once."""
    if not api_keys.revoke_api_key(context.connection, key_id, context.principal):
        raise Problem(404, "unknown_key", "no such key within your reach")
