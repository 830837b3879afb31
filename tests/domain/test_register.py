"""The table of the register's files: each reference leads to a sheet before it, and each key has
its columns.
"""

from __future__ import annotations

import pytest

from domain.register import SHEET_OF, SHEETS, Sheet


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_a_sheet_refers_to_those_before_it_and_has_its_key(sheet: Sheet) -> None:
    before = [other.name for other in SHEETS[: SHEETS.index(sheet)]]
    for column in sheet.columns:
        assert column.ref is None or column.ref in before or column.ref == sheet.name
        assert column.target == (f"{column.name}_id" if column.ref else column.name)
        assert column.about and column.about_zh
    assert {column.name for column in sheet.columns} >= set(sheet.key)
    assert sheet.in_estate == (sheet.key == ("estate", "code"))


def test_only_jurisdictions_refer_to_themselves() -> None:
    assert [s.name for s in SHEETS if s.refers_to_itself] == ["jurisdictions"]
    assert list(SHEET_OF) == [sheet.name for sheet in SHEETS]


def test_an_empty_cell_is_none_or_a_fault() -> None:
    units = SHEET_OF["units"]
    floor = units.column("floor")
    code = units.column("code")
    assert floor is not None and floor.read_cell("") is None and floor.read_cell("-1") == -1
    assert code is not None and units.column("nothing") is None
    with pytest.raises(ValueError, match="must not be empty"):
        code.read_cell("")
