"""The bureau's own directory of people (OpenID Connect Core 1.0): the authorization code flow with
PKCE, and the check of its ID tokens.

One directory is trusted, by its issuer. Its addresses come from its discovery document; its keys
are read again when a token names an unknown key. Its claims about a person are accepted only from a
signed ID token that was made for this site, now, and for this log-in.
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
#: Signature algorithms that are accepted: never `none`, never a shared secret.
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
#: Authentication methods (RFC 8176) that include a second factor.
SECOND_FACTORS = frozenset({"mfa", "otp", "hwk", "swk", "fpt"})
#: Seconds after which the discovery document and the keys are read again.
_METADATA_S = 3600.0
#: Seconds between two reads because of an unknown key, so that bad tokens cannot make us read all
#: the time.
_REFRESH_S = 5.0
_LEEWAY_S = 30
MAX_DOCUMENT_BYTES = 1_000_000


class OidcTokenRejected(Exception):
    """The directory's answer is not accepted; the message says why, for the log and not for the
    person.
    """


class OidcUnavailable(Exception):
    """The directory does not answer as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcClaims:
    """What an ID token says of a person.

    `second_factor` tells whether the directory has asked for one.
    """

    subject: str
    second_factor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcMetadata:
    """The directory's addresses and keys, and when they were read, in seconds of the provider's
    clock.
    """

    read_at: float
    authorization_endpoint: str
    token_endpoint: str
    keys: KeySet


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcClient:
    """What the directory knows this site by, and the claim that names a person."""

    client_id: str
    client_secret: str | None
    redirect_uri: str
    claim: str = "sub"


class OidcProvider:
    """One trusted directory."""

    def __init__(
        self, issuer: str, client: OidcClient, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.issuer = issuer.rstrip("/")
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: OidcMetadata | None = None

    def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Return the address where a person's browser is sent to log in.

        Raises: OidcUnavailable.
        """
        client = OAuth2Client(
            None,
            self._client.client_id,
            scope="openid",
            redirect_uri=self._client.redirect_uri,
            code_challenge_method="S256",
        )
        endpoint = self._read_metadata(max_age_s=_METADATA_S).authorization_endpoint
        url, _ = client.create_authorization_url(
            endpoint, state=state, code_verifier=verifier, nonce=nonce
        )
        return str(url)

    def redeem(self, code: str, nonce: str, verifier: str) -> OidcClaims:
        """Exchange a code for the claims about a person.

        Raises: OidcUnavailable, OidcTokenRejected.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_uri,
            "client_id": self._client.client_id,
            "code_verifier": verifier,
        }
        auth = None
        if self._client.client_secret is not None:
            auth = (self._client.client_id, self._client.client_secret)
        endpoint = self._read_metadata(max_age_s=_METADATA_S).token_endpoint
        answer = _request_json("POST", endpoint, data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcTokenRejected("the answer holds no ID token")
        return self.verify_token(token, nonce)

    def verify_token(self, token: str, nonce: str) -> OidcClaims:
        """Check an ID token (OpenID Connect Core 1.0, 3.1.3.7) and return its claims.

        Raises: OidcTokenRejected, OidcUnavailable.
        """
        try:
            claims = self._decode(token, nonce)
            claims.validate(now=int(self._clock()), leeway=_LEEWAY_S)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise OidcTokenRejected(f"{type(error).__name__}: {error}"[:200]) from None
        subject = claims.get(self._client.claim)
        if claims.get("nonce") != nonce or not _is_subject(subject):
            raise OidcTokenRejected("no nonce of ours, or nobody it is about")
        return OidcClaims(subject=subject, second_factor=_has_second_factor(claims.get("amr")))

    def _decode(self, token: str, nonce: str) -> CodeIDToken:
        try:
            keys = self._read_metadata(max_age_s=_METADATA_S).keys
            decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            # The directory may have changed its key since: read the keys once more.
            keys = self._read_metadata(max_age_s=_REFRESH_S).keys
            decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
        return CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": self.issuer},
                "aud": {"essential": True, "value": self._client.client_id},
            },
            params={"nonce": nonce, "client_id": self._client.client_id},
        )

    def _read_metadata(self, *, max_age_s: float) -> OidcMetadata:
        with self._lock:
            existing = self._metadata
            if existing is not None and self._clock() - existing.read_at < max_age_s:
                return existing
            document = _request_json("GET", f"{self.issuer}/.well-known/openid-configuration")
            if document.get("issuer") != self.issuer:
                raise OidcUnavailable(f"the document at {self.issuer} is of another issuer")
            try:
                key_set = _request_json("GET", document["jwks_uri"])
                self._metadata = OidcMetadata(
                    read_at=self._clock(),
                    authorization_endpoint=document["authorization_endpoint"],
                    token_endpoint=document["token_endpoint"],
                    keys=KeySet.import_key_set(key_set),  # type: ignore[arg-type]
                )
            except (KeyError, ValueError, JoseError) as error:
                raise OidcUnavailable(
                    f"the directory's document or keys cannot be used: {error!r}"[:200]
                ) from None
            return self._metadata


def _is_subject(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and "\x00" not in value


def _has_second_factor(methods: object) -> bool:
    if not isinstance(methods, list):
        return False
    return any(isinstance(method, str) and method in SECOND_FACTORS for method in methods)


def _request_json(method: str, url: str, **options: Any) -> dict[str, Any]:
    if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise OidcUnavailable("the directory is reached over https only")
    try:
        with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            answer = client.request(method, url, headers={"Accept": "application/json"}, **options)
            body = answer.json() if len(answer.content) < MAX_DOCUMENT_BYTES else None
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise OidcUnavailable(f"{type(error).__name__}: {error}"[:200]) from None
    if answer.status_code in (400, 401):
        raise OidcTokenRejected(f"the directory answered {answer.status_code}")
    if answer.status_code != 200 or not isinstance(body, dict):
        raise OidcUnavailable(f"the directory answered {answer.status_code}")
    return body
