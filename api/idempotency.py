"""A request that is sent twice is done once: with an Idempotency-Key the answer is kept, in the transaction of what was done.

The same key with the same request gets the same answer for a day; with another request it is refused. Two at the same moment wait for
each other at the key's row (draft-ietf-httpapi-idempotency-key-header-07).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi import Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.problems import Problem
from store.access import idempotency

_KEY = re.compile(r"[\x21-\x7e]{8,200}")
HEADER = "idempotency-key"


class IdempotentRoute(APIRoute):
    """A route whose POST honours an Idempotency-Key, where somebody is known and the database is at hand."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        names = set(inspect.signature(endpoint).parameters)
        if "POST" in (more.get("methods") or ()) and {"who", "connection"} <= names:
            endpoint = _once(endpoint, more.get("status_code") or 200)
        super().__init__(path, endpoint, **more)


def _once(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    signature = inspect.signature(endpoint)
    # Annotations are text in our modules, and FastAPI reads them against the wrapped function's own names.
    hints = inspect.get_annotations(endpoint, eval_str=True)
    # FastAPI hands a request to one parameter only: the endpoint's own, where it has one.
    own = next((name for name, hint in hints.items() if hint is Request), None)

    @wraps(endpoint)
    def run(**values: Any) -> Any:
        request: Request = values[own] if own else values.pop("once_request")
        key = request.headers.get(HEADER)
        if key is None:
            return endpoint(**values)
        if not _KEY.fullmatch(key):
            raise Problem(422, "bad_key", "Idempotency-Key: 8 to 200 visible ASCII characters")
        connection, user_id = values["connection"], values["who"].user_id
        held = idempotency.claim(connection, user_id, key, _digest(request, values))
        if held is None:
            raise Problem(
                422,
                "other_request",
                "this Idempotency-Key was used for another request; take a new one",
            )
        if held.status is not None:
            # Nothing is done, so nothing is put on record.
            request.state.on_record = True
            return JSONResponse(held.answer, held.status, headers={"Idempotent-Replayed": "true"})
        answer = endpoint(**values)
        idempotency.keep(connection, user_id, key, status, jsonable_encoder(answer))
        return answer

    parameters = [
        p.replace(annotation=hints.get(p.name, p.annotation)) for p in signature.parameters.values()
    ]
    if own is None:
        parameters.append(
            inspect.Parameter("once_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        )
    answer = hints.get("return", Any)
    replaced = signature.replace(parameters=parameters, return_annotation=answer)
    run.__signature__ = replaced  # type: ignore[attr-defined]
    return run


def _digest(request: Request, values: dict[str, Any]) -> bytes:
    bodies = {
        name: value.model_dump(mode="json")
        for name, value in values.items()
        if isinstance(value, BaseModel)
    }
    text = json.dumps(
        [request.method, request.url.path, str(request.url.query), bodies], sort_keys=True
    )
    return hashlib.sha256(text.encode()).digest()
