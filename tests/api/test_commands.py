"""Commands through the API: who may give which, to what is within reach, under an audit id."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import commands, provision
from domain.access import COMMANDS_OF, Role
from domain.wire import CommandKind
from tests.api.conftest import bearer

VALVE = {"command": "valve", "to": "close", "reason": "a leak under the sink"}
DOOR = {"command": "door", "reason": "an ambulance is at the door"}


def test_every_role_gives_what_it_may(site: dict[str, Any], client: TestClient) -> None:
    for role in Role:
        who = bearer(client, site, str(role))
        for kind, device, body in (("valve", "wm-1", VALVE), ("door", "door-1", DOOR)):
            answer = client.post(
                f"/api/v1/estates/es/devices/{device}/commands", json=body, headers=who
            )
            expected = 202 if CommandKind(kind) in COMMANDS_OF.get(role, frozenset()) else 403
            assert answer.status_code == expected, (role, kind, answer.text)


def test_it_is_on_record_who_gave_it_and_why(site: dict[str, Any], client: TestClient) -> None:
    manager, other = bearer(client, site, "property_manager"), bearer(client, site, "other")
    given = client.post(
        "/api/v1/estates/es/devices/wm-1/commands", json=VALVE, headers=manager
    ).json()
    found = client.get(given["href"], headers=manager).json()
    assert (
        found["device"],
        found["kind"],
        found["argument"],
        found["issued_by"],
        found["reason"],
        found["result"],
    ) == (
        "wm-1",
        "valve",
        {"to": "close"},
        "property_manager",
        "a leak under the sink",
        None,
    )
    assert [
        row["code"] for row in client.get("/api/v1/commands", headers=manager).json()["items"]
    ] == [given["id"]]
    assert client.get(given["href"], headers=other).status_code == 404
    assert client.get("/api/v1/commands", headers=other).json()["items"] == []
    assert client.get(given["href"]).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("es/devices/nobody", VALVE, 404),
        ("other/devices/wm-1", VALVE, 404),
        ("es/devices/wm-1", DOOR, 422),
        ("es/devices/wm-1", {**VALVE, "reason": "x"}, 422),
        ("es/devices/wm-1", {**VALVE, "to": "half"}, 422),
        ("es/devices/wm-1", {**VALVE, "expires_in_s": 999_999}, 422),
        ("es/devices/door-1", {**DOOR, "to": "close"}, 422),
        ("es/devices/wm-1", {**VALVE, "command": "credentials"}, 422),
    ],
)
def test_what_makes_no_sense_is_a_problem(
    site: dict[str, Any], client: TestClient, path: str, body: dict[str, Any], status: int
) -> None:
    who = bearer(client, site, "property_manager")
    answer = client.post(f"/api/v1/estates/{path}/commands", json=body, headers=who)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_claim_that_is_none_is_refused(site: dict[str, Any], client: TestClient) -> None:
    refused = client.post(
        "/api/v1/provision/claim", json={"code": "es.gw.nothing", "request": "x" * 200}
    )
    assert refused.status_code == 403
    assert commands.router.prefix == "/api/v1" and provision.router.prefix == "/api/v1/provision"


def test_gateways_tell_how_they_are(site: dict[str, Any], client: TestClient) -> None:
    who = bearer(client, site, "device_engineer")
    rows = client.get("/api/v1/estates/es/gateways", headers=who).json()["items"]
    assert [row["code"] for row in rows] == ["gw", "gw-2"]
    assert set(rows[0]) >= {
        "online",
        "clock_offset_ms",
        "outbox",
        "lost",
        "open_gaps",
        "certificate_until",
        "devices",
    }
    assert client.get("/api/v1/estates/other/gateways", headers=who).status_code == 404
    devices = client.get("/api/v1/estates/es/gateways/gw/devices", headers=who).json()["items"]
    assert "wm-1" in [row["device"] for row in devices] and set(devices[0]) == {
        "device",
        "kind",
        "profile",
        "heard_at",
    }
    assert client.get("/api/v1/estates/other/gateways/far/devices", headers=who).status_code == 404
