"""People's steps on alarms over HTTP, folds, figures, windows and welfare.

Who may, what is told, two at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from analytics.policy import load_policy
from analytics.watch import WatchedSubject, observed_alert
from api import alarms, alerts, stream
from domain.alerting import AlertKey, Severity, SubjectKind
from store.alerts import figures, lists
from store.alerts.raising import raise_alert
from store.database.connection import connect
from tests.api.conftest import bearer
from tests.api.test_api import is_problem

pytestmark = pytest.mark.real
POLICY = load_policy()


def many(site: dict[str, Any], count: int, word: str = "forced", times: int = 1) -> list[int]:
    shown = POLICY.for_event("device", word)
    assert shown is not None
    with connect(site["dsn"]) as connection:
        estate = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()["id"]  # type: ignore[index]
        made = []
        for n in range(count):
            now = datetime.now(UTC)
            key = AlertKey(
                detector=f"device:{word}", subject_kind=SubjectKind.DEVICE, subject_id=500 + n
            )
            subject = WatchedSubject(key=key, estate_id=estate, name=f"door-{n}")
            alert = observed_alert(POLICY, shown, subject, now, reasons=(word,), evidence={})
            made += [
                raise_alert(connection, alert, actor="watch", source={}).id for _ in range(times)
            ][:1]
        return made


def test_every_step_and_who_may_take_it(client: TestClient, site: dict[str, Any]) -> None:
    guard, manager, auditor = (
        bearer(client, site, name) for name in ("guard", "property_manager", "auditor")
    )
    (door,) = many(site, 1)
    path = f"/api/v1/alerts/{door}"
    is_problem(client.post(f"{path}/acknowledge", headers=auditor, json={}), 403, "role")
    assert (
        client.post(f"{path}/assign", headers=guard, json={"assignee": "property_manager"}).json()[
            "version"
        ]
        == 2
    )
    is_problem(
        client.post(f"{path}/assign", headers=guard, json={"assignee": "device_engineer"}),
        409,
        "not_allowed",
    )
    is_problem(
        client.post(f"{path}/acknowledge", headers={**guard, "If-Match": '"1"'}, json={}),
        412,
        "stale",
    )
    assert client.post(f"{path}/confirm", headers=guard, json={"note": "seen"}).status_code == 200
    is_problem(client.post(f"{path}/shelve", headers=guard, json={"hours": 2}), 409, "not_allowed")
    is_problem(
        client.post(f"{path}/shelve", headers=guard, json={"hours": 999, "note": "x"}),
        422,
        "invalid_input",
    )
    assert (
        client.post(
            f"{path}/shelve", headers=guard, json={"hours": 2, "note": "lock is changed"}
        ).status_code
        == 200
    )
    assert door not in [
        a["id"] for a in client.get("/api/v1/alerts", headers=guard).json()["items"]
    ]
    held = client.get("/api/v1/alerts?suppressed=true", headers=guard).json()["items"]
    assert [(a["suppression"], a["suppressed_because"]) for a in held] == [
        ("shelved", "lock is changed")
    ]
    (row,) = client.get("/api/v1/suppressions", headers=guard).json()["items"]
    assert (row["kind"], row["made_by"], row["alert"]) == ("shelved", "guard", door)
    assert client.post(f"{path}/restore", headers=guard, json={}).status_code == 200
    is_problem(client.post(f"{path}/restore", headers=guard, json={}), 409, "not_allowed")
    is_problem(
        client.post(f"{path}/out-of-service", headers=guard, json={"note": "x"}), 409, "not_allowed"
    )
    assert (
        client.post(f"{path}/out-of-service", headers=manager, json={"note": "broken"}).status_code
        == 200
    )
    is_problem(client.post(f"{path}/dismiss", headers=manager, json={}), 409, "not_allowed")
    assert (
        client.post(
            f"{path}/dismiss", headers=manager, json={"note": "door was never forced"}
        ).status_code
        == 200
    )
    steps = [h["step"] for h in client.get(path, headers=manager).json()["history"]]
    assert steps == [
        "raised",
        "assigned",
        "confirmed",
        "shelved",
        "restored",
        "out_of_service",
        "dismissed",
    ]
    is_problem(
        client.post("/api/v1/alerts/1/explode", headers=guard, json={}), 422, "invalid_input"
    )
    assert {s.value for s in alerts.StepName} == {
        "acknowledge",
        "confirm",
        "dismiss",
        "shelve",
        "out-of-service",
        "restore",
        "assign",
    }


def test_an_ignore_outlives_the_alert_it_was_said_of(
    client: TestClient, site: dict[str, Any]
) -> None:
    manager = bearer(client, site, "property_manager")
    (door,) = many(site, 1)
    client.post(f"/api/v1/alerts/{door}/out-of-service", headers=manager, json={"note": "broken"})
    client.post(f"/api/v1/alerts/{door}/dismiss", headers=manager, json={"note": "broken"})
    (again,) = many(site, 1)
    assert again != door
    row = client.get(f"/api/v1/alerts/{again}", headers=manager).json()
    assert (row["suppression"], row["suppressed_because"]) == ("out_of_service", "broken")


def test_life_safety_is_held_back_by_no_operator(client: TestClient, site: dict[str, Any]) -> None:
    fire = f"/api/v1/alerts/{site['alerts']['fire']}"
    for name in ("guard", "property_manager", "compliance"):
        who = bearer(client, site, name)
        is_problem(
            client.post(f"{fire}/shelve", headers=who, json={"note": "noise"}), 409, "not_allowed"
        )
    admin = bearer(client, site, "administrator")
    assert (
        client.post(
            f"{fire}/shelve", headers=admin, json={"note": "detector is being replaced"}
        ).status_code
        == 200
    )


def test_many_at_once_fold_and_are_acknowledged_at_once(
    client: TestClient, site: dict[str, Any]
) -> None:
    guard = bearer(client, site, "guard")
    ids = many(site, 40)
    (fold,) = client.get("/api/v1/alerts/folds", headers=guard).json()["items"]
    assert (fold["alerts"], fold["unacknowledged"], fold["detector"], fold["title"]) == (
        40,
        40,
        "device:forced",
        "门被强行打开",
    )
    rest = client.get("/api/v1/alerts?fold=true", headers=guard).json()["items"]
    assert [a["detector"] for a in rest] == ["hazard:fire"]
    where = {"estate": "es", "detector": "device:forced"}
    said = client.post(
        "/api/v1/alerts/bulk", headers=guard, json={"step": "acknowledge", "where": where}
    ).json()
    assert len(said["done"]) == 40 and said["refused"] == [] and not said["more"]
    again = client.post(
        "/api/v1/alerts/bulk", headers=guard, json={"step": "acknowledge", "ids": [*ids[:2], 10**9]}
    ).json()
    assert [r["code"] for r in again["refused"]] == [
        "not_allowed",
        "not_allowed",
        "unknown",
    ] and again["done"] == []
    is_problem(
        client.post("/api/v1/alerts/bulk", headers=guard, json={"step": "acknowledge"}),
        422,
        "invalid_input",
    )
    assert (
        client.get("/api/v1/alerts/folds", headers=bearer(client, site, "other")).json()["items"]
        == []
    )


def test_figures_say_how_alarms_are_managed(client: TestClient, site: dict[str, Any]) -> None:
    guard = bearer(client, site, "guard")
    ids = many(site, 12, times=4)
    client.post(f"/api/v1/alerts/{ids[0]}/acknowledge", headers=guard, json={})
    with connect(site["dsn"]) as connection:
        connection.execute(
            "UPDATE alerts SET raised_at = raised_at - interval '2 days' WHERE id = %s", [ids[1]]
        )
    found = client.get("/api/v1/alarms/figures?hours=12", headers=guard).json()
    assert (
        found["raised"] == 12
        and found["seats"] == 1
        and found["per_seat_hour"] == 1.0
        and not found["too_many"]
    )
    assert found["flood_now"] and found["floods"][0]["raised"] == 12
    assert found["severities"] == {"critical": 1, "high": 11} and found["waiting"] == 11
    assert len(found["chattering"]) == 10 and found["chattering"][0]["times"] == 2
    assert [s["alert"] for s in found["stale"]] == [ids[1]] and found["worst"][0]["times"] == 4
    assert 0 <= found["acknowledged_p50_s"] < 60
    assert (
        client.get("/api/v1/alarms/figures", headers=bearer(client, site, "other")).json()["raised"]
        == 0
    )
    is_problem(
        client.get("/api/v1/alarms/figures?estate=other", headers=guard), 404, "unknown_estate"
    )
    assert figures.count_seats and lists.NEVER_FOLD and stream.MAX_STREAMS and alarms.LONGEST_WINDOW


def test_windows_are_announced_by_those_who_plan(client: TestClient, site: dict[str, Any]) -> None:
    guard, manager = bearer(client, site, "guard"), bearer(client, site, "property_manager")
    now = datetime.now(UTC)
    body = {
        "estate": "es",
        "kind": "drill",
        "from_at": now.isoformat(),
        "to_at": (now + timedelta(hours=1)).isoformat(),
        "reason": "fire drill",
    }
    is_problem(client.post("/api/v1/windows", headers=guard, json=body), 403, "role")
    is_problem(
        client.post("/api/v1/windows", headers=manager, json={**body, "to_at": body["from_at"]}),
        422,
        "invalid_input",
    )
    is_problem(
        client.post("/api/v1/windows", headers=manager, json={**body, "estate": "other"}),
        404,
        "unknown_estate",
    )
    is_problem(
        client.post("/api/v1/windows", headers=manager, json={**body, "device": "nothing"}),
        404,
        "unknown_subject",
    )
    made = client.post(
        "/api/v1/windows", headers=manager, json={**body, "device": "smoke-1"}
    ).json()["id"]
    (row,) = client.get("/api/v1/windows", headers=guard).json()["items"]
    assert (row["id"], row["device"], row["made_by"]) == (made, "smoke-1", "property_manager")
    assert client.delete(f"/api/v1/windows/{made}", headers=manager).status_code == 204
    is_problem(client.delete(f"/api/v1/windows/{made}", headers=manager), 404, "unknown_window")


def test_a_welfare_watch_begins_and_ends_with_the_person(
    client: TestClient, site: dict[str, Any]
) -> None:
    manager = bearer(client, site, "property_manager")
    with connect(site["dsn"]) as connection:
        connection.execute(
            "INSERT INTO residents (code, household_id, valid_from) "
            "SELECT 'p-1', id, '2020-01-01' FROM households"
        )
    body = {
        "estate": "es",
        "unit": "u-1",
        "resident": "p-1",
        "quiet_hours": 10,
        "awake_from": "07:00",
        "awake_to": "22:00",
        "consented_at": "2026-01-01T00:00:00+08:00",
    }
    is_problem(
        client.post("/api/v1/welfare-watches", headers=bearer(client, site, "guard"), json=body),
        403,
        "role",
    )
    is_problem(
        client.post("/api/v1/welfare-watches", headers=manager, json={**body, "resident": "p-2"}),
        404,
        "unknown_resident",
    )
    is_problem(
        client.post("/api/v1/welfare-watches", headers=manager, json={**body, "awake_to": "06:00"}),
        422,
        "invalid_input",
    )
    made = client.post("/api/v1/welfare-watches", headers=manager, json=body).json()["id"]
    is_problem(
        client.post("/api/v1/welfare-watches", headers=manager, json=body), 409, "already_watched"
    )
    (row,) = client.get("/api/v1/welfare-watches", headers=manager).json()["items"]
    assert "p-1" not in str(row) and row["unit"] == "u-1"
    assert client.delete(f"/api/v1/welfare-watches/{made}", headers=manager).status_code == 204
    assert Severity.HIGH.rank == 2
