"""Simulated devices: registers between the hours, clocks, faults on the wire, and ledgers."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from devices.protocols import cjt188, dlt645, gb26875, mbus, modbus
from devices.protocols.framing import FrameStream
from domain.calendar import HOUR_MS
from domain.rejection import Rejected
from simulators.field import answers, estate, fire_host, senders, terminal
from simulators.field.line import Line
from simulators.field.meters import ZONE, Fault, SimulatedMeter

T0 = 1_790_000_000_000 // HOUR_MS * HOUR_MS
FOREVER = 2**62


def meter(**changes: object) -> SimulatedMeter:
    values = {
        "device": "m",
        "protocol": "dlt645",
        "address": "000000000001",
        "point": "energy_kwh",
        "step": 0.01,
        "register": 100.0,
        "per_hour": 0.4,
        **changes,
    }
    return SimulatedMeter(**values)  # type: ignore[arg-type]


def test_a_register_stands_still_between_the_hours_and_grows_at_each() -> None:
    one = meter()
    first = one.read(T0 + 1)
    assert one.read(T0 + HOUR_MS - 1) == first
    later = [one.read(T0 + n * HOUR_MS) for n in range(1, 30)]
    assert later == sorted(set(later)) and later[0] > first
    assert one.given == {(T0 // HOUR_MS + n, value) for n, value in enumerate([first, *later])}


def test_the_same_seed_lives_the_same_day() -> None:
    assert [meter(seed=4).read(T0)] == [meter(seed=4).read(T0)]
    a, b = meter(seed=4), meter(seed=5)
    a.read(T0), b.read(T0)
    assert a.read(T0 + 24 * HOUR_MS) != b.read(T0 + 24 * HOUR_MS)


def test_rollover_reversed_flow_and_a_closed_valve() -> None:
    rolling = meter(register=999_999.9)
    rolling.read(T0)
    assert rolling.read(T0 + 3 * HOUR_MS) < 10
    backwards = meter(faults={Fault.REVERSED: (0, FOREVER)})
    backwards.read(T0)
    assert backwards.read(T0 + 5 * HOUR_MS) < 100
    closed = meter(valve_open=False)
    assert closed.read(T0) == closed.read(T0 + 9 * HOUR_MS)


def test_clocks_drift_jump_and_are_set() -> None:
    real = datetime.fromtimestamp(T0 / 1000, ZONE).replace(tzinfo=None)
    assert meter().clock(T0) == real
    drifting = meter(faults={Fault.CLOCK_DRIFT: (T0 - 86_400_000, FOREVER)})
    assert (drifting.clock(T0) - real).total_seconds() == 180
    assert meter(faults={Fault.CLOCK_JUMP: (0, FOREVER)}).clock(T0).year < 2002
    drifting.set_clock(real, T0)
    assert drifting.clock(T0) == real and drifting.clock_set == 1


@pytest.mark.parametrize("protocol", sorted(answers.PROTOCOLS))
def test_who_is_not_asked_keeps_silent(protocol: str) -> None:
    requests, _, respond = answers.PROTOCOLS[protocol]
    address = {"dlt645": "1".zfill(12), "cjt188": "1".zfill(14)}.get(protocol, "1")
    one = meter(protocol=protocol, address=address)
    asked = {
        "dlt645": dlt645.read_request("2".zfill(12), "00010000"),
        "cjt188": cjt188.read_request(0x10, "2".zfill(14)),
        "mbus": mbus.request_user_data(2),
        "modbus-rtu": modbus.read_request(
            2, modbus.ModbusRegister(table="holding", address=0, type="uint32")
        ),
        "modbus-tcp": modbus.read_request(
            2, modbus.ModbusRegister(table="holding", address=0, type="uint32")
        ),
    }[protocol]
    (frame,) = FrameStream(requests).feed(requests.encode(asked))
    assert respond(one, frame, T0) is None and one.given == set()


def ask(line: Line, request: bytes, seconds: float = 0.3) -> bytes:
    async def go() -> bytes:
        await line.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
            writer.write(request)
            await writer.drain()
            data = b""
            try:
                while True:
                    data += await asyncio.wait_for(reader.read(1000), seconds)
                    if reader.at_eof():
                        break
            except TimeoutError:
                pass
            writer.close()
            return data
        finally:
            await line.stop()

    return asyncio.run(go())


def test_faults_show_on_the_wire() -> None:
    request = dlt645.CODEC.encode(dlt645.read_request("1".zfill(12), "00010000"))

    def answer(*meters: SimulatedMeter) -> list[dlt645.Dlt645Frame | Rejected]:
        stream = FrameStream(dlt645.CODEC)
        return (
            stream.feed(ask(Line(protocol="dlt645", meters=list(meters), now=lambda: T0), request))
            + stream.flush()
        )

    assert len(answer(meter())) == 1
    assert answer(meter(faults={Fault.SILENT: (0, FOREVER)})) == []
    assert (
        len([f for f in answer(meter(), meter(register=5.0)) if not isinstance(f, Rejected)]) == 2
    )
    bent = [answer(meter(faults={Fault.BAD_CHECKSUM: (0, FOREVER)}))[0] for _ in range(1)]
    assert bent


def test_an_estate_is_the_same_from_the_same_seed() -> None:
    def make(seed: int) -> list[tuple[str, str, float]]:
        field = estate.Field(
            now=lambda: T0,
            size=estate.FieldSize(meters=40, doors=2, lines=4),
            push_url="http://127.0.0.1:9",
            fire_port=9,
            seed=seed,
        )
        return [(m.device, m.address, m.register) for line in field.lines for m in line.meters]

    assert make(1) == make(1) != make(2)
    assert len({device for device, _, _ in make(1)}) == 40


def test_a_fire_host_keeps_what_nobody_confirmed() -> None:
    host = fire_host.FireHost(source="0000000000a1", port=9, now=lambda: T0)
    host.part("00000001", 3, "烟感")
    (frame,) = host.pending.values()
    unit = gb26875.decode_unit(frame.unit)
    assert isinstance(unit, gb26875.Gb26875Unit) and unit.objects[0].text == "烟感"  # type: ignore[union-attr]
    assert (
        senders.DeviceSender(kind="edge", url="http://127.0.0.1:9").taken == 0
        and terminal.TerminalServer(password="x").people == {}
    )
