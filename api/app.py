"""The application: every router behind the same limits, headers and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from analytics.policy import Policy
from api import (
    alarms,
    alerts,
    audit,
    clips,
    commands,
    estates,
    exports,
    faces,
    health,
    notices,
    pages,
    people,
    problems,
    provision,
    schema,
    session,
    sign_in,
    stream,
    users,
    visits,
)
from api.clips import ClipPlace
from api.hub import Hub
from api.oidc import OidcProvider
from notices.rules import NoticeRules
from privacy.keyring import KeyFile
from privacy.purposes import PeoplePolicy
from store.database.connection import Pool
from store.live.bus import LiveBus
from store.live.rate_limits import Rates

MAX_BODY = 1024 * 1024
#: Nothing is loaded from anywhere but us, no script stands in a page, nobody frames us.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: Told to browsers where the site is reached over HTTPS only (RFC 6797).
HSTS = "max-age=31536000"
_ROUTERS = (
    health,
    session,
    sign_in,
    users,
    estates,
    stream,
    clips,  # before the steps on alerts, whose path takes any last word
    alerts,
    alarms,
    notices,
    visits,
    commands,
    people,
    exports,
    audit,
    provision,
    faces,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """What a site adds to the application."""

    cookie_secure: bool = False
    authority_dir: Path | None = None
    notices: NoticeRules = field(default_factory=NoticeRules)
    keys: KeyFile | None = None
    people: PeoplePolicy = field(default_factory=PeoplePolicy)
    directory: OidcProvider | None = None
    #: Where each estate's gateway gives clips.
    clips: dict[str, ClipPlace] = field(default_factory=dict)
    #: Times by which a rate limit is wider; for load tests.
    slack: int = 1


def create_app(
    pool: Pool,
    bus: LiveBus,
    policy: Policy,
    site: SiteSettings | None = None,
    rates: Rates | None = None,
) -> FastAPI:
    """Make the application around a pool, a bus, a policy and a site's own."""
    hub, own = Hub(bus, pool), site or SiteSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Of this event loop, whichever runs us.
        app.state.room = asyncio.Semaphore(pool.max_size)
        hub.start()
        yield
        hub.stop()

    app = FastAPI(
        title="Anju 安居",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        description="Estates, units, readings, facts, alerts, leads, people and the audit "
        "record. Errors are RFC 9457 problems. "
        "Lists are paged by key: `next` is the cursor of the following page. A POST may carry an "
        "Idempotency-Key.",
    )
    state = app.state
    state.pool, state.bus, state.hub, state.policy = pool, bus, hub, policy
    state.room = asyncio.Semaphore(pool.max_size)
    state.rates, state.slack = rates or Rates(None), own.slack
    state.clips = own.clips
    state.notices, state.keys, state.people, state.directory = (
        own.notices,
        own.keys,
        own.people,
        own.directory,
    )
    state.cookie_secure, state.authority_dir, state.pages = (
        own.cookie_secure,
        own.authority_dir,
        pages.Pages(),
    )

    @app.middleware("http")
    async def _limits_and_headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        refused = _unfit(request)
        response = await call_next(request) if refused is None else refused
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if own.cookie_secure:
            response.headers.setdefault("Strict-Transport-Security", HSTS)
        if request.url.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        if new := getattr(request.state, "new_token", None):
            session.set_cookie(response, new, secure=own.cookie_secure)
        return response

    problems.install(app)
    state.routers = [module.router for module in (*_ROUTERS, pages)]
    for router in state.routers:
        app.include_router(router)
    app.mount(
        "/static", StaticFiles(directory=str(files("console").joinpath("static"))), name="static"
    )
    schema.install(app)
    return app


def _unfit(request: Request) -> Response | None:
    """Refuse what no route has to see: a NUL, which no text of ours holds, and a body that is too
    large or does not say how large it is.
    """
    if "\x00" in request.url.path or "%00" in request.url.query:
        return problems.problem(
            422, "invalid_input", "there is a NUL in the path or the query", request
        )
    length = request.headers.get("content-length")
    if length is None and (
        request.method in ("POST", "PUT", "PATCH") or "transfer-encoding" in request.headers
    ):
        return problems.problem(411, "no_length", "send a Content-Length", request)
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) < 16):
        return problems.problem(411, "no_length", "Content-Length is a number", request)
    if length is not None and int(length) > MAX_BODY:
        return problems.problem(413, "too_large", f"a body may have {MAX_BODY} bytes", request)
    return None
