"""What ingest writes a batch through: the register to place it by, and the tables that it changes in one transaction.

`PostgresLedger` is one connection with a deadline on every batch. The writer sees only this shape, so that the simulation can put
its own in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from domain.calendar import from_ms
from domain.sequence import Run
from domain.wire import Birth, CommandResult, State
from store.database.connection import Connection, Deadline, Unavailable, connect
from store.database.partitions import Partitions
from store.gateways import commands
from store.ingest import latest, log, progress, quarantine
from store.ingest.log import DirtySpans, IngestTally
from store.ingest.progress import ProgressKey
from store.ingest.quarantine import QuarantinedMessage
from store.people import face_consents
from store.people.face_consents import GatewayReport
from store.register.placement import PlacedDevice, PlacedGateway
from store.series import readings

_GATEWAY = (
    "SELECT g.id, g.estate_id, e.received_as_sent FROM gateways g JOIN estates e ON e.id = g.estate_id "
    "WHERE g.retired_on IS NULL AND e.code = %s AND g.code = %s "
    # Whoever still speaks after every certificate was revoked is nobody we know; a broker may hold such a session open.
    "AND NOT (EXISTS (SELECT FROM gateway_certificates c WHERE c.gateway_id = g.id AND c.revoked_at IS NOT NULL) "
    "AND NOT EXISTS (SELECT FROM gateway_certificates c WHERE c.gateway_id = g.id AND c.revoked_at IS NULL))"
)
_DEVICES = (
    "SELECT d.estate_id, d.code, d.id, d.gateway_id, p.name, p.id AS point_id FROM unnest(%s::integer[], %s::text[]) AS w (estate_id, code) "
    "JOIN devices d ON d.estate_id = w.estate_id AND d.code = w.code LEFT JOIN points p ON p.device_id = d.id"
)


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
        """Hold the connection to a deadline: past it the connection is cut, and what waits for it raises Unavailable."""
        with Deadline(self._connection, seconds):
            try:
                yield
            except BaseException:
                self._partitions.forget()
                # What was in the way is what matters, not that a broken connection cannot roll back.
                if not self._connection.closed:
                    with suppress(*Unavailable):
                        self._connection.rollback()
                raise

    def commit(self) -> None:
        """End the transaction; what was written counts from here."""
        self._connection.commit()

    # The register ----------------------------------------------------------------------------------------------------

    def version(self) -> int:
        """Return the register's number."""
        row = self._connection.execute("SELECT version FROM register_version").fetchone()
        return int(row["version"]) if row else 0

    def find_gateway(self, estate: str, code: str) -> PlacedGateway | None:
        """Find a gateway that is not retired and whose credentials were not all revoked."""
        row = self._connection.execute(_GATEWAY, [estate, code]).fetchone()
        return (
            PlacedGateway(id=row["id"], estate_id=row["estate_id"], as_sent=row["received_as_sent"])
            if row
            else None
        )

    def find_devices(
        self, wanted: Iterable[tuple[int, str]]
    ) -> dict[tuple[int, str], PlacedDevice]:
        """Find devices by estate and code, with their points."""
        keys = list(wanted)
        found: dict[tuple[int, str], PlacedDevice] = {}
        for row in self._connection.execute(_DEVICES, [[k[0] for k in keys], [k[1] for k in keys]]):
            key = (row["estate_id"], row["code"])
            if key not in found:
                found[key] = PlacedDevice(
                    id=row["id"], estate_id=row["estate_id"], gateway_id=row["gateway_id"]
                )
            if row["name"] is not None:
                found[key].points[row["name"]] = row["point_id"]
        return found

    def make_points(self, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """Create points of registered devices; returns their ids."""
        keys = list(wanted)
        rows = self._connection.execute(
            "INSERT INTO points (device_id, name) SELECT * FROM unnest(%s::integer[], %s::text[]) "
            "ON CONFLICT (device_id, name) DO UPDATE SET name = excluded.name RETURNING device_id, name, id",
            [[k[0] for k in keys], [k[1] for k in keys]],
        )
        return {(row["device_id"], row["name"]): row["id"] for row in rows}

    def point_names(self, points: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Return the codes of points: their device's, and their own name."""
        rows = self._connection.execute(
            "SELECT p.id, d.code, p.name FROM points p JOIN devices d ON d.id = p.device_id WHERE p.id = ANY(%s)",
            [list(points)],
        )
        return {row["id"]: (row["code"], row["name"]) for row in rows}

    # What a batch changes --------------------------------------------------------------------------------------------

    def cover(self, low_ms: int, high_ms: int) -> None:
        """Make sure that there are tables for a span of time. What it makes is committed at once."""
        self._partitions.cover(self._connection, from_ms(low_ms), from_ms(high_ms))

    def write_readings(self, batch: readings.ReadingColumns, *, merge: bool) -> readings.Written:
        """Store readings; see `series.write_readings`."""
        return readings.write_readings(self._connection, batch, merge=merge)

    def write_events(self, batch: list[readings.EventRow]) -> readings.Written:
        """Store events; see `series.write_events`."""
        return readings.write_events(self._connection, batch)

    def queue_for_watch(self, rows: list[readings.EventRow]) -> None:
        """Hand stored events to watch."""
        log.queue_for_watch(self._connection, rows)

    def note_result(self, row: readings.EventRow) -> None:
        """Note what a gateway reports of a command."""
        said = row.data
        commands.note_result(
            self._connection,
            row.device_id,
            str(said.get("command", "")),
            str(said["result"]),
            str(said.get("detail", "")),
            from_ms(row.at_ms),
        )
        held, refused = said.get("held"), said.get("refused")
        if (
            isinstance(held, list)
            and isinstance(refused, list)
            and said["result"] == CommandResult.DONE
        ):
            # What a gateway says it holds of faces.
            report = GatewayReport(
                command=str(said.get("command", "")),
                held=[str(consent) for consent in held],
                refused=[str(consent) for consent in refused],
                at=from_ms(row.at_ms),
            )
            face_consents.save_report(self._connection, row.device_id, report)

    def keep_refused(self, refused: list[QuarantinedMessage]) -> list[bool]:
        """Put refusals into quarantine; returns which are new."""
        return quarantine.quarantine(self._connection, refused)

    def note_seen(self, seen: dict[ProgressKey, list[Run]]) -> dict[ProgressKey, list[Run]]:
        """Add numbers to the progress; returns all that are known to be stored."""
        return progress.note_seen(self._connection, seen) if seen else {}

    def mark_dirty(self, spans: DirtySpans) -> None:
        """Note which series changed."""
        if len(spans.device):
            log.mark_dirty(self._connection, spans)

    def add_tallies(self, tallies: dict[tuple[str, str], IngestTally]) -> None:
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
