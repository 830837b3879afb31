"""What ingest writes a batch through: the register, and the tables that one transaction changes.

`PostgresLedger` is one connection with a deadline on every batch. The writer sees only the shape of
it (`ingest.ledger.LaneLedger`), so that the simulation can put its own in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row, scalar_row

from domain.calendar import from_ms
from domain.sequence import Run
from domain.wire import Birth, CommandResult, State
from store.database.connection import Connection, Deadline, Unavailable, connect
from store.database.partitions import Partitions
from store.gateways import commands
from store.ingest import latest, log, progress, quarantine
from store.ingest.log import DirtySpans, IngestTally, TallyKey
from store.ingest.progress import ProgressKey
from store.ingest.quarantine import QuarantinedMessage
from store.people import face_consents
from store.people.face_consents import FaceReport
from store.register.placement import PlacedDevice, PlacedGateway
from store.series import readings


class PointName(NamedTuple):
    """A point by the codes that messages use: its device's, and its own name."""

    device: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _DevicePoint:
    """A device of the register with one of its points; without one where it has none."""

    estate_id: int
    code: str
    device_id: int
    gateway_id: int | None
    point_name: str | None
    point_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _MadePoint:
    id: int
    device_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedPoint:
    id: int
    device: str
    name: str


class PostgresLedger:
    """One connection of one lane."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._partitions = Partitions(connection)
        connection.commit()

    @classmethod
    def open(cls, dsn: str) -> PostgresLedger:
        """Connect.

        Raises: Unavailable.
        """
        return cls(connect(dsn, statement_s=60))

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    @contextmanager
    def batch(self, seconds: float) -> Iterator[None]:
        """Hold a batch to a deadline, and undo it where it fails.

        Past the deadline the connection is cut, and whoever waits for it gets Unavailable.
        """
        with Deadline(self._connection, seconds):
            try:
                yield
            except BaseException:
                self._partitions.forget()
                # The first error is what matters, not that a broken connection cannot roll back.
                if not self._connection.closed:
                    with suppress(*Unavailable):
                        self._connection.rollback()
                raise

    def commit(self) -> None:
        """End the transaction; what was written counts from here."""
        self._connection.commit()

    # The register ----------------------------------------------------------------------------

    def version(self) -> int:
        """Return the register's number, which rises when a gateway or a device changes."""
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return int(cursor.execute("SELECT version FROM register_version").fetchone() or 0)

    def find_gateway(self, estate: str, code: str) -> PlacedGateway | None:
        """Find a gateway that is not retired and whose credentials were not all revoked."""
        with self._connection.cursor(row_factory=class_row(PlacedGateway)) as cursor:
            return cursor.execute(_FIND_GATEWAY, [estate, code]).fetchone()

    def find_devices(
        self, wanted: Iterable[tuple[int, str]]
    ) -> dict[tuple[int, str], PlacedDevice]:
        """Find devices by estate's id and code, with their points."""
        keys = list(wanted)
        values = [[estate_id for estate_id, _ in keys], [code for _, code in keys]]
        found: dict[tuple[int, str], PlacedDevice] = {}
        with self._connection.cursor(row_factory=class_row(_DevicePoint)) as cursor:
            for row in cursor.execute(_FIND_DEVICES, values):
                key = (row.estate_id, row.code)
                if key not in found:
                    found[key] = PlacedDevice(
                        id=row.device_id, estate_id=row.estate_id, gateway_id=row.gateway_id
                    )
                if row.point_name is not None and row.point_id is not None:
                    found[key].points[row.point_name] = row.point_id
        return found

    def make_points(self, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """Create points (device's id, name) that are not there; return the ids of all."""
        keys = list(wanted)
        values = [[device_id for device_id, _ in keys], [name for _, name in keys]]
        with self._connection.cursor(row_factory=class_row(_MadePoint)) as cursor:
            rows = cursor.execute(_MAKE_POINTS, values)
            return {(row.device_id, row.name): row.id for row in rows}

    def point_names(self, points: Iterable[int]) -> dict[int, PointName]:
        """Return the names of points by id."""
        with self._connection.cursor(row_factory=class_row(_NamedPoint)) as cursor:
            rows = cursor.execute(_POINT_NAMES, [list(points)])
            return {row.id: PointName(row.device, row.name) for row in rows}

    # What a batch changes --------------------------------------------------------------------

    def cover(self, low_ms: int, high_ms: int) -> None:
        """Make sure that there are tables for a span of time. What it makes is committed."""
        self._partitions.cover(self._connection, from_ms(low_ms), from_ms(high_ms))

    def write_readings(self, columns: readings.ReadingColumns, *, merge: bool) -> readings.Written:
        """Store readings; see `series.readings.write_readings`."""
        return readings.write_readings(self._connection, columns, merge=merge)

    def write_events(self, rows: list[readings.EventRow]) -> readings.Written:
        """Store events; see `series.readings.write_events`."""
        return readings.write_events(self._connection, rows)

    def queue_for_watch(self, rows: list[readings.EventRow]) -> None:
        """Hand stored events to watch."""
        log.queue_for_watch(self._connection, rows)

    def note_result(self, row: readings.EventRow) -> None:
        """Note what a gateway reports of a command, and of the faces that its device holds."""
        report = row.data
        command = str(report.get("command", ""))
        at = from_ms(row.at_ms)
        result = str(report["result"])
        command_report = commands.CommandReport(
            device_id=row.device_id,
            code=command,
            result=result,
            detail=str(report.get("detail", "")),
            at=at,
        )
        commands.save_report(self._connection, command_report)
        held = report.get("held")
        refused = report.get("refused")
        if result != CommandResult.DONE:
            return
        if isinstance(held, list) and isinstance(refused, list):
            gateway_report = FaceReport(
                command=command,
                held=[str(code) for code in held],
                refused=[str(code) for code in refused],
                at=at,
            )
            face_consents.save_report(self._connection, row.device_id, gateway_report)

    def keep_refused(self, refused: list[QuarantinedMessage]) -> list[bool]:
        """Put refusals into quarantine; return for each whether it is new."""
        return quarantine.quarantine(self._connection, refused)

    def note_seen(self, seen: dict[ProgressKey, list[Run]]) -> dict[ProgressKey, list[Run]]:
        """Add numbers to the progress; return all that are known to be stored."""
        return progress.note_seen(self._connection, seen) if seen else {}

    def mark_dirty(self, spans: DirtySpans) -> None:
        """Note which series changed."""
        if len(spans.device):
            log.mark_dirty(self._connection, spans)

    def add_tallies(self, tallies: dict[TallyKey, IngestTally]) -> None:
        """Add to the counts."""
        if tallies:
            log.add_tallies(self._connection, tallies)

    def save_state(self, gateway_id: int, state: State) -> None:
        """Keep a gateway's condition."""
        log.save_state(self._connection, gateway_id, state)

    def save_skew(self, skews: dict[int, int]) -> None:
        """Keep how far gateways' clocks are off."""
        log.save_skew(self._connection, skews)

    def save_birth(self, gateway_id: int, birth: Birth) -> None:
        """Keep what a gateway has behind it."""
        log.save_birth(self._connection, gateway_id, birth)

    def note_best_effort(self, gateway_ids: set[int]) -> None:
        """Mark gateways that send without numbers."""
        log.note_best_effort(self._connection, gateway_ids)

    def keep_latest(
        self, point: NDArray[np.int32], at: NDArray[np.int64], value: NDArray[np.float64]
    ) -> None:
        """Keep points' latest values."""
        latest.keep_latest(self._connection, point, at, value)


_FIND_GATEWAY = """
    SELECT g.id, g.estate_id, e.received_as_sent AS as_sent
    FROM gateways g
    JOIN estates e ON e.id = g.estate_id
    WHERE g.retired_on IS NULL
      AND e.code = %s
      AND g.code = %s
      -- A broker may hold a session open after every certificate was revoked.
      AND NOT (
        EXISTS (
            SELECT
            FROM gateway_certificates c
            WHERE c.gateway_id = g.id
              AND c.revoked_at IS NOT NULL
        )
        AND NOT EXISTS (
            SELECT
            FROM gateway_certificates c
            WHERE c.gateway_id = g.id
              AND c.revoked_at IS NULL
        )
      )
"""

_FIND_DEVICES = """
    SELECT
        d.estate_id,
        d.code,
        d.id AS device_id,
        d.gateway_id,
        p.name AS point_name,
        p.id AS point_id
    FROM unnest(%s::integer[], %s::text[]) AS w (estate_id, code)
    JOIN devices d ON d.estate_id = w.estate_id AND d.code = w.code
    LEFT JOIN points p ON p.device_id = d.id
"""

_MAKE_POINTS = """
    INSERT INTO points (device_id, name)
    SELECT *
    FROM unnest(%s::integer[], %s::text[])
    ON CONFLICT (device_id, name) DO UPDATE
    SET name = excluded.name
    RETURNING id, device_id, name
"""

_POINT_NAMES = """
    SELECT p.id, d.code AS device, p.name
    FROM points p
    JOIN devices d ON d.id = p.device_id
    WHERE p.id = ANY(%s)
"""
