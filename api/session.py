"""Logging in and out, passwords and second factors.

A session's token comes as a cookie, and then every change needs the CSRF token as well, or as
`Authorization: Bearer …` from a program. An unknown name and a wrong password get the same answer
after the same time.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import passwords
from api.access import COOKIE, SessionOwner, bearer_token
from api.answers import Answer, example
from api.context import Db, RequestContext, client_address, limit_rate
from api.problems import Problem
from crypto.sealed_values import NotOpened
from domain.access import Action, Role, actions_of
from store.access import audit, scope, sessions, users
from store.access.audit import AuditEntry
from store.access.users import UserCredentials
from store.database.connection import Connection

router = APIRouter(prefix="/api/v1/session", tags=["session"])
#: Passwords and codes that may be tried a minute from one address.
TRIES_PER_MINUTE = 30
Password = Annotated[
    str, Field(min_length=1, max_length=passwords.MAX_LENGTH, description="your password")
]


class Credentials(BaseModel):
    """A user's name and password."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "wang", "password": "correct horse battery"}]},
    )
    name: str = Field(min_length=1, max_length=60)
    password: Password


class NewPassword(BaseModel):
    """The present password and the new one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"password": "as it was printed", "new_password": "three words and more"}]
        },
    )
    password: Password
    new_password: str = Field(min_length=passwords.MIN_LENGTH, max_length=passwords.MAX_LENGTH)


class PasswordProof(BaseModel):
    """Your password, to show that it is you who changes how you log in."""

    model_config = ConfigDict(extra="forbid")
    password: Password


class TotpCode(BaseModel):
    """Six digits that your device shows (RFC 6238)."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "492039"}]})
    code: str = Field(pattern=r"^[0-9]{6}$")


class NewSessionAnswer(Answer):
    """A session that was opened."""

    model_config = example(
        {"token": "kq3…", "csrf": "Zx8…", "hours": sessions.SESSION_HOURS, "second_factor": True}
    )
    token: str = Field(description="bearer token for programs; browsers get it as a cookie")
    csrf: str = Field(description="value of X-CSRF-Token, which changes by cookie need")
    hours: int = Field(description="hours after which the session ends")
    second_factor: bool = Field(description="whether you have a second factor to show")


class SessionAnswer(Answer):
    """The principal of a session or key."""

    model_config = example(
        {
            "name": "wang",
            "role": "guard",
            "estates": 3,
            "actions": ["own_session", "see_places"],
            "second_factor": False,
            "must_change_password": False,
            "csrf": "Zx8…",
        }
    )
    name: str = Field(description="name of the user")
    role: Role = Field(description="role of the user")
    estates: int = Field(description="number of estates that the user's grants cover")
    actions: list[Action] = Field(description="what the user, or the key, may do")
    second_factor: bool = Field(description="whether this session has shown a second factor")
    must_change_password: bool = Field(description="whether the first password is to be changed")
    csrf: str | None = Field(description="value of X-CSRF-Token; null for a key")


class SecondFactorAnswer(Answer):
    """A secret for an authenticator app."""

    model_config = example(
        {
            "secret": "JBSW…",
            "uri": "otpauth://totp/Anju%20%E5%AE%89%E5%B1%85:wang?secret=JBSW…",
        }
    )
    secret: str = Field(description="TOTP secret, base32")
    uri: str = Field(description="address that an authenticator app reads")


class SessionTokenAnswer(Answer):
    """The new token of a session; the old one has ended."""

    model_config = example({"token": "kq3…"})
    token: str = Field(description="bearer token; browsers get it as a cookie")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session that was just opened, with its tokens and its user."""

    token: str
    csrf: str
    user: UserCredentials


def log_in(request: Request, connection: Connection, name: str, password: str) -> OpenedSession:
    """Check a name and password, and open a session.

    Raises: Problem 401 where they are wrong, 429 for a locked user or too many tries.
    """
    limit_rate(request, f"log-in:{client_address(request)}", TRIES_PER_MINUTE)
    with scope.signing_in(connection):
        user = users.find_credentials(connection, name) if "\x00" not in name else None
        refusal = _check_password(connection, user, password)
        if user is None or refusal is not None:
            refusal = refusal or _wrong_login()
            # An unknown name may be a password typed into the wrong field, so it is not written
            # down.
            write_entry(request, connection, name if user else "unknown", "logIn", refusal.code)
            connection.commit()
            raise refusal
        users.record_login(connection, user.id, success=True)
        session = open_session(connection, user)
    write_entry(request, connection, name, "logIn", "done")
    return session


def _check_password(
    connection: Connection, user: UserCredentials | None, password: str
) -> Problem | None:
    # The hash is checked for unknown and locked users too, so that every answer takes the same
    # time.
    is_right = passwords.verify(user.password_hash if user else None, password)
    if user is None:
        return _wrong_login()
    if user.locked:
        return _locked("passwords")
    if is_right:
        return None
    users.record_login(connection, user.id, success=False)
    return _wrong_login()


def _wrong_login() -> Problem:
    return Problem(401, "wrong_log_in", "name or password is wrong")


def _locked(what: str) -> Problem:
    return Problem(
        429, "locked", f"too many wrong {what}; try again in {users.LOCK_MINUTES} minutes"
    )


def open_session(
    connection: Connection, user: UserCredentials, *, second_factor: bool = False
) -> OpenedSession:
    """Open a session for a user who was authenticated."""
    session = OpenedSession(
        token=secrets.token_urlsafe(32), csrf=secrets.token_urlsafe(24), user=user
    )
    sessions.open_session(
        connection, user.id, session.token, session.csrf, second_factor=second_factor
    )
    return session


def write_entry(
    request: Request, connection: Connection, actor: str, action: str, result: str
) -> None:
    """Write the audit entry of a request that has no session yet."""
    entry = AuditEntry(
        actor=actor,
        action=action,
        object=request.url.path,
        result=result,
        source=client_address(request),
    )
    audit.append(connection, entry)


def set_cookie(response: Response, token: str, *, secure: bool) -> None:
    """Set a browser's session cookie."""
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
) -> NewSessionAnswer:
    """Log in. The answer holds a bearer token for programs; browsers get it as a cookie."""
    session = log_in(request, connection, body.name, body.password)
    set_cookie(response, session.token, secure=request.app.state.cookie_secure)
    return NewSessionAnswer(
        token=session.token,
        csrf=session.csrf,
        hours=sessions.SESSION_HOURS,
        second_factor=session.user.totp_confirmed,
    )


