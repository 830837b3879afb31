"""Estates, workers and misfortune: one seed is one run, and what is promised is checked at every
acknowledgement and at the end.

Real: `gateway.outbox`, `gateway.sender`, all of `ingest` but its link to the broker and its
process, `store.register.placement`. Simulated: the broker, the database, the network, the clocks,
and the leases.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import msgspec
import structlog

from domain import wire
from domain.wire import EventItem, ReadingItem, Up
from gateway import outbox
from gateway.outbox import Outbox, OutboxEntry
from gateway.outbox_file import open_outbox
from gateway.sender import OutboxSender
from ingest.account import AccountingError
from ingest.lane import EVENTS, READINGS, IngestLane
from ingest.poison import Poison
from ingest.write import Writer
from store.register.placement import Placement
from tests.simulation.broker import Broker, SimLink
from tests.simulation.database import Database, SimLedger
from tests.simulation.world import START_MS, World

GATEWAYS, DEVICES, LEASES = 2, 3, ("events", "readings-0", "readings-1")
TROUBLE_S, CALM_S, LEASE_S = 40.0, 80.0, 3.0
#: Messages that one lane may hold whatever happens: a batch, and what one reading of the socket
#: brings beyond it.
MOST_HELD = 400


class Broken(AssertionError):
    """A promise is broken; the message says which."""


class KeptOutbox(Outbox):
    """An outbox whose disk outlives its process."""

    def __init__(self, disk: sqlite3.Connection, boot: str) -> None:
        with patch.object(outbox, "open_outbox", return_value=disk):
            super().__init__(None, boot)


@dataclass(slots=True)
class Plan:
    """What befalls a run; every seed has its own mixture."""

    crash: float
    worker_kill: float
    freeze: float
    database: float
    partition: float
    gateway_kill: float
    fail: float
    unknown: float
    loss: float
    double: float
    odd: float
    max_queued: int
    latency: float
    linger: float
    #: The broker dies often, is back before anybody has noticed, and the lines break a moment
    #: later.
    hasty: bool = False


def plan(world: World) -> Plan:
    """Choose which kinds of trouble a seed has: some of them, seldom all."""
    dice = world.rng

    def maybe(rate: float) -> float:
        return rate if dice.random() < 0.5 else 0.0

    made = Plan(
        crash=maybe(0.12),
        worker_kill=maybe(0.15),
        freeze=maybe(0.1),
        database=maybe(0.1),
        partition=maybe(0.15),
        gateway_kill=maybe(0.08),
        fail=maybe(0.05),
        unknown=maybe(0.1),
        loss=maybe(0.1),
        double=maybe(0.2),
        odd=maybe(0.15),
        max_queued=dice.choice((20, 100_000, 100_000)),
        latency=dice.choice((0.02, 0.02, 0.6)),
        linger=dice.choice((0.05, 0.05, 1.0)),
    )
    if dice.random() < 0.15:
        made.hasty, made.crash, made.latency, made.linger = True, 0.6, 0.6, 1.0
    return made


class Books:
    """What the world gave out, against what the database holds."""

    def __init__(self, database: Database) -> None:
        self.db = database
        self.given: list[tuple[str, Any]] = []
        self._kept: set[tuple[Any, ...]] = set()
        self._read = 0

    def _quarantined(self) -> set[tuple[Any, ...]]:
        kept = self.db.tables.quarantine
        for refused in list(kept.values())[self._read :]:
            try:
                items = json.loads(refused.payload)["items"]
            except (ValueError, KeyError, TypeError):
                items = []
            for item in items:
                if "values" in item:
                    self._kept |= {
                        (item["device"], item["at"], name, value)
                        for name, value in item["values"].items()
                    }
                else:
                    self._kept.add((item["device"], item["id"]))
        self._read = len(kept)
        return self._kept

    def stored(self, item: ReadingItem | EventItem) -> bool:
        """Tell whether all of an item is in the tables."""
        number = self.db.devices.get((1, item.device), (0, 0))[0]
        if isinstance(item, EventItem):
            return self.db.tables.events.get((number, item.id)) == (item.at, item.kind, item.data)
        points = self.db.tables.points
        return all(
            self.db.tables.readings.get((item.at, points.get((number, name), -1))) == value
            for name, value in item.values.items()
        )

    def accounted(self, item: ReadingItem | EventItem) -> bool:
        """Tell whether an item is stored, or kept with its bytes for a person."""
        if self.stored(item):
            return True
        kept = self._quarantined()
        if isinstance(item, EventItem):
            return (item.device, item.id) in kept
        number, points = self.db.devices.get((1, item.device), (0, 0))[0], self.db.tables.points
        return all(
            (item.device, item.at, name, value) in kept
            or self.db.tables.readings.get((item.at, points.get((number, name), -1))) == value
            for name, value in item.values.items()
        )


def items_of(kind: Up, payload: bytes) -> list[Any]:
    """Read a message's items."""
    of = wire.Readings if kind is Up.READINGS else wire.Events
    return list(msgspec.json.decode(payload, type=of).items)


