"""The fire port: confirmed when on disk, told again until then, one event for each alarm that
begins or ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from anju.processes import free_port
from devices.protocols import gb26875 as wire
from gateway.fire import FirePort
from gateway.group_commit import WriteRefused
from simulators.field.fire_host import FireHost
from tests.gateway.conftest import Bench, until

SOURCE = "0000000000a1"


def now() -> int:
    return int(time.time() * 1000)


def text(port: int, source: str = SOURCE) -> str:
    return (
        f'[[fire]]\nport = {port}\n[[fire.devices]]\ndevice = "fire-1"\nsource = "{source}"\n'
        'parts = [{ device = "smoke-1", part = "00000001" }]\n'
    )


def serve(
    make: Callable[[str], Bench], script: Callable[[Bench, FireHost], Any], *, source: str = SOURCE
) -> Bench:
    port = free_port()
    bench = make(text(port, source))

    async def go() -> None:
        fire = FirePort(
            table=bench.config.table.fire[0],
            config=bench.config,
            outbox_writer=bench.outbox_writer,
            intake=bench.intake,
            clock=bench.clock,
            unknown_devices=bench.unknown_devices,
        )
        host = FireHost(source=SOURCE, port=port, now=now, again_s=0.2)
        tasks = [
            asyncio.ensure_future(work)
            for work in (bench.outbox_writer.run(), fire.run(), host.run())
        ]
        try:
            await asyncio.wait_for(script(bench, host), 20)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(go())
    return bench


def events(bench: Bench) -> list[tuple[str, str, str, str]]:
    return [
        (
            i["device"],
            i["kind"],
            i["data"].get("hazard") or i["data"]["condition"],
            i["data"]["state"],
        )
        for i in bench.items()
        if "kind" in i
    ]


def test_smoke_begins_and_ends(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        host.part("00000001", 0b11, "三号楼二层走廊烟感")
        await until(lambda: host.confirmed == 1)
        await asyncio.sleep(1.1)
        host.part("00000001", 0b01, "三号楼二层走廊烟感")
        await until(lambda: host.confirmed == 2)

    made = serve(bench, script)
    assert events(made) == [
        ("smoke-1", "hazard", "smoke", "on"),
        ("smoke-1", "hazard", "smoke", "off"),
    ]
    assert made.items()[0]["data"]["text"] == "三号楼二层走廊烟感"


def test_a_frame_that_is_told_again_is_one_event(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        host.part("00000001", 0b11, "烟感")
        (frame,) = host.pending.values()
        await until(lambda: host.confirmed == 1)
        host.pending[frame.serial] = frame
        await until(lambda: host.confirmed == 2)

    assert len(events(serve(bench, script))) == 1


def test_nothing_is_confirmed_while_the_disk_refuses(
    bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        put, refusing = made.outbox_writer.put, [True]

        async def maybe(*entries: Any) -> None:
            if refusing:
                raise WriteRefused("database or disk is full")
            await put(*entries)

        monkeypatch.setattr(made.outbox_writer, "put", maybe)
        host.part("00000001", 0b11, "烟感")
        await asyncio.sleep(0.8)
        assert host.confirmed == 0 and made.items() == []
        refusing.clear()
        await until(lambda: host.confirmed == 1)

    assert len(events(serve(bench, script))) == 1


def test_a_device_that_is_not_configured_is_named_and_kept_waiting(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        host.part("00000001", 0b11, "烟感")
        await until(lambda: bool(made.unknown_devices._notes))
        assert host.confirmed == 0

    made = serve(bench, script, source="0000000000ff")
    assert f"{SOURCE!r} is not configured" in next(iter(made.unknown_devices._notes))


def test_one_part_that_is_over_does_not_end_what_another_still_reports(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        for n, (part, state) in enumerate(
            [("000000aa", 3), ("000000bb", 3), ("000000aa", 1), ("000000bb", 1)], 1
        ):
            host.part(part, state, "手报", part_type=23)
            await until(lambda n=n: host.confirmed == n)

    assert events(serve(bench, script)) == [
        ("fire-1", "hazard", "fire", "on"),
        ("fire-1", "hazard", "fire", "on"),
        ("fire-1", "device", "other", "off"),
        ("fire-1", "hazard", "fire", "off"),
    ]


def test_an_alarm_does_not_wait_for_a_wrong_clock_and_the_clock_is_set(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        host.clock_ms = 400 * 86_400_000
        host.part("00000001", 0b11, "烟感")
        await until(lambda: host.confirmed == 1 and host.clock_set == 1)

    made = serve(bench, script)
    (item,) = made.items()
    assert abs(item["at"] - now()) < 10_000 and item["data"]["device_at"] > now() + 300 * 86_400_000


def test_a_clock_that_is_behind_is_set_and_one_that_shows_nothing_too(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        host.clock_ms = -3 * 3_600_000
        host.transmitter(1)
        await until(lambda: host.clock_set == 1)
        host.transmitter(1)
        await until(lambda: host.confirmed == 2)
        assert host.clock_set == 1

    serve(bench, script)


def test_mains_failure_and_measured_values(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, host: FireHost) -> None:
        host.transmitter(0b1001)
        stamp = wire.encode_time(host.local())
        host._queue(
            wire.Gb26875Unit(
                kind=wire.ANALOG,
                objects=(
                    wire.AnalogValue(
                        system_type=1,
                        system=1,
                        part_type=30,
                        part="00000001",
                        quantity=3,
                        value=235,
                        stamp=stamp,
                    ),
                ),
            )
        )
        await until(lambda: host.confirmed == 2)

    made = serve(bench, script)
    assert events(made) == [("fire-1", "device", "fault", "on")]
    assert [i["values"] for i in made.items() if "values" in i] == [{"temperature_c": 23.5}]
