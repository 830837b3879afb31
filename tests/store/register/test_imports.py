"""The register's import.

Tried first, all or nothing, idempotent, each fault named with its line, history kept.
"""

from __future__ import annotations

from typing import Any

import pytest

from anju.register_files import as_input
from domain import register as register_table
from store.database.connection import Connection
from store.register.imports import SheetInput, import_sheets

pytestmark = pytest.mark.real
Rows = list[dict[str, str]]

GOOD: dict[str, Rows] = {
    "jurisdictions": [
        {"code": "shi", "name": "市", "level": "city", "parent": ""},
        {"code": "qu", "name": "区", "level": "district", "parent": "shi"},
    ],
    "estates": [
        {"code": "es", "name": "小区", "jurisdiction": "qu", "programme": "", "timezone": ""}
    ],
    "buildings": [{"estate": "es", "code": "b1", "name": "1栋"}],
    "entrances": [{"estate": "es", "building": "b1", "code": "b1-1"}],
    "units": [
        {"estate": "es", "entrance": "b1-1", "code": f"b1-1-{n}", "floor": "1", "area_m2": "45"}
        for n in (101, 102)
    ],
    "households": [{"code": "h1", "members": "2"}],
    "tenancies": [
        {
            "code": "t1",
            "estate": "es",
            "unit": "b1-1-101",
            "household": "h1",
            "valid_from": "2025-01-01",
            "valid_to": "",
        }
    ],
    "residents": [
        {
            "code": "p1",
            "household": "h1",
            "role": "",
            "valid_from": "2025/1/1".replace("/1/1", "/01/01"),
            "valid_to": "",
        }
    ],
    "gateways": [{"estate": "es", "code": "gw"}],
    "devices": [
        {
            "estate": "es",
            "gateway": "gw",
            "code": "wm",
            "kind": "water_meter",
            "profile": "water-dn15",
        }
    ],
    "mounts": [
        {
            "code": "m1",
            "estate": "es",
            "device": "wm",
            "unit": "b1-1-101",
            "valid_from": "2025-01-01",
            "valid_to": "",
        }
    ],
    "declarations": [
        {
            "code": "d1",
            "estate": "es",
            "unit": "b1-1-101",
            "kind": "absence",
            "valid_from": "2025-02-01",
            "valid_to": "",
            "note": "",
        }
    ],
    "tip_offs": [
        {
            "code": "x1",
            "estate": "es",
            "unit": "b1-1-102",
            "received_on": "2025-02-01",
            "kind": "sublet",
            "note": "",
        }
    ],
}


def given(sheets: dict[str, Rows]) -> dict[str, SheetInput]:
    return {name: as_input(name, rows) for name, rows in sheets.items()}


def changed(sheet: str, row: int, **cells: str) -> dict[str, Rows]:
    copy = {name: [dict(r) for r in rows] for name, rows in GOOD.items()}
    copy[sheet][row].update(cells)
    return copy


def counts(connection: Connection) -> dict[str, Any]:
    return {
        sheet.name: connection.execute(f"SELECT count(*) AS n FROM {sheet.name}").fetchone()["n"]  # type: ignore[index,arg-type]
        for sheet in register_table.SHEETS
    }


def test_it_is_tried_first_and_then_written_once(connection: Connection) -> None:
    report = import_sheets(connection, given(GOOD), apply=False)
    assert not report.errors and sum(s.created for s in report.sheets) == sum(
        len(r) for r in GOOD.values()
    )
    assert sum(counts(connection).values()) == 0
    assert not import_sheets(connection, given(GOOD), apply=True).errors
    first = counts(connection)
    assert first["units"] == 2
    again = import_sheets(connection, given(GOOD), apply=True)
    assert (
        all((s.created, s.changed) == (0, 0) for s in again.sheets) and counts(connection) == first
    )


def test_a_change_keeps_what_was_known_before(connection: Connection) -> None:
    import_sheets(connection, given(GOOD), apply=True)
    connection.commit()
    report = import_sheets(
        connection, given(changed("tenancies", 0, valid_to="2025-06-30")), apply=True
    )
    assert next(s for s in report.sheets if s.sheet == "tenancies").changed == 1
    row = connection.execute(
        "SELECT row_data FROM register_history WHERE table_name = 'tenancies'"
    ).fetchone()
    assert row is not None and row["row_data"]["valid_to"] is None


@pytest.mark.parametrize(
    ("sheets", "where", "problem"),
    [
        (
            changed("units", 1, entrance="b9"),
            "units.csv:3: entrance 'b9'",
            "no such code among the entrances",
        ),
        (
            changed("units", 1, code="b1-1-101"),
            "units.csv:3: code 'b1-1-101'",
            "stands on line 2 already",
        ),
        (changed("units", 0, code="A 1"), "units.csv:2: code 'A 1'", "lower-case letters"),
        (
            changed("tenancies", 0, valid_from="31.3.2025"),
            "tenancies.csv:2: valid_from '31.3.2025'",
            "a date like",
        ),
        (
            changed("tenancies", 0, valid_to="2024-01-01"),
            "tenancies.csv:2: valid_to",
            "must not lie before",
        ),
        (
            changed("estates", 0, timezone="Mars/Base"),
            "estates.csv:2: timezone 'Mars/Base'",
            "a time zone like",
        ),
        (changed("devices", 0, kind="toaster"), "devices.csv:2: kind 'toaster'", "must be one of"),
        (changed("units", 0, area_m2="=1+1"), "units.csv:2: area_m2 '=1+1'", "must be a number"),
        (changed("units", 0, flor="3"), "units.csv:1: flor", "did you mean 'floor'"),
        (
            {**GOOD, "units": [{"estate": "es", "floor": "1"}]},
            "units.csv:1: code",
            "this column is missing",
        ),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(
    connection: Connection, sheets: dict[str, Rows], where: str, problem: str
) -> None:
    report = import_sheets(connection, given(sheets), apply=True)
    connection.commit()
    assert any(str(e).startswith(where) and problem in e.problem for e in report.errors), [
        str(e) for e in report.errors
    ]
    assert sum(counts(connection).values()) == 0


def test_a_referenced_row_is_never_deleted(connection: Connection) -> None:
    import_sheets(connection, given(GOOD), apply=True)
    with pytest.raises(Exception, match="violates foreign key|RESTRICT"):
        connection.execute("DELETE FROM units")
