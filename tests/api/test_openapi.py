"""The API as its document promises it: schemathesis sends what fits and what does not, over a real socket, as several roles."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from analytics.policy import load_policy
from anju.processes import answers, free_port
from api import schema
from api.app import SiteSettings, create_app
from crypto.sealed_values import Scheme
from domain.access import Role
from privacy.keyring import KeyFile, save_keyring, with_new_key
from store.database.connection import connect, open_pool
from store.live.bus import LiveBus
from tests.api.world import build, token
from tests.conftest import ROOT, SEED

pytestmark = [pytest.mark.real, pytest.mark.long]
#: A stream that does not end, and the ways to end the log-in that asks.
NOT_ASKED = ["streamAlerts", "logOut", "changePassword"]


@pytest.fixture
def served(dsn: str, tmp_path: Path) -> Iterator[str]:
    ring = with_new_key(None, Scheme.AES_256_GCM)
    save_keyring(tmp_path / "keys.toml", ring)
    with connect(dsn) as connection:
        build(connection, ring)
    pool, port = open_pool(dsn, size=8), free_port()
    app = create_app(
        pool,
        LiveBus(None),
        load_policy(),
        SiteSettings(keys=KeyFile(tmp_path / "keys.toml"), slack=1_000_000),
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not answers(port):
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    pool.close()


@pytest.mark.parametrize(
    "role", [Role.ADMINISTRATOR, Role.COMPLIANCE, Role.PRIVACY_OFFICER, None], ids=str
)
def test_it_holds_what_it_promises(served: str, role: Role | None, tmp_path: Path) -> None:
    """All checks, no failure: statuses, bodies and headers as documented, no server error, nothing without a log-in."""
    command: list[Any] = [
        Path(sys.executable).parent / "schemathesis",
        "--config-file",
        ROOT / "tests" / "api" / "schemathesis.toml",
        "run",
        f"{served}/api/v1/openapi.json",
        "--checks",
        "all",
        "--phases",
        "examples,coverage,fuzzing",
        "-n",
        "15",
        "--seed",
        str(SEED),
        "--continue-on-failure",
        "--generation-database",
        "none",
        "--workers",
        "1",
    ]
    command += [part for name in NOT_ASKED for part in ("--exclude-operation-id", name)]
    if role is not None:
        command += ["-H", f"Authorization: Bearer {token(role, 'all')}"]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=280,
        check=False,
    )
    cases = re.search(r"(\d+) generated", done.stdout)
    print(role, cases and cases[0])
    assert done.returncode == 0, done.stdout[-6000:]
    assert cases is not None and int(cases[1]) > 1000 and schema.guards_of
