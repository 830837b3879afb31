"""Down and up again: a command given in the database reaches its device behind a gateway and its
report comes back, once.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anju.demo.embedded import Broker, Redis
from anju.field import ESTATE, GATEWAY, Pace, configuration, make_field, register_rows
from anju.processes import start_anju
from anju.register_files import as_input, import_rows
from ingest.commands import Dispatcher, renew_lists
from ingest.worker import Worker
from simulators.field.estate import Field
from store.database.connection import Connection, connect
from store.gateways import commands
from store.live.bus import LiveBus
from store.register.imports import import_sheets
from tests.conftest import SEED
from tests.ingest.conftest import register


def test_the_dispatcher_sends_what_is_due_and_not_all_the_time(connection: Connection) -> None:
    register(connection)
    device = connection.execute("SELECT id FROM devices WHERE code = 'wm-1'").fetchone()
    assert device is not None
    code = commands.new_code()
    commands.give_command(
        connection,
        commands.NewCommand(
            code=code,
            device_id=device["id"],
            kind="valve",
            argument={"to": "close"},
            issued_by="x",
            reason="leak",
            expires_at=datetime.now(UTC) + timedelta(minutes=1),
        ),
    )
    connection.commit()
    sent: list[tuple[str, dict[str, Any]]] = []
    dispatcher = Dispatcher(lambda topic, payload: sent.append((topic, json.loads(payload))))
    for moment in (100.0, 100.2, 100.9, 101.5):
        dispatcher.step(connection, moment)
    ((topic, body),) = sent
    assert (
        topic == "anju/v1/es/gw/down/command" and body["id"] == code and body["command"] == "valve"
    )


@pytest.mark.real
def test_a_valve_a_door_and_who_may_pass(
    dsn: str, broker: Broker, redis: Redis, tmp_path: Path
) -> None:
    worker = Worker(
        dsn=dsn,
        broker=broker.address,
        bus=LiveBus(redis.url),
        name="w-commands",
        group="g-commands",
    )
    thread = threading.Thread(target=worker.run, daemon=True)
    now = int(time.time() * 1000)
    pace = Pace(speed=1.0, start_ms=now, real_ms=now)

    async def go() -> None:
        field, ports = make_field(tmp_path, pace, meters=8, doors=2, lines=4, seed=SEED)
        with connect(dsn) as connection:
            import_rows(connection, register_rows(field))
            people(connection)
        thread.start()
        await field.start()
        (tmp_path / "gateway.toml").write_text(
            configuration(field, ports, pace, broker.address), "utf-8"
        )
        gateway = start_anju(
            "gateway",
            ["gateway", "run", str(tmp_path / "gateway.toml")],
            tmp_path / "gateway.log",
            {},
        )
        try:
            await script(dsn, field)
        finally:
            gateway.stop()
            await field.stop()

    try:
        asyncio.run(go())
    finally:
        worker.stop()
        thread.join(20)


def people(connection: Connection) -> None:
    sheets = {
        "buildings": [{"estate": ESTATE, "code": "b1", "name": "b1"}],
        "entrances": [{"estate": ESTATE, "building": "b1", "code": "b1-1"}],
        "units": [{"estate": ESTATE, "code": "u-1", "entrance": "b1-1"}],
        "households": [{"code": "h-1"}],
        "tenancies": [
            {
                "code": "t-1",
                "estate": ESTATE,
                "unit": "u-1",
                "household": "h-1",
                "valid_from": "2026-01-01",
            }
        ],
        "residents": [
            {"code": f"p-{n:05d}", "household": "h-1", "valid_from": "2026-01-01"} for n in range(3)
        ],
        "mounts": [
            {
                "code": "m-1",
                "estate": ESTATE,
                "device": "door-01",
                "entrance": "b1-1",
                "valid_from": "2020-01-01",
            }
        ],
    }
    report = import_sheets(
        connection, {name: as_input(name, rows) for name, rows in sheets.items()}, apply=True
    )
    assert not report.errors, report.errors


async def script(dsn: str, field: Field) -> None:
    # Who may pass follows from the tenancy, without anybody asking.
    door = field.doors[0].server
    await until(lambda: set(door.people) == {"p-00000", "p-00001", "p-00002"}, 40)
    field.doors[0].pass_through("p-00001", int(time.time() * 1000))
    meter = next(m for line in field.lines for m in line.meters if m.protocol == "cjt188")
    valve, opened, wrong = (commands.new_code() for _ in range(3))
    with connect(dsn) as connection:
        ids = {row["code"]: row["id"] for row in connection.execute("SELECT code, id FROM devices")}
        for code, device, kind, argument in (
            (valve, meter.device, "valve", {"to": "close"}),
            (opened, "door-02", "door", {"door": 1}),
            (wrong, "em-1-01", "valve", {"to": "close"}),
        ):
            commands.give_command(
                connection,
                commands.NewCommand(
                    code=code,
                    device_id=ids[device],
                    kind=kind,
                    argument=argument,
                    issued_by="manager",
                    reason="a test",
                    expires_at=datetime.now(UTC) + timedelta(minutes=5),
                ),
            )
    results: dict[str, str] = {}

    def settled() -> bool:
        with connect(dsn) as connection:
            rows = connection.execute(
                "SELECT code, result FROM commands WHERE kind <> 'credentials'"
            ).fetchall()
        results.update({row["code"]: row["result"] for row in rows})
        return all(results.values())

    await until(settled, 40)
    assert (results[valve], results[opened], results[wrong]) == ("done", "done", "refused")
    assert not meter.valve_open and field.doors[1].server.opened == 1
    # The tenancy ends: its people cannot pass from now on.
    with connect(dsn) as connection:
        connection.execute("UPDATE tenancies SET valid_to = '2026-01-31'")
        renewed = renew_lists(connection, datetime.now(UTC))
        connection.commit()
        assert renewed == 1
    await until(lambda: not door.people, 40)

    def passage() -> dict[str, Any] | None:
        with connect(dsn) as connection:
            return connection.execute("SELECT data FROM events WHERE kind = 'passage'").fetchone()

    await until(lambda: passage() is not None, 20)
    row = passage()
    assert row is not None and row["data"]["person"] == "p-00001"
    with connect(dsn) as connection:
        state = connection.execute(
            "SELECT s.clock_offset_ms FROM gateway_state s JOIN gateways g ON g.id = "
            "s.gateway_id WHERE g.code = %s",
            [GATEWAY],
        ).fetchone()
    assert state is not None


async def until(check: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.1)
