"""The schema of both levels as documents, `docs/schema/plain.sql` and `timescale.sql`, from
databases made from nothing.

PostgreSQL is started for it. The level `timescale` needs one that has TimescaleDB; without it that
document stays as it is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from anju.demo import embedded
from store.database.connection import connect
from store.database.migration import Level, migrate
from store.database.schema_text import describe_schema


def write_schemas(directory: Path, timescale: Path | None) -> list[Path]:
    """Write the schema of each level that can be made here; returns the paths.

    `timescale` is the directory of binaries of a PostgreSQL with TimescaleDB, None where there is
    none. Raises: NotInstalled where there is no PostgreSQL.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [_write_schema(directory, Level.PLAIN, binaries=None)]
    if timescale is not None:
        paths.append(_write_schema(directory, Level.TIMESCALE, binaries=timescale))
    return paths


def _write_schema(directory: Path, level: Level, *, binaries: Path | None) -> Path:
    """Make a database at the level on a server of its own, and write its schema."""
    options = {"fsync": "off"}
    if level is Level.TIMESCALE:
        options["shared_preload_libraries"] = "timescaledb"
    with tempfile.TemporaryDirectory() as home:
        server = embedded.start_postgres(Path(home), options=options, binaries=binaries)
        try:
            dsn = embedded.make_database(server, "schema")
            migrate(dsn, level=level)
            with connect(dsn) as connection:
                text = describe_schema(connection)
        finally:
            server.child.stop()
            embedded.remove_root_place(Path(home))
    path = directory / f"{level}.sql"
    path.write_text(text, "utf-8")
    return path
