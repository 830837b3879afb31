"""Who is asking, whether they may, and what they see: the one way into every route.

A route declares its action with one of the aliases at the end; a route without one is refused by a test. The principal's reach is told
to the transaction (row-level security), the rate is counted, and what changes something is put on the audit record in the same
transaction, so that there is no deed without its entry.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import contextmanager_in_threadpool

from api.problems import Problem
from domain.access import NEEDS_SECOND_FACTOR, Action, Principal
from privacy.keyring import BadKeyring, Keyring
from store.access import audit, scope, sessions
from store.database.connection import Connection

COOKIE = "anju_session"
KEY_PREFIX = "anju_"
#: Requests a minute of one log-in or key, and of one address that nobody is known at.
PER_MINUTE, PER_MINUTE_UNKNOWN = 600, 60
#: What may be reached with a first password that has to be changed.
_OWN = "/api/v1/session"


async def database(request: Request) -> AsyncIterator[Connection]:
    """Lend a connection from the pool for one request.

    Whoever waits, waits on the event loop and not in a thread: with threads waiting for connections, those that hold one find no thread
    to go on in, and a burst stops everything until the pool's timeout.
    """
    async with (
        request.app.state.room,
        contextmanager_in_threadpool(request.app.state.pool.connection()) as connection,
    ):
        yield connection


# "function": the connection goes back before the answer is sent, so that an open stream holds none.
Db = Annotated[Connection, Depends(database, scope="function")]


def source_of(request: Request) -> str:
    """Return the address that asks."""
    return request.client.host if request.client else "?"


def count(request: Request, name: str, most: int, per_s: int = 60) -> None:
    """Count one request towards a limit.

    Raises: Problem 429 beyond it.
    """
    most *= request.app.state.slack
    wait_s = request.app.state.rates.take(name, most, per_s)
    if wait_s:
        raise Problem(
            429,
            "too_many",
            f"more than {most} in {per_s} s; try again in {wait_s} s",
            retry_after_s=wait_s,
        )


def bearer_of(request: Request) -> str | None:
    """Return the bearer token of a request."""
    header = request.headers.get("authorization", "")
    return header[7:] if header.startswith("Bearer ") else None


def ask(request: Request, connection: Connection, *, rotate: bool = True) -> Principal | None:
    """Find out who is asking and show the transaction what they may see; None for nobody.

    `rotate` is False where an answer has begun, so that a browser could not be told its new token any more.

    Raises: Problem for a change by cookie without its CSRF token, or too many requests.
    """
    bearer = bearer_of(request)
    token = bearer or request.cookies.get(COOKIE)
    if not token or "\x00" in token:
        count(request, f"address:{source_of(request)}", PER_MINUTE_UNKNOWN * 10)
        return None
    with scope.at_door(connection):
        if bearer is not None and bearer.startswith(KEY_PREFIX):
            who = sessions.find_key(connection, bearer)
        else:
            who = _by_session(request, connection, token, browser=bearer is None, rotate=rotate)
    if who is None:
        count(request, f"address:{source_of(request)}", PER_MINUTE_UNKNOWN)
        return None
    count(request, f"user:{who.user_id}:{who.key_id or ''}", PER_MINUTE)
    request.state.who = who
    scope.enter(connection, who)
    return who


def _by_session(
    request: Request, connection: Connection, token: str, *, browser: bool, rotate: bool
) -> Principal | None:
    found = sessions.find_session(connection, token)
    if found is None:
        return None
    request.state.csrf = found.csrf
    if browser and request.method not in ("GET", "HEAD"):
        given = request.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(given.encode(), found.csrf.encode()):
            raise Problem(
                403, "csrf", "this change needs the header X-CSRF-Token from your session"
            )
    if browser and found.stale and rotate:
        new = secrets.token_urlsafe(32)
        if sessions.rotate(connection, token, new):
            request.state.new_token = new
    return found.principal


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets those pass who may do one thing."""

    action: Action

    def __call__(self, request: Request, connection: Db) -> Iterator[Principal]:
        """Yield who is asking; after the route's work, write what was done."""
        who = ask(request, connection)
        if who is None:
            raise Problem(401, "log_in", "log in first: POST /api/v1/session")
        if who.must_change_password and not request.url.path.startswith(_OWN):
            raise Problem(
                403, "change_password", "change your first password: POST /api/v1/session/password"
            )
        if not who.may(self.action):
            whose = (
                f"this key was not given {self.action}"
                if who.key_id
                else f"the role {who.role} may not {self.action}"
            )
            raise Problem(403, "role", whose)
        if self.action in NEEDS_SECOND_FACTOR and not who.second_factor:
            raise Problem(
                403,
                "second_factor",
                "show a second factor first: POST /api/v1/session/second-factor",
            )
        yield who
        looked = getattr(request.state, "looked", False)
        if (looked or request.method not in ("GET", "HEAD")) and not getattr(
            request.state, "on_record", False
        ):
            # Last of all: the record has one writer at a time, and nobody else should wait for our queries.
            note(request, connection, who)


