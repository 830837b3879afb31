"""Log-in with the bureau's own directory, against a provider of our own on a real socket: the way
through, and every way that must fail.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from analytics.policy import load_policy
from api import sign_in
from api.app import SiteSettings, create_app
from api.oidc import ALGORITHMS, OidcClient, OidcProvider, OidcTokenRejected, OidcUnavailable
from domain.access import Role
from store.access import users
from store.access.users import OidcIdentity
from store.database.connection import connect, open_pool
from store.live.bus import LiveBus
from tests.api.test_api import is_problem

pytestmark = pytest.mark.real


class Provider:
    """A directory with one person; what it says next can be bent."""

    def __init__(self) -> None:
        self.key, self.stranger = (
            RSAKey.generate_key(2048, {"kid": "k1"}),
            RSAKey.generate_key(2048, {"kid": "k1"}),
        )
        self.codes: dict[str, dict[str, str]] = {}
        self.claims: dict[str, Any] = {}
        self.sign_with: Any = self.key
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "k1"}
        self.asked: list[str] = []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def _say(self, status: int, body: Any) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if self.path == "/.well-known/openid-configuration":
                    base = provider.issuer
                    self._say(
                        200,
                        {
                            "issuer": base,
                            "authorization_endpoint": f"{base}/authorize",
                            "token_endpoint": f"{base}/token",
                            "jwks_uri": f"{base}/keys",
                        },
                    )
                else:
                    self._say(200, {"keys": [provider.key.as_dict(private=False)]})

            def do_POST(self) -> None:
                form = {
                    k: v[0]
                    for k, v in parse_qs(
                        self.rfile.read(int(self.headers["Content-Length"])).decode()
                    ).items()
                }
                held = provider.codes.pop(form.get("code", ""), None)
                challenge = (
                    base64.urlsafe_b64encode(
                        hashlib.sha256(form.get("code_verifier", "").encode()).digest()
                    )
                    .rstrip(b"=")
                    .decode()
                )
                right = "Basic " + base64.b64encode(b"anju:shared").decode()
                if (
                    held is None
                    or held["code_challenge"] != challenge
                    or self.headers.get("Authorization") != right
                ):
                    self._say(400, {"error": "invalid_grant"})
                    return
                claims = {
                    "iss": provider.issuer,
                    "aud": "anju",
                    "sub": "u-77",
                    "exp": int(time.time()) + 60,
                    "iat": int(time.time()),
                    "nonce": held["nonce"],
                    **provider.claims,
                }
                token = jwt.encode(
                    provider.header,
                    {k: v for k, v in claims.items() if v is not None},
                    provider.sign_with,
                    algorithms=[provider.header["alg"]],
                )
                self._say(200, {"access_token": "x", "token_type": "Bearer", "id_token": token})

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def authorize(self, location: str) -> tuple[str, str]:
        """Do what a person's browser does there; returns code and state."""
        asked = {k: v[0] for k, v in parse_qs(urlsplit(location).query).items()}
        assert (
            asked["code_challenge_method"] == "S256"
            and asked["scope"] == "openid"
            and asked["response_type"] == "code"
        )
        code = f"code-{len(self.codes)}-{time.monotonic_ns()}"
        self.codes[code] = asked
        return code, asked["state"]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def client(dsn: str, provider: Provider) -> Iterator[TestClient]:
    with connect(dsn) as connection:
        made = users.add_user(
            connection,
            "li",
            None,
            Role.AUDITOR,
            identity=OidcIdentity(issuer=provider.issuer, subject="u-77"),
        )
        users.add_grant(connection, made, by="test")
    pool = open_pool(dsn, size=4)
    directory = OidcProvider(
        provider.issuer,
        OidcClient(
            client_id="anju",
            client_secret="shared",
            redirect_uri="https://anju.example/oidc/callback",
        ),
    )
    with TestClient(
        create_app(
            pool, LiveBus(None), load_policy(), SiteSettings(directory=directory, slack=100)
        ),
        raise_server_exceptions=False,
    ) as made_client:
        yield made_client
    pool.close()