class SimGateway:
    """A gateway with its real outbox and sender, on a network that loses, doubles and turns things
    round.
    """

    def __init__(
        self, world: World, broker: Broker, books: Books, number: int, trouble: Plan
    ) -> None:
        self.world, self.broker, self.books, self.number, self.trouble = (
            world,
            broker,
            books,
            number,
            trouble,
        )
        self.disk = open_outbox(None)
        self.boots, self.cut, self.talks = 0, False, True
        self.told = 0
        broker.listeners[f"es/gw-{number}"] = self.hear
        self.start()
        world.after(world.rng.random(), self.work)

    def start(self) -> None:
        """Start the process: a new boot over the same disk."""
        self.boots += 1
        self.outbox = KeptOutbox(self.disk, f"boot-{self.number}-{self.boots}")
        self.sender = OutboxSender(self.outbox, self.world.now_ms, window=16)

    def work(self) -> None:
        if self.talks and self.world.rng.random() < 0.6:
            self.outbox.put([OutboxEntry(items=self.hear_devices())])
        for message in self.sender.due(self.world.now):
            self.send(message.kind, message.payload)
        self.world.after(0.25, self.work)

    def hear_devices(self) -> list[ReadingItem | EventItem]:
        """Make what devices say now; now and then what no server can take."""
        dice, found = self.world.rng, []
        for _ in range(dice.randrange(1, 4)):
            self.told += 1
            device = f"d-{self.number}-{dice.randrange(DEVICES)}"
            at = self.world.now_ms() - self.told % 7
            if dice.random() < 0.25:
                kind = dice.choice(("hazard", "passage"))
                data = (
                    {"hazard": "smoke", "state": "on"}
                    if kind == "hazard"
                    else {"method": "card", "outcome": "granted"}
                )
                found.append(
                    EventItem(device=device, at=at, id=str(self.told), kind=kind, data=data)
                )
                continue
            value = float(self.told)
            if self.trouble.odd and dice.random() < self.trouble.odd:
                device, at, value = dice.choice(
                    (
                        (device, at, 666.0),
                        (device, at, -5.0),
                        (device, at + 3_600_000, value),
                        ("who", at, value),
                    )
                )
            found.append(ReadingItem(device=device, at=at, values={"water_m3": value}))
        self.books.given += [(f"gw-{self.number}", item) for item in found]
        return found  # type: ignore[return-value]

    def send(self, kind: Up, payload: bytes) -> None:
        dice, topic = self.world.rng, wire.up_topic("es", f"gw-{self.number}", kind)
        for _ in range(2 if dice.random() < self.trouble.double else 1):
            if not self.cut and dice.random() >= self.trouble.loss:
                self.world.after(
                    dice.uniform(0.001, 0.2), lambda: self.broker.publish(topic, payload)
                )

    def hear(self, kind: str, payload: bytes) -> None:
        """Take what comes down, and hold the server to its word before anything is forgotten."""
        if self.cut or kind != "ack":
            return
        ack = msgspec.json.decode(payload, type=wire.Ack)
        rows = self.disk.execute(
            "SELECT seq, payload FROM messages WHERE kind = ? AND boot = ? AND seq <= ?",
            [ack.kind, ack.boot, max([ack.upto, *ack.also])],
        )
        for seq, body in rows.fetchall():
            if seq <= ack.upto or seq in ack.also:
                for item in items_of(Up(ack.kind), body):
                    if not self.books.accounted(item):
                        raise Broken(
                            f"acknowledged and not in the database: {ack.kind} {ack.boot}/{seq} "
                            f"{item}"
                        )
        self.sender.acknowledged(ack)


