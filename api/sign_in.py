"""Log-in with the bureau's own directory: out to it with PKCE, a state and a nonce, and back with a code, once, in the same browser."""

from __future__ import annotations

import secrets
from typing import Annotated

import structlog
from fastapi import APIRouter, Cookie, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.context import Db, client_address, limit_rate
from api.oidc import OidcProvider, OidcTokenRejected, OidcUnavailable
from api.problems import Problem
from api.session import TRIES_PER_MINUTE, entry, set_cookie
from store.access import scope, sessions, users

log = structlog.get_logger()
router = APIRouter(prefix="/oidc", tags=["session"])
BROWSER = "anju_sign_in"


def _directory(request: Request) -> OidcProvider:
    found: OidcProvider | None = request.app.state.directory
    if found is None:
        raise Problem(
            404,
            "no_directory",
            "this site has no directory of its own; log in with a name and a password",
        )
    return found


@router.get("/start", operation_id="startSignIn", status_code=303, response_class=RedirectResponse)
def start(request: Request, connection: Db) -> Response:
    """Send a browser to the bureau's directory."""
    directory = _directory(request)
    limit_rate(request, f"sign-in:{client_address(request)}", TRIES_PER_MINUTE)
    state, nonce, verifier, browser = (secrets.token_urlsafe(32) for _ in range(4))
    try:
        where = directory.address(state, nonce, verifier)
    except OidcUnavailable as error:
        log.warning("directory_away", error=str(error))
        raise Problem(
            503, "directory_away", "the directory does not answer; try again soon"
        ) from None
    with scope.at_door(connection):
        sessions.begin_sign_in(connection, state, nonce, verifier, browser)
    response = RedirectResponse(where, 303)
    # Lax: the way back begins on the directory's page.
    response.set_cookie(
        BROWSER,
        browser,
        max_age=600,
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
    browser: Annotated[str, Cookie(alias=BROWSER, max_length=200)] = "",
) -> Response:
    """Take the directory's answer; whoever it names must have a log-in here."""
    directory = _directory(request)
    limit_rate(request, f"sign-in:{client_address(request)}", TRIES_PER_MINUTE)
    refused = Problem(403, "sign_in", "this log-in cannot be finished; begin again at /oidc/start")
    with scope.at_door(connection):
        begun = sessions.take_sign_in(connection, state, browser)
        # Used up whatever comes of it: a code or a state is never tried twice.
        connection.commit()
    if begun is None or (iss is not None and iss.rstrip("/") != directory.issuer):
        raise refused
    try:
        said = directory.redeem(code, begun["nonce"], begun["verifier"])
    except OidcTokenRejected as error:
        log.warning("directory_not_believed", error=str(error))
        raise refused from None
    except OidcUnavailable as error:
        log.warning("directory_away", error=str(error))
        raise Problem(
            503, "directory_away", "the directory does not answer; begin again soon"
        ) from None
    with scope.at_door(connection):
        row = users.find_by_subject(connection, directory.issuer, said.subject)
        if row is None:
            entry(request, connection, "unknown", "finishSignIn", "no_log_in")
            connection.commit()
            raise Problem(
                403,
                "no_log_in",
                "the directory knows you, this site does not yet; ask its administrator",
            )
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        sessions.open_session(connection, row["id"], token, csrf, second_factor=said.second_factor)
    entry(request, connection, row["name"], "finishSignIn", "done")
    # A page of our own in between: a strict cookie is not sent on a way that began on another site.
    response = HTMLResponse(
        '<!doctype html><meta http-equiv="refresh" content="0;url=/"><a href="/">Anju 安居</a>'
    )
    response.delete_cookie(BROWSER)
    set_cookie(response, token, secure=request.app.state.cookie_secure)
    return response
