"""Idempotency keys: a request that is sent twice with one Idempotency-Key is carried out once.

The answer is stored in the transaction of the change. The same key with the same request gets the
stored answer for a day; with another request it is refused. Two requests at the same moment wait
for each other at the key's row (draft-ietf-httpapi-idempotency-key-header-07).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from fastapi import Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.context import RequestContext
from api.problems import Problem
from store.access import idempotency

_KEY = re.compile(r"[\x21-\x7e]{8,200}")
HEADER = "idempotency-key"


class IdempotentRoute(APIRoute):
    """A route whose POST honours an Idempotency-Key, where a principal is known."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        is_post = "POST" in (options.get("methods") or ())
        if is_post and "context" in inspect.signature(endpoint).parameters:
            endpoint = _run_once(endpoint, options.get("status_code") or 200)
        super().__init__(path, endpoint, **options)


def _run_once(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    """Wrap an endpoint so that a repeated request gets the stored answer.

    FastAPI reads the signature of the endpoint.
    """

    @wraps(endpoint)
    def run(**arguments: Any) -> Any:
        context: RequestContext = arguments["context"]
        key = context.request.headers.get(HEADER)
        if key is None:
            return endpoint(**arguments)
        if not _KEY.fullmatch(key):
            raise Problem(422, "bad_key", "Idempotency-Key: 8 to 200 visible ASCII characters")
        user_id = context.principal.user_id
        digest = _request_digest(context.request, arguments)
        stored = idempotency.claim_key(context.connection, user_id, key, digest)
        if stored is None:
            raise Problem(
                422,
                "other_request",
                "this Idempotency-Key was used for another request; take a new one",
            )
        if stored.status is not None:
            # Nothing is done, so nothing is entered in the audit record.
            context.audit.skip()
            replayed = {"Idempotent-Replayed": "true"}
            return JSONResponse(stored.answer, stored.status, headers=replayed)
        answer = endpoint(**arguments)
        idempotency.save_answer(context.connection, user_id, key, status, jsonable_encoder(answer))
        return answer

    return run


def _request_digest(request: Request, arguments: Mapping[str, Any]) -> bytes:
    """Return what tells one request from another: SHA-256 of method, path, query and body."""
    bodies = {
        name: value.model_dump(mode="json")
        for name, value in arguments.items()
        if isinstance(value, BaseModel)
    }
    text = json.dumps(
        [request.method, request.url.path, str(request.url.query), bodies], sort_keys=True
    )
    return hashlib.sha256(text.encode()).digest()
