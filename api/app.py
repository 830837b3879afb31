"""The application: every router behind the same limits, headers and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from analytics.policy import Policy
from api import alarms, alerts, commands, estates, health, notices, pages, problems, provision, session, stream, visits
from api.hub import Hub
from casework.notices.rules import Notices
from store.connect import Pool
from store.live import LiveBus

MAX_BODY = 1024 * 1024
#: Nothing is loaded from anywhere but us, no script stands in a page, nobody frames us.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def create_app(
    pool: Pool,
    bus: LiveBus,
    policy: Policy,
    *,
    cookie_secure: bool = False,
    authority_dir: Path | None = None,
    site_notices: Notices | None = None,
) -> FastAPI:
    """Make the application around a pool, a bus and a policy."""
    hub = Hub(bus, pool)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
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
        description="Estates, units, readings, facts, alerts and leads. Errors are RFC 9457 problems.",
    )
    app.state.pool, app.state.bus, app.state.hub, app.state.policy = pool, bus, hub, policy
    app.state.notices = site_notices or Notices()
    app.state.cookie_secure, app.state.pages, app.state.authority_dir = cookie_secure, pages.Pages(), authority_dir

    @app.middleware("http")
    async def _limits_and_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length")
        if request.method in ("POST", "PUT", "PATCH") and (length is None or not length.isdecimal()):
            response: Response = problems.problem(411, "no_length", "send a Content-Length", request)
        elif length is not None and length.isdecimal() and int(length) > MAX_BODY:
            response = problems.problem(413, "too_large", f"a body may have {MAX_BODY} bytes", request)
        else:
            response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.url.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    problems.install(app)
    for module in (health, session, estates, stream, alerts, alarms, notices, visits, commands, provision, pages):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=str(files("console").joinpath("static"))), name="static")
    return app
