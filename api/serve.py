"""Running the application with uvicorn, as the database user that row-level security binds."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import uvicorn

from analytics.policy import load_policy
from api.app import SiteSettings, create_app
from api.clips import load_clip_places
from api.oidc import OidcClient, OidcProvider
from domain.errors import UserError
from notices.rules import load_notices
from privacy.keyring import KeyFile
from privacy.purposes import load_people_policy
from store.database.connection import open_pool
from store.live.bus import LiveBus
from store.live.rate_limits import Rates


class ApiSettings(Protocol):
    """What the API needs of the settings."""

    redis_url: str | None
    api_host: str
    api_port: int
    cookie_secure: bool
    api_cert_file: Path | None
    api_key_file: Path | None
    policy_file: Path | None
    authority_dir: Path | None
    notices_file: Path | None
    keys_file: Path | None
    people_policy_file: Path | None
    clips_file: Path | None
    oidc_issuer: str | None
    oidc_client_id: str | None
    oidc_redirect: str | None
    oidc_claim: str

    def conninfo(self) -> str:
        """Return the database's connection string."""
        ...

    def api_db_password(self) -> str | None:
        """Return the password of the API's own log-in at the database."""
        ...

    def oidc_client_secret(self) -> str | None:
        """Return the secret that we share with the bureau's directory."""
        ...


class BadDirectory(UserError):
    """The bureau's directory is set up in part only; the message names what is missing."""


def serve(settings: ApiSettings) -> None:
    """Serve until told to stop.

    Raises: BadDirectory, BadKeyring, BadPeoplePolicy.
    """
    site = SiteSettings(
        # A server with a certificate of its own never sends the cookie without HTTPS.
        cookie_secure=settings.cookie_secure or settings.api_cert_file is not None,
        authority_dir=settings.authority_dir,
        notices=load_notices(settings.notices_file),
        keys=KeyFile(settings.keys_file) if settings.keys_file else None,
        people=load_people_policy(settings.people_policy_file),
        clips=load_clip_places(settings.clips_file),
        directory=_load_directory(settings),
    )
    if site.keys is not None:
        site.keys.ring()
    app = create_app(
        open_pool(settings.conninfo(), password=settings.api_db_password()),
        LiveBus(settings.redis_url),
        load_policy(settings.policy_file),
        site,
        Rates(settings.redis_url),
    )
    uvicorn.run(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_level="warning",
        timeout_graceful_shutdown=3,
        ssl_certfile=settings.api_cert_file,
        ssl_keyfile=settings.api_key_file,
    )


def _load_directory(settings: ApiSettings) -> OidcProvider | None:
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client_id or not (settings.oidc_redirect or "").endswith("/oidc/callback"):
        raise BadDirectory(
            "ANJU_OIDC_ISSUER: set ANJU_OIDC_CLIENT_ID and "
            "ANJU_OIDC_REDIRECT=https://…/oidc/callback too"
        )
    client = OidcClient(
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret(),
        redirect_uri=settings.oidc_redirect or "",
        claim=settings.oidc_claim,
    )
    return OidcProvider(settings.oidc_issuer, client)
