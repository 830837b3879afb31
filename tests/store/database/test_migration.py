"""Migrations: from nothing, from every earlier version, at both levels; the same tables in the
end, and no drift.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from anju.demo import embedded
from anju.demo.embedded import Postgres
from store.database.connection import accepts, connect, dsn_fault
from store.database.migration import (
    BASELINE,
    BASELINE_COMMUNITY,
    COMMUNITY,
    Level,
    Migration,
    MigrationError,
    level_of,
    list_migrations,
    list_pending,
    migrate,
    read_baseline,
    read_differences,
)

pytestmark = pytest.mark.real


_COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns
    WHERE table_schema = 'public'
    ORDER BY 1, 2
"""
_INDEXES = """
    SELECT tablename, indexname, indexdef
    FROM pg_indexes
    WHERE schemaname = 'public'
    ORDER BY 1, 2
"""
_CONSTRAINTS = """
    SELECT conrelid::regclass::text AS table_name, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""


def shape(dsn: str) -> list[tuple[object, ...]]:
    """Return everything that makes a schema, in words."""
    with connect(dsn) as connection:
        rows = [
            row
            for query in (_COLUMNS, _INDEXES, _CONSTRAINTS)
            for row in connection.execute(query).fetchall()
        ]
    return [tuple(row.values()) for row in rows]


def test_from_every_earlier_version_comes_the_same(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database made from nothing equals one that was migrated step by step; a made-up
    difference stands for those to come.
    """
    newest = max(migration.version for migration in list_migrations())
    difference = Migration(
        version=newest + 1,
        name="made_up",
        flavour=None,
        sql="""
            ALTER TABLE estates ADD COLUMN made_up text;
            CREATE INDEX made_up ON estates (made_up);
        """,
    )
    migrations = [*list_migrations(), difference]
    monkeypatch.setattr("store.database.migration.list_migrations", lambda: migrations)
    whole = embedded.make_database(postgres, f"whole_{tmp_path.name[-8:].replace('-', '_')}")
    assert migrate(whole, level=Level.PLAIN) is Level.PLAIN
    wanted = shape(whole)
    assert any(row[1:2] == ("made_up",) for row in wanted)
    for version in sorted({m.version for m in migrations})[:-1]:
        dsn = embedded.make_database(
            postgres, f"from_{version}_{tmp_path.name[-4:].replace('-', '_')}"
        )
        migrate(dsn, level=Level.PLAIN, upto=version)
        assert shape(dsn) != wanted
        with connect(dsn) as connection:
            assert list_pending(connection)[-1] == f"{difference.version:04d}_made_up"
        migrate(dsn, level=Level.PLAIN)
        migrate(dsn)
        assert shape(dsn) == wanted, f"from version {version}"
        with connect(dsn) as connection:
            assert list_pending(connection) == []


def test_both_levels_have_the_same_tables(dsn: str, timescale_dsn: str) -> None:
    other = timescale_dsn
    tables = [{(row[0], row[1], row[2]) for row in shape(d) if len(row) == 5} for d in (dsn, other)]
    with connect(other) as connection:
        assert level_of(connection) is Level.TIMESCALE
        hypertables = connection.execute(
            "SELECT hypertable_name FROM timescaledb_information.hypertables"
        ).fetchall()
    assert {row["hypertable_name"] for row in hypertables} == {"readings", "events"}
    # With the community licence there is one more, the hourly aggregate.
    assert tables[0] == {row for row in tables[1] if row[0] != "readings_hourly"}


