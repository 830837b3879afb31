"""Who is asking: sessions that rotate, keys that are narrow, second factors, locks, limits, and
deeds that are done once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from fastapi.testclient import TestClient

from analytics.policy import load_policy
from api import access, idempotency, passwords, session, users
from api.app import SiteSettings, create_app
from crypto.sealed_values import Scheme
from domain.access import KEY_ACTIONS, NEEDS_SECOND_FACTOR, Action, Role
from privacy.keyring import KeyFile, save_keyring, with_new_key
from store.access import sessions
from store.database.connection import connect, open_pool
from store.live.bus import LiveBus
from store.live.rate_limits import Rates
from tests.api.conftest import bearer
from tests.api.test_api import is_problem

pytestmark = pytest.mark.real


@pytest.fixture
def strict(site: dict[str, Any], tmp_path: Path) -> Iterator[TestClient]:
    """The same site with keys, and with its limits as they ship."""
    save_keyring(tmp_path / "keys.toml", with_new_key(None, Scheme.SM4_GCM))
    pool = open_pool(site["dsn"], size=6)
    app = create_app(
        pool,
        LiveBus(None),
        load_policy(),
        SiteSettings(keys=KeyFile(tmp_path / "keys.toml")),
        Rates(None, clock=lambda: 1000.0),
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
    pool.close()


def secret_of(client: TestClient, headers: dict[str, str], password: str) -> str:
    offered = client.post(
        "/api/v1/session/second-factor/offer", headers=headers, json={"password": password}
    )
    assert offered.status_code == 200 and offered.json()["uri"].startswith("otpauth://totp/")
    return str(offered.json()["secret"])


def strong(client: TestClient, site: dict[str, Any], name: str) -> dict[str, str]:
    """Log in with a second factor."""
    headers = bearer(client, site, name)
    secret = secret_of(client, headers, site["users"][name])
    shown = client.post(
        "/api/v1/session/second-factor", headers=headers, json={"code": pyotp.TOTP(secret).now()}
    )
    assert shown.status_code == 200, shown.text
    return {"Authorization": f"Bearer {shown.json()['token']}"}


def test_a_second_factor_opens_what_a_password_does_not(
    strict: TestClient, site: dict[str, Any]
) -> None:
    headers = bearer(strict, site, "administrator")
    is_problem(strict.get("/api/v1/users", headers=headers), 403, "second_factor")
    is_problem(
        strict.post("/api/v1/session/second-factor", headers=headers, json={"code": "123456"}),
        409,
        "no_second_factor",
    )
    is_problem(
        strict.post(
            "/api/v1/session/second-factor/offer", headers=headers, json={"password": "wrong"}
        ),
        403,
        "wrong_password",
    )
    secret = secret_of(strict, headers, site["users"]["administrator"])
    with connect(site["dsn"]) as connection:
        row = connection.execute(
            "SELECT totp_sealed FROM users WHERE name = 'administrator'"
        ).fetchone()
    assert row is not None and secret.encode() not in bytes(row["totp_sealed"])
    code = pyotp.TOTP(secret).now()
    shown = strict.post("/api/v1/session/second-factor", headers=headers, json={"code": code})
    new = {"Authorization": f"Bearer {shown.json()['token']}"}
    assert strict.get("/api/v1/users", headers=new).status_code == 200
    assert strict.get("/api/v1/session", headers=new).json()["second_factor"] is True
    # The token before is gone at once, and the code is used up: also for another session.
    is_problem(strict.get("/api/v1/session", headers=headers), 401, "log_in")
    again = bearer(strict, site, "administrator")
    is_problem(
        strict.post("/api/v1/session/second-factor", headers=again, json={"code": code}),
        403,
        "wrong_code",
    )
    # One that counts is not replaced by somebody who knows the password only.
    is_problem(
        strict.post(
            "/api/v1/session/second-factor/offer",
            headers=again,
            json={"password": site["users"]["administrator"]},
        ),
        403,
        "second_factor",
    )


def test_wrong_codes_lock(strict: TestClient, site: dict[str, Any]) -> None:
    headers = bearer(strict, site, "compliance")
    secret = secret_of(strict, headers, site["users"]["compliance"])
    for _ in range(5):
        is_problem(
            strict.post("/api/v1/session/second-factor", headers=headers, json={"code": "000000"}),
            403,
            "wrong_code",
        )
    right = {"code": pyotp.TOTP(secret).now()}
    is_problem(
        strict.post("/api/v1/session/second-factor", headers=headers, json=right), 429, "locked"
    )


def test_codes_drift_by_one_step_and_no_more() -> None:
    secret, uri = passwords.new_totp("wang")
    assert "issuer=Anju" in uri
    now = 1_795_220_000.0
    totp = pyotp.TOTP(secret)
    for offset, fits in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
        assert (
            passwords.matching_step(secret, totp.at(int(now + offset)), now) is not None
        ) is fits


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("short", "12 characters"),
        ("aaaaaaaaaaaaaaa", "different"),
        ("wang-is-my-name-1", "name"),
        ("Password123456", "tried first"),
        ("安居安居安居123456abc", "tried first"),
    ],
)
def test_weak_passwords_are_refused_with_a_reason(password: str, word: str) -> None:
    assert word in (passwords.find_weakness(password, "wang") or "")
    assert passwords.find_weakness("three words and a hill", "wang") is None


def test_sessions_rotate_end_when_idle_and_end_with_a_password(
    strict: TestClient, site: dict[str, Any]
) -> None:
    password = site["users"]["guard"]
    strict.post("/login", data={"name": "guard", "password": password})
    old = strict.cookies[access.COOKIE]
    with connect(site["dsn"], autocommit=True) as connection:
        connection.execute("UPDATE sessions SET rotated_at = now() - interval '61 minutes'")
        page = strict.get("/")
        new = page.cookies[access.COOKIE]
        assert new != old
        strict.cookies.clear()

        def get(token: str) -> int:
            cookie = f"{access.COOKIE}={token}"
            return int(strict.get("/api/v1/session", headers={"Cookie": cookie}).status_code)

        assert get(new) == 200 and get(old) == 200, "what was under way goes on for a minute"
        connection.execute("UPDATE sessions SET rotated_at = now() - interval '2 minutes'")
        assert get(old) == 401 and get(new) == 200
        connection.execute("UPDATE sessions SET seen_at = now() - interval '3 hours'")
        assert get(new) == 401, "nobody used it for hours"
    first, second = bearer(strict, site, "guard"), bearer(strict, site, "guard")
    is_problem(
        strict.post(
            "/api/v1/session/password",
            headers=first,
            json={"password": password, "new_password": "guard-guard-guard"},
        ),
        422,
        "weak_password",
    )
    changed = {"password": password, "new_password": "a hill of three words"}
    assert strict.post("/api/v1/session/password", headers=first, json=changed).status_code == 204
    assert strict.get("/api/v1/session", headers=second).status_code == 401


def test_disabling_and_another_role_take_hold_at_once(
    strict: TestClient, site: dict[str, Any]
) -> None:
    admin, guard = strong(strict, site, "administrator"), bearer(strict, site, "guard")
    assert strict.get("/api/v1/alerts", headers=guard).status_code == 200
    assert strict.post("/api/v1/users/guard/disable", headers=admin).status_code == 200
    assert strict.get("/api/v1/alerts", headers=guard).status_code == 401
    is_problem(
        strict.post("/api/v1/session", json={"name": "guard", "password": site["users"]["guard"]}),
        401,
        "wrong_log_in",
    )
    assert strict.post("/api/v1/users/guard/enable", headers=admin).status_code == 200
    assert (
        strict.post(
            "/api/v1/users/guard/role", headers=admin, json={"role": "simulator"}
        ).status_code
        == 204
    )
    is_problem(strict.get("/api/v1/alerts", headers=bearer(strict, site, "guard")), 403, "role")
    is_problem(
        strict.post("/api/v1/users/administrator/role", headers=admin, json={"role": "auditor"}),
        409,
        "yourself",
    )


def test_nobody_hands_out_more_than_they_reach(strict: TestClient, site: dict[str, Any]) -> None:
    admin = strong(strict, site, "administrator")
    new = lambda name, **reach: strict.post(  # noqa: E731
        "/api/v1/users", headers=admin, json={"name": name, "role": "guard", "grants": [reach]}
    )
    made = new("zhao", estate="es")
    assert made.status_code == 201
    site["users"]["zhao"] = made.json()["password"]
    is_problem(
        strict.get("/api/v1/alerts", headers=bearer(strict, site, "zhao")), 403, "change_password"
    )
    is_problem(new("qian", estate="other"), 404, "unknown_place")
    is_problem(new("sun"), 403, "reach")
    is_problem(new("zhao", estate="es"), 409, "known_user")
    names = [u["name"] for u in strict.get("/api/v1/users", headers=admin).json()["items"]]
    assert "zhao" in names and not {"qian", "sun", "other", "fresh"} & set(names)
    is_problem(strict.post("/api/v1/users/other/disable", headers=admin), 404, "unknown_user")
    reach = next(
        u for u in strict.get("/api/v1/users", headers=admin).json()["items"] if u["name"] == "zhao"
    )["grants"][0]
    assert (
        strict.delete(f"/api/v1/users/zhao/grants/{reach['id']}", headers=admin).status_code == 204
    )
    is_problem(strict.get("/api/v1/users?limit=0", headers=admin), 422, "invalid_input")
    assert users.LONGEST_KEY and session.router


def test_a_key_does_what_it_was_given_and_no_more(strict: TestClient, site: dict[str, Any]) -> None:
    admin = strong(strict, site, "administrator")
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    wish = {
        "user": "compliance",
        "name": "dashboard",
        "actions": ["see_alerts"],
        "expires_at": until,
    }
    made = strict.post("/api/v1/keys", headers=admin, json=wish).json()
    key = {"Authorization": f"Bearer {made['key']}"}
    assert made["key"].startswith(access.KEY_PREFIX) and len(users.new_key()) == len(made["key"])
    assert strict.get("/api/v1/alerts", headers=key).status_code == 200
    for path in ("/api/v1/leads", "/api/v1/estates", "/api/v1/users", "/api/v1/session"):
        is_problem(strict.get(path, headers=key), 403, "role")
    (shown,) = strict.get("/api/v1/keys", headers=admin).json()["items"]
    assert (
        shown["last_used_at"] and made["key"] not in str(shown) and shown["hint"] == made["key"][:9]
    )
    for bad in (
        {"actions": ["manage_users"]},
        {"actions": ["unmask"]},
        {"expires_at": "2030-01-01T00:00:00Z"},
    ):
        assert strict.post("/api/v1/keys", headers=admin, json={**wish, **bad}).status_code == 422
    assert not KEY_ACTIONS & NEEDS_SECOND_FACTOR and Action.SEE_PEOPLE not in KEY_ACTIONS
    assert strict.delete(f"/api/v1/keys/{made['id']}", headers=admin).status_code == 204
    assert strict.get("/api/v1/alerts", headers=key).status_code == 401
    with connect(site["dsn"], autocommit=True) as connection:
        connection.execute(
            "UPDATE api_keys SET revoked_at = NULL, expires_at = now() - interval '1 second'"
        )
    assert strict.get("/api/v1/alerts", headers=key).status_code == 401


def test_log_ins_are_limited_by_log_in_and_by_address(
    strict: TestClient, site: dict[str, Any]
) -> None:
    wrong = {"name": "guard", "password": "wrong wrong wrong"}
    told = [strict.post("/api/v1/session", json=wrong).status_code for _ in range(6)]
    assert told == [401] * 5 + [429], "the fifth locks"
    is_problem(
        strict.post("/api/v1/session", json={"name": "guard", "password": site["users"]["guard"]}),
        429,
        "locked",
    )
    codes = [
        strict.post("/api/v1/session", json={"name": f"n{i}", "password": "x"}).json()["code"]
        for i in range(30)
    ]
    assert codes.count("too_many") >= 5 and set(codes) == {"wrong_log_in", "too_many"}


def test_a_log_in_has_a_number_of_requests_a_minute(
    strict: TestClient, site: dict[str, Any]
) -> None:
    who = bearer(strict, site, "compliance")
    strict.app.state.rates = Rates(None, clock=lambda: 2000.0)  # type: ignore[attr-defined]
    told = [
        strict.get("/api/v1/session", headers=who).status_code
        for _ in range(access.PRINCIPAL_REQUESTS_PER_MINUTE + 1)
    ]
    assert told == [200] * access.PRINCIPAL_REQUESTS_PER_MINUTE + [429]
    answer = strict.get("/api/v1/session", headers=who)
    is_problem(answer, 429, "too_many")
    assert int(answer.headers["Retry-After"]) <= 61
    assert strict.get("/api/v1/session", headers=bearer(strict, site, "guard")).status_code == 200


def test_unknown_log_ins_take_as_long_as_known_ones(strict: TestClient) -> None:
    """Counted in argon2 checks, not in seconds: one each, whoever it is."""
    checks = []
    real = passwords._HASHER

    class Counting:
        def verify(self, *args: Any) -> bool:
            checks.append(1)
            return real.verify(*args)

    passwords._HASHER = Counting()  # type: ignore[assignment]
    try:
        for name in ("guard", "nobody", "\x00"):
            strict.post("/api/v1/session", json={"name": name, "password": "wrong wrong wrong"})
    finally:
        passwords._HASHER = real
    assert len(checks) == 3


# Once ---------------------------------------------------------------------------------------------


def drills(dsn: str) -> int:
    with connect(dsn) as connection:
        row = connection.execute("SELECT count(*) AS n FROM alarm_windows").fetchone()
    assert row is not None
    return int(row["n"])


def test_a_request_with_a_key_is_done_once(client: TestClient, site: dict[str, Any]) -> None:
    who = bearer(client, site, "property_manager")
    body = {
        "estate": "es",
        "kind": "drill",
        "from_at": "2030-01-01T00:00:00Z",
        "to_at": "2030-01-02T00:00:00Z",
        "reason": "a drill",
    }

    def send(key: str, **more: str) -> Any:
        return client.post(
            "/api/v1/windows", json={**body, **more}, headers={**who, "Idempotency-Key": key}
        )

    first, second = send("key-0001"), send("key-0001")
    assert first.status_code == second.status_code == 201 and first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true" and drills(site["dsn"]) == 1
    is_problem(send("key-0001", reason="another"), 422, "other_request")
    is_problem(send("short"), 422, "bad_key")
    assert send("key-0002").json() != first.json() and drills(site["dsn"]) == 2
    # What failed was not done, so it may be tried again under its key.
    is_problem(send("key-0003", gateway="none-such"), 404, "unknown_subject")
    assert send("key-0003").status_code == 201
    # Another log-in's keys are its own.
    other = bearer(client, site, "administrator")
    assert (
        client.post(
            "/api/v1/windows", json=body, headers={**other, "Idempotency-Key": "key-0001"}
        ).status_code
        == 201
    )
    assert idempotency.HEADER == "idempotency-key"


def test_of_the_same_request_at_the_same_moment_one_is_done(
    client: TestClient, site: dict[str, Any]
) -> None:
    who = {**bearer(client, site, "property_manager"), "Idempotency-Key": "at-the-same-moment"}
    body = {
        "estate": "es",
        "kind": "drill",
        "from_at": "2030-01-01T00:00:00Z",
        "to_at": "2030-01-02T00:00:00Z",
        "reason": "a drill",
    }
    answers: list[Any] = []

    def send() -> None:
        answers.append(client.post("/api/v1/windows", json=body, headers=who))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.status_code for a in answers} == {201} and len({a.json()["id"] for a in answers}) == 1
    assert drills(site["dsn"]) == 1


def test_every_deed_is_on_record_and_no_look_at_a_list_is(
    client: TestClient, site: dict[str, Any]
) -> None:
    who = bearer(client, site, "property_manager")
    client.get("/api/v1/alerts", headers=who)
    client.post(f"/api/v1/alerts/{site['alerts']['fire']}/acknowledge", headers=who, json={})
    client.get("/api/v1/estates/es/units/u-1/days", headers=who)
    client.post(f"/api/v1/alerts/{site['alerts']['far']}/acknowledge", headers=who, json={})
    with connect(site["dsn"]) as connection:
        told = [
            (row["entry"]["action"], row["entry"]["result"], row["entry"].get("subject"))
            for row in connection.execute(
                "SELECT entry FROM audit_log WHERE actor = 'property_manager' ORDER BY seq"
            )
        ]
    assert told == [
        ("logIn", "done", None),
        ("stepOnAlert", "done", None),
        ("listUnitDays", "done", "unit:es/u-1"),
    ]


def test_no_record_no_deed(client: TestClient, site: dict[str, Any]) -> None:
    """Where the entry cannot be written nothing is done, and nothing is shown."""
    who = bearer(client, site, "property_manager")
    with connect(site["dsn"], autocommit=True) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION append_audit FROM PUBLIC")
        answer = client.get("/api/v1/estates/es/units/u-1/days", headers=who)
        assert answer.status_code in (403, 503) and "water" not in answer.text
        assert client.post(
            f"/api/v1/alerts/{site['alerts']['fire']}/acknowledge", headers=who, json={}
        ).status_code in (403, 503)
        row = connection.execute(
            "SELECT acknowledgement FROM alerts WHERE id = %s", [site["alerts"]["fire"]]
        ).fetchone()
        assert row is not None and row["acknowledgement"] == "unacknowledged"
        connection.execute("GRANT EXECUTE ON FUNCTION append_audit TO PUBLIC")


def test_a_session_is_kept_as_a_hash(client: TestClient, site: dict[str, Any]) -> None:
    token = bearer(client, site, "guard")["Authorization"].removeprefix("Bearer ")
    with connect(site["dsn"]) as connection:
        rows = connection.execute("SELECT token_hash, user_id FROM sessions").fetchall()
    assert sessions.hash_token(token) in [
        bytes(row["token_hash"]) for row in rows
    ] and token not in str(rows)
    assert Role.GUARD and time
