"""Fixtures: real servers, each started by the tests themselves on loopback, and fresh databases at
both levels.

What cannot run on a machine is skipped by name with the reason, and `-ra` prints it.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from anju.demo import embedded
from anju.demo.embedded import Broker, Postgres, Redis
from store.database import connection as store_connect
from store.database.connection import Connection, connect
from store.database.migration import Level, migrate

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ANJU_TEST_DATA", ROOT.parent / "shared" / "dev-data"))
SEED = int(os.environ.get("PYTEST_SEED", "20261121"))
_numbers = itertools.count(1)
# Properties are tried on the same examples every time; another PYTEST_SEED lets them draw new ones,
# and prints how to repeat a failure. How fast examples are made says how busy the machine is, and
# nothing of ours.
settings.register_profile(
    "anju",
    derandomize="PYTEST_SEED" not in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("anju")


def pytest_report_header() -> str:
    return (
        f"seed {SEED} (PYTEST_SEED); real meters {'at ' + DATA.name if DATA.exists() else 'absent'}"
    )


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ANJU_") and not name.startswith(("ANJU_TEST_", "ANJU_PG_BIN")):
            monkeypatch.delenv(name)


@pytest.fixture
def rng() -> random.Random:
    return random.Random(SEED)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres(servers: Path) -> Iterator[Postgres]:
    server = embedded.start_postgres(servers / "postgres", options={"fsync": "off"})
    yield server
    server.child.stop()
    # Hundreds of databases take minutes to remove; nobody has to wait for that.
    place = embedded.root_place(servers / "postgres")
    subprocess.run(["sh", "-c", 'rm -rf "$0" >/dev/null 2>&1 &', str(place)], check=False)


@pytest.fixture(scope="session")
def broker(servers: Path) -> Iterator[Broker]:
    if embedded.find_program("mosquitto") is None:
        pytest.skip("mosquitto is not on this machine")
    server = embedded.start_broker(servers / "broker")
    yield server
    server.child.stop()


@pytest.fixture(scope="session")
def redis(servers: Path) -> Iterator[Redis]:
    server = embedded.start_redis(servers / "redis")
    yield server
    server.child.stop()


@pytest.fixture(scope="session")
def _template(postgres: Postgres) -> str:
    dsn = embedded.make_database(postgres, "template_anju")
    migrate(dsn, level=Level.PLAIN)
    return dsn


@pytest.fixture(scope="session")
def timescale(servers: Path) -> Iterator[str]:
    """The connection string of a server that has TimescaleDB: a DSN, a bin directory, or the usual
    install places.
    """
    dsn = os.environ.get("ANJU_TEST_TIMESCALE_DSN")
    if dsn:
        yield dsn
        return
    binaries = embedded.find_timescale(os.environ.get("ANJU_TEST_TIMESCALE_BIN"))
    if binaries is None:
        pytest.skip(
            "no PostgreSQL with TimescaleDB: set ANJU_TEST_TIMESCALE_DSN or ANJU_TEST_TIMESCALE_BIN"
        )
    server = embedded.start_postgres(
        servers / "timescale",
        options={"fsync": "off", "shared_preload_libraries": "timescaledb"},
        binaries=binaries,
    )
    yield server.dsn("postgres")
    server.child.stop()
    embedded.remove_root_place(servers / "timescale")


@pytest.fixture
def dsn(postgres: Postgres, _template: str) -> str:
    """A fresh database at the plain level."""
    name = f"test_{next(_numbers)}"
    store_connect.make_database(postgres.dsn("postgres"), name, template="template_anju")
    return postgres.dsn(name)


@pytest.fixture
def timescale_dsn(timescale: str) -> Iterator[str]:
    """A fresh database at the timescale level, dropped afterwards: the server may be somebody's."""
    name = f"anju_test_{os.getpid()}_{next(_numbers)}"
    # TimescaleDB looks into template1 now and then, and what is looked at cannot be copied.
    store_connect.make_database(timescale, name, template="template0")
    dsn = store_connect.with_database(timescale, name)
    assert migrate(dsn) is Level.TIMESCALE
    yield dsn
    store_connect.drop_database(timescale, name)


@pytest.fixture(params=["plain", "timescale"])
def any_dsn(request: pytest.FixtureRequest) -> str:
    """A fresh database at each level: what is promised holds on both."""
    return str(request.getfixturevalue("dsn" if request.param == "plain" else "timescale_dsn"))


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    with connect(dsn) as opened:
        yield opened


@pytest.fixture
def any_connection(any_dsn: str) -> Iterator[Connection]:
    with connect(any_dsn) as opened:
        yield opened
