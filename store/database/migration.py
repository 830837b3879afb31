"""Migrations: plain SQL, applied once, in order, under a lock, each with a checksum.

Version 1 is the baseline: the files of `store/migrations/baseline`, one per room, applied in the order of `BASELINE`
as one migration. Later versions are differences: `store/migrations/NNNN_name.sql`.

`name.sql` is for every database, `name.plain.sql` and `name.timescale.sql` are for one capability level, and
`name.timescale-community.sql` is for TimescaleDB under its community licence. The level is found when the first
migration runs and then stays. A migration with the line `-- no-transaction` is run statement by statement.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, cast

import structlog

from domain.errors import UserError
from store.database.connection import Connection, DatabaseError, advisory_lock, connect

log = structlog.get_logger()


class Level(StrEnum):
    """What the database can do."""

    PLAIN = "plain"
    TIMESCALE = "timescale"


#: The flavour that needs TimescaleDB's community licence.
COMMUNITY = "timescale-community"


class MigrationError(UserError):
    """The database and the files do not agree; the message says which file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """The baseline of one level, or one difference. `flavour` is None where it is for every database."""

    version: int
    name: str
    flavour: str | None
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


#: The rooms of the baseline, in the order in which their files are applied: each rests on those before it.
BASELINE = (
    "reader",
    "register",
    "gateways",
    "series",
    "ingest",
    "facts",
    "findings",
    "visits",
    "alerts",
    "access",
    "notices",
    "audit",
    "people",
    "faces",
    "row_security",
)
#: The rooms that only TimescaleDB under its community licence has.
BASELINE_COMMUNITY = ("columnstore",)

_BASELINE_NAME = re.compile(r"([a-z_]+)(?:\.(plain|timescale|timescale-community))?\.sql")
_DIFFERENCE_NAME = re.compile(r"(\d{4})_([a-z_]+)(?:\.(plain|timescale|timescale-community))?\.sql")


def list_migrations() -> list[Migration]:
    """Read the migrations that ship with Anju, in order: the baseline of each level, then the differences.

    Raises: MigrationError for a file whose name does not fit.
    """
    directory = files("store").joinpath("migrations")
    return [
        *read_baseline(directory.joinpath("baseline")),
        *read_differences(directory),
    ]


def read_baseline(directory: Traversable) -> list[Migration]:
    """Read the baseline: one migration for each level, and one for the community licence.

    Raises: MigrationError for a file that is not in `BASELINE`, and for a room without a file.
    """
    texts = _read_rooms(directory)
    return [
        Migration(version=1, name="baseline", flavour=flavour, sql=_join(texts, rooms, flavour))
        for flavour, rooms in (
            (str(Level.PLAIN), BASELINE),
            (str(Level.TIMESCALE), BASELINE),
            (COMMUNITY, BASELINE_COMMUNITY),
        )
    ]


def _read_rooms(directory: Traversable) -> dict[tuple[str, str | None], str]:
    texts = {}
    for entry in directory.iterdir():
        match = _BASELINE_NAME.fullmatch(entry.name)
        if match is None or match[1] not in (*BASELINE, *BASELINE_COMMUNITY):
            raise MigrationError(
                f"store/migrations/baseline/{entry.name}: the name must be room[.flavour].sql, "
                "with a room of BASELINE in store/database/migration.py"
            )
        texts[match[1], match[2]] = entry.read_text("utf-8")
    return texts


def _join(texts: dict[tuple[str, str | None], str], rooms: tuple[str, ...], flavour: str) -> str:
    """Join the rooms' texts: the one for every database, or the one of this flavour."""
    parts = []
    for room in rooms:
        text = texts.get((room, None)) or texts.get((room, flavour))
        if text is None:
            raise MigrationError(
                f"store/migrations/baseline: the room {room} has no file for {flavour}"
            )
        parts.append(text)
    return "\n".join(parts)


def read_differences(directory: Traversable) -> list[Migration]:
    """Read the migrations after the baseline, in order.

    Raises: MigrationError for a name that does not fit, and for a version that is not above 1.
    """
    differences = []
    for entry in directory.iterdir():
        if not entry.is_file():
            continue
        match = _DIFFERENCE_NAME.fullmatch(entry.name)
        if match is None or int(match[1]) < 2:
            raise MigrationError(
                f"store/migrations/{entry.name}: the name must be NNNN_name[.flavour].sql, from 0002 on"
            )
        differences.append(
            Migration(
                version=int(match[1]),
                name=match[2],
                flavour=match[3],
                sql=entry.read_text("utf-8"),
            )
        )
    return sorted(differences, key=lambda m: (m.version, m.flavour or ""))


