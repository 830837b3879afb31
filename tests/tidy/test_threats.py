"""Every threat that we say is held names a test that is there."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_each_threat_names_a_test_that_exists() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "threats.md").read_text("utf-8").splitlines()
        if line.startswith("| ")
    ]
    named = [re.search(r"`(tests/[\w/]+\.py)(?:::(\w+))?` \|$", row) for row in rows[1:]]
    assert len(named) > 35 and all(named), [
        row for row, found in zip(rows[1:], named, strict=True) if not found
    ]
    for found in named:
        assert found is not None
        path = ROOT / found[1]
        assert path.exists(), found[1]
        assert found[2] is None or f"def {found[2]}(" in path.read_text("utf-8"), found[0]
