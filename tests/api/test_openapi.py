"""The API's document: every answer is a described model, and the API holds what the document
promises.

Schemathesis sends what fits and what does not, over a real socket, as several roles.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_origin

import pytest
import uvicorn
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from analytics.policy import load_policy
from anju.processes import answers, free_port
from api import schema
from api.app import SiteSettings, create_app
from crypto.sealed_values import Scheme
from domain.access import Role
from privacy.keyring import KeyFile, save_keyring, with_new_key
from store.database.connection import connect, open_pool
from store.live.bus import LiveBus
from tests.api.world import build, token
from tests.conftest import ROOT, SEED

#: A stream that does not end, and the ways to end the log-in that asks.
NOT_ASKED = ["streamAlerts", "logOut", "changePassword"]


def document_routes() -> list[APIRoute]:
    """List the routes of the document; no database is asked for that."""
    pool: Any = SimpleNamespace(max_size=1)
    app = create_app(pool, LiveBus(None), load_policy())
    return schema.api_routes(app)


def answers_json(route: APIRoute) -> bool:
    """Tell whether a route has a body of JSON: not a 204, a stream, a file, a page or a
    redirection.
    """
    response_class = getattr(route.response_class, "value", route.response_class)
    return route.status_code != 204 and issubclass(response_class, JSONResponse)


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, and those of their fields."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part
            for field in part.model_fields.values():
                yield from models_of(field.annotation)
        elif part is not annotation:
            yield from models_of(part)


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the example of a model: its own, or one that is put together from its fields'."""
    extra = model.model_config.get("json_schema_extra")
    if isinstance(extra, dict):
        examples: Any = extra["examples"]
        return dict(examples[0])
    return {
        field.alias or name: field_example(f"{model.__name__}.{name}", field)
        for name, field in model.model_fields.items()
    }


def field_example(name: str, field: FieldInfo) -> Any:
    """Return the example of a field: its own, or that of the model which it holds."""
    if field.examples:
        return field.examples[0]
    part = next(models_of(field.annotation), None)
    assert part is not None, f"{name}: give the field, or its model, an example"
    value = example_of(part)
    return {list: [value], dict: {"key": value}}.get(get_origin(field.annotation), value)  # type: ignore[arg-type]


ROUTES = document_routes()
JSON_ROUTES = [
    pytest.param(route, id=route.operation_id) for route in ROUTES if answers_json(route)
]


@pytest.mark.parametrize("route", JSON_ROUTES)
def test_an_answer_is_a_model_with_described_fields_and_an_example(route: APIRoute) -> None:
    model = route.response_model
    assert isinstance(model, type) and issubclass(model, BaseModel), (
        f"{route.operation_id}: return a model of pydantic (see api/answers.py)"
    )
    for part in models_of(model):
        assert part.__doc__, f"{part.__name__} has no docstring"
        silent = [name for name, field in part.model_fields.items() if not field.description]
        assert not silent, f"{part.__name__}: describe {silent}, with the unit of a quantity"
    values = example_of(model)
    shown = model.model_validate(values).model_dump(mode="json", by_alias=True)
    assert set(values) <= set(shown), model.__name__


def test_most_routes_answer_json() -> None:
    """The law above would be content with a product that answers files only."""
    assert len(JSON_ROUTES) > 50
    assert {route.operation_id for route in ROUTES if not answers_json(route)} >= {
        "logOut",
        "exportAudit",
        "fetchExport",
        "startSignIn",
    }


@pytest.fixture
def served(dsn: str, tmp_path: Path) -> Iterator[str]:
    ring = with_new_key(None, Scheme.AES_256_GCM)
    save_keyring(tmp_path / "keys.toml", ring)
    with connect(dsn) as connection:
        build(connection, ring)
    pool, port = open_pool(dsn, size=8), free_port()
    app = create_app(
        pool,
        LiveBus(None),
        load_policy(),
        SiteSettings(keys=KeyFile(tmp_path / "keys.toml"), slack=1_000_000),
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not answers(port):
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    pool.close()


@pytest.mark.real
@pytest.mark.long
@pytest.mark.parametrize(
    "role", [Role.ADMINISTRATOR, Role.COMPLIANCE, Role.PRIVACY_OFFICER, None], ids=str
)
def test_it_holds_what_it_promises(served: str, role: Role | None, tmp_path: Path) -> None:
    """All checks, no failure: statuses, bodies and headers as documented, no server error, nothing
    without a log-in.
    """
    command: list[Any] = [
        Path(sys.executable).parent / "schemathesis",
        "--config-file",
        ROOT / "tests" / "api" / "schemathesis.toml",
        "run",
        f"{served}/api/v1/openapi.json",
        "--checks",
        "all",
        "--phases",
        "examples,coverage,fuzzing",
        "-n",
        "15",
        "--seed",
        str(SEED),
        "--continue-on-failure",
        "--generation-database",
        "none",
        "--workers",
        "1",
    ]
    command += [part for name in NOT_ASKED for part in ("--exclude-operation-id", name)]
    if role is not None:
        command += ["-H", f"Authorization: Bearer {token(role, 'all')}"]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=280,
        check=False,
    )
    cases = re.search(r"(\d+) generated", done.stdout)
    print(role, cases and cases[0])
    assert done.returncode == 0, done.stdout[-6000:]
    assert cases is not None and int(cases[1]) > 1000
