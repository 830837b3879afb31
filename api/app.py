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

DESCRIPTION = (
    "Estates, units, readings, facts, alerts, leads, people and the audit record. "
    "Errors are RFC 9457 problems. Lists are paged by key: `next` is the cursor of the following "
    "page. A POST may carry an Idempotency-Key."
)
#: Bytes that a request's body has at most.
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
    """Make the application of a pool, a bus, a policy and a site's settings."""
    settings = site or SiteSettings()
    hub = Hub(bus, pool)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # A semaphore belongs to the event loop that runs the application.
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
        description=DESCRIPTION,
    )
    app.state.pool = pool
    app.state.bus = bus
    app.state.hub = hub
    app.state.policy = policy
    app.state.room = asyncio.Semaphore(pool.max_size)
    app.state.rates = rates or Rates(None)
    app.state.pages = pages.Pages()
    _set_site(app, settings)
    _add_limits_and_headers(app, settings)
    problems.install(app)
    _include_routers(app)
    schema.install(app)
    return app


def _set_site(app: FastAPI, settings: SiteSettings) -> None:
    app.state.slack = settings.slack
    app.state.clips = settings.clips
    app.state.notices = settings.notices
    app.state.keys = settings.keys
    app.state.people = settings.people
    app.state.directory = settings.directory
    app.state.cookie_secure = settings.cookie_secure
    app.state.authority_dir = settings.authority_dir


def _include_routers(app: FastAPI) -> None:
    app.state.routers = [module.router for module in (*_ROUTERS, pages)]
    for router in app.state.routers:
        app.include_router(router)
    static = StaticFiles(directory=str(files("console").joinpath("static")))
    app.mount("/static", static, name="static")


def _add_limits_and_headers(app: FastAPI, settings: SiteSettings) -> None:
    @app.middleware("http")
    async def _limits_and_headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = _check_limits(request)
        if response is None:
            response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if settings.cookie_secure:
            response.headers.setdefault("Strict-Transport-Security", HSTS)
        if request.url.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        new_token = getattr(request.state, "new_token", None)
        if new_token is not None:
            session.set_cookie(response, new_token, secure=settings.cookie_secure)
        return response


def _check_limits(request: Request) -> Response | None:
    """Refuse a request before any route sees it; None for one that fits.

    Refused are a NUL, which no text of the database holds, and a body that is too large or does not
    say how large it is.
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
