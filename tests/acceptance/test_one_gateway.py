"""A simulated day of an estate behind one gateway process: whatever is cut or killed, all that the
devices gave out is stored exactly once.

200 meters of four protocols on eight lines, 20 doors, a fire host. The uplink is cut for hours, the
gateway is killed with SIGKILL twice (once while it is cut off), a line is cut. The day runs 600
times as fast.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from anju.demo import embedded
from anju.demo.embedded import Broker, Redis
from anju.field import ESTATE, GATEWAY, Pace, configuration, make_field, register_rows
from anju.processes import Child, start_anju
from anju.register_files import import_rows
from domain.broker import BrokerAddress
from domain.calendar import HOUR_MS
from simulators.field.estate import Field
from store.database.connection import connect
from store.ingest import log
from tests.conftest import SEED

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(900)]

SPEED, HOURS = 600.0, 24


class Cable:
    """The way to the broker, which can be cut: connections break and new ones are refused."""

    def __init__(self, target: int) -> None:
        self.target, self.port, self.cut = target, 0, False
        self._pairs: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def set_cut(self, cut: bool) -> None:
        self.cut = cut
        for writer in list(self._pairs) if cut else []:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._pairs |= {writer, back}

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65_536):
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pipe(reader, back), pipe(there, writer))
        self._pairs -= {writer, back}

    async def stop(self) -> None:
        self.set_cut(True)
        self._server.close()


class Day:
    """The estate and everything that happens to it."""

    def __init__(self, folder: Path, dsn: str, broker: Broker, redis: Redis) -> None:
        self.folder, self.dsn, self.redis = folder, dsn, redis
        self.cable = Cable(broker.address.port)
        # Always from seven in the morning (Beijing): a line that is cut over midnight is another
        # day, with a daily freeze in it.
        hour = int(time.time() * 1000) // HOUR_MS - HOURS - 4
        start = (hour - (hour - 23) % 24) * HOUR_MS
        self.pace = Pace(speed=SPEED, start_ms=start, real_ms=int(time.time() * 1000) + 4000)
        self.field, self.ports = make_field(
            folder, self.pace, meters=200, doors=20, lines=8, seed=SEED
        )
        environment = {
            "ANJU_DSN": dsn,
            "ANJU_BROKER_PORT": str(broker.address.port),
            "ANJU_REDIS_URL": redis.url,
        }
        self.ingest = start_anju("ingest", ["ingest"], folder / "ingest.log", environment)
        self.gateway: Child | None = None

    def hour(self) -> float:
        return (self.pace.now() - self.pace.start_ms) / HOUR_MS

    async def until(self, hour: float) -> None:
        while self.hour() < hour:
            await asyncio.sleep(0.02)
            self.ingest.check()

    def start_gateway(self) -> None:
        self.gateway = start_anju(
            "gateway",
            ["gateway", "run", str(self.folder / "gateway.toml")],
            self.folder / "gateway.log",
            {},
        )

    def kill_gateway(self) -> None:
        assert self.gateway is not None
        self.gateway.kill()
        self.start_gateway()

    async def happen(self) -> None:
        await self.cable.start()
        await self.field.start()
        broker = BrokerAddress(port=self.cable.port)
        (self.folder / "gateway.toml").write_text(
            configuration(self.field, self.ports, self.pace, broker), "utf-8"
        )
        self.start_gateway()
        living = asyncio.ensure_future(self.field.live(self.pace.start_ms + HOURS * HOUR_MS))
        # Each at the beginning of an hour, when every line is busy.
        await self.until(5.02)
        self.kill_gateway()
        await self.until(8.5)
        self.cable.set_cut(True)
        await self.until(11.03)
        self.kill_gateway()
        await self.until(13.5)
        self.cable.set_cut(False)
        await self.until(16.03)
        self.field.lines[2].break_line()
        await self.until(18.6)
        self.field.lines[2].mend()
        await living
        await self.until(HOURS + 0.5)
        self.field.mute()

    def waiting(self) -> int:
        from gateway.check import inspect_gateway
        from gateway.config import load_config

        return inspect_gateway(load_config(self.folder / "gateway.toml"), self.pace.now()).waiting

    async def settle(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not (
            self.field.all_delivered and self.waiting() == 0
        ):
            await asyncio.sleep(0.3)

    async def stop(self) -> None:
        await self.field.stop()
        await self.cable.stop()
        for child in (self.gateway, self.ingest):
            if child is not None:
                child.stop()


Key = tuple[str, str, float]


def readings(dsn: str) -> list[tuple[Key, int]]:
    """What is stored: (device, point, value) and the hour of its instant. A meter's values are all
    different, since it only grows.
    """
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT d.code, p.name, r.at, r.value FROM readings r JOIN points p ON p.id = "
            "r.point_id JOIN devices d ON d.id = p.device_id"
        ).fetchall()
    return [
        ((r["code"], r["name"], r["value"]), int(r["at"].timestamp() * 1000) // HOUR_MS)
        for r in rows
    ]


def events(dsn: str) -> Counter[tuple[str, str, str]]:
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT d.code, e.kind, e.event_id FROM events e JOIN devices d ON d.id = e.device_id"
        ).fetchall()
    return Counter((r["code"], r["kind"], r["event_id"]) for r in rows)


def given(field: Field) -> dict[Key, int]:
    polled = {
        (m.device, m.point, value): hour
        for line in field.lines
        for m in line.meters
        for hour, value in m.given
    }
    pushed = {
        (o.device, point, value): at // HOUR_MS
        for o in field.others
        for point, value, at in o.readings
    }
    return polled | pushed


def test_a_day_behind_one_gateway(
    any_dsn: str, broker: Broker, redis: Redis, tmp_path: Path
) -> None:
    dsn = any_dsn

    async def run() -> Day:
        day = Day(tmp_path, dsn, broker, redis)
        with connect(dsn) as connection:
            import_rows(connection, register_rows(day.field))
        try:
            await day.happen()
            await day.settle()
        finally:
            await day.stop()
        return day

    day = asyncio.run(run())
    field, stored = day.field, readings(dsn)
    registers = {key: hour for key, hour in stored if key[1] in ("energy_kwh", "water_m3")}
    wanted = given(field)
    assert len(wanted) > 200 * (HOURS - 4) * 0.9, "the day was not lived"
    assert set(wanted) - set(registers) == set(), "given out and not stored"
    assert set(registers) - set(wanted) == set(), "stored and never given out"
    assert max(Counter(key for key, _ in stored).values()) == 1, "stored twice"
    # An answer on the stroke of the hour may arrive after it: at this speed ten milliseconds are
    # six seconds.
    late = {
        key: (hour, registers[key])
        for key, hour in wanted.items()
        if not 0 <= registers[key] - hour <= 1
    }
    assert not late, "stored at another time than it was read"

    passages = [(door.device, number) for door in field.doors for number in door.given]
    others = [(other.device, number) for other in field.others for number in other.events]
    said = events(dsn)
    assert len(passages) > 1000 and all(other.sender.taken > 20 for other in field.others)
    smoke = {key for key in said if key[0].startswith("smoke-")}
    own = {key for key in said if key[1] == "device" and key[2].startswith(("offline-", "clock-"))}
    assert {(device, number) for device, _, number in set(said) - smoke - own} == set(
        passages
    ) | set(others)
    hazards = Counter(key[0] for key in smoke)
    assert hazards == Counter(f"smoke-{int(part, 16) + 1:02d}" for part, _ in field.fire_given)
    assert max(said.values()) == 1

    with connect(dsn) as connection:
        tallies = log.read_tallies(connection)
        assert all(tally.balanced for tally in tallies.values())
        assert sum(tally.quarantined for tally in tallies.values()) == 0
        boots = {
            row["boot"] for row in connection.execute("SELECT DISTINCT boot FROM gateway_progress")
        }
        gaps = connection.execute("SELECT count(*) AS n FROM gaps").fetchone()
    # Each life of the gateway has a number of its own, and none of its messages is missing.
    assert len(boots) == 3 and gaps is not None and gaps["n"] == 0
    duplicates = sum(
        tally.duplicates for key, tally in tallies.items() if key[0] == f"{ESTATE}/{GATEWAY}"
    )
    print(
        f"\n{len(wanted)} readings, {len(passages)} passages, {len(others)} other events, "
        f"{len(field.fire_given)} fire events, each once; "
        f"{duplicates} duplicates came and were known"
    )
    assert embedded.find_program("mosquitto")