def begin(client: TestClient, provider: Provider) -> tuple[str, str]:
    answer = client.get("/oidc/start", follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"].startswith(provider.issuer)
    return provider.authorize(answer.headers["location"])


def finish(client: TestClient, code: str, state: str, **more: str) -> Any:
    return client.get(
        "/oidc/callback", params={"code": code, "state": state, **more}, follow_redirects=False
    )


def test_the_way_through_and_no_further_than_one_factor(
    client: TestClient, provider: Provider
) -> None:
    code, state = begin(client, provider)
    answer = finish(client, code, state, iss=provider.issuer)
    assert (
        answer.status_code == 200
        and "anju_session=" in answer.headers["set-cookie"]
        and "HttpOnly" in answer.headers["set-cookie"]
    )
    me = client.get("/api/v1/session").json()
    assert (me["name"], me["role"], me["second_factor"]) == ("li", "auditor", False)
    provider.claims = {"amr": ["pwd", "otp"]}
    finish(client, *begin(client, provider))
    assert client.get("/api/v1/session").json()["second_factor"] is True
    # There is no password here, so none fits.
    is_problem(
        client.post("/api/v1/session", json={"name": "li", "password": "anything at all"}),
        401,
        "wrong_log_in",
    )


def test_a_code_a_state_and_a_browser_are_used_once(client: TestClient, provider: Provider) -> None:
    code, state = begin(client, provider)
    assert finish(client, code, state).status_code == 200
    is_problem(finish(client, code, state), 403, "sign_in")
    code, state = begin(client, provider)
    is_problem(finish(client, code, "another-state"), 403, "sign_in")
    client.cookies.delete(sign_in.BROWSER_COOKIE)
    is_problem(finish(client, code, state), 403, "sign_in")
    # A log-in that somebody else began does not become mine: their state is not of my browser.
    code, state = begin(client, provider)
    begin(client, provider)
    is_problem(finish(client, code, state), 403, "sign_in")
    code, state = begin(client, provider)
    is_problem(finish(client, code, state, iss="https://other.example"), 403, "sign_in")
    _, state = begin(client, provider)
    is_problem(finish(client, "made-up-code", state), 403, "sign_in")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"aud": "another"},
        {"aud": ["another"]},
        {"exp": 1},
        {"exp": None},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
        {"sub": 7},
        {"sub": ""},
        {"aud": ["anju", "another"], "azp": "another"},
        {"iat": 4_000_000_000},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_us_now_is_not_believed(
    client: TestClient, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    is_problem(finish(client, *begin(client, provider)), 403, "sign_in")
    assert client.get("/api/v1/session").status_code == 401


def test_a_token_that_another_key_signed_is_not_believed(
    client: TestClient, provider: Provider
) -> None:
    provider.sign_with = provider.stranger
    is_problem(finish(client, *begin(client, provider)), 403, "sign_in")
    # The directory's public key taken for a shared secret, an unknown key, and no signature at all.
    directory = OidcProvider(
        provider.issuer, OidcClient(client_id="anju", client_secret=None, redirect_uri="x")
    )
    claims = {
        "iss": provider.issuer,
        "aud": "anju",
        "sub": "u-77",
        "exp": int(time.time()) + 60,
        "iat": int(time.time()),
        "nonce": "n",
    }
    good = jwt.encode({"alg": "RS256", "kid": "k1"}, claims, provider.key)
    assert directory.verify_token(good, "n").subject == "u-77"
    public = provider.key.as_pem(private=False)
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    bad = [
        _confused(part, claims, public),
        jwt.encode({"alg": "ES256", "kid": "../../dev/null"}, claims, ECKey.generate_key("P-256")),
        f"{part({'alg': 'none'})}.{part(claims)}.",
        f"{part({'alg': 'none', 'kid': 'k1'})}.{part(claims)}.x",
        "a.b.c",
        "",
        good[:-4],
        good + "A",
    ]
    for token in bad:
        with pytest.raises(OidcTokenRejected):
            directory.verify_token(token, "n")
    with pytest.raises(OidcTokenRejected):
        directory.verify_token(good, "another")
    assert "none" not in ALGORITHMS and not any(a.startswith("HS") for a in ALGORITHMS)
    assert provider.asked.count("/keys") < 12, "bad tokens do not make us ask again and again"


def _confused(part: Any, claims: dict[str, Any], public: bytes) -> str:
    """A token that takes the directory's public key for a shared secret."""
    text = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{part(claims)}"
    return (
        text
        + "."
        + base64.urlsafe_b64encode(hmac.digest(public, text.encode(), "sha256"))
        .rstrip(b"=")
        .decode()
    )


def test_keys_that_were_changed_are_read_anew(provider: Provider) -> None:
    now = [time.time()]
    directory = OidcProvider(
        provider.issuer,
        OidcClient(client_id="anju", client_secret=None, redirect_uri="x"),
        clock=lambda: now[0],
    )
    claims = {
        "iss": provider.issuer,
        "aud": "anju",
        "sub": "u-77",
        "exp": int(now[0]) + 600,
        "iat": int(now[0]),
        "nonce": "n",
    }
    assert directory.verify_token(
        jwt.encode({"alg": "RS256", "kid": "k1"}, claims, provider.key), "n"
    )
    provider.key = RSAKey.generate_key(2048, {"kid": "k2"})
    now[0] += 10
    assert directory.verify_token(
        jwt.encode({"alg": "RS256", "kid": "k2"}, claims, provider.key), "n"
    )


def test_whom_the_directory_knows_and_we_do_not(
    client: TestClient, provider: Provider, dsn: str
) -> None:
    provider.claims = {"sub": "u-78"}
    is_problem(finish(client, *begin(client, provider)), 403, "no_log_in")
    provider.claims = {}
    with connect(dsn) as connection:
        connection.execute("UPDATE users SET disabled_at = now()")
    is_problem(finish(client, *begin(client, provider)), 403, "no_log_in")


def test_a_directory_that_is_away_or_somebody_else(client: TestClient, provider: Provider) -> None:
    code, state = begin(client, provider)
    provider.server.shutdown()
    provider.server.server_close()
    is_problem(finish(client, code, state), 503, "directory_away")
    gone = OidcProvider(
        "http://127.0.0.1:1", OidcClient(client_id="a", client_secret=None, redirect_uri="x")
    )
    with pytest.raises(OidcUnavailable):
        gone.authorization_url("s", "n", "v")
    with pytest.raises(OidcUnavailable, match="https only"):
        OidcProvider(
            "http://directory.example",
            OidcClient(client_id="a", client_secret=None, redirect_uri="x"),
        ).authorization_url("s", "n", "v")


def test_a_site_without_a_directory(dsn: str) -> None:
    pool = open_pool(dsn, size=2)
    with TestClient(create_app(pool, LiveBus(None), load_policy())) as client:
        is_problem(client.get("/oidc/start", follow_redirects=False), 404, "no_directory")
        is_problem(client.get("/oidc/callback?code=a&state=b"), 404, "no_directory")
    pool.close()