def test_a_changed_file_is_drift(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list_migrations()[0]
    changed = Migration(
        version=first.version,
        name=first.name,
        flavour=first.flavour,
        sql=first.sql + "\n-- changed",
    )
    monkeypatch.setattr("store.database.migration.list_migrations", lambda: [changed])
    with pytest.raises(MigrationError, match="was changed after this database applied it"):
        migrate(dsn)


def test_a_level_that_is_not_there_is_refused(postgres: Postgres, dsn: str) -> None:
    with pytest.raises(MigrationError, match="made at level plain"):
        migrate(dsn, level=Level.TIMESCALE)
    empty = embedded.make_database(postgres, "no_extension")
    with pytest.raises(MigrationError, match="has no timescaledb extension"):
        migrate(empty, level=Level.TIMESCALE)


def test_a_migration_killed_half_way_starts_again_clean(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = embedded.make_database(postgres, "half_way")
    whole = list_migrations()
    broken = Migration(
        version=2, name="broken", flavour=None, sql="CREATE TABLE half (id int); SELECT 1 / 0;"
    )
    monkeypatch.setattr(
        "store.database.migration.list_migrations",
        lambda: [m for m in whole if m.version < 2] + [broken],
    )
    with pytest.raises(Exception, match="division by zero"):
        migrate(dsn)
    monkeypatch.setattr("store.database.migration.list_migrations", lambda: whole)
    migrate(dsn)
    with connect(dsn) as connection:
        assert connection.execute("SELECT to_regclass('half') AS half").fetchone() == {"half": None}


def test_a_file_of_the_baseline_has_a_room(tmp_path: Path) -> None:
    for room in (*BASELINE, *BASELINE_COMMUNITY):
        (tmp_path / f"{room}.sql").write_text(f"-- {room}")
    (tmp_path / "series.sql").unlink()
    with pytest.raises(MigrationError, match="the room series has no file for plain"):
        read_baseline(tmp_path)
    (tmp_path / "series.plain.sql").write_text("-- series, plain")
    (tmp_path / "series.timescale.sql").write_text("-- series, timescale")
    plain, timescale, community = read_baseline(tmp_path)
    assert [m.flavour for m in (plain, timescale, community)] == ["plain", "timescale", COMMUNITY]
    assert "-- series, plain" in plain.sql and "-- series, plain" not in timescale.sql
    assert plain.sql.index("-- register") < plain.sql.index("-- series, plain")
    assert community.sql == "-- columnstore"
    (tmp_path / "garden.sql").write_text("-- garden")
    with pytest.raises(MigrationError, match=r"garden\.sql: the name must be room"):
        read_baseline(tmp_path)


def test_differences_are_read_in_order_and_named_by_rule(tmp_path: Path) -> None:
    for name in ("0010_later.sql", "0002_first.sql", "0002_first.plain.sql"):
        (tmp_path / name).write_text(f"-- {name}")
    (tmp_path / "baseline").mkdir()
    assert [(m.version, m.name, m.flavour) for m in read_differences(tmp_path)] == [
        (2, "first", None),
        (2, "first", "plain"),
        (10, "later", None),
    ]
    for bad in ("0001_too_low.sql", "3_short.sql", "0003_name.oracle.sql"):
        (tmp_path / bad).write_text("")
        with pytest.raises(MigrationError, match="the name must be NNNN_name"):
            read_differences(tmp_path)
        (tmp_path / bad).unlink()


def test_connection_strings_are_judged_without_a_server() -> None:
    assert dsn_fault("postgresql://a@b/c") is None
    assert dsn_fault("postgres=://nonsense") is not None
    assert not accepts("postgresql://127.0.0.1:1/none")


def test_a_server_that_refuses_the_accelerator_is_served_without_it(
    timescale_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the Apache licence the columnstore is refused; under the community licence it is
    there. Neither stops the start.
    """
    monkeypatch.setattr("store.database.migration._flavours", lambda *_: ["timescale", COMMUNITY])
    assert migrate(timescale_dsn) is Level.TIMESCALE
    with connect(timescale_dsn) as connection:
        licence = connection.execute(
            "SELECT current_setting('timescaledb.license') AS l"
        ).fetchone()
        applied = connection.execute(
            "SELECT count(*) AS n FROM schema_migrations WHERE flavour = %s", [COMMUNITY]
        ).fetchone()
    assert (
        licence is not None
        and applied is not None
        and applied["n"] == (1 if licence["l"] == "timescale" else 0)
    )
