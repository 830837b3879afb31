from __future__ import annotations

import pytest

from anju.register_files import as_input
from store.database.connection import Connection, connect
from store.register.imports import import_sheets

SHEETS = {
    "estates": [
        {"code": "es", "name": "es", "timezone": "Asia/Shanghai"},
        {"code": "other", "name": "other", "timezone": ""},
    ],
    "units": [{"estate": "es", "code": "u-1"}],
    "households": [{"code": "h-1"}],
    "tenancies": [
        {
            "code": "t-1",
            "estate": "es",
            "unit": "u-1",
            "household": "h-1",
            "valid_from": "2020-01-01",
        }
    ],
    "gateways": [
        {"estate": "es", "code": "gw"},
        {"estate": "es", "code": "gw-2"},
        {"estate": "other", "code": "far"},
    ],
    "devices": [
        {
            "estate": "es",
            "gateway": "gw",
            "code": "wm-1",
            "kind": "water_meter",
            "profile": "water-dn15",
        },
        {
            "estate": "es",
            "gateway": "gw",
            "code": "door-1",
            "kind": "door",
            "profile": "door-terminal",
        },
        {
            "estate": "es",
            "gateway": "gw",
            "code": "smoke-1",
            "kind": "detector",
            "profile": "smoke-detector",
        },
        {
            "estate": "es",
            "gateway": "gw-2",
            "code": "wm-2",
            "kind": "water_meter",
            "profile": "water-dn15",
        },
    ],
    "mounts": [
        {"code": "m-1", "estate": "es", "device": "wm-1", "unit": "u-1", "valid_from": "2020-01-01"}
    ],
}


def register(connection: Connection) -> None:
    report = import_sheets(
        connection, {name: as_input(name, rows) for name, rows in SHEETS.items()}, apply=True
    )
    assert not report.errors
    connection.commit()


@pytest.fixture
def registered(dsn: str) -> str:
    with connect(dsn) as connection:
        register(connection)
    return dsn
