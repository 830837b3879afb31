"""Log-in, log-out, passwords and second factors.

A session's token comes as a cookie (then every change also needs the CSRF token) or as `Authorization: Bearer …` from
a program. Unknown log-ins and wrong passwords get the same answer after the same time.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import passwords
from api.access import COOKIE, SessionOwner, bearer_token
from api.context import Db, client_address, limit_rate
from api.problems import Problem
from crypto.sealed_values import NotOpened
from domain.access import Principal, actions_of
from store.access import audit, scope, sessions, users
from store.database.connection import Connection

router = APIRouter(prefix="/api/v1/session", tags=["session"])
#: Log-ins and codes tried a minute from one address.
TRIES_PER_MINUTE = 30
NO_NUL = r"^[^\x00]*$"
Password = Annotated[str, Field(min_length=1, max_length=passwords.MAX_LENGTH)]


class Credentials(BaseModel):
    """A log-in and its password."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "wang", "password": "correct horse battery"}]},
    )
    name: str = Field(min_length=1, max_length=60)
    password: Password


class NewPassword(BaseModel):
    """The password so far and the new one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"password": "as it was printed", "new_password": "three words and more"}]
        },
    )
    password: Password
    new_password: str = Field(min_length=passwords.MIN_LENGTH, max_length=passwords.MAX_LENGTH)


class Proof(BaseModel):
    """Your password, to show that it is you who changes how you log in."""

    model_config = ConfigDict(extra="forbid")
    password: Password


class Code(BaseModel):
    """Six digits that your device shows."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "492039"}]})
    code: str = Field(pattern=r"^[0-9]{6}$")


def log_in(
    request: Request, connection: Connection, name: str, password: str
) -> tuple[str, str, dict[str, Any]]:
    """Check a log-in and open a session; returns its token, its CSRF token and the log-in's row.

    Raises: Problem.
    """
    limit_rate(request, f"log-in:{client_address(request)}", TRIES_PER_MINUTE)
    with scope.at_door(connection):
        row = users.find_user(connection, name) if "\x00" not in name else None
        right = passwords.verify(row["password_hash"] if row else None, password)
        refused = None
        if row is not None and row["locked"]:
            refused = Problem(
                429,
                "locked",
                f"too many wrong passwords; try again in {users.LOCK_MINUTES} minutes",
            )
        elif row is None or not right:
            if row is not None:
                users.note_login(connection, row["id"], success=False)
            refused = Problem(401, "wrong_log_in", "name or password is wrong")
        if refused is not None:
            # A name that nobody has may be a password typed into the wrong field: it is not written down.
            entry(request, connection, name if row else "unknown", "logIn", refused.code)
            connection.commit()
            raise refused
        assert row is not None
        users.note_login(connection, row["id"], success=True)
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        sessions.open_session(connection, row["id"], token, csrf)
    entry(request, connection, name, "logIn", "done")
    return token, csrf, row


def entry(request: Request, connection: Connection, actor: str, action: str, result: str) -> None:
    """Put on record what somebody did who is not known by a session yet."""
    audit.append(
        connection,
        actor=actor,
        action=action,
        object=request.url.path,
        result=result,
        source=client_address(request),
    )


