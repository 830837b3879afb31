"""Leads become visits and visits calibrate detectors, each within its scope and its role."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import visits
from domain.access import ALLOWED, Action, Role
from store.analytics import findings, nights
from store.analytics.findings import DetectorRun, NewAbstention, NewFinding
from store.database.connection import connect
from tests.api.conftest import bearer

pytestmark = pytest.mark.real
TODAY = datetime.now(UTC).date()


@pytest.fixture
def told(site: dict[str, Any]) -> dict[str, Any]:
    """A lead about u-1 and an abstention, said last night."""
    with connect(site["dsn"]) as connection:
        row = connection.execute("SELECT id FROM units WHERE code = 'u-1'").fetchone()
        assert row is not None
        nights.set_clock(connection, datetime.now(UTC) - timedelta(days=2))
        run = DetectorRun(
            detector="subletting",
            version="1",
            params={},
            window_from=TODAY - timedelta(days=90),
            window_to=TODAY,
        )
        since = datetime.now(UTC) - timedelta(days=60)
        found = NewFinding(
            unit_id=row["id"],
            since_at=since,
            until_at=None,
            since_low_at=since,
            since_high_at=since,
            frozen=False,
            score=0.8,
            reasons=("residents_gone_strangers_stay",),
            evidence={
                "days_known": 50,
                "days_seen": 1,
                "nights_strangers": 40,
                "usual_seen": 0.9,
                "chance_low": 0.5,
                "chance_high": 0.9,
            },
            shown=True,
        )
        findings.add_findings(connection, run, [found])
        gap = NewAbstention(
            unit_id=row["id"], from_day=TODAY - timedelta(days=30), to_day=TODAY, reason="no_meter"
        )
        findings.add_abstentions(connection, run, [gap])
        connection.commit()
    return site


def body(**more: Any) -> dict[str, Any]:
    return {
        "code": "w47-1",
        "estate": "es",
        "unit": "u-1",
        "visited_on": str(TODAY - timedelta(days=1)),
        "outcome": "confirmed",
        "kind": "subletting",
    } | more


def test_from_a_lead_to_the_calibration(client: TestClient, told: dict[str, Any]) -> None:
    who = bearer(client, told, "compliance")
    listed = client.get("/api/v1/visit-list?estate=es&visits=5", headers=who).json()
    first = listed["items"][0]
    assert (
        first["unit"] == "u-1"
        and first["chance"] == 0.8
        and "登记居住人" in first["leads"][0]["why"]["zh"]
    )
    assert client.post("/api/v1/visits", headers=who, json=body()).status_code == 201
    assert client.post("/api/v1/visits", headers=who, json=body()).status_code == 201
    assert (
        client.post(
            "/api/v1/visits", headers=who, json=body(outcome="unfounded", kind=None)
        ).status_code
        == 409
    )
    (visit,) = client.get("/api/v1/visits", headers=who).json()["items"]
    assert visit["tested"] == ["subletting"] and visit["unit"] == "u-1"
    report = client.get("/api/v1/calibration?estate=es", headers=who).json()
    assert [(r["hits"], r["visits"]) for r in report["hit_rates"]] == [(1, 1)]


def test_what_could_not_be_judged_is_counted_with_its_remedy(
    client: TestClient, told: dict[str, Any]
) -> None:
    who = bearer(client, told, "compliance")
    answer = client.get("/api/v1/estates/es/abstentions", headers=who).json()
    assert answer["items"] == [{"detector": "subletting", "reason": "no_meter", "units": 1}]
    assert answer["remedies"][0]["units"] == 1
    assert "meter" in answer["remedies"][0]["remedy"]["en"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"outcome": "perhaps"}, 422),
        ({"kind": None}, 422),
        ({"kind": "murder"}, 422),
        ({"unit": "u-404"}, 404),
        ({"visited_on": str(TODAY + timedelta(days=3))}, 422),
        ({"estate": "other", "unit": "far-1"}, 404),
        ({"note": "a\x00b"}, 422),
        ({"surplus": 1}, 422),
    ],
)
def test_a_bad_visit_is_refused(
    client: TestClient, told: dict[str, Any], change: dict[str, Any], status: int
) -> None:
    who = bearer(client, told, "compliance")
    assert client.post("/api/v1/visits", headers=who, json=body(**change)).status_code == status


def test_only_those_who_see_leads_reach_them(client: TestClient, told: dict[str, Any]) -> None:
    for role in Role:
        who = bearer(client, told, role)
        sees = role in ALLOWED[Action.SEE_LEADS]
        for path in (
            "/api/v1/visit-list?estate=es",
            "/api/v1/visits",
            "/api/v1/calibration",
            "/api/v1/estates/es/abstentions",
        ):
            assert client.get(path, headers=who).status_code == (200 if sees else 403), (role, path)
        posted = client.post("/api/v1/visits", headers=who, json=body(code=f"c-{role}")).status_code
        assert posted == (201 if role in ALLOWED[Action.RECORD_VISITS] else 403)
    far = bearer(client, told, "other")
    assert client.get("/api/v1/visit-list?estate=es", headers=far).status_code == 404
    assert client.get("/api/v1/visits", headers=far).json()["items"] == []
    assert visits.router.prefix == "/api/v1"
