"""`anju contract` writes the schema documents that stand in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from anju.schema_documents import write_schemas
from tests.conftest import ROOT


@pytest.mark.real
def test_the_schema_is_written_from_a_database_made_from_nothing(tmp_path: Path) -> None:
    (path,) = write_schemas(tmp_path / "schema", timescale=None)
    assert path.name == "plain.sql"
    assert path.read_text("utf-8") == (ROOT / "docs" / "schema" / path.name).read_text("utf-8")
