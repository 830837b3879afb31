"""Browsers subscribe with a key of the site's, to addresses outside.

What became of notices is seen by those who keep them.
"""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import notices
from domain.access import Role
from notices.rules import NoticeRules
from store.database.connection import connect
from store.notices import push_subscriptions
from tests.api.conftest import bearer
from tests.api.test_api import is_problem

pytestmark = pytest.mark.real
PUSH = {
    "kind": "push",
    "role": "guard",
    "private_key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
    "contact": "mailto:a@b.cn",
    "allow_private": True,
}
KEYS = {"p256dh": "BGtlbGxv", "auth": "MDEyMw"}


def test_a_browser_subscribes_and_is_told_within_its_reach(
    client: TestClient, site: dict[str, Any]
) -> None:
    guard = bearer(client, site, "guard")
    body = {"endpoint": "https://127.0.0.1:9/push/1", "keys": KEYS, "expirationTime": None}
    assert client.get("/api/v1/push/key", headers=guard).json() == {"key": None}
    is_problem(client.post("/api/v1/push/subscriptions", headers=guard, json=body), 404, "no_push")
    site["app"].state.notices = NoticeRules.model_validate({"channels": {"browsers": PUSH}})
    assert len(client.get("/api/v1/push/key", headers=guard).json()["key"]) == 87
    assert client.post("/api/v1/push/subscriptions", headers=guard, json=body).status_code == 204
    with connect(site["dsn"]) as connection:
        estates = {
            row["code"]: row["id"] for row in connection.execute("SELECT code, id FROM estates")
        }
        (kept,) = push_subscriptions.list_browsers(connection, Role.GUARD, estates["es"])
        assert (
            "push/1" in kept
            and push_subscriptions.list_browsers(connection, Role.GUARD, estates["other"]) == []
        )
        assert push_subscriptions.list_browsers(connection, Role.COMPLIANCE, estates["es"]) == []
    for n in range(2, 14):
        client.post(
            "/api/v1/push/subscriptions",
            headers=guard,
            json={**body, "endpoint": f"https://127.0.0.1:9/push/{n}"},
        )
    with connect(site["dsn"]) as connection:
        assert (
            len(push_subscriptions.list_browsers(connection, Role.GUARD, estates["es"]))
            == push_subscriptions.MAX_BROWSERS
        )
    gone = client.request(
        "DELETE",
        "/api/v1/push/subscriptions",
        headers=guard,
        json={"endpoint": "https://127.0.0.1:9/push/13"},
    )
    assert gone.status_code == 204
    site["app"].state.notices = NoticeRules.model_validate(
        {"channels": {"browsers": {**PUSH, "allow_private": False}}}
    )
    is_problem(
        client.post("/api/v1/push/subscriptions", headers=guard, json=body), 422, "bad_endpoint"
    )
    assert (
        client.get("/worker.js").headers["content-type"].startswith("text/javascript")
        and notices.router
    )


def test_channels_are_seen_by_those_who_keep_them(client: TestClient, site: dict[str, Any]) -> None:
    is_problem(client.get("/api/v1/channels", headers=bearer(client, site, "guard")), 403, "role")
    assert client.get("/api/v1/channels", headers=bearer(client, site, "administrator")).json() == {
        "items": []
    }
