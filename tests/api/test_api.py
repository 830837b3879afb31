"""The API over a real database.

Who may see what, errors as problems, two people at once, nothing open by mistake.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import (
    alerts,
    app,
    charts,
    estates,
    health,
    hub,
    pages,
    passwords,
    problems,
    serve,
    session,
)
from domain.access import ALLOWED, Action, Role
from store.alerts.evidence import EvidenceDay
from tests.api.conftest import bearer
from tests.store.alerts.rows import make_alert

pytestmark = pytest.mark.real
#: Without a log-in by nature; `tests/api/test_scope.py` has the reasons.
OPEN = {"/healthz", "/readyz", "/oidc/start", "/oidc/callback", "/api/v1/exports/{export_id}/file"}


def is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    body = answer.json()
    assert body["code"] == code and body["status"] == status and body["detail"] and body["title"]
    assert "Traceback" not in answer.text and "SELECT" not in answer.text


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    body = client.get("/readyz").json()
    assert "away" in body["redis"] and set(body) == {"status", "redis"}, (
        "no figure of anybody's estate without a log-in"
    )
    assert b"python_info" in client.get("/metrics").content
    assert health.router and hub.Hub and serve.serve and app.MAX_BODY


def test_a_wrong_log_in_tells_nothing(client: TestClient, site: dict[str, Any]) -> None:
    for name in ("compliance", "nobody", "a\x00b", "x" * 60):
        is_problem(
            client.post("/api/v1/session", json={"name": name, "password": "wrong"}),
            401,
            "wrong_log_in",
        )
    is_problem(client.post("/api/v1/session", json={"name": "compliance"}), 422, "invalid_input")
    is_problem(
        client.post("/api/v1/session", json={"name": "compliance", "password": "x", "admin": True}),
        422,
        "invalid_input",
    )
    is_problem(
        client.get("/api/v1/estates", headers={"Authorization": "Bearer nonsense"}), 401, "log_in"
    )


def test_too_many_wrong_passwords_lock(client: TestClient, site: dict[str, Any]) -> None:
    for _ in range(5):
        client.post("/api/v1/session", json={"name": "guard", "password": "wrong"})
    is_problem(
        client.post("/api/v1/session", json={"name": "guard", "password": site["users"]["guard"]}),
        429,
        "locked",
    )


def test_a_first_password_must_be_changed(client: TestClient, site: dict[str, Any]) -> None:
    who = bearer(client, site, "fresh")
    is_problem(client.get("/api/v1/estates", headers=who), 403, "change_password")
    old = site["users"]["fresh"]
    is_problem(
        client.post(
            "/api/v1/session/password",
            headers=who,
            json={"password": "no", "new_password": "a new password"},
        ),
        403,
        "wrong_password",
    )
    is_problem(
        client.post(
            "/api/v1/session/password", headers=who, json={"password": old, "new_password": "short"}
        ),
        422,
        "invalid_input",
    )
    assert (
        client.post(
            "/api/v1/session/password",
            headers=who,
            json={"password": old, "new_password": "a new password"},
        ).status_code
        == 204
    )
    is_problem(client.get("/api/v1/estates", headers=who), 401, "log_in")
    assert passwords.verify(None, "x") is False and passwords.verify("no hash", "x") is False


def test_every_route_asks_who_it_is(client: TestClient, site: dict[str, Any]) -> None:
    checked = 0
    for route, methods in site["app"].openapi()["paths"].items():
        path = route.replace("{alert_id}", "1").replace("{estate}", "es").replace("{unit}", "u-1")
        for method in methods:
            if route in OPEN or (method, path) == ("post", "/api/v1/session"):
                continue
            answer = client.request(method, path, json={"text": "x"} if method == "post" else None)
            assert answer.status_code in (401, 422), f"{method} {path}: {answer.status_code}"
            checked += 1
    assert checked >= 12 and session.COOKIE


@pytest.mark.parametrize(
    "path", ["/api/v1/estates/other", "/api/v1/estates/none", "/api/v1/estates/other/units/far-1"]
)
def test_what_is_absent_and_what_is_not_yours_look_alike(
    client: TestClient, site: dict[str, Any], path: str
) -> None:
    who = bearer(client, site, "compliance")
    end = "/days" if path.endswith("far-1") else "/units"
    answer = client.get(path + end, headers=who)
    is_problem(answer, 404, "unknown_unit" if end == "/days" else "unknown_estate")


def test_nobody_sees_another_estate(client: TestClient, site: dict[str, Any]) -> None:
    mine, far = bearer(client, site, "compliance"), bearer(client, site, "other")
    for path in (
        "/api/v1/estates",
        "/api/v1/alerts",
        "/api/v1/leads",
        "/api/v1/estates/es/units",
        "/api/v1/estates/es/units/u-1",
    ):
        text = client.get(path, headers=mine).text
        assert "far-1" not in text and '"other"' not in text
        assert "u-1" not in client.get(path, headers=far).text.replace(
            "\"no unit 'u-1'", ""
        ).replace("units/u-1", "").replace("unit 'u-1'", "")
    is_problem(client.get(f"/api/v1/alerts/{site['alerts']['far']}", headers=mine), 404, "unknown")
    is_problem(
        client.post(f"/api/v1/alerts/{site['alerts']['far']}/acknowledge", headers=mine, json={}),
        404,
        "unknown",
    )


def test_roles_see_what_is_theirs(client: TestClient, site: dict[str, Any]) -> None:
    seen = {}
    for role in Role:
        who = bearer(client, site, role)
        answer = client.get("/api/v1/alerts", headers=who)
        assert answer.status_code == (200 if role in ALLOWED[Action.SEE_ALERTS] else 403)
        seen[role] = {item["alert_class"] for item in answer.json().get("items", [])}
        leads = client.get("/api/v1/leads", headers=who).status_code
        days = client.get("/api/v1/estates/es/units/u-1/days", headers=who).status_code
        assert leads == (200 if "compliance" in seen[role] else 403)
        assert days == (200 if role in ALLOWED[Action.SEE_UNITS] else 403)
    assert seen[Role.GUARD] == {"life_safety"} and seen[Role.DEVICE_ENGINEER] == set()
    assert seen[Role.COMPLIANCE] == {"life_safety", "compliance"}


def test_units_readings_and_facts(client: TestClient, site: dict[str, Any]) -> None:
    who = bearer(client, site, "compliance")
    body = client.get("/api/v1/estates/es/units?limit=1", headers=who).json()
    assert [u["code"] for u in body["items"]] == ["u-1"] and body["next"] == "u-1"
    assert client.get("/api/v1/estates/es/units?after=u-1", headers=who).json()["items"] == []
    days = client.get("/api/v1/estates/es/units/u-1/days", headers=who).json()["items"]
    assert len(days) == 31 and days[0]["energy_kwh"] is None and "unit_id" not in days[0]
    url = "/api/v1/estates/es/units/u-1/readings?point=water_m3"
    assert client.get(url, headers=who).json() == {
        "point": "water_m3",
        "uom": "m³",
        "items": [],
        "next_since": None,
    }
    is_problem(client.get(url + "&since=2020-01-01T00:00:00Z", headers=who), 422, "bad_span")
    is_problem(client.get(url + "&since=2020-01-01T00:00:00", headers=who), 422, "no_offset")
    is_problem(
        client.get("/api/v1/estates/es/units/u-1/readings?point=DROP", headers=who),
        422,
        "invalid_input",
    )
    is_problem(client.get("/api/v1/estates/es/units?limit=0", headers=who), 422, "invalid_input")
    is_problem(
        client.get(
            "/api/v1/estates/es/units/u-1/days?first=2026-01-02&last=2026-01-01", headers=who
        ),
        422,
        "bad_span",
    )
    assert client.get("/api/v1/estates/es/units/u-1", headers=who).json()["abstentions"] == []


def test_an_alert_with_its_evidence_and_record(client: TestClient, site: dict[str, Any]) -> None:
    who = bearer(client, site, "compliance")
    answer = client.get(f"/api/v1/alerts/{site['alerts']['lead']}?lang=en", headers=who)
    body = answer.json()
    assert (
        answer.headers["etag"] == '"1"'
        and body["title"] == "Possibly unoccupied"
        and "60 days" in body["sentence"]
    )
    assert len(body["days"]) > 30 and [h["step"] for h in body["history"]] == ["raised"]
    assert (
        client.get("/api/v1/leads?visits=1", headers=who)
        .json()["items"][0]["sentence"]
        .startswith("自")
    )
    is_problem(
        client.get("/api/v1/alerts/99999999999999999999999", headers=who), 422, "invalid_input"
    )
    is_problem(client.get("/api/v1/alerts/999999999999999999", headers=who), 404, "unknown")


def test_of_two_people_at_once_one_is_told(client: TestClient, site: dict[str, Any]) -> None:
    who = bearer(client, site, "guard")
    url = f"/api/v1/alerts/{site['alerts']['fire']}/acknowledge"
    is_problem(client.post(url, headers={**who, "If-Match": '"7"'}, json={}), 412, "stale")
    is_problem(client.post(url, headers={**who, "If-Match": "*"}, json={}), 412, "stale")
    with ThreadPoolExecutor(6) as pool:
        codes = sorted(
            pool.map(
                lambda _: client.post(url, headers={**who, "If-Match": '"1"'}, json={}).status_code,
                range(6),
            )
        )
    assert codes[0] == 200 and set(codes[1:]) <= {409, 412}
    is_problem(client.post(url, headers=who, json={}), 409, "not_allowed")
    assert (
        client.post(
            f"/api/v1/alerts/{site['alerts']['fire']}/comments",
            headers=who,
            json={"text": "false alarm"},
        ).status_code
        == 201
    )
    is_problem(client.post(url, headers=bearer(client, site, "auditor"), json={}), 403, "role")


def test_a_cookie_needs_its_csrf_token(client: TestClient, site: dict[str, Any]) -> None:
    csrf = client.post(
        "/api/v1/session", json={"name": "guard", "password": site["users"]["guard"]}
    ).json()["csrf"]
    url = f"/api/v1/alerts/{site['alerts']['fire']}/comments"
    is_problem(client.post(url, json={"text": "x"}), 403, "csrf")
    assert client.post(url, json={"text": "x"}, headers={"X-CSRF-Token": csrf}).status_code == 201
    assert (
        client.request("DELETE", "/api/v1/session", headers={"X-CSRF-Token": csrf}).status_code
        == 204
    )
    is_problem(client.get("/api/v1/session"), 401, "log_in")


def test_limits_and_headers(client: TestClient) -> None:
    is_problem(client.post("/api/v1/session", content=b"x" * (app.MAX_BODY + 1)), 413, "too_large")
    is_problem(client.post("/api/v1/session", content=iter([b"{}"])), 411, "no_length")
    is_problem(client.get("/nowhere"), 404, "not_found")
    answer = client.get("/login")
    assert (
        "default-src 'self'" in answer.headers["content-security-policy"]
        and answer.headers["x-content-type-options"] == "nosniff"
    )


def test_a_database_that_is_away_is_a_503_and_a_bug_is_a_500(
    client: TestClient, site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    who = bearer(client, site, "compliance")

    def away(*_: object) -> None:
        raise psycopg.OperationalError("server closed the connection")

    monkeypatch.setattr("store.register.places.list_estates", away)
    is_problem(client.get("/api/v1/estates", headers=who), 503, "database_away")
    monkeypatch.setattr("store.register.places.list_estates", lambda *_: 1 / 0)
    is_problem(client.get("/api/v1/estates", headers=who), 500, "bug")


def test_openapi_names_every_operation(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    operations = [op for path in document["paths"].values() for op in path.values()]
    names = [op["operationId"] for op in operations]
    assert len(names) == len(set(names)) >= 14 and all(op.get("description") for op in operations)
    assert estates.MAX_FACT_DAYS and alerts.MAX_BULK


def test_the_stream_replays_from_the_last_event_and_keeps_to_its_scope(
    client: TestClient, site: dict[str, Any]
) -> None:
    from api.stream import _stream_events

    class Request:
        app = site["app"]

        async def is_disconnected(self) -> bool:
            return False

    from store.access.sessions import find_session
    from store.database.connection import connect

    who = bearer(client, site, "guard")
    with connect(site["dsn"]) as connection:
        found = find_session(connection, who["Authorization"].removeprefix("Bearer "))
    assert found is not None

    async def first(count: int, start: int) -> list[str]:
        stream = _stream_events(Request(), found.principal, start)  # type: ignore[arg-type]
        got = [await anext(stream) for _ in range(count)]
        await stream.aclose()  # type: ignore[attr-defined]
        return got

    import asyncio

    hello, change = asyncio.run(first(2, 0))
    assert "event: hello" in hello and f'"alert": {site["alerts"]["fire"]}' in change
    assert str(site["alerts"]["lead"]) not in change.split("data:")[1].split(",")[0]


def test_pages_without_a_script_hold_what_devices_say_as_text(
    client: TestClient, site: dict[str, Any]
) -> None:
    assert client.get("/", follow_redirects=False).headers["location"] == "/login"
    wrong = client.post("/login", data={"name": "compliance", "password": "x"})
    assert wrong.status_code == 401 and "密码错误" in wrong.text
    is_problem(
        client.post(
            "/login", data={"name": "a", "password": "b"}, headers={"Origin": "http://evil.example"}
        ),
        403,
        "origin",
    )
    client.post("/login", data={"name": "compliance", "password": site["users"]["compliance"]})
    page = client.get("/").text
    assert (
        "疑似空置" in page
        and "&lt;img src=x" in page
        and "<img src=x" not in page
        and "<script>window" not in page
    )
    assert page.count("<svg") >= 1 and "far-1" not in page
    assert "Possibly unoccupied" in client.get("/?lang=en").text
    assert client.get(f"/alerts/{site['alerts']['far']}/card").status_code == 404
    client.get("/logout")
    is_problem(client.get(f"/alerts/{site['alerts']['lead']}/card"), 401, "log_in")
    fresh = {"name": "fresh", "password": site["users"]["fresh"]}
    assert "至少12位" in client.post("/login?lang=zh", data=fresh).text
    assert (
        client.post(
            "/login", data={**fresh, "new_password": "a much longer one"}, follow_redirects=False
        ).status_code
        == 303
    )
    assert pages.CARDS


def test_a_chart_leaves_a_gap_where_nothing_is_known() -> None:
    from datetime import UTC, date, datetime

    day = EvidenceDay(
        day=date(2026, 1, 1),
        water_l=10.0,
        water_cover=1.0,
        energy_kwh=None,
        energy_cover=0.0,
        entries=None,
        faults=(),
    )
    alert = make_alert(since_at=datetime(2026, 1, 2, tzinfo=UTC), until_at=None)
    days = [day, replace(day, day=date(2026, 1, 4))]
    chart = charts.make_evidence_chart(alert, days, {"water_l": "water", "energy_kwh": "energy"})
    assert (
        chart is not None
        and [b.known for b in chart.strips[0].bars] == [True, False, False, True]
        and len(chart.strips) == 1
    )
    assert charts.make_evidence_chart(alert, [], {}) is None
