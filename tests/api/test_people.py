"""People over HTTP: masks for those who may see them at all, a purpose for more, and an audit
record that names nobody's name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from analytics.policy import load_policy
from anju.cli.people import verify_lines
from api import audit, exports, people
from api.app import SiteSettings, create_app
from crypto.sealed_values import Scheme
from domain.access import ALLOWED, Action, Role
from privacy import person_vault
from privacy.keyring import KeyFile, save_keyring, with_new_key
from store.database.connection import connect, open_pool
from store.live.bus import LiveBus
from tests.api.conftest import bearer
from tests.api.test_access import strong
from tests.api.test_api import is_problem

pytestmark = pytest.mark.real
ASK = {"purpose": "visit", "reference": "visit 2026-w47-03", "fields": ["name", "phone"]}


@pytest.fixture
def town(site: dict[str, Any], tmp_path: Path) -> Iterator[TestClient]:
    ring = with_new_key(None, Scheme.AES_256_GCM)
    save_keyring(tmp_path / "keys.toml", ring)
    with connect(site["dsn"]) as connection:
        connection.execute(
            "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-1', id, "
            "'2020-01-01' FROM households"
        )
        assert person_vault.save_person(
            connection,
            ring,
            "r-1",
            {"name": "王小明", "phone": "13900000000"},
            collected_for="tenancy",
        )
        connection.execute(
            "UPDATE grants SET estate_id = NULL WHERE user_id IN (SELECT id FROM users WHERE "
            "name IN ('auditor'))"
        )
    pool = open_pool(site["dsn"], size=6)
    app = create_app(
        pool,
        LiveBus(None),
        load_policy(),
        SiteSettings(keys=KeyFile(tmp_path / "keys.toml"), slack=1000),
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
    pool.close()


def test_who_sees_people_sees_masks(town: TestClient, site: dict[str, Any]) -> None:
    for role in Role:
        answer = town.get("/api/v1/estates/es/people", headers=bearer(town, site, role))
        if role not in ALLOWED[Action.SEE_PEOPLE]:
            is_problem(answer, 403, "role")
            continue
        (shown,) = answer.json()["items"]
        assert (
            shown["name"] == "王**"
            and shown["phone"] == "139****0000"
            and "小明" not in answer.text
        )
        found = town.post(
            "/api/v1/people/search",
            headers=bearer(town, site, role),
            json={"kind": "phone", "text": "139 0000 0000"},
        )
        assert [p["code"] for p in found.json()["items"]] == ["r-1"] and "小明" not in found.text
    is_problem(
        town.get("/api/v1/estates/other/people", headers=bearer(town, site, "compliance")),
        404,
        "unknown_estate",
    )


def test_more_takes_a_purpose_and_a_second_factor(town: TestClient, site: dict[str, Any]) -> None:
    weak = bearer(town, site, "compliance")
    is_problem(
        town.post("/api/v1/people/r-1/lookups", headers=weak, json=ASK), 403, "second_factor"
    )
    who, officer = strong(town, site, "compliance"), strong(town, site, "privacy_officer")
    assert {p["purpose"] for p in town.get("/api/v1/purposes", headers=who).json()["items"]} >= {
        "visit",
        "emergency",
        "legal_order",
    }
    is_problem(
        town.post("/api/v1/people/r-1/lookups", headers=who, json={**ASK, "purpose": "curiosity"}),
        422,
        "purpose",
    )
    is_problem(
        town.post("/api/v1/people/r-1/lookups", headers=who, json={**ASK, "reference": "x"}),
        422,
        "invalid_input",
    )
    is_problem(
        town.post("/api/v1/people/r-9/lookups", headers=who, json=ASK), 404, "unknown_person"
    )
    made = town.post("/api/v1/people/r-1/lookups", headers=who, json=ASK).json()
    shown = town.post(f"/api/v1/lookups/{made['id']}/show", headers=who)
    assert shown.json() == {"fields": {"name": "王小明", "phone": "13900000000"}}
    is_problem(
        town.post(f"/api/v1/lookups/{made['id']}/show", headers=officer), 404, "unknown_lookup"
    )
    asked = town.post(
        "/api/v1/people/r-1/lookups", headers=who, json={**ASK, "purpose": "legal_order"}
    ).json()
    assert asked["state"] == "asked"
    is_problem(town.post(f"/api/v1/lookups/{asked['id']}/show", headers=who), 409, "not_allowed")
    is_problem(
        town.post(f"/api/v1/lookups/{asked['id']}/decision", headers=who, json={"grant": True}),
        409,
        "not_allowed",
    )
    waiting = town.get("/api/v1/lookups?waiting=true", headers=officer).json()["items"]
    assert [w["id"] for w in waiting] == [asked["id"]] and waiting[0]["asked_by"] == "compliance"
    assert (
        town.post(
            f"/api/v1/lookups/{asked['id']}/decision", headers=officer, json={"grant": True}
        ).status_code
        == 204
    )
    assert (
        town.post(f"/api/v1/lookups/{asked['id']}/show", headers=who).json()["fields"]["name"]
        == "王小明"
    )


def test_a_report_a_hold_and_an_erasure(town: TestClient, site: dict[str, Any]) -> None:
    who, other = strong(town, site, "privacy_officer"), strong(town, site, "compliance")
    is_problem(
        town.post("/api/v1/people/r-1/erasure", headers=other, json={"reason": "because"}),
        403,
        "role",
    )
    made = town.post("/api/v1/people/r-1/lookups", headers=other, json=ASK).json()
    told = town.post(
        "/api/v1/people/r-1/report", headers=who, json={**ASK, "purpose": "subject_request"}
    ).json()
    assert (
        told["fields"]["name"] == "王小明"
        and told["residences"][0]["unit"] == "u-1"
        and told["looked_at"][0]["role"] == "compliance"
    )
    hold = town.post(
        "/api/v1/people/r-1/holds", headers=who, json={"reason": "case 7 is open"}
    ).json()["id"]
    is_problem(
        town.post("/api/v1/people/r-1/erasure", headers=who, json={"reason": "the person asked"}),
        409,
        "held",
    )
    assert town.delete(f"/api/v1/holds/{hold}", headers=who).status_code == 204
    assert (
        town.post(
            "/api/v1/people/r-1/erasure", headers=who, json={"reason": "the person asked"}
        ).status_code
        == 204
    )
    (shown,) = town.get("/api/v1/estates/es/people", headers=who).json()["items"]
    assert shown["readable"] is False and shown["name"] is None
    assert town.post(f"/api/v1/lookups/{made['id']}/show", headers=other).json() == {
        "fields": {"name": None, "phone": None}
    }
    assert people.router and exports.router and audit.router


def test_the_record_is_searched_exported_and_checked(
    town: TestClient, site: dict[str, Any], tmp_path: Path
) -> None:
    who, officer = strong(town, site, "compliance"), bearer(town, site, "privacy_officer")
    town.post("/api/v1/people/r-1/lookups", headers=who, json=ASK)
    auditor = bearer(town, site, "auditor")
    found = town.get("/api/v1/audit?subject=person:r-1", headers=auditor).json()["items"]
    assert [(e["entry"]["action"], e["entry"]["purpose"], e["estate"]) for e in found] == [
        ("askLookup", "visit", "es")
    ]
    assert town.get("/api/v1/audit?actor=compliance&limit=1", headers=auditor).json()["next"]
    page = town.get("/api/v1/audit?limit=2", headers=auditor).json()
    rest = town.get(f"/api/v1/audit?before={page['next']}", headers=auditor).json()["items"]
    assert rest[0]["seq"] == page["items"][-1]["seq"] - 1
    # Who reaches one estate reads what is about it, without the numbers that count the whole
    # site's.
    mine = town.get("/api/v1/audit", headers=officer).json()["items"]
    assert mine and all(e["estate"] == "es" and "seq" not in e for e in mine)
    is_problem(town.get("/api/v1/audit/export", headers=officer), 403, "reach")
    is_problem(town.get("/api/v1/audit", headers=who), 403, "role")
    assert town.get("/api/v1/audit/integrity", headers=auditor).json() == {"last_check": None}
    exported = town.get("/api/v1/audit/export", headers=auditor)
    file = tmp_path / "audit.jsonl"
    file.write_bytes(exported.content)
    count, fault = verify_lines(file)
    assert (
        fault is None
        and count >= 5
        and "小明" not in exported.text
        and "13900000000" not in exported.text
    )


def test_files_are_fetched_by_signed_addresses(town: TestClient, site: dict[str, Any]) -> None:
    who = bearer(town, site, "compliance")
    with connect(site["dsn"]) as connection:
        connection.execute(
            "UPDATE alerts SET subject = '=cmd|calc' WHERE alert_class = 'compliance'"
        )
    made = town.post("/api/v1/exports", headers=who, json={"kind": "alerts"}).json()
    answer = town.get(made["href"])
    assert (
        answer.headers["content-disposition"].startswith("attachment")
        and answer.headers["x-content-type-options"] == "nosniff"
    )
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert (
        len(rows) == made["rows"] == 2
        and {r["estate"] for r in rows} == {"es"}
        and "'=cmd|calc" in {r["subject"] for r in rows}
    )
    for bent in (
        made["href"][:-1] + ("0" if made["href"][-1] != "0" else "1"),
        made["href"].replace("until=", "until=9"),
        made["href"].replace(f"/{made['id']}/", f"/{made['id'] + 1}/"),
    ):
        is_problem(town.get(bent), 404, "unknown_export")
    with connect(site["dsn"], autocommit=True) as connection:
        connection.execute("UPDATE exports SET expires_at = now()")
    is_problem(town.get(made["href"]), 404, "unknown_export")
    counted = town.post("/api/v1/exports", headers=who, json={"kind": "occupancy"}).json()
    (row,) = csv.DictReader(io.StringIO(town.get(counted["href"]).content.decode("utf-8-sig")))
    assert row == {
        "estate": "es",
        "building": "none",
        "homes": "",
        "let": "",
        "unoccupied_leads": "",
    }, "one home is no crowd"
    is_problem(
        town.post("/api/v1/exports", headers=bearer(town, site, "guard"), json={"kind": "alerts"}),
        403,
        "role",
    )
    assert town.post("/api/v1/exports", headers=who, json={"kind": "visits"}).status_code == 201


def test_without_keys_people_are_closed_and_the_rest_is_open(
    client: TestClient, site: dict[str, Any]
) -> None:
    who = bearer(client, site, "compliance")
    is_problem(client.get("/api/v1/estates/es/people", headers=who), 503, "keys")
    assert client.get("/api/v1/alerts", headers=who).status_code == 200
