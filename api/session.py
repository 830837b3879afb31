"""Log-in, log-out, passwords, and who is asking.

A session's token comes as a cookie (then every change also needs the CSRF token) or as `Authorization: Bearer …` from
a program. Unknown log-ins and wrong passwords get the same answer after the same time.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import passwords
from api.problems import Problem
from domain.access import SEES_UNITS, Principal
from domain.alerting import AlertClass
from store import users
from store.connect import Connection

COOKIE = "anju_session"
router = APIRouter(prefix="/api/v1/session", tags=["session"])


def database(request: Request) -> Iterator[Connection]:
    """Lend a connection from the pool for one request."""
    with request.app.state.pool.connection() as connection:
        yield connection


# "function": the connection goes back before the answer is sent, so that an open stream holds none.
Db = Annotated[Connection, Depends(database, scope="function")]


def find_principal(request: Request, connection: Connection) -> Principal | None:
    """Find out who is asking; None for nobody.

    Raises: Problem for a change by cookie without its CSRF token.
    """
    header = request.headers.get("authorization", "")
    bearer = header.removeprefix("Bearer ") if header.startswith("Bearer ") else None
    token = bearer or request.cookies.get(COOKIE)
    found = users.find_session(connection, token) if token else None
    if found is None:
        return None
    principal, csrf = found
    request.state.csrf = csrf
    if (
        bearer is None
        and request.method not in ("GET", "HEAD")
        and not hmac.compare_digest(request.headers.get("x-csrf-token", ""), csrf)
    ):
        raise Problem(403, "csrf", "this change needs the header X-CSRF-Token from your session")
    return principal


def principal(request: Request, connection: Db) -> Principal:
    """Require someone who is logged in and has changed a first password."""
    who = find_principal(request, connection)
    if who is None:
        raise Problem(401, "log_in", "log in first: POST /api/v1/session")
    if who.must_change_password and not request.url.path.startswith("/api/v1/session"):
        raise Problem(403, "change_password", "change your first password: POST /api/v1/session/password")
    return who


Who = Annotated[Principal, Depends(principal)]


def unit_viewer(who: Who) -> Principal:
    """Require a role that may see what is used in a unit."""
    if who.role not in SEES_UNITS:
        raise Problem(403, "role", f"the role {who.role} does not see what is used in a unit")
    return who


UnitViewer = Annotated[Principal, Depends(unit_viewer)]


def sees_leads(who: Principal) -> None:
    """Let only those pass who see compliance leads.

    Raises: Problem.
    """
    if AlertClass.COMPLIANCE not in who.classes:
        raise Problem(403, "role", f"the role {who.role} does not see compliance leads")


class Credentials(BaseModel):
    """A log-in and its password."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "wang", "password": "correct horse battery"}]}
    )
    name: str = Field(min_length=1, max_length=60)
    password: str = Field(min_length=1, max_length=passwords.MAX_LENGTH)


class NewPassword(BaseModel):
    """The password so far and the new one."""

    model_config = ConfigDict(extra="forbid")
    password: str = Field(min_length=1, max_length=passwords.MAX_LENGTH)
    new_password: str = Field(min_length=passwords.MIN_LENGTH, max_length=passwords.MAX_LENGTH)


def log_in(connection: Connection, name: str, password: str) -> tuple[str, str]:
    """Check a log-in and open a session; returns its token and its CSRF token.

    Raises: Problem.
    """
    row = users.find_user(connection, name) if "\x00" not in name else None
    right = passwords.verify(row["password_hash"] if row else None, password)
    if row is not None and row["locked"]:
        raise Problem(429, "locked", f"too many wrong passwords; try again in {users.LOCK_MINUTES} minutes")
    if row is None or not right:
        if row is not None:
            users.note_login(connection, row["id"], success=False)
            connection.commit()
        raise Problem(401, "wrong_log_in", "name or password is wrong")
    users.note_login(connection, row["id"], success=True)
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    users.open_session(connection, row["id"], token, csrf)
    connection.commit()
    return token, csrf


def set_cookie(response: Response, token: str, *, secure: bool) -> None:
    """Give a browser its session."""
    response.set_cookie(
        COOKIE, token, max_age=users.SESSION_HOURS * 3600, httponly=True, samesite="strict", secure=secure
    )


@router.post("", operation_id="logIn")
def create(body: Credentials, request: Request, response: Response, connection: Db) -> dict[str, Any]:
    """Log in. The answer holds a bearer token for programs; browsers get it as a cookie."""
    token, csrf = log_in(connection, body.name, body.password)
    set_cookie(response, token, secure=request.app.state.cookie_secure)
    return {"token": token, "csrf": csrf, "hours": users.SESSION_HOURS}


@router.get("", operation_id="whoAmI")
def read(who: Who, request: Request) -> dict[str, Any]:
    """Say who is logged in."""
    return {
        "name": who.name,
        "role": who.role,
        "estates": len(who.estate_ids),
        "must_change_password": who.must_change_password,
        "csrf": request.state.csrf,
    }


@router.delete("", operation_id="logOut", status_code=204)
def delete(who: Who, request: Request, response: Response, connection: Db) -> None:  # noqa: ARG001
    """Log out."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ") or request.cookies.get(COOKIE, "")
    users.close_session(connection, token)
    response.delete_cookie(COOKIE)


@router.post("/password", operation_id="changePassword", status_code=204)
def change_password(body: NewPassword, who: Who, connection: Db) -> None:
    """Change your password; every session of yours ends."""
    row = users.find_user(connection, who.name)
    if row is None or not passwords.verify(row["password_hash"], body.password):
        raise Problem(403, "wrong_password", "the password so far is wrong")
    users.set_password(connection, who.user_id, passwords.hash_password(body.new_password))
