"""Log-in with the bureau's own directory (OpenID Connect): out to it with PKCE, a state and a
nonce, and back with a code, once, in one browser.
"""

from __future__ import annotations

import secrets
from typing import Annotated

import structlog
from fastapi import APIRouter, Cookie, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.context import Db, client_address, limit_rate
from api.oidc import OidcClaims, OidcProvider, OidcTokenRejected, OidcUnavailable
from api.problems import Problem
from api.session import TRIES_PER_MINUTE, OpenedSession, open_session, set_cookie, write_entry
from store.access import scope, sign_in_attempts, users
from store.access.sign_in_attempts import SignInAttempt
from store.access.users import OidcIdentity
from store.database.connection import Connection

log = structlog.get_logger()
router = APIRouter(prefix="/oidc", tags=["session"])
#: The cookie that binds an attempt to the browser that began it.
BROWSER_COOKIE = "anju_sign_in"
_COOKIE_SECONDS = 600


def _directory(request: Request) -> OidcProvider:
    directory: OidcProvider | None = request.app.state.directory
    if directory is None:
        raise Problem(
            404,
            "no_directory",
            "this site has no directory of its own; log in with a name and a password",
        )
    return directory


def _unavailable(error: OidcUnavailable, advice: str) -> Problem:
    log.warning("directory_away", error=str(error))
    return Problem(503, "directory_away", f"the directory does not answer; {advice}")


def _rejected() -> Problem:
    return Problem(403, "sign_in", "this log-in cannot be finished; begin again at /oidc/start")


@router.get("/start", operation_id="startSignIn", status_code=303, response_class=RedirectResponse)
def start(request: Request, connection: Db) -> Response:
    """Send a browser to the bureau's directory."""
    directory = _directory(request)
    limit_rate(request, f"sign-in:{client_address(request)}", TRIES_PER_MINUTE)
    state = secrets.token_urlsafe(32)
    browser = secrets.token_urlsafe(32)
    attempt = SignInAttempt(nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(32))
    try:
        address = directory.authorization_url(state, attempt.nonce, attempt.verifier)
    except OidcUnavailable as error:
        raise _unavailable(error, "try again soon") from None
    with scope.signing_in(connection):
        sign_in_attempts.begin_sign_in(connection, attempt, state=state, browser=browser)
    response = RedirectResponse(address, 303)
    # Lax, because the way back begins on the directory's page.
    response.set_cookie(
        BROWSER_COOKIE,
        browser,
        max_age=_COOKIE_SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.app.state.cookie_secure,
    )
    return response


@router.get("/callback", operation_id="finishSignIn", response_class=HTMLResponse)
def finish(
    request: Request,
    connection: Db,
    state: Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9_-]+$")],
    code: Annotated[str, Query(max_length=4000, pattern=r"^[^\x00]+$")],
    iss: Annotated[str | None, Query(max_length=500)] = None,
    browser: Annotated[str, Cookie(alias=BROWSER_COOKIE, max_length=200)] = "",
) -> Response:
    """Take the directory's answer. The user whom it names must have been added here."""
    directory = _directory(request)
    limit_rate(request, f"sign-in:{client_address(request)}", TRIES_PER_MINUTE)
    with scope.signing_in(connection):
        attempt = sign_in_attempts.take_sign_in(connection, state=state, browser=browser)
        # Committed whatever follows: a code or a state is never tried twice.
        connection.commit()
    if attempt is None or (iss is not None and iss.rstrip("/") != directory.issuer):
        raise _rejected()
    claims = _redeem(directory, code, attempt)
    session = _open_session(request, connection, directory.issuer, claims)
    write_entry(request, connection, session.user.name, "finishSignIn", "done")
    # A page of our own in between: a strict cookie is not sent on a way that began on another site.
    response = HTMLResponse(
        '<!doctype html><meta http-equiv="refresh" content="0;url=/"><a href="/">Anju 安居</a>'
    )
    response.delete_cookie(BROWSER_COOKIE)
    set_cookie(response, session.token, secure=request.app.state.cookie_secure)
    return response


def _redeem(directory: OidcProvider, code: str, attempt: SignInAttempt) -> OidcClaims:
    try:
        return directory.redeem(code, attempt.nonce, attempt.verifier)
    except OidcTokenRejected as error:
        log.warning("directory_not_believed", error=str(error))
        raise _rejected() from None
    except OidcUnavailable as error:
        raise _unavailable(error, "begin again soon") from None


def _open_session(
    request: Request, connection: Connection, issuer: str, claims: OidcClaims
) -> OpenedSession:
    identity = OidcIdentity(issuer=issuer, subject=claims.subject)
    with scope.signing_in(connection):
        user = users.find_credentials_by_identity(connection, identity)
        if user is None:
            write_entry(request, connection, "unknown", "finishSignIn", "no_log_in")
            connection.commit()
            raise Problem(
                403,
                "no_log_in",
                "the directory knows you, this site does not yet; ask its administrator",
            )
        return open_session(connection, user, second_factor=claims.second_factor)
