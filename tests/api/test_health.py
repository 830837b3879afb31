"""Health: alive, ready and figures, without a log-in and without a word about any estate."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from api.health import AliveAnswer, ReadyAnswer

pytestmark = pytest.mark.real


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").json() == AliveAnswer(status="ok").model_dump()
    body = client.get("/readyz").json()
    assert ReadyAnswer(**body).status == "ok"
    assert "away" in body["redis"] and set(body) == {"status", "redis"}, (
        "no figure of anybody's estate without a log-in"
    )
    assert b"python_info" in client.get("/metrics").content
