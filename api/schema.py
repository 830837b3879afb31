"""The OpenAPI document beyond what the routes say: actions, roles, how to log in, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.access import RequireAction
from api.problems import MEDIA_TYPE
from domain.access import ALLOWED, NEEDS_SECOND_FACTOR

_REFUSALS = {
    "400": "The body cannot be read.",
    "401": "Nobody is logged in.",
    "403": "Not allowed: the role, the key, the CSRF token or a second factor is missing.",
    "404": "Not there, or not within your reach: both look the same.",
    "409": "Not possible in this state.",
    "411": "A body must say how long it is.",
    "412": "Changed since it was read.",
    "413": "Too large.",
    "422": "The input does not fit; `detail` says where.",
    "429": "Too many requests; `retry_after_s` says how long to wait.",
    "503": "Something is away; nothing was changed.",
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
}


def guards_of(route: APIRoute) -> list[RequireAction]:
    """Return the guards that stand before a route."""

    def walk(dependant: Dependant) -> Iterator[RequireAction]:
        if isinstance(dependant.call, RequireAction):
            yield dependant.call
        for dependency in dependant.dependencies:
            yield from walk(dependency)

    return list(walk(route.dependant))


def api_routes(app: FastAPI) -> list[APIRoute]:
    """Return every route of the document."""
    routers: list[APIRouter] = app.state.routers
    return [
        route
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
    ]


def install(app: FastAPI) -> None:
    """Add refusals, security and the action to each operation of the document."""
    made: dict[str, Any] = {}
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if made:
            return made
        document = plain()
        parts = document.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = _PROBLEM
        parts["securitySchemes"] = {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "a session's token, or a key that begins with anju_",
            }
        }
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for route in api_routes(app):
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                for status, text in _REFUSALS.items():
                    operation["responses"][status] = {"description": text, "content": content}
                guards = guards_of(route)
                if guards:
                    action = guards[0].action
                    operation["security"] = [{"bearer": []}]
                    operation["x-anju-action"] = action
                    operation["x-anju-roles"] = sorted(ALLOWED[action])
                    operation["x-anju-second-factor"] = action in NEEDS_SECOND_FACTOR
        made.update(document)
        return made

    app.openapi = openapi  # type: ignore[method-assign]
