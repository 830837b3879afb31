"""The schema documents are what the migrations make, they can be run, and nothing in them is
without a comment.
"""

from __future__ import annotations

import re

import pytest

from anju.demo import embedded
from anju.demo.embedded import Postgres
from store.database.connection import Connection, connect
from store.database.schema_text import describe_schema
from tests.conftest import ROOT

pytestmark = pytest.mark.real

SCHEMAS = ROOT / "docs" / "schema"

_WITHOUT_COMMENT = """
    SELECT c.oid::regclass::text AS "table", a.attname AS "column"
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace IN ('public'::regnamespace, 'people'::regnamespace)
      AND c.relkind IN ('r', 'p', 'v', 'm')
      AND NOT c.relispartition
      AND a.attnum > 0
      AND NOT a.attisdropped
      AND (
          coalesce(obj_description(c.oid, 'pg_class'), '') = ''
          OR coalesce(col_description(c.oid, a.attnum), '') = ''
      )
"""


def without_comments(schema: str) -> str:
    return re.sub(r"\s*--.*", "", schema)


def test_the_document_of_the_plain_level_is_current(connection: Connection) -> None:
    document = (SCHEMAS / "plain.sql").read_text("utf-8")
    assert document == describe_schema(connection), "plain.sql is out of date: run `make contract`"


def test_the_document_of_the_timescale_level_is_current(timescale_dsn: str) -> None:
    document = (SCHEMAS / "timescale.sql").read_text("utf-8")
    with connect(timescale_dsn) as connection:
        found = describe_schema(connection)
    assert document == found, "timescale.sql is out of date: run `make contract` with TimescaleDB"


def test_the_documents_differ_only_in_the_series() -> None:
    """Where there is no TimescaleDB, this is what finds a forgotten `timescale.sql`."""
    plain, timescale = (
        set((SCHEMAS / f"{level}.sql").read_text("utf-8").splitlines())
        for level in ("plain", "timescale")
    )
    series = re.compile(r"-- Level |PARTITION BY|create_hypertable|CREATE INDEX events_")
    assert [line for line in plain ^ timescale if not series.search(line)] == []


def test_a_database_made_from_the_document_is_the_same(postgres: Postgres, dsn: str) -> None:
    document = (SCHEMAS / "plain.sql").read_text("utf-8")
    other = embedded.make_database(postgres, "from_document")
    with connect(other) as connection:
        connection.execute(document)
        found = describe_schema(connection)
    assert without_comments(found) == without_comments(document)


def test_every_table_and_column_has_a_comment(any_connection: Connection) -> None:
    rows = any_connection.execute(_WITHOUT_COMMENT).fetchall()
    assert rows == [], "add COMMENT ON TABLE and COMMENT ON COLUMN, with the unit, to the migration"
