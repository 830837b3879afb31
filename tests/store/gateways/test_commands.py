"""Commands on their way, and the lists of who may pass.

Rows that say who, why, until when, and what became of it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from anju.register_files import as_input
from store.database.connection import Connection
from store.gateways import commands, door_lists
from store.register.imports import import_sheets
from tests.ingest.conftest import SHEETS, register

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@pytest.fixture
def site(connection: Connection) -> dict[str, int]:
    register(connection)
    return {row["code"]: row["id"] for row in connection.execute("SELECT code, id FROM devices")}


def issue(
    connection: Connection, device: int, *, expires: datetime = NOW + timedelta(minutes=1)
) -> str:
    code = commands.new_code()
    commands.give_command(
        connection,
        commands.NewCommand(
            code=code,
            device_id=device,
            kind="valve",
            argument={"to": "close"},
            issued_by="guard",
            reason="a leak",
            expires_at=expires,
        ),
    )
    return code


def report(connection: Connection, device: int, code: str, result: str, detail: str) -> None:
    commands.save_report(
        connection,
        commands.CommandReport(device_id=device, code=code, result=result, detail=detail, at=NOW),
    )


def state(connection: Connection, code: str) -> tuple[str | None, str | None]:
    row = connection.execute(
        "SELECT result, detail FROM commands WHERE code = %s", [code]
    ).fetchone()
    assert row is not None
    return row["result"], row["detail"]


def test_sent_until_it_is_answered(connection: Connection, site: dict[str, int]) -> None:
    code = issue(connection, site["wm-1"])
    (first,) = commands.take_due(connection, NOW)
    assert (first.estate, first.gateway, first.device, first.argument) == (
        "es",
        "gw",
        "wm-1",
        {"to": "close"},
    )
    assert commands.take_due(connection, NOW + timedelta(seconds=5)) == []
    assert [row.code for row in commands.take_due(connection, NOW + timedelta(seconds=11))] == [
        code
    ]
    report(connection, site["wm-2"], code, "done", "of another device")
    assert state(connection, code) == (None, None)
    report(connection, site["wm-1"], code, "done", "confirmed")
    report(connection, site["wm-1"], code, "failed", "a second report")
    assert state(connection, code) == ("done", "confirmed")
    assert commands.take_due(connection, NOW + timedelta(seconds=30)) == []


def test_what_nobody_answers_expires_and_a_late_report_stands_before_that_guess(
    connection: Connection, site: dict[str, int]
) -> None:
    code = issue(connection, site["wm-1"])
    commands.take_due(connection, NOW)
    commands.take_due(connection, NOW + timedelta(minutes=2))
    assert state(connection, code)[0] is None
    commands.take_due(connection, NOW + timedelta(minutes=4))
    assert state(connection, code) == ("expired", "the gateway did not report in time")
    report(connection, site["wm-1"], code, "done", "confirmed")
    assert state(connection, code) == ("done", "confirmed")


def test_a_device_without_a_gateway_is_refused_at_once(
    connection: Connection, site: dict[str, int]
) -> None:
    connection.execute("UPDATE devices SET gateway_id = NULL WHERE code = 'wm-1'")
    code = issue(connection, site["wm-1"])
    assert commands.take_due(connection, NOW) == []
    assert state(connection, code) == ("refused", "no gateway speaks for this device")


def test_a_scope_is_kept(connection: Connection, site: dict[str, int]) -> None:
    estates = {row["code"]: row["id"] for row in connection.execute("SELECT code, id FROM estates")}
    code = issue(connection, site["wm-1"])
    assert commands.get_command(connection, (estates["es"],), code) is not None
    assert commands.get_command(connection, (estates["other"],), code) is None
    assert commands.list_commands(connection, (estates["other"],), limit=10) == []
    assert commands.find_device(connection, (estates["other"],), "es", "wm-1") is None


def test_who_may_pass_follows_from_tenancies(connection: Connection) -> None:
    sheets = {
        **SHEETS,
        "buildings": [{"estate": "es", "code": "b1", "name": "b1"}],
        "entrances": [
            {"estate": "es", "building": "b1", "code": "b1-1"},
            {"estate": "es", "building": "b1", "code": "b1-2"},
        ],
        "units": [
            {"estate": "es", "code": "u-1", "entrance": "b1-1"},
            {"estate": "es", "code": "u-2", "entrance": "b1-2"},
        ],
        "households": [{"code": "h-1"}, {"code": "h-2"}, {"code": "h-3"}],
        "tenancies": [
            {
                "code": "t-1",
                "estate": "es",
                "unit": "u-1",
                "household": "h-1",
                "valid_from": "2026-01-01",
                "valid_to": "2026-11-30",
            },
            {
                "code": "t-2",
                "estate": "es",
                "unit": "u-2",
                "household": "h-2",
                "valid_from": "2026-01-01",
            },
            {
                "code": "t-3",
                "estate": "es",
                "unit": "u-1",
                "household": "h-3",
                "valid_from": "2026-12-01",
            },
        ],
        "residents": [
            {"code": "p-1", "household": "h-1", "valid_from": "2026-01-01"},
            {"code": "p-2", "household": "h-2", "valid_from": "2026-02-01"},
            {
                "code": "p-guest",
                "household": "h-2",
                "role": "guest",
                "valid_from": "2026-11-01",
                "valid_to": "2026-11-25",
            },
            {"code": "p-3", "household": "h-3", "valid_from": "2026-11-15"},
        ],
        "devices": [
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
                "code": "gate",
                "kind": "door",
                "profile": "door-terminal",
            },
            {"estate": "es", "code": "loose", "kind": "door", "profile": "door-terminal"},
        ],
        "mounts": [
            {
                "code": "m-1",
                "estate": "es",
                "device": "door-1",
                "entrance": "b1-1",
                "valid_from": "2020-01-01",
            },
            {
                "code": "m-2",
                "estate": "es",
                "device": "gate",
                "building": "b1",
                "valid_from": "2020-01-01",
            },
            {
                "code": "m-3",
                "estate": "es",
                "device": "loose",
                "entrance": "b1-1",
                "valid_from": "2020-01-01",
            },
        ],
    }
    sheets = {
        name: [dict.fromkeys({k for r in rows for k in r}, "") | row for row in rows]
        for name, rows in sheets.items()
    }
    report = import_sheets(
        connection, {name: as_input(name, rows) for name, rows in sheets.items()}, apply=True
    )
    assert not report.errors, report.errors
    doors = {row["id"]: row["code"] for row in connection.execute("SELECT id, code FROM devices")}

    def lists(day: date) -> dict[str, list[dict[str, str]]]:
        return {
            doors[door]: people
            for door, people in door_lists.list_door_people(connection, day).items()
        }

    now = lists(date(2026, 11, 21))
    assert now == {
        "door-1": [
            {"person": "p-1", "from": "2026-01-01", "to": "2026-11-30"},
            {"person": "p-3", "from": "2026-12-01"},
        ],
        "gate": [
            {"person": "p-1", "from": "2026-01-01", "to": "2026-11-30"},
            {"person": "p-2", "from": "2026-02-01"},
            {"person": "p-3", "from": "2026-12-01"},
            {"person": "p-guest", "from": "2026-11-01", "to": "2026-11-25"},
        ],
    }
    assert [row["person"] for row in lists(date(2026, 12, 2))["gate"]] == ["p-2", "p-3"]

    people = door_lists.list_door_people(connection, date(2026, 11, 21))
    stale = door_lists.list_stale_doors(connection, people, NOW)
    assert len(stale) == 2
    for door in stale:
        number = commands.give_command(
            connection,
            commands.NewCommand(
                code=commands.new_code(),
                device_id=door,
                kind="credentials",
                argument={"people": people[door]},
                issued_by="register",
                reason="tenancies",
                expires_at=NOW + timedelta(hours=1),
            ),
        )
        door_lists.save_given_list(connection, door, people[door], number)
    assert door_lists.list_stale_doors(connection, people, NOW) == []
    later = door_lists.list_door_people(connection, date(2026, 12, 2))
    assert len(door_lists.list_stale_doors(connection, later, NOW)) == 2
    connection.execute("UPDATE commands SET result = 'failed', result_at = %s", [NOW])
    assert door_lists.list_stale_doors(connection, people, NOW + timedelta(minutes=5)) == []
    assert len(door_lists.list_stale_doors(connection, people, NOW + timedelta(minutes=11))) == 2
    connection.execute("UPDATE commands SET result = 'refused', result_at = %s", [NOW])
    assert door_lists.list_stale_doors(connection, people, NOW + timedelta(days=1)) == []