def migrate(dsn: str, *, level: Level | None = None, upto: int | None = None) -> Level:
    """Bring the database to the newest version (or to `upto`) and return its capability level.

    `level` forces one for a new database; None takes TimescaleDB where it is installed.
    Raises: MigrationError where a file changed after it was applied, or the level asked for is not the database's.
    """
    with connect(dsn, autocommit=True) as connection, advisory_lock(connection, "anju migrate"):
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version integer, name text, flavour text NOT NULL, "
            "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (version, flavour))"
        )
        chosen = _settle_level(connection, level)
        flavours = {None, *_flavours(connection, chosen)}
        applied = {
            (row["version"], row["flavour"]): row["checksum"]
            for row in connection.execute(
                "SELECT version, flavour, checksum FROM schema_migrations"
            )
        }
        for migration in list_migrations():
            if migration.flavour not in flavours or (upto is not None and migration.version > upto):
                continue
            if migration.flavour == COMMUNITY:
                _try_accelerator(connection, migration, applied)
                continue
            known = applied.get((migration.version, migration.flavour or ""))
            if known is None:
                _apply(connection, migration)
            elif known != migration.checksum:
                raise MigrationError(
                    f"migration {migration.version:04d}_{migration.name} was changed after this database applied it; "
                    "restore the file and put the change into a new migration"
                )
        return chosen


def list_pending(connection: Connection) -> list[str]:
    """List the migrations that a database of its level still lacks; all of them for an empty one."""
    row = connection.execute(
        "SELECT to_regclass('schema_migrations') IS NOT NULL AS made"
    ).fetchone()
    applied = set()
    if row and row["made"]:
        applied = {
            (r["version"], r["flavour"])
            for r in connection.execute("SELECT version, flavour FROM schema_migrations")
        }
    level = level_of(connection) or Level.PLAIN
    return [
        f"{one.version:04d}_{one.name}"
        for one in list_migrations()
        if one.flavour in (None, str(level)) and (one.version, one.flavour or "") not in applied
    ]


def level_of(connection: Connection) -> Level | None:
    """Return the level at which a database was made, or None for one that holds nothing yet."""
    row = connection.execute("SELECT to_regclass('readings') IS NOT NULL AS made").fetchone()
    if not row or not row["made"]:
        return None
    row = connection.execute(
        "SELECT relkind FROM pg_class WHERE oid = 'readings'::regclass"
    ).fetchone()
    return Level.PLAIN if row and row["relkind"] in ("p", b"p") else Level.TIMESCALE


def _settle_level(connection: Connection, wanted: Level | None) -> Level:
    made = level_of(connection)
    if made is not None:
        if wanted is not None and wanted is not made:
            raise MigrationError(
                f"this database was made at level {made}, not {wanted}; use level={made} or a new database"
            )
        return made
    row = connection.execute(
        "SELECT count(*) AS n FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    available = bool(row and row["n"])
    if wanted is Level.TIMESCALE and not available:
        raise MigrationError(
            "level timescale was asked for, but the server has no timescaledb extension; install it or use plain"
        )
    if wanted is Level.PLAIN or not available:
        return Level.PLAIN
    connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    return Level.TIMESCALE


def _flavours(connection: Connection, level: Level) -> list[str]:
    if level is Level.PLAIN:
        return ["plain"]
    row = connection.execute(
        "SELECT current_setting('timescaledb.license', true) AS licence"
    ).fetchone()
    community = row is not None and row["licence"] == "timescale"
    return ["timescale", COMMUNITY] if community else ["timescale"]


def _try_accelerator(
    connection: Connection, migration: Migration, applied: dict[tuple[int, str], str]
) -> None:
    """Apply what only makes old data smaller and charts faster; without it everything works, so a failure is said, not raised.

    Every statement in such a file can be repeated, and the next `migrate` tries again.
    """
    if (migration.version, COMMUNITY) in applied:
        return
    try:
        _apply(connection, migration)
    except DatabaseError as error:
        log.warning(
            "accelerator_not_applied", migration=migration.name, error=str(error).strip()[:300]
        )


def _apply(connection: Connection, migration: Migration) -> None:
    record = (
        "INSERT INTO schema_migrations (version, name, flavour, checksum) VALUES (%s, %s, %s, %s)"
    )
    values = [migration.version, migration.name, migration.flavour or "", migration.checksum]
    # The files ship with the code and hold no input: they are as literal as a string in it.
    sql: Any = migration.sql
    if "\n-- no-transaction\n" in migration.sql:
        body = "\n".join(line for line in migration.sql.splitlines() if not line.startswith("--"))
        for statement in body.split(";\n"):
            if statement.strip():
                connection.execute(cast(Any, statement))
        connection.execute(record, values)
        return
    with connection.transaction():
        connection.execute(sql)
        connection.execute(record, values)
