"""Errors as RFC 9457 problems: what is wrong, where, and how to mend it; never a stack, a query or
an inner id.
"""

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


def _allowed_methods(app: FastAPI, path: str) -> list[str]:
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


def _describe_fault(fault: dict[str, Any]) -> dict[str, str]:
    """Return where an input does not fit, and why, without the input itself."""
    return {"where": ".".join(str(part) for part in fault["loc"]), "problem": fault["msg"]}


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    app.add_exception_handler(StarletteHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid_input)
    app.add_exception_handler(UnknownAlert, _unknown_alert)
    app.add_exception_handler(NotAllowed, _not_allowed)
    app.add_exception_handler(StaleVersion, _stale_version)
    app.add_exception_handler(InsufficientPrivilege, _insufficient_privilege)
    for error_type in Unavailable:
        app.add_exception_handler(error_type, _database_away)
    app.add_exception_handler(Exception, _bug)


# Starlette types the error of every handler as `Exception`.


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    if isinstance(error, Problem):
        return problem(error.status_code, error.code, str(error.detail), request, **error.extra)
    code = _TITLES.get(error.status_code, "error").lower().replace(" ", "_")
    answer = problem(error.status_code, code, str(error.detail), request)
    if error.status_code == 405:
        answer.headers["Allow"] = ", ".join(_allowed_methods(request.app, request.url.path))
    return answer


async def _invalid_input(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [_describe_fault(fault) for fault in error.errors()]
    detail = "; ".join(f"{fault['where']}: {fault['problem']}" for fault in faults[:3])
    return problem(422, "invalid_input", detail, request, errors=faults)


async def _unknown_alert(request: Request, error: Exception) -> JSONResponse:
    return problem(404, "unknown", f"no such {str(error).split()[0]} within your reach", request)


async def _not_allowed(request: Request, error: Exception) -> JSONResponse:
    return problem(409, "not_allowed", str(error), request)


async def _stale_version(request: Request, error: Exception) -> JSONResponse:
    return problem(412, "stale", f"{error}; read it again and decide again", request)


async def _insufficient_privilege(request: Request, error: Exception) -> JSONResponse:
    # The API's own filter should have refused it; row-level security did.
    log.error("insufficient_privilege", path=request.url.path, error=str(error).strip()[:200])
    return problem(403, "reach", "not within your reach", request)


async def _database_away(request: Request, error: Exception) -> JSONResponse:
    log.warning("database_away", error=str(error).strip()[:200])
    return problem(
        503, "database_away", "the database does not answer; nothing was changed", request
    )


async def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("bug", path=request.url.path, error=repr(error)[:300])
    return problem(500, "bug", "something is wrong with us; it has been logged", request)