def note(request: Request, connection: Connection, who: Principal) -> None:
    """Put what a request does on record; a route that knows more than its path says it by `request.state.about` or by itself."""
    route = request.scope.get("route")
    audit.append(
        connection,
        **{
            "actor": who.name,
            "role": str(who.role),
            "action": getattr(route, "operation_id", None) or request.method.lower(),
            "object": request.url.path,
            "source": source_of(request),
            "detail": {"key": who.key_id} if who.key_id else None,
            **getattr(request.state, "about", {}),
        },
    )


def about(request: Request, **facts: Any) -> None:
    """Say what the entry of this request should hold beside its path."""
    request.state.about = {**getattr(request.state, "about", {}), **facts}


def look(request: Request, **facts: Any) -> None:
    """Put a look on record that changes nothing: at a home, at people, at the record itself."""
    request.state.looked = True
    about(request, **facts)


def ring_of(request: Request) -> Keyring:
    """Return the site's keys.

    Raises: Problem.
    """
    if request.app.state.keys is None:
        raise Problem(
            503, "keys", "this site has no key file: set ANJU_KEYS_FILE, made by `anju keys make`"
        )
    try:
        found: Keyring = request.app.state.keys.ring()
    except BadKeyring as error:
        raise Problem(503, "keys", str(error)) from None
    return found


SeesPlaces = Annotated[Principal, Depends(Guard(Action.SEE_PLACES), scope="function")]
SeesDevices = Annotated[Principal, Depends(Guard(Action.SEE_DEVICES), scope="function")]
SeesUnits = Annotated[Principal, Depends(Guard(Action.SEE_UNITS), scope="function")]
SeesAlerts = Annotated[Principal, Depends(Guard(Action.SEE_ALERTS), scope="function")]
StepsOnAlerts = Annotated[Principal, Depends(Guard(Action.STEP_ON_ALERTS), scope="function")]
Plans = Annotated[Principal, Depends(Guard(Action.PLAN), scope="function")]
KeepsWelfare = Annotated[Principal, Depends(Guard(Action.KEEP_WELFARE), scope="function")]
SeesLeads = Annotated[Principal, Depends(Guard(Action.SEE_LEADS), scope="function")]
RecordsVisits = Annotated[Principal, Depends(Guard(Action.RECORD_VISITS), scope="function")]
SeesCommands = Annotated[Principal, Depends(Guard(Action.SEE_COMMANDS), scope="function")]
GivesCommands = Annotated[Principal, Depends(Guard(Action.GIVE_COMMANDS), scope="function")]
SeesChannels = Annotated[Principal, Depends(Guard(Action.SEE_CHANNELS), scope="function")]
Exports = Annotated[Principal, Depends(Guard(Action.EXPORT), scope="function")]
SeesPeople = Annotated[Principal, Depends(Guard(Action.SEE_PEOPLE), scope="function")]
Unmasks = Annotated[Principal, Depends(Guard(Action.UNMASK), scope="function")]
ApprovesUnmask = Annotated[Principal, Depends(Guard(Action.APPROVE_UNMASK), scope="function")]
KeepsPeople = Annotated[Principal, Depends(Guard(Action.KEEP_PEOPLE), scope="function")]
SeesConsents = Annotated[Principal, Depends(Guard(Action.SEE_CONSENTS), scope="function")]
KeepsConsents = Annotated[Principal, Depends(Guard(Action.KEEP_CONSENTS), scope="function")]
ManagesUsers = Annotated[Principal, Depends(Guard(Action.MANAGE_USERS), scope="function")]
SeesAudit = Annotated[Principal, Depends(Guard(Action.SEE_AUDIT), scope="function")]
Own = Annotated[Principal, Depends(Guard(Action.OWN_SESSION), scope="function")]