@router.get("", operation_id="whoAmI")
def read(context: SessionOwner) -> SessionAnswer:
    """Read which user is logged in, and what that user may do."""
    principal = context.principal
    return SessionAnswer(
        name=principal.name,
        role=principal.role,
        estates=len(principal.estate_ids),
        actions=sorted(action for action in actions_of(principal.role) if principal.may(action)),
        second_factor=principal.second_factor,
        must_change_password=principal.must_change_password,
        csrf=getattr(context.request.state, "csrf", None),
    )


@router.delete("", operation_id="logOut", status_code=204)
def delete(context: SessionOwner, response: Response) -> None:
    """Log out."""
    sessions.close_session(context.connection, _session_token(context.request))
    response.delete_cookie(COOKIE)


def _session_token(request: Request) -> str:
    return bearer_token(request) or request.cookies.get(COOKIE, "")


def change_password(connection: Connection, user: UserCredentials, old: str, new: str) -> None:
    """Change a user's password and end the user's sessions.

    Raises: Problem 403 where the old password is wrong, 422 where the new one is too weak.
    """
    if not passwords.verify(user.password_hash, old):
        raise Problem(403, "wrong_password", "the password so far is wrong")
    if new == old:
        raise Problem(422, "weak_password", "take another one than before")
    weakness = passwords.find_weakness(new, user.name)
    if weakness:
        raise Problem(422, "weak_password", weakness)
    users.set_password(connection, user.id, passwords.hash_password(new))


@router.post("/password", operation_id="changePassword", status_code=204)
def change_own_password(context: SessionOwner, body: NewPassword) -> None:
    """Change your password; all of your sessions end."""
    user = _own_credentials(context)
    context.limit_rate("code", TRIES_PER_MINUTE)
    change_password(context.connection, user, body.password, body.new_password)


@router.post("/second-factor/offer", operation_id="offerSecondFactor")
def offer(context: SessionOwner, body: PasswordProof) -> SecondFactorAnswer:
    """Get a secret for your device, then show a code.

    A factor that was confirmed is replaced only by a session that has shown it.
    """
    user = _own_credentials(context)
    context.limit_rate("code", TRIES_PER_MINUTE)
    if not passwords.verify(user.password_hash, body.password):
        raise Problem(403, "wrong_password", "the password is wrong")
    if user.totp_confirmed and not context.principal.second_factor:
        raise Problem(
            403,
            "second_factor",
            "show a code of your present device first, or ask an administrator",
        )
    secret, uri = passwords.new_totp(user.name)
    sealed = context.keyring().seal(secret.encode(), _totp_place(user))
    users.save_totp_secret(context.connection, user.id, sealed)
    return SecondFactorAnswer(secret=secret, uri=uri)


@router.post("/second-factor", operation_id="showSecondFactor")
def show(context: SessionOwner, body: TotpCode, response: Response) -> SessionTokenAnswer:
    """Show a code.

    The session may then do what a password alone does not allow, and goes on under another token.
    """
    user = _own_credentials(context)
    if user.totp_sealed is None:
        raise Problem(
            409, "no_second_factor", "begin with POST /api/v1/session/second-factor/offer"
        )
    if user.locked:
        raise _locked("codes")
    _use_code(context, user, user.totp_sealed, body.code)
    users.record_login(context.connection, user.id, success=True)
    new_token = secrets.token_urlsafe(32)
    sessions.confirm_second_factor(context.connection, _session_token(context.request), new_token)
    if bearer_token(context.request) is None:
        set_cookie(response, new_token, secure=context.request.app.state.cookie_secure)
    return SessionTokenAnswer(token=new_token)


def _use_code(context: RequestContext, user: UserCredentials, sealed: bytes, code: str) -> None:
    try:
        secret = context.keyring().unseal(sealed, _totp_place(user)).decode()
    except NotOpened as error:
        raise Problem(503, "keys", str(error)) from None
    step = passwords.matching_step(secret, code)
    if step is not None and users.use_totp_step(context.connection, user.id, step):
        return
    users.record_login(context.connection, user.id, success=False)
    write_entry(context.request, context.connection, user.name, "showSecondFactor", "wrong_code")
    context.connection.commit()
    raise Problem(403, "wrong_code", "this code is wrong, over, or was used before")


def _totp_place(user: UserCredentials) -> str:
    """Return what a sealed TOTP secret belongs to."""
    return f"totp|{user.id}"


def _own_credentials(context: RequestContext) -> UserCredentials:
    if context.principal.key_id is not None:
        raise Problem(403, "role", "a key has no password and no second factor")
    user = users.find_credentials(context.connection, context.principal.name)
    if user is None:
        raise Problem(401, "log_in", "log in first: POST /api/v1/session")
    return user
