"""Authentication and authorization: which principal sends a request, and whether its role permits
the action.

A route declares its action by the type of its context, one of the aliases at the end; a test
refuses a route without one. The principal's grants are set on the transaction, where row-level
security applies them. The request counts towards the principal's rate limit. A change is entered in
the audit record in the same transaction, so that no change is without its entry.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.context import Db, RequestAudit, RequestContext, client_address, limit_rate
from api.problems import Problem
from domain.access import NEEDS_SECOND_FACTOR, Action, Principal
from store.access import api_keys, scope, sessions
from store.database.connection import Connection

COOKIE = "anju_session"
KEY_PREFIX = "anju_"
#: Requests a minute of one log-in or key.
PRINCIPAL_REQUESTS_PER_MINUTE = 600
#: Requests a minute of one address with a token that is not valid, and without any token.
BAD_TOKEN_REQUESTS_PER_MINUTE = 60
ANONYMOUS_REQUESTS_PER_MINUTE = 600
#: Methods that change nothing.
_SAFE_METHODS = ("GET", "HEAD")
#: What a log-in may reach while it has to change its first password.
_SESSION_PATH = "/api/v1/session"


def bearer_token(request: Request) -> str | None:
    """Return the bearer token of a request; None where there is none."""
    header = request.headers.get("authorization", "")
    return header[7:] if header.startswith("Bearer ") else None


def authenticate(
    request: Request, connection: Connection, *, rotate: bool = True
) -> Principal | None:
    """Find the principal of a request and set its grants on the transaction;

    None where nobody is logged in.

    `rotate` is False once an answer has begun: a browser could not receive a new session token any
    more.

    Raises: Problem 403 for a change by cookie without its CSRF token, 429 for too many requests.
    """
    bearer = bearer_token(request)
    token = bearer or request.cookies.get(COOKIE)
    if not token or "\x00" in token:
        limit_rate(request, f"address:{client_address(request)}", ANONYMOUS_REQUESTS_PER_MINUTE)
        return None
    with scope.signing_in(connection):
        if bearer is not None and bearer.startswith(KEY_PREFIX):
            principal = api_keys.find_api_key(connection, bearer)
        else:
            principal = _find_session_principal(
                request, connection, token, is_browser=bearer is None, rotate=rotate
            )
    if principal is None:
        limit_rate(request, f"address:{client_address(request)}", BAD_TOKEN_REQUESTS_PER_MINUTE)
        return None
    limit_rate(
        request, f"user:{principal.user_id}:{principal.key_id or ''}", PRINCIPAL_REQUESTS_PER_MINUTE
    )
    scope.enter(connection, principal)
    return principal


def _find_session_principal(
    request: Request, connection: Connection, token: str, *, is_browser: bool, rotate: bool
) -> Principal | None:
    session = sessions.find_session(connection, token)
    if session is None:
        return None
    request.state.csrf = session.csrf
    if is_browser and request.method not in _SAFE_METHODS:
        _check_csrf_token(request, session.csrf)
    if is_browser and session.stale and rotate:
        new_token = secrets.token_urlsafe(32)
        if sessions.rotate_token(connection, token, new_token):
            request.state.new_token = new_token
    return session.principal


def _check_csrf_token(request: Request, expected: str) -> None:
    given = request.headers.get("x-csrf-token", "")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Problem(403, "csrf", "this change needs the header X-CSRF-Token from your session")


@dataclass(frozen=True, slots=True)
class RequireAction:
    """A dependency that authorizes a request for one action and gives the route its context."""

    action: Action

    def __call__(self, request: Request, connection: Db) -> Iterator[RequestContext]:
        """Yield the context of an authorized request; write its audit entry when the route has
        ended.

        Raises: Problem 401 where nobody is logged in, 403 where the action is not permitted.
        """
        principal = authenticate(request, connection)
        if principal is None:
            raise Problem(401, "log_in", "log in first: POST /api/v1/session")
        self._authorize(principal, request.url.path)
        context = RequestContext(
            request=request,
            principal=principal,
            connection=connection,
            audit=RequestAudit(is_due=request.method not in _SAFE_METHODS),
        )
        yield context
        if context.audit.is_due:
            # Last of all: the record has one writer at a time, and nobody else should wait for our
            # queries.
            context.write_audit_entry()

    def _authorize(self, principal: Principal, path: str) -> None:
        if principal.must_change_password and not path.startswith(_SESSION_PATH):
            raise Problem(
                403, "change_password", "change your first password: POST /api/v1/session/password"
            )
        if not principal.may(self.action):
            if principal.key_id is not None:
                raise Problem(403, "role", f"this key was not given {self.action}")
            raise Problem(403, "role", f"the role {principal.role} may not {self.action}")
        if self.action in NEEDS_SECOND_FACTOR and not principal.second_factor:
            raise Problem(
                403,
                "second_factor",
                "show a second factor first: POST /api/v1/session/second-factor",
            )


# scope="function" ends the dependency, and with it the transaction, before the answer is sent.
SessionOwner = Annotated[
    RequestContext, Depends(RequireAction(Action.OWN_SESSION), scope="function")
]
PlaceReader = Annotated[RequestContext, Depends(RequireAction(Action.SEE_PLACES), scope="function")]
DeviceReader = Annotated[
    RequestContext, Depends(RequireAction(Action.SEE_DEVICES), scope="function")
]
UnitReader = Annotated[RequestContext, Depends(RequireAction(Action.SEE_UNITS), scope="function")]
AlertReader = Annotated[RequestContext, Depends(RequireAction(Action.SEE_ALERTS), scope="function")]
AlertOperator = Annotated[
    RequestContext, Depends(RequireAction(Action.STEP_ON_ALERTS), scope="function")
]
WindowPlanner = Annotated[RequestContext, Depends(RequireAction(Action.PLAN), scope="function")]
WelfareKeeper = Annotated[
    RequestContext, Depends(RequireAction(Action.KEEP_WELFARE), scope="function")
]
LeadReader = Annotated[RequestContext, Depends(RequireAction(Action.SEE_LEADS), scope="function")]
VisitRecorder = Annotated[
    RequestContext, Depends(RequireAction(Action.RECORD_VISITS), scope="function")
]
CommandReader = Annotated[
    RequestContext, Depends(RequireAction(Action.SEE_COMMANDS), scope="function")
]
CommandIssuer = Annotated[
    RequestContext, Depends(RequireAction(Action.GIVE_COMMANDS), scope="function")
]
ChannelReader = Annotated[
    RequestContext, Depends(RequireAction(Action.SEE_CHANNELS), scope="function")
]
Exporter = Annotated[RequestContext, Depends(RequireAction(Action.EXPORT), scope="function")]
PeopleReader = Annotated[
    RequestContext, Depends(RequireAction(Action.SEE_PEOPLE), scope="function")
]
LookupRequester = Annotated[RequestContext, Depends(RequireAction(Action.UNMASK), scope="function")]
LookupApprover = Annotated[
    RequestContext, Depends(RequireAction(Action.APPROVE_UNMASK), scope="function")
]
PeopleKeeper = Annotated[
    RequestContext, Depends(RequireAction(Action.KEEP_PEOPLE), scope="function")
]
ConsentReader = Annotated[
    RequestContext, Depends(RequireAction(Action.SEE_CONSENTS), scope="function")
]
ConsentKeeper = Annotated[
    RequestContext, Depends(RequireAction(Action.KEEP_CONSENTS), scope="function")
]
UserManager = Annotated[
    RequestContext, Depends(RequireAction(Action.MANAGE_USERS), scope="function")
]
AuditReader = Annotated[RequestContext, Depends(RequireAction(Action.SEE_AUDIT), scope="function")]