def set_cookie(response: Response, token: str, *, secure: bool) -> None:
    """Give a browser its session."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=sessions.SESSION_HOURS * 3600,
        httponly=True,
        samesite="strict",
        secure=secure,
    )


@router.post("", operation_id="logIn")
def create(
    body: Credentials, request: Request, response: Response, connection: Db
) -> dict[str, Any]:
    """Log in. The answer holds a bearer token for programs; browsers get it as a cookie."""
    token, csrf, row = log_in(request, connection, body.name, body.password)
    set_cookie(response, token, secure=request.app.state.cookie_secure)
    return {
        "token": token,
        "csrf": csrf,
        "hours": sessions.SESSION_HOURS,
        "second_factor": row["totp_confirmed"],
    }


@router.get("", operation_id="whoAmI")
def read(context: SessionOwner) -> dict[str, Any]:
    """Say who is logged in, and what that log-in may do."""
    return {
        "name": context.principal.name,
        "role": context.principal.role,
        "estates": len(context.principal.estate_ids),
        "actions": sorted(
            action for action in actions_of(context.principal.role) if context.principal.may(action)
        ),
        "second_factor": context.principal.second_factor,
        "must_change_password": context.principal.must_change_password,
        "csrf": getattr(context.request.state, "csrf", None),
    }


@router.delete("", operation_id="logOut", status_code=204)
def delete(context: SessionOwner, response: Response) -> None:
    """Log out."""
    sessions.close_session(
        context.connection, bearer_token(context.request) or context.request.cookies.get(COOKIE, "")
    )
    response.delete_cookie(COOKIE)


def change_password(
    request: Request, connection: Connection, principal: Principal, old: str, new: str
) -> None:
    """Change a password, and with it end every session of its owner.

    Raises: Problem.
    """
    limit_rate(request, f"code:{principal.user_id}", TRIES_PER_MINUTE)
    row = users.find_user(connection, principal.name)
    if row is None or not passwords.verify(row["password_hash"], old):
        raise Problem(403, "wrong_password", "the password so far is wrong")
    weak = "take another one than before" if new == old else passwords.weakness(new, principal.name)
    if weak:
        raise Problem(422, "weak_password", weak)
    users.set_password(connection, principal.user_id, passwords.hash_password(new))


@router.post("/password", operation_id="changePassword", status_code=204)
def password(context: SessionOwner, body: NewPassword) -> None:
    """Change your password; every session of yours ends."""
    _person(context.principal)
    change_password(
        context.request, context.connection, context.principal, body.password, body.new_password
    )


@router.post("/second-factor/offer", operation_id="offerSecondFactor")
def offer(context: SessionOwner, body: Proof) -> dict[str, Any]:
    """Begin with a second factor: put the secret into your device, then show a code. One that counts is replaced only by who shows it."""
    _person(context.principal)
    context.limit_rate("code", TRIES_PER_MINUTE)
    row = users.find_user(context.connection, context.principal.name)
    if row is None or not passwords.verify(row["password_hash"], body.password):
        raise Problem(403, "wrong_password", "the password is wrong")
    if row["totp_confirmed"] and not context.principal.second_factor:
        raise Problem(
            403,
            "second_factor",
            "show a code of your present device first, or ask an administrator",
        )
    secret, uri = passwords.new_totp(context.principal.name)
    users.offer_totp(
        context.connection,
        context.principal.user_id,
        context.keyring().seal(secret.encode(), f"totp|{context.principal.user_id}"),
    )
    return {"secret": secret, "uri": uri}


@router.post("/second-factor", operation_id="showSecondFactor")
def show(context: SessionOwner, body: Code, response: Response) -> dict[str, Any]:
    """Show a code: this session may then do what a password alone does not allow, and goes on under another token."""
    _person(context.principal)
    row = users.find_user(context.connection, context.principal.name)
    if row is None or row["totp_sealed"] is None:
        raise Problem(
            409, "no_second_factor", "begin with POST /api/v1/session/second-factor/offer"
        )
    if row["locked"]:
        raise Problem(
            429, "locked", f"too many wrong codes; try again in {users.LOCK_MINUTES} minutes"
        )
    try:
        secret = (
            context.keyring()
            .unseal(row["totp_sealed"], f"totp|{context.principal.user_id}")
            .decode()
        )
    except NotOpened as error:
        raise Problem(503, "keys", str(error)) from None
    step = passwords.matching_step(secret, body.code)
    if step is None or not users.use_totp_step(context.connection, context.principal.user_id, step):
        users.note_login(context.connection, context.principal.user_id, success=False)
        entry(
            context.request,
            context.connection,
            context.principal.name,
            "showSecondFactor",
            "wrong_code",
        )
        context.connection.commit()
        raise Problem(403, "wrong_code", "this code is wrong, over, or was used before")
    users.note_login(context.connection, context.principal.user_id, success=True)
    bearer = bearer_token(context.request)
    token, new = bearer or context.request.cookies.get(COOKIE, ""), secrets.token_urlsafe(32)
    sessions.rotate(context.connection, token, new, second_factor=True)
    if bearer is None:
        set_cookie(response, new, secure=context.request.app.state.cookie_secure)
    return {"token": new}


def _person(principal: Principal) -> None:
    if principal.key_id is not None:
        raise Problem(403, "role", "a key has no password and no second factor")
