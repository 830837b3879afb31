"""Errors as RFC 9457 problems: what is wrong, where, and how to mend it; never a stack, a query or an inner id."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException

from casework.alert_steps import UnknownAlert
from domain.alerting import NotAllowed
from store.alerts.changes import StaleVersion
from store.database.connection import InsufficientPrivilege, Unavailable

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Log in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible in this state",
    411: "Length required",
    412: "Changed by someone else",
    413: "Too large",
    422: "Input does not fit",
    429: "Too many requests",
    500: "Our fault",
    503: "Try again soon",
}


class Problem(HTTPException):
    """A problem with a stable code that a program can act on."""

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(status, detail)
        self.code = code
        self.extra = extra


def problem(
    status: int, code: str, detail: str, request: Request | None = None, **extra: Any
) -> JSONResponse:
    """Make a problem response."""
    body = {
        "type": f"about:blank#{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
        **extra,
    }
    if request is not None:
        body["instance"] = request.url.path
    wait_s = extra.get("retry_after_s", 5 if status == 503 else None)
    headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _allowed(app: FastAPI, path: str) -> list[str]:
    """List the methods that a path has, over all of its routes (RFC 9110, 15.5.6)."""
    routes = [
        route
        for router in app.state.routers
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    return sorted(
        {
            method
            for route in routes
            if route.path_regex.match(path)
            for method in route.methods or ()
        }
    )


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    @app.exception_handler(StarletteHTTPException)
    async def _http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        code = (
            error.code
            if isinstance(error, Problem)
            else _TITLES.get(error.status_code, "error").lower().replace(" ", "_")
        )
        extra = error.extra if isinstance(error, Problem) else {}
        answer = problem(error.status_code, code, str(error.detail), request, **extra)
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(_allowed(app, request.url.path))
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [
            {"where": ".".join(str(part) for part in e["loc"]), "problem": e["msg"]}
            for e in error.errors()
        ]
        named = "; ".join(f"{e['where']}: {e['problem']}" for e in wrong[:3])
        return problem(422, "invalid_input", named, request, errors=wrong)

    @app.exception_handler(UnknownAlert)
    async def _unknown(request: Request, error: UnknownAlert) -> JSONResponse:
        return problem(
            404, "unknown", f"no such {str(error).split()[0]} within your reach", request
        )

    @app.exception_handler(NotAllowed)
    async def _not_allowed(request: Request, error: NotAllowed) -> JSONResponse:
        return problem(409, "not_allowed", str(error), request)

    @app.exception_handler(StaleVersion)
    async def _stale(request: Request, error: StaleVersion) -> JSONResponse:
        return problem(412, "stale", f"{error}; read it again and decide again", request)

    @app.exception_handler(InsufficientPrivilege)
    async def _walled(request: Request, error: Exception) -> JSONResponse:
        # The API's own filter should have refused it: the second wall did.
        log.error("walled", path=request.url.path, error=str(error).strip()[:200])
        return problem(403, "reach", "not within your reach", request)

    async def _away(request: Request, error: Exception) -> JSONResponse:
        log.warning("database_away", error=str(error).strip()[:200])
        return problem(
            503, "database_away", "the database does not answer; nothing was changed", request
        )

    for kind in Unavailable:
        app.add_exception_handler(kind, _away)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        log.error("bug", path=request.url.path, error=repr(error)[:300])
        return problem(500, "bug", "something is wrong with us; it has been logged", request)