class Legacy:
    """A device that speaks MQTT without numbers, once: what the broker took and did not lose is
    owed.
    """

    def __init__(self, world: World, broker: Broker, books: Books) -> None:
        self.world, self.broker, self.books = world, broker, books
        self.owed: dict[bytes, ReadingItem] = {}
        self.told, self.talks = 0, True
        broker.on_lost = lambda payload: self.owed.pop(payload, None)
        world.after(1.0, self.work)

    def work(self) -> None:
        for _ in range(2 if self.talks else 0):
            self.told += 1
            item = ReadingItem(
                device="d-0-0",
                at=START_MS - 10_000_000 + self.told,
                values={"energy_kwh": float(self.told)},
            )
            payload = msgspec.json.encode({"v": 1, "items": [item]})
            heard = any("readings" in session.kinds for session in self.broker.sessions.values())
            if heard:
                self.owed[payload] = item
            if not self.broker.publish(wire.up_topic("es", "gw-0", Up.READINGS), payload):
                self.owed.pop(payload, None)
            self.books.given.append(("legacy", item))
        self.world.after(0.1, self.work)


@dataclass(slots=True)
class SimWorker:
    """A worker: it holds leases and steps its lanes, until it is killed or frozen."""

    world: World
    broker: Broker
    database: Database
    leases: dict[str, tuple[str, float]]
    crew: list[SimWorker]
    name: str
    lanes: dict[str, IngestLane] = field(default_factory=dict)
    valid: dict[str, float] = field(default_factory=dict)
    alive: bool = True
    frozen_until: float = 0.0
    most_held: int = 0
    linger: float = 0.1

    def tick(self) -> None:
        """Renew and take leases, as `ingest.worker` does by `store.ingest.leases`."""
        if not self.alive:
            return
        now = self.world.now
        if now >= self.frozen_until and self.database.up:
            mine = [lease for lease, (holder, _) in self.leases.items() if holder == self.name]
            fair = -(-len(LEASES) // max(1, sum(other.alive for other in self.crew)))
            for lease in LEASES:
                holder, until = self.leases.get(lease, ("", -1.0))
                if len(mine) < fair and holder != self.name and until < now:
                    mine.append(lease)
            for lease in mine[fair:]:
                self.leases[lease] = ("", -1.0)
            for lease in mine[:fair]:
                self.leases[lease] = (self.name, now + LEASE_S)
                self.valid[lease] = now + LEASE_S
                if lease not in self.lanes:
                    self.lanes[lease] = self.make_lane(lease)
                    self.world.after(0.0, lambda lease=lease: self.step(lease))  # type: ignore[misc]
            for lease in [lease for lease in self.lanes if lease not in mine[:fair]]:
                self.lanes.pop(lease).close()
        self.world.after(0.5, self.tick)

    def make_lane(self, lease: str) -> IngestLane:
        events = lease == "events"
        kinds = frozenset({"events", "state", "birth"} if events else {"readings"})
        limits = (
            replace(EVENTS, buffer=replace(EVENTS.buffer, max_messages=20))
            if events
            else replace(
                READINGS,
                buffer=replace(READINGS.buffer, max_messages=20, linger_s=self.linger),
            )
        )
        return IngestLane(
            name=lease,
            link=SimLink(self.world, self.broker, lease, kinds, shared=not events),
            open_ledger=lambda: SimLedger(self.database),
            writer=Writer(Placement(clock=self.world.monotonic), lane=lease),
            clock=self.world,
            bus=self,
            poison=Poison(),
            limits=limits,
            jitter=lambda: self.world.rng.uniform(0.5, 1.0),
            channel="events",
        )

    def publish(self, channel: str, message: str) -> None:
        """Stand for the live bus."""

    def step(self, lease: str) -> None:
        lane = self.lanes.get(lease)
        if not self.alive or lane is None:
            return
        if self.world.now < self.frozen_until:
            self.world.after(self.frozen_until - self.world.now, lambda: self.step(lease))
            return
        if self.world.now > self.valid.get(lease, 0.0):
            lane.link.drop()
            self.world.after(0.05, lambda: self.step(lease))
            return
        wait = lane.step()
        self.most_held = max(self.most_held, lane.buffered)
        # A lane that waits is woken by what arrives; here it looks often.
        self.world.after(min(max(wait, 0.002), 0.05), lambda: self.step(lease))

    def kill(self) -> None:
        """SIGKILL: what it held is gone; the broker notices that the connection is."""
        self.alive = False
        for lane in self.lanes.values():
            lane.link.drop()


class Run:
    """One seed from beginning to end."""

    def __init__(self, seed: int, *, trouble: Plan | None = None) -> None:
        # What is logged is for people; here nobody reads it.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self.world = World(seed)
        self.trouble = trouble or plan(self.world)
        self.database = Database(self.world, GATEWAYS, DEVICES)
        self.broker = Broker(
            self.world, max_queued=self.trouble.max_queued, window=50, latency=self.trouble.latency
        )
        self.books = Books(self.database)
        self.leases: dict[str, tuple[str, float]] = {}
        self.crew: list[SimWorker] = []
        self.hired = 0
        self.gateways = [
            SimGateway(self.world, self.broker, self.books, n, self.trouble)
            for n in range(GATEWAYS)
        ]
        self.legacy = Legacy(self.world, self.broker, self.books)
        for _ in range(2):
            self.hire()

    def hire(self) -> None:
        self.hired += 1
        worker = SimWorker(
            self.world,
            self.broker,
            self.database,
            self.leases,
            self.crew,
            f"w-{self.hired}",
            linger=self.trouble.linger,
        )
        self.crew[:] = [other for other in self.crew if other.alive] + [worker]
        worker.tick()

    # Misfortune ----------------------------------------------------------------------------------

    def misfortune(self) -> None:
        """Throw the dice once a second."""
        dice, trouble, world = self.world.rng, self.trouble, self.world
        if world.now > TROUBLE_S:
            return
        if dice.random() < trouble.crash and self.broker.up:
            how = dice.choice((self.broker.crash, self.broker.crash, self.broker.stop))
            world.note(f"broker {how.__name__}")
            how()
            # A supervisor may start it again before anybody has noticed; and trouble seldom comes
            # alone.
            away = 0.0 if trouble.hasty else dice.choice((0.0, 0.01, dice.uniform(0.1, 3.0)))
            world.after(away, lambda: setattr(self.broker, "up", True))
            if dice.random() < (0.9 if trouble.hasty else 0.4):
                world.after(
                    dice.uniform(0.02, 0.5), lambda: [self.cut(link, 0.5) for link in self.links()]
                )
        if dice.random() < trouble.worker_kill and self.crew:
            victim = dice.choice(self.crew)
            world.note(f"{victim.name} killed")
            victim.kill()
            world.after(dice.uniform(0.1, 4.0), self.hire)
        if dice.random() < trouble.freeze and self.crew:
            victim = dice.choice(self.crew)
            victim.frozen_until = world.now + dice.uniform(0.5, 8.0)
            world.note(f"{victim.name} frozen")
        if dice.random() < trouble.database and self.database.up:
            world.note("database down")
            self.database.up = False
            world.after(dice.uniform(0.2, 5.0), lambda: setattr(self.database, "up", True))
        if dice.random() < trouble.partition:
            self.cut(dice.choice([*self.gateways, *self.links()]), dice.uniform(0.5, 6.0))
        if dice.random() < trouble.gateway_kill:
            dice.choice(self.gateways).start()
            world.note("gateway killed")
        world.after(1.0, self.misfortune)

    def links(self) -> list[Any]:
        return [lane.link for worker in self.crew for lane in worker.lanes.values()]

    def cut(self, whom: Any, seconds: float) -> None:
        """Cut somebody off from the broker for a while."""
        whom.cut = True
        if isinstance(whom, SimLink):
            whom.drop()
        self.world.after(seconds, lambda: setattr(whom, "cut", False))

    # The run -------------------------------------------------------------------------------------

    def play(self) -> Run:
        """Trouble, then calm; checks every promise.

        Raises: Broken.
        """
        world = self.world
        self.database.fail, self.database.unknown = self.trouble.fail, self.trouble.unknown
        world.after(1.0, self.misfortune)
        try:
            while world.now < TROUBLE_S:
                world.run(world.now + 1.0)
                self.check_always()
            self.database.fail = self.database.unknown = 0.0
            self.trouble.loss = self.trouble.double = 0.0
            for one in (*self.gateways, self.legacy):
                one.talks = False
            while world.now < TROUBLE_S + CALM_S:
                world.run(world.now + 5.0)
                self.check_always()
                if world.now > TROUBLE_S + 20 and all(
                    gateway.outbox.items == 0 for gateway in self.gateways
                ):
                    break
            # The latest values are written every few seconds.
            world.run(world.now + 12.0)
        except AccountingError as error:
            raise Broken(f"the batch itself does not add up: {error}") from error
        self.check_end()
        return self

    def check_always(self) -> None:
        for worker in self.crew:
            if worker.most_held > MOST_HELD:
                raise Broken(f"a lane held {worker.most_held} messages")

    def check_end(self) -> None:
        """Hold the tables against what was given out."""
        tables = self.database.tables
        for gateway in self.gateways:
            if gateway.outbox.items:
                raise Broken(
                    f"gw-{gateway.number} still holds {gateway.outbox.items} items after "
                    f"{CALM_S:g} s of calm"
                )
        owed = set(map(id, self.legacy.owed.values()))
        rows = set()
        for source, item in self.books.given:
            if source == "legacy" and id(item) not in owed:
                continue
            if not self.books.accounted(item):
                raise Broken(f"lost: {source} {item}")
        for _, item in self.books.given:
            if isinstance(item, ReadingItem):
                number = self.database.devices.get((1, item.device), (0, 0))[0]
                rows |= {
                    (item.at, tables.points.get((number, name), -1), value)
                    for name, value in item.values.items()
                }
        extra = {(*key, value) for key, value in tables.readings.items()} - rows
        if extra:
            raise Broken(f"stored and never given out: {sorted(extra)[:3]}")
        self.check_counts()

    def check_counts(self) -> None:
        tables = self.database.tables
        for key, tally in tables.tallies.items():
            if not tally.balanced:
                raise Broken(f"{key}: {tally}")
        stored = sum(tally.stored for tally in tables.tallies.values())
        if stored != len(tables.readings) + len(tables.events):
            raise Broken(
                f"{stored} counted as stored, {len(tables.readings) + len(tables.events)} are"
            )
        quarantined = sum(tally.quarantined for tally in tables.tallies.values())
        if quarantined != len(tables.quarantine):
            raise Broken(f"{quarantined} counted as quarantined, {len(tables.quarantine)} are")
        hazards = sorted(key for key, (_, kind, _) in tables.events.items() if kind == "hazard")
        if sorted(tables.watch) != hazards:
            raise Broken(
                f"{len(hazards)} hazards are stored, watch was told of {len(tables.watch)}"
            )
        newest: dict[int, int] = {}
        for at, point in tables.readings:
            newest[point] = max(at, newest.get(point, 0))
        for point, (at, value) in tables.latest.items():
            if tables.readings.get((at, point)) != value:
                raise Broken(f"the latest value of point {point} was never read")
        good = {
            key[0] for key, held in tables.progress.items() if len(held) != 1 or held[0][0] != 1
        }
        if good:
            raise Broken(f"gaps stay open: {tables.progress}")
