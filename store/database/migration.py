"""Migrations: plain SQL, applied once, in order, under a lock, each with a checksum.

Version 1 is the baseline: the files of `store/migrations/baseline`, one per room, applied in the
order of `BASELINE` as one migration. Later versions are differences:
`store/migrations/NNNN_name.sql`.

`name.sql` is for every database, `name.plain.sql` and `name.timescale.sql` are for one capability
level, and `name.timescale-community.sql` is for TimescaleDB under its community licence. The level
is found when the first migration runs and then stays. A migration with the line `-- no-transaction`
is run statement by statement.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable

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


#: Version and flavour; the flavour is empty where the migration is for every database.
MigrationKey = tuple[int, str]


class MigrationError(UserError):
    """The database and the files do not agree; the message says which file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """The baseline of one level, or one difference. `flavour` is None where it is for every
    database.
    """

    version: int
    name: str
    flavour: str | None
    sql: str

    @property
    def key(self) -> MigrationKey:
        """Version and flavour, as schema_migrations knows it."""
        return self.version, self.flavour or ""

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


#: The rooms of the baseline, in the order in which their files are applied: each rests on those
#: before it.
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
    """Read the migrations that ship with Anju, in order: the baseline of each level, then the
    differences.

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
                f"store/migrations/{entry.name}: the name must be NNNN_name[.flavour].sql, "
                "from 0002 on"
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
    Raises: MigrationError where a file changed after it was applied, or the level asked for is
    not the database's.
    """
    with connect(dsn, autocommit=True) as connection, advisory_lock(connection, "anju migrate"):
        connection.execute(_CREATE_SCHEMA_MIGRATIONS)
        chosen = _settle_level(connection, level)
        flavours = {None, *_flavours(connection, chosen)}
        checksums = _applied_checksums(connection)
        for migration in list_migrations():
            beyond = upto is not None and migration.version > upto
            if migration.flavour in flavours and not beyond:
                _apply_once(connection, migration, checksums.get(migration.key))
        return chosen


def list_pending(connection: Connection) -> list[str]:
    """List the migrations that a database of its level still lacks; all for an empty one."""
    level = level_of(connection) or Level.PLAIN
    applied = _applied_checksums(connection)
    return [
        f"{migration.version:04d}_{migration.name}"
        for migration in list_migrations()
        if migration.flavour in (None, str(level)) and migration.key not in applied
    ]


def level_of(connection: Connection) -> Level | None:
    """Return the level at which a database was made, or None for one that has no tables yet."""
    row = connection.execute(_READINGS_KIND).fetchone()
    if row is None:
        return None
    return Level.PLAIN if row["kind"] == "p" else Level.TIMESCALE


def _settle_level(connection: Connection, wanted: Level | None) -> Level:
    """Return the level of the database; a new one takes the level wanted, or the best that the
    server has.
    """
    existing = level_of(connection)
    if existing is not None:
        if wanted not in (None, existing):
            raise MigrationError(
                f"this database was made at level {existing}, not {wanted}; "
                f"use level={existing} or a new database"
            )
        return existing
    row = connection.execute(_TIMESCALE_AVAILABLE).fetchone()
    available = row is not None and row["available"]
    if wanted is Level.TIMESCALE and not available:
        raise MigrationError(
            "level timescale was asked for, but the server has no timescaledb extension; "
            "install it or use plain"
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


def _applied_checksums(connection: Connection) -> dict[MigrationKey, str]:
    """Read the checksum of each applied migration; empty for a database without any."""
    row = connection.execute("SELECT to_regclass('schema_migrations') AS name").fetchone()
    if row is None or row["name"] is None:
        return {}
    rows = connection.execute("SELECT version, flavour, checksum FROM schema_migrations")
    return {(row["version"], row["flavour"]): row["checksum"] for row in rows}


def _apply_once(connection: Connection, migration: Migration, applied: str | None) -> None:
    """Apply a migration, unless its checksum is on record.

    What needs the community licence only makes old data smaller and charts faster. Everything works
    without it, so its failure is logged, not raised. Its statements can all be repeated, and the
    next `migrate` tries again.
    """
    if applied is None and migration.flavour == COMMUNITY:
        try:
            _apply(connection, migration)
        except DatabaseError as error:
            reason = str(error).strip()[:300]
            log.warning("accelerator_not_applied", migration=migration.name, error=reason)
    elif applied is None:
        _apply(connection, migration)
    elif applied != migration.checksum and migration.flavour != COMMUNITY:
        raise MigrationError(
            f"migration {migration.version:04d}_{migration.name} was changed after this database "
            "applied it; restore the file and put the change into a new migration"
        )


def _apply(connection: Connection, migration: Migration) -> None:
    """Run a migration and put it on record."""
    # The files ship with the code and hold no input: they are as literal as a string in it.
    if "\n-- no-transaction\n" in migration.sql:
        for statement in _statements(migration.sql):
            connection.execute(statement)
        _record(connection, migration)
        return
    with connection.transaction():
        connection.execute(migration.sql)
        _record(connection, migration)


def _statements(sql: str) -> list[str]:
    """Split SQL into statements. A statement ends with a semicolon at the end of a line."""
    body = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    return [statement for statement in body.split(";\n") if statement.strip()]


def _record(connection: Connection, migration: Migration) -> None:
    connection.execute(
        """
        INSERT INTO schema_migrations (version, name, flavour, checksum)
        VALUES (%s, %s, %s, %s)
        """,
        [migration.version, migration.name, migration.flavour or "", migration.checksum],
    )


_CREATE_SCHEMA_MIGRATIONS = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version    integer,
        name       text,
        flavour    text        NOT NULL,
        checksum   text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (version, flavour)
    );
    COMMENT ON TABLE schema_migrations IS 'Migrations that this database has applied.';
    COMMENT ON COLUMN schema_migrations.version IS 'Number of the migration; 1 is the baseline.';
    COMMENT ON COLUMN schema_migrations.name IS 'Name of the migration.';
    COMMENT ON COLUMN schema_migrations.flavour IS
        'Capability level or licence that it is for; empty for every database.';
    COMMENT ON COLUMN schema_migrations.checksum IS 'SHA-256 of its text, hex.';
    COMMENT ON COLUMN schema_migrations.applied_at IS 'Instant at which it was applied.';
"""

_READINGS_KIND = """
    SELECT relkind::text AS kind
    FROM pg_class
    WHERE oid = to_regclass('readings')
"""

_TIMESCALE_AVAILABLE = """
    SELECT count(*) > 0 AS available
    FROM pg_available_extensions
    WHERE name = 'timescaledb'
"""
