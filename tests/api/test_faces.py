"""Consents over HTTP: given at the desk under the law's conditions, ended as easily, with a proof
for whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from analytics.policy import load_policy
from api import clips
from api import faces as routes
from api.app import SiteSettings, create_app
from api.context import RequestContext
from crypto.sealed_values import Scheme
from domain.access import ALLOWED, Action, Role
from privacy.keyring import KeyFile, save_keyring, with_new_key
from store.database.connection import connect, open_pool
from store.live.bus import LiveBus
from store.people import face_filings
from tests.api.conftest import bearer
from tests.api.test_access import strong
from tests.api.test_api import is_problem

pytestmark = pytest.mark.real
#: The instant of every request: no test depends on the clock of the machine.
NOW = datetime(2026, 11, 21, 4, tzinfo=UTC)
BODY: dict[str, Any] = {
    "person": "r-1",
    "text_version": "2026-01",
    "text_sha256": "0" * 64,
    "assessment": "PIA-2026-001",
    "other_way": "card",
    "under_14": False,
    "given_at": NOW.isoformat(),
    "holds_to": (NOW + timedelta(days=300)).date().isoformat(),
}
ASSESSMENT = {
    "code": "PIA-2026-001",
    "title": "Faces at entrances",
    "done_on": "2026-01-01",
    "review_by": "2099-01-01",
    "approved_by": "the officer",
    "document_sha256": "0" * 64,
}


@pytest.fixture
def town(
    site: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    monkeypatch.setattr(RequestContext, "now", property(lambda context: NOW))
    save_keyring(tmp_path / "keys.toml", with_new_key(None, Scheme.AES_256_GCM))
    with connect(site["dsn"]) as c:
        c.execute(
            "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-' || i, id, "
            "'2020-01-01' FROM households, generate_series(1, 2) i"
        )
        c.execute(
            "INSERT INTO buildings (estate_id, code, name) SELECT id, 'f', 'f' FROM estates "
            "WHERE code = 'es'"
        )
        c.execute(
            "INSERT INTO entrances (estate_id, building_id, code) SELECT estate_id, id, 'f-1' "
            "FROM buildings WHERE code = 'f'"
        )
        c.execute(
            "UPDATE units SET entrance_id = (SELECT id FROM entrances WHERE code = 'f-1') WHERE "
            "estate_id = (SELECT id FROM estates WHERE code = 'es')"
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


def test_from_an_assessment_to_a_withdrawal(town: TestClient, site: dict[str, Any]) -> None:
    desk, officer = bearer(town, site, "property_manager"), strong(town, site, "privacy_officer")
    at = "/api/v1/estates/es/face-consents"
    is_problem(town.post(at, headers=desk, json=BODY), 422, "consent")
    is_problem(
        town.post("/api/v1/estates/es/assessments", headers=desk, json=ASSESSMENT), 403, "role"
    )
    assert (
        town.post("/api/v1/estates/es/assessments", headers=officer, json=ASSESSMENT).status_code
        == 201
    )
    is_problem(
        town.post("/api/v1/estates/es/assessments", headers=officer, json=ASSESSMENT), 409, "taken"
    )
    assert [
        one["code"]
        for one in town.get("/api/v1/estates/es/assessments", headers=desk).json()["items"]
    ] == ["PIA-2026-001"]
    is_problem(town.post(at, headers=desk, json={**BODY, "under_14": True}), 422, "consent")
    made = town.post(at, headers=desk, json=BODY)
    assert made.status_code == 201, made.text
    href = made.json()["href"]
    shown = town.get(href, headers=desk).json()
    assert (
        shown["state"] == "holds"
        and shown["person"] == "r-1"
        and "name" not in shown
        and "id" not in shown
    )
    assert [one["code"] for one in town.get(at, headers=desk).json()["items"]] == [
        made.json()["code"]
    ]
    ended = town.post(f"{href}/withdrawal", headers=desk, json={"reason": "the person asks"})
    assert ended.status_code == 202
    is_problem(
        town.post(f"{href}/withdrawal", headers=desk, json={"reason": "the person asks"}),
        409,
        "ended",
    )
    assert town.get(href, headers=desk).json()["withdrawn_why"] == "the person asks"
    is_problem(town.get("/api/v1/face-consents/k-0000000000", headers=desk), 404, "unknown_consent")
    with connect(site["dsn"]) as connection:
        rows = connection.execute(
            "SELECT action, subject FROM audit_log WHERE subject LIKE 'consent:%%' OR subject "
            "LIKE 'face-consents:%%'"
        ).fetchall()
    assert {row["action"] for row in rows} >= {
        "recordFaceConsent",
        "withdrawFaceConsent",
        "getFaceConsent",
        "listFaceConsents",
    }, "each look is on record"


def test_who_may(town: TestClient, site: dict[str, Any]) -> None:
    for role in Role:
        answer = town.get("/api/v1/estates/es/face-consents", headers=bearer(town, site, role))
        assert answer.status_code == (200 if role in ALLOWED[Action.SEE_CONSENTS] else 403), role
    is_problem(
        town.get(
            "/api/v1/estates/other/face-consents", headers=bearer(town, site, "property_manager")
        ),
        404,
        "unknown_estate",
    )
    assert routes.router.tags == ["faces"]


def test_the_count_is_the_whole_sites(town: TestClient, site: dict[str, Any]) -> None:
    officer = strong(town, site, "privacy_officer")
    is_problem(town.get("/api/v1/faces", headers=officer), 403, "reach")
    is_problem(
        town.post(
            "/api/v1/faces/filing",
            headers=officer,
            json={"filed_on": "2026-11-20", "reference": "2026-0042"},
        ),
        403,
        "reach",
    )
    with connect(site["dsn"]) as connection:
        connection.execute(
            "UPDATE grants SET estate_id = NULL WHERE user_id IN (SELECT id FROM users WHERE "
            "name = 'privacy_officer')"
        )
        face_filings.start_filing(connection, NOW.date(), NOW.date() + timedelta(days=44))
    found = town.get("/api/v1/faces", headers=officer).json()
    assert (
        found["subjects"] == 0
        and found["file_at"] == 100_000
        and found["filing"]["filed_on"] is None
    )
    assert (
        town.post(
            "/api/v1/faces/filing",
            headers=officer,
            json={"filed_on": "2026-11-20", "reference": "2026-0042"},
        ).status_code
        == 204
    )
    is_problem(
        town.post(
            "/api/v1/faces/filing",
            headers=officer,
            json={"filed_on": "2026-11-20", "reference": "2026-0043"},
        ),
        409,
        "not_due",
    )


def test_a_clip_is_a_link_to_the_estates_gateway(
    town: TestClient, site: dict[str, Any], tmp_path: Path
) -> None:
    from domain.clips import signed

    guard = bearer(town, site, "guard")
    with connect(site["dsn"]) as connection:
        connection.execute(
            """
            UPDATE alerts
            SET evidence =
                '{"device": "cam-1", "data": {"clip": "20261122t011027-b434ac8e82f9"}}'
            WHERE id = %s
            """,
            [site["alerts"]["fire"]],
        )
    ask = f"/api/v1/alerts/{site['alerts']['fire']}/clip"
    is_problem(town.post(ask, headers=guard), 409, "no_place")
    (tmp_path / "clips.toml").write_text(
        '[es]\nurl = "http://10.0.0.1:8911/"\nkey = "a key of sixteen characters"\n'
    )
    town.app.state.clips = clips.load_clip_places(tmp_path / "clips.toml")  # type: ignore[attr-defined]
    links = town.post(ask, headers=guard).json()
    place, _, query = links["still"].partition("?")
    until, signature = (part.partition("=")[2] for part in query.split("&"))
    path = place.removeprefix("http://10.0.0.1:8911/clips/")
    # Held against the address's own end, and not against the clock of a slow machine.
    for at_s, holds in ((int(until) - 240, True), (int(until) + 1, False)):
        is_signed = signed(b"a key of sixteen characters", f"es/{path}", until, signature, at_s)
        assert is_signed is holds
    assert links["clip"].startswith("http://10.0.0.1:8911/clips/cam-1/")
    for text in (
        "[es]\nurl = 'ftp://x'\nkey = 'a key of sixteen characters'",
        "[es]\nkey = 'x'",
        "no toml",
    ):
        (tmp_path / "clips.toml").write_text(text)
        with pytest.raises(clips.BadClipPlaces):
            clips.load_clip_places(tmp_path / "clips.toml")
    assert clips.load_clip_places(None) == {}
