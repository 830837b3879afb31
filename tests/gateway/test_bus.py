"""A line of simulated meters with everything that goes wrong on one: what is stored is what the
meters said, or nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain.wire import Command, CommandResult
from gateway.bus import SerialBus
from gateway.check import inspect_gateway
from simulators.field.line import Line
from simulators.field.meters import Fault, SimulatedMeter
from tests.gateway.conftest import Bench, until

FOREVER = 2**62
PROFILE = {
    "dlt645": "dlt645-energy",
    "cjt188": "cjt188-water-dn15",
    "mbus": "mbus-water",
    "modbus-rtu": "modbus-water",
    "modbus-tcp": "modbus-tcp-water",
}


def now() -> int:
    return int(time.time() * 1000)


def meter(protocol: str, n: int, **changes: Any) -> SimulatedMeter:
    address = {"dlt645": f"{n:012d}", "cjt188": f"{n:014d}"}.get(protocol, str(n))
    point = "energy_kwh" if protocol == "dlt645" else "water_m3"
    values = {
        "device": f"m-{n}",
        "protocol": protocol,
        "address": address,
        "point": point,
        "step": 0.01,
        "register": 100.0 + n,
        "per_hour": 0.1,
        "serial": f"{n:08d}",
        **changes,
    }
    return SimulatedMeter(**values)


def table(line: Line, meters: list[SimulatedMeter], **options: Any) -> str:
    out = [
        f'[[bus]]\nname = "line"\nat = "127.0.0.1:{line.port}"\ntimeout_ms = '
        f"{options.get('timeout_ms', 150)}\nquiet_ms = 20\nretries = "
        f"{options.get('retries', 1)}"
    ]
    for one in meters:
        serial = f', serial = "{one.serial}"' if one.protocol == "mbus" else ""
        out.append(
            (
                f'[[bus.devices]]\ndevice = "{one.device}"\nprofile = '
                f'"{options.get("profile", PROFILE[one.protocol])}"\naddress = '
                f'"{one.address}"\nevery_s = 3600'
            )
            + (f"\n{serial[2:]}" if serial else "")
        )
    return "\n".join(out) + "\n"


@asynccontextmanager
async def serving(
    make: Callable[[str], Bench], line: Line, meters: list[SimulatedMeter], **options: Any
) -> Any:
    if not line.port:
        await line.start()
    bench = make(table(line, meters, **options))
    bus = SerialBus(
        table=bench.config.table.bus[0],
        config=bench.config,
        outbox_writer=bench.outbox_writer,
        intake=bench.intake,
        clock=bench.clock,
    )
    tasks = [asyncio.ensure_future(bench.outbox_writer.run()), asyncio.ensure_future(bus.run())]
    try:
        yield bench, bus
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await line.stop()


def values(bench: Bench) -> dict[str, dict[str, float]]:
    return {item["device"]: item["values"] for item in bench.items() if "values" in item}


def conditions(bench: Bench) -> list[tuple[str, str, str]]:
    return [
        (i["device"], i["data"]["condition"], i["data"]["state"])
        for i in bench.items()
        if i.get("kind") == "device"
    ]


def read(
    make: Callable[[str], Bench],
    meters: list[SimulatedMeter],
    done: Callable[[Bench], bool],
    **options: Any,
) -> Bench:
    async def go() -> Bench:
        line = Line(protocol=meters[0].protocol, meters=meters, now=now)
        async with serving(make, line, options.pop("configured", meters), **options) as (bench, _):
            await until(lambda: done(bench))
            finished: Bench = bench
            return finished

    return asyncio.run(go())


@pytest.mark.parametrize("protocol", sorted(PROFILE))
def test_every_protocol_is_read(bench: Callable[[str], Bench], protocol: str) -> None:
    meters = [meter(protocol, n) for n in range(1, 6)]
    found = read(bench, meters, lambda b: len(values(b)) == 5)
    assert values(found) == {m.device: {m.point: m.shown(now())} for m in meters}
    report = inspect_gateway(found.config, now())
    assert all(line.fault is None and line.quiet_s is not None for line in report.devices)


def test_all_that_a_profile_asks_for(bench: Callable[[str], Bench]) -> None:
    found = read(
        bench,
        [meter("dlt645", 1, faults={Fault.LOW_BATTERY: (0, FOREVER)})],
        lambda b: len(b.items()) >= 3,
        profile="dlt645-2007",
    )
    (first,) = [i["values"] for i in found.items() if len(i.get("values", {})) > 1]
    assert (
        set(first) == {"energy_kwh", "voltage_v", "current_a", "power_w", "power_factor"}
        and first["power_w"] == 287.1
    )
    (frozen,) = [i for i in found.items() if len(i.get("values", {})) == 1]
    local = found.intake.local(frozen["at"])
    assert (local.hour, local.minute) == (0, 0) and frozen["values"] == {"energy_kwh": 101.0}
    assert conditions(found) == [("m-1", "low_battery", "on")]


def test_noise_before_an_answer_and_wrong_checksums_cost_a_retry_and_no_value(
    bench: Callable[[str], Bench],
) -> None:
    meters = [
        meter("cjt188", n, faults={Fault.GARBAGE: (0, FOREVER), Fault.BAD_CHECKSUM: (0, FOREVER)})
        for n in range(1, 9)
    ]
    found = read(bench, meters, lambda b: len(values(b)) >= 6, retries=5)
    assert all(
        values(found)[m.device] == {m.point: m.shown(now())}
        for m in meters
        if m.device in values(found)
    )


def test_a_silent_meter_is_named_and_the_others_are_read(bench: Callable[[str], Bench]) -> None:
    meters = [meter("mbus", n) for n in range(1, 6)]
    meters[0].faults[Fault.SILENT] = (0, FOREVER)
    began = time.monotonic()
    found = read(bench, meters, lambda b: len(values(b)) == 4 and "m-1" in b.outbox.contacts())
    assert time.monotonic() - began < 3
    (line,) = [one for one in inspect_gateway(found.config, now()).devices if one.device == "m-1"]
    assert line.fault is not None and "no answer to user data within 150 ms" in line.fault


def test_three_silent_polls_are_an_event_and_its_end_another(
    bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.schedule.FIRST_RETRY_MS", 10)
    one = meter("mbus", 1, faults={Fault.SILENT: (0, FOREVER)})

    async def go() -> list[tuple[str, str, str]]:
        line = Line(protocol="mbus", meters=[one], now=now)
        async with serving(bench, line, [one], timeout_ms=20, retries=0) as (made, _):
            await until(lambda: conditions(made) == [("m-1", "offline", "on")])
            one.faults.clear()
            await until(lambda: len(conditions(made)) == 2)
            return conditions(made)

    assert asyncio.run(go()) == [("m-1", "offline", "on"), ("m-1", "offline", "off")]


def test_two_meters_with_one_address_give_no_reading(bench: Callable[[str], Bench]) -> None:
    twins = [meter("dlt645", 7), meter("dlt645", 7, device="twin", register=555.0)]
    found = read(bench, twins, lambda b: "m-7" in b.outbox.contacts(), configured=twins[:1])
    assert values(found) == {}
    fault = str(found.outbox.contacts()["m-7"].fault)
    assert "same address" in fault


def test_another_meter_in_its_place_is_noticed_by_its_number(bench: Callable[[str], Bench]) -> None:
    swapped = meter("mbus", 3, faults={Fault.SWAPPED: (0, FOREVER)})
    found = read(bench, [swapped], lambda b: "m-3" in b.outbox.contacts())
    assert values(found) == {} and "another meter answers" in str(
        found.outbox.contacts()["m-3"].fault
    )


def test_rollover_and_reversed_flow_are_passed_on_as_they_are(
    bench: Callable[[str], Bench],
) -> None:
    rolled = meter("modbus-rtu", 1, register=999_999.99, rollover=1e6, per_hour=0.2)
    rolled.shown(now() - 2 * 3_600_000)
    backwards = meter("modbus-rtu", 2, faults={Fault.REVERSED: (0, FOREVER)})
    backwards.shown(now() - 5 * 3_600_000)
    found = read(bench, [rolled, backwards], lambda b: len(values(b)) == 2)
    assert values(found)["m-1"]["water_m3"] < 5 and values(found)["m-2"]["water_m3"] < 102


@pytest.mark.parametrize("fault", [Fault.CLOCK_JUMP, Fault.CLOCK_DRIFT])
def test_a_clock_that_is_off_is_reported_and_set(
    bench: Callable[[str], Bench], fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.bus.AROUND_MIDNIGHT_MIN", 0)
    one = meter("dlt645", 1, faults={fault: (now() - 86_400_000, FOREVER)})
    found = read(bench, [one], lambda _: one.clock_set > 0)
    assert conditions(found) == [("m-1", "clock", "on")]
    assert abs(one.clock_ms) < 5000
    # The reading is stored at the gateway's time: the meter's clock is not believed, and not mixed
    # into it.
    (item,) = [i for i in found.items() if "values" in i]
    assert abs(item["at"] - now()) < 10_000


def test_a_line_that_is_cut_is_told_and_comes_back(bench: Callable[[str], Bench]) -> None:
    meters = [meter("dlt645", n) for n in range(1, 4)]

    async def go() -> None:
        line = Line(protocol="dlt645", meters=meters, now=now)
        await line.start()
        line.break_line()
        async with serving(bench, line, meters) as (made, bus):
            await until(lambda: bus.fault is not None)
            assert values(made) == {} and "line line" in str(made.outbox.contacts()["m-1"].fault)
            line.mend()
            await until(lambda: len(values(made)) == 3)
            assert bus.fault is None

    asyncio.run(go())


def test_what_a_meter_does_not_have_costs_no_reading(bench: Callable[[str], Bench]) -> None:
    """A 1997 meter does not answer for a clock of 2007; another refuses what it lacks."""
    found = read(
        bench,
        [meter("dlt645", 1)],
        lambda b: len(values(b)) == 1,
        profile="dlt645-1997",
        timeout_ms=60,
    )
    assert values(found) == {"m-1": {"energy_kwh": 101.0}}
    assert "nothing for B611" in str(found.outbox.contacts()["m-1"].summary)


def test_a_line_that_never_falls_silent_ends_a_question_all_the_same(
    bench: Callable[[str], Bench],
) -> None:
    one = meter("dlt645", 1)

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not over.is_set():
                writer.write(b"\x68\x00\xfe" * 50)
                await writer.drain()
                await asyncio.sleep(0.001)
        except OSError:
            pass
        finally:
            writer.close()
            ended.set()

    over, ended = asyncio.Event(), asyncio.Event()

    async def go() -> str:
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        line = Line(
            protocol="dlt645", meters=[one], now=now, port=server.sockets[0].getsockname()[1]
        )
        async with serving(bench, line, [one]) as (made, _):
            await until(lambda: "m-1" in made.outbox.contacts())
            fault = str(made.outbox.contacts()["m-1"].fault)
        over.set()
        server.close()
        await ended.wait()
        return fault

    assert "bytes of noise" in (fault := asyncio.run(go())) or "dlt645:" in fault


def test_a_valve_is_closed_once_and_its_meter_says_so(bench: Callable[[str], Bench]) -> None:
    one = meter("cjt188", 1)
    reports: list[tuple[CommandResult, str]] = []

    async def report(result: CommandResult, detail: str) -> None:
        reports.append((result, detail))

    def command(to: str, expires: int = FOREVER) -> Command:
        return Command(
            v=1, id="c-1", device="m-1", command="valve", expires_at=expires, argument={"to": to}
        )

    async def go() -> None:
        line = Line(protocol="cjt188", meters=[one], now=now)
        async with serving(bench, line, [one]) as (_, bus):
            bus.enqueue(command("close"), report)
            await until(lambda: len(reports) == 1)
            assert not one.valve_open
            bus.enqueue(command("half"), report)
            bus.enqueue(command("open", expires=1), report)
            await until(lambda: len(reports) == 3)
            one.faults[Fault.SILENT] = (0, FOREVER)
            bus.enqueue(command("open"), report)
            await until(lambda: len(reports) == 4)

    asyncio.run(go())
    assert [result for result, _ in reports] == ["done", "refused", "expired", "failed"]
    assert "it has valve open, valve close" in reports[1][1]
    assert not one.valve_open
