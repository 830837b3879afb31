"""A database that keeps its word and nothing more: a transaction is all or nothing, and a commit
whose answer is lost may have happened.

`SimLedger` keeps the shape of `store.ingest.ledger.PostgresLedger`; tests/ingest/test_ledger.py
holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg

from domain import sequence
from domain.sequence import Run
from domain.wire import Birth, State
from store.database.connection import DuplicateKey
from store.ingest.ledger import PointName
from store.ingest.log import DirtySpans, IngestTally, TallyKey
from store.ingest.progress import MAX_RUNS, ProgressKey
from store.ingest.quarantine import QuarantinedMessage
from store.register.placement import PlacedDevice, PlacedGateway
from store.series.readings import EventRow, ReadingColumns, Written
from tests.simulation.world import World


@dataclass(slots=True)
class Tables:
    """What is committed."""

    readings: dict[tuple[int, int], float] = field(default_factory=dict)
    events: dict[tuple[int, str], tuple[int, str, dict[str, Any]]] = field(default_factory=dict)
    quarantine: dict[bytes, QuarantinedMessage] = field(default_factory=dict)
    progress: dict[ProgressKey, list[Run]] = field(default_factory=dict)
    tallies: dict[TallyKey, IngestTally] = field(default_factory=dict)
    watch: list[tuple[int, str]] = field(default_factory=list)
    latest: dict[int, tuple[int, float]] = field(default_factory=dict)
    points: dict[tuple[int, str], int] = field(default_factory=dict)
    rows_written: int = 0


class Database:
    """The tables, the register, and the dice that decides what fails."""

    def __init__(self, world: World, gateways: int, devices: int) -> None:
        self.world, self.tables, self.up = world, Tables(), True
        self.gateways = {
            ("es", f"gw-{g}"): PlacedGateway(id=g + 1, estate_id=1) for g in range(gateways)
        }
        self.devices = {
            (1, f"d-{g}-{d}"): (g * devices + d + 1, g + 1)
            for g in range(gateways)
            for d in range(devices)
        }
        self.last_point = 0
        self.fail = 0.0
        self.unknown = 0.0
        self.poison = b"poison"

    def break_sometimes(self, where: str) -> None:
        if not self.up:
            raise psycopg.OperationalError("simulated: the server is away")
        if self.fail and self.world.rng.random() < self.fail:
            self.world.note(f"database fails at {where}")
            kind = self.world.rng.choice(
                (psycopg.OperationalError, psycopg.errors.DeadlockDetected, psycopg.errors.DiskFull)
            )
            raise kind(f"simulated at {where}")


class SimLedger:
    """One connection."""

    def __init__(self, database: Database) -> None:
        database.break_sometimes("connect")
        self.db = database
        self._pending: list[Any] = []
        self._new_readings: dict[tuple[int, int], float] = {}
        self._points: dict[tuple[int, str], int] = {}

    def close(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._pending, self._new_readings, self._points = [], {}, {}

    @contextmanager
    def batch(self, seconds: float) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._forget()
            raise

    def commit(self) -> None:
        self.db.break_sometimes("commit")
        pending, points = self._pending, self._points
        self._forget()
        self.db.tables.points.update(points)
        for apply in pending:
            apply()
        if pending and self.db.unknown and self.db.world.rng.random() < self.db.unknown:
            self.db.world.note("commit's answer is lost")
            raise psycopg.OperationalError("simulated: the answer to COMMIT was lost")

    # The register

    def version(self) -> int:
        self.db.break_sometimes("version")
        return 1

    def find_gateway(self, estate: str, code: str) -> PlacedGateway | None:
        return self.db.gateways.get((estate, code))

    def find_devices(
        self, wanted: Iterable[tuple[int, str]]
    ) -> dict[tuple[int, str], PlacedDevice]:
        found = {}
        for key in wanted:
            if key in self.db.devices:
                number, gateway = self.db.devices[key]
                known = self.db.tables.points | self._points
                points = {
                    name: point for (device, name), point in known.items() if device == number
                }
                found[key] = PlacedDevice(id=number, estate_id=1, gateway_id=gateway, points=points)
        return found

    def make_points(self, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        found = {}
        for key in wanted:
            known = self.db.tables.points.get(key) or self._points.get(key)
            if known is None:
                # Like a sequence: a number that was given out is not given out again, whatever
                # becomes of the transaction.
                self.db.last_point += 1
            found[key] = self._points[key] = known or self.db.last_point
        return found

    def point_names(self, points: Iterable[int]) -> dict[int, PointName]:
        codes = {number: code for (_, code), (number, _) in self.db.devices.items()}
        return {
            point: PointName(codes[device], name)
            for (device, name), point in self.db.tables.points.items()
        }

    # What a batch changes

    def cover(self, low_ms: int, high_ms: int) -> None:
        self.db.break_sometimes("cover")

    def write_readings(self, columns: ReadingColumns, *, merge: bool) -> Written:
        self.db.break_sometimes("readings")
        held = self.db.tables.readings
        rows = list(
            zip(
                zip(columns.at.tolist(), columns.point.tolist(), strict=True),
                columns.value.tolist(),
                strict=True,
            )
        )
        keys = [key for key, _ in rows]
        if any(value == 666.0 for _, value in rows):
            raise psycopg.DataError("simulated: this cannot be stored")
        if not merge and (len(set(keys)) < len(keys) or any(key in held for key in keys)):
            raise DuplicateKey("simulated")
        fresh, clash, new = np.zeros(len(rows), dtype=bool), [], self._new_readings
        for i, (key, value) in enumerate(rows):
            there = held.get(key, new.get(key))
            if there is None:
                new[key] = value
                fresh[i] = True
            elif there != value:
                clash.append(i)
        stored = dict(new)

        def apply() -> None:
            self.db.tables.rows_written += len(stored)
            held.update(stored)

        self._pending.append(apply)
        return Written(fresh=fresh, conflicts=clash)

    def write_events(self, rows: list[EventRow]) -> Written:
        self.db.break_sometimes("events")
        held = self.db.tables.events
        new: dict[Any, Any] = {}
        fresh, clash = np.zeros(len(rows), dtype=bool), []
        for i, row in enumerate(rows):
            told, key = (row.at_ms, row.kind, row.data), (row.device_id, row.event_id)
            there = held.get(key, new.get(key))
            if there is None:
                new[key] = told
                fresh[i] = True
            elif there != told:
                clash.append(i)
        self._pending.append(lambda: held.update(new))
        return Written(fresh=fresh, conflicts=clash)

    def queue_for_watch(self, rows: list[EventRow]) -> None:
        told = [(row.device_id, row.event_id) for row in rows]
        self._pending.append(lambda: self.db.tables.watch.extend(told))

    def note_result(self, row: EventRow) -> None:
        return

    def keep_refused(self, refused: list[QuarantinedMessage]) -> list[bool]:
        self.db.break_sometimes("quarantine")
        new: dict[bytes, QuarantinedMessage] = {}
        told = []
        for item in refused:
            told.append(item.digest not in self.db.tables.quarantine and item.digest not in new)
            new.setdefault(item.digest, item)
        self._pending.append(
            lambda: [self.db.tables.quarantine.setdefault(k, v) for k, v in new.items()]
        )
        return told

    def note_seen(self, seen: dict[ProgressKey, list[Run]]) -> dict[ProgressKey, list[Run]]:
        self.db.break_sometimes("progress")
        found = {}
        for key, runs in seen.items():
            numbers = [
                n
                for low, high in [*self.db.tables.progress.get(key, []), *runs]
                for n in range(low, high)
            ]
            found[key] = sequence.runs(numbers)
            assert len(found[key]) <= MAX_RUNS
        self._pending.append(lambda: self.db.tables.progress.update(found))
        return found

    def mark_dirty(self, spans: DirtySpans) -> None:
        self.db.break_sometimes("dirty")

    def add_tallies(self, tallies: dict[TallyKey, IngestTally]) -> None:
        self.db.break_sometimes("tallies")

        def apply() -> None:
            for key, more in tallies.items():
                held = self.db.tables.tallies.setdefault(key, IngestTally())
                for name in ("received", "stored", "duplicates", "quarantined"):
                    setattr(held, name, getattr(held, name) + getattr(more, name))

        self._pending.append(apply)

    def save_state(self, gateway_id: int, state: State) -> None:
        return

    def save_skew(self, skews: dict[int, int]) -> None:
        return

    def save_birth(self, gateway_id: int, birth: Birth) -> None:
        return

    def note_best_effort(self, gateway_ids: set[int]) -> None:
        return

    def keep_latest(self, point: Any, at: Any, value: Any) -> None:
        rows = list(zip(point.tolist(), at.tolist(), value.tolist(), strict=True))

        def apply() -> None:
            for one, when, what in rows:
                if when > self.db.tables.latest.get(one, (0, 0.0))[0]:
                    self.db.tables.latest[one] = (when, what)

        self._pending.append(apply)
