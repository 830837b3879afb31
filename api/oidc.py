"""A bureau's own directory of people (OpenID Connect Core 1.0): the authorization code flow with PKCE, and what its answer must hold.

One directory is trusted, by its issuer; its addresses come from its discovery document and its keys are read anew when a token names one
that is not known. What it says of a person is believed only from a signed ID token that was made for us, now, and for this log-in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

TIMEOUT_S = 5.0
#: Signatures that are believed: never `none`, never a shared secret.
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
#: Methods of RFC 8176 that a second factor has had a part in.
SECOND_FACTORS = frozenset({"mfa", "otp", "hwk", "swk", "fpt"})
_KEPT_S = 3600.0
_LEEWAY_S = 30


class OidcTokenRejected(Exception):
    """The directory's answer is not believed; the message says why, for the log and not for the person."""


class OidcUnavailable(Exception):
    """The directory does not answer as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcClaims:
    """What an ID token says of a person."""

    subject: str
    second_factor: bool


class OidcProvider:
    """One trusted directory."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        redirect_uri: str,
        claim: str = "sub",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer.rstrip("/")
        self._client_id, self._secret, self._redirect, self._claim = (
            client_id,
            client_secret,
            redirect_uri,
            claim,
        )
        self._clock, self._lock = clock, threading.Lock()
        self._found: tuple[float, dict[str, Any], KeySet] | None = None

    def address(self, state: str, nonce: str, verifier: str) -> str:
        """Return where a person's browser is sent to log in.

        Raises: OidcUnavailable.
        """
        client = OAuth2Client(
            None,
            self._client_id,
            scope="openid",
            redirect_uri=self._redirect,
            code_challenge_method="S256",
        )
        where = self._known()[0]["authorization_endpoint"]
        url, _ = client.create_authorization_url(
            where, state=state, code_verifier=verifier, nonce=nonce
        )
        return str(url)

    def redeem(self, code: str, nonce: str, verifier: str) -> OidcClaims:
        """Turn a code into what the directory says of a person.

        Raises: OidcUnavailable, OidcTokenRejected.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": self._client_id,
            "code_verifier": verifier,
        }
        auth = (self._client_id, self._secret) if self._secret is not None else None
        answer = _ask("POST", self._known()[0]["token_endpoint"], data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcTokenRejected("the answer holds no ID token")
        return self.believe(token, nonce)

    def believe(self, token: str, nonce: str) -> OidcClaims:
        """Check an ID token (OpenID Connect Core 1.0, 3.1.3.7).

        Raises: OidcTokenRejected, OidcUnavailable.
        """
        try:
            try:
                found = jwt.decode(token, self._known()[1], algorithms=ALGORITHMS)
            except (JoseError, ValueError):
                # A key that was changed since: read them once more, then it counts.
                found = jwt.decode(token, self._known(anew=True)[1], algorithms=ALGORITHMS)
            claims = CodeIDToken(
                found.claims,
                found.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self._client_id},
                },
                params={"nonce": nonce, "client_id": self._client_id},
            )
            claims.validate(now=int(self._clock()), leeway=_LEEWAY_S)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise OidcTokenRejected(f"{type(error).__name__}: {error}"[:200]) from None
        subject, methods = claims.get(self._claim), claims.get("amr")
        if (
            claims.get("nonce") != nonce
            or not isinstance(subject, str)
            or not 0 < len(subject) <= 200
            or "\x00" in subject
        ):
            raise OidcTokenRejected("no nonce of ours, or nobody it is about")
        strong = isinstance(methods, list) and bool(
            SECOND_FACTORS.intersection(m for m in methods if isinstance(m, str))
        )
        return OidcClaims(subject=subject, second_factor=strong)

    def _known(self, *, anew: bool = False) -> tuple[dict[str, Any], KeySet]:
        with self._lock:
            held = self._found
            # Nobody makes us read its keys more than every few seconds by sending bad tokens.
            if held is not None and self._clock() - held[0] < (5.0 if anew else _KEPT_S):
                return held[1], held[2]
            document = _ask("GET", f"{self.issuer}/.well-known/openid-configuration")
            if document.get("issuer") != self.issuer:
                raise OidcUnavailable(f"the document at {self.issuer} is of another issuer")
            try:
                keys = KeySet.import_key_set(_ask("GET", document["jwks_uri"]))  # type: ignore[arg-type]
                document["authorization_endpoint"], document["token_endpoint"]
            except (KeyError, ValueError, JoseError) as error:
                raise OidcUnavailable(
                    f"the directory's document or keys cannot be used: {error!r}"[:200]
                ) from None
            self._found = (self._clock(), document, keys)
            return document, keys


def _ask(method: str, url: str, **more: Any) -> dict[str, Any]:
    if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise OidcUnavailable("the directory is reached over https only")
    try:
        with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            answer = client.request(method, url, headers={"Accept": "application/json"}, **more)
            body = answer.json() if len(answer.content) < 1_000_000 else None
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise OidcUnavailable(f"{type(error).__name__}: {error}"[:200]) from None
    if answer.status_code in (400, 401):
        raise OidcTokenRejected(f"the directory answered {answer.status_code}")
    if answer.status_code != 200 or not isinstance(body, dict):
        raise OidcUnavailable(f"the directory answered {answer.status_code}")
    return body
