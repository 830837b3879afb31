"""Running the application with uvicorn; the first start makes an administrator and prints the password once."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import uvicorn

from analytics.policy import load_policy
from api.app import create_app
from api.passwords import make_user
from casework.notices.rules import load_notices
from domain.access import Role
from store import users
from store.connect import connect, open_pool
from store.live import LiveBus


class ApiSettings(Protocol):
    """What the API needs of the settings."""

    redis_url: str | None
    api_host: str
    api_port: int
    cookie_secure: bool
    policy_file: Path | None
    authority_dir: Path | None
    notices_file: Path | None

    def conninfo(self) -> str:
        """Return the database's connection string."""
        ...


def serve(settings: ApiSettings) -> None:
    """Serve until told to stop."""
    with connect(settings.conninfo()) as connection:
        if users.count_users(connection) == 0:
            password = make_user(connection, "admin", Role.ADMINISTRATOR)
            print(f"first start: log in as admin with {password} and change it", flush=True)
    app = create_app(
        open_pool(settings.conninfo()),
        LiveBus(settings.redis_url),
        load_policy(settings.policy_file),
        cookie_secure=settings.cookie_secure,
        authority_dir=settings.authority_dir,
        site_notices=load_notices(settings.notices_file),
    )
    uvicorn.run(app, host=settings.api_host, port=settings.api_port, log_level="warning", timeout_graceful_shutdown=3)
