"""The ingest process: it holds seats at the broker by lease, and runs a lane for each.

There is one seat for events, states and births, so that an alarm never queues behind a back-fill, and one or more for readings,
which share them by a shared subscription where the broker speaks MQTT 5. Any number of workers may run; they divide the
seats among themselves. A worker that stops hands its seats over at once; one that is killed, frozen or cut off loses them
when the lease runs out, and what the broker kept for the session is read on by another. While the database is away no lease
can be renewed, so nobody reads; then everything stays where it is safe, at the broker and in the gateways' outboxes.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from domain import wire
from domain.broker import BrokerAddress
from ingest import metrics
from ingest.bulk import StockClient, new_client
from ingest.commands import Dispatcher
from ingest.gaps import ask_for_gaps
from ingest.lane import BROKER_DROPPED, EVENTS, READINGS, IngestLane, LaneLimits
from ingest.link import Link
from ingest.poison import Poison
from ingest.write import Writer
from store.database.connection import Connection, Deadline, Unavailable, connect
from store.ingest import leases
from store.ingest.ledger import PostgresLedger
from store.live.bus import EVENTS_CHANNEL, BackgroundPublisher, LiveBus
from store.register.placement import Placement

log = structlog.get_logger()

EVENTS_SEAT = "events"
#: A thread that reads in bulk holds the interpreter for as long as it may; an alarm's thread must not wait five milliseconds.
SWITCH_S = 0.0005
#: Python's collector stops everything to look at all that the placement remembers; what we throw away has no cycles in it, so
#: the young are looked at seldom and the old hardly ever.
COLLECT = (100_000, 50, 1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound of the process. A lease is renewed every `tick_s`."""

    readings: LaneLimits = READINGS
    events: LaneLimits = EVENTS
    #: Messages that the broker may have on their way to a lane at a time.
    readings_window: int = 20_000
    events_window: int = 2_000
    lease_s: float = 3.0
    tick_s: float = 0.5
    gap_after_s: float = 10.0
    ask_again_s: float = 60.0
    #: A gap that is older is not asked for any more; it stays on record.
    gap_give_up_s: float = 24 * 3600.0
    unstorable_in_a_row: int = 50


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Return seconds that never step."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Return the wall clock, ms UTC."""
        return time.time_ns() // 1_000_000


def seat_names(readings: int, *, shared: bool) -> list[str]:
    """Name the seats: events, and as many for readings as can share them."""
    return [EVENTS_SEAT, *(f"readings-{i}" for i in range(readings if shared else 1))]


def filters(seat: str, group: str, *, shared: bool) -> list[str]:
    """Return what a seat subscribes to."""
    if seat == EVENTS_SEAT:
        return [
            *(f"{wire.ROOT}/+/+/up/{up}" for up in (wire.Up.EVENTS, wire.Up.STATE, wire.Up.BIRTH)),
            BROKER_DROPPED,
        ]
    topic = f"{wire.ROOT}/+/+/up/{wire.Up.READINGS}"
    return [f"$share/{group}/{topic}" if shared else topic]


class LeasedLane:
    """A seat that this worker holds: its lane, driven by a thread of its own."""

    def __init__(self, name: str, lane: IngestLane, link: Link) -> None:
        self.name, self.lane, self.link = name, lane, link
        self.valid_until = 0.0
        self.failed: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lane-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if time.monotonic() > self.valid_until:
                    # Somebody else may hold the seat by now; two that read one session throw each other out.
                    self.link.drop()
                    self._stopping.wait(0.05)
                    continue
                self.link.wait(self.lane.step())
            self.lane.close()
        except BaseException as error:
            log.exception("lane_failed", seat=self.name)
            self.failed = error
        finally:
            self.link.close()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Write what is held, acknowledge it, and let go of the broker."""
        self._stopping.set()
        self.link.wake()
        self._thread.join(timeout_s)


class Worker:
    """One ingest process. `run` returns after `stop`, or raises what it cannot recover from."""

    def __init__(
        self,
        *,
        dsn: str,
        broker: BrokerAddress,
        bus: LiveBus,
        name: str,
        readings: int = 1,
        group: str = "anju",
        limits: Limits | None = None,
        make_client: Callable[..., StockClient] = new_client,
    ) -> None:
        self._dsn, self._broker, self.name, self._group = dsn, broker, name, group
        self._limits, self._make_client = limits or Limits(), make_client
        self._shared = readings > 1 and broker.protocol == 5
        self._wanted = seat_names(readings, shared=self._shared)
        self._clock = SystemClock()
        self._herald = BackgroundPublisher(bus)
        self._poison = Poison(unstorable_in_a_row=self._limits.unstorable_in_a_row)
        self._stopping = threading.Event()
        self.seats: dict[str, LeasedLane] = {}
        self._dispatcher = Dispatcher(self._publish)

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()

    def run(self) -> None:
        """Hold seats and read until `stop`.

        Raises: Poisoned, or whatever ended a lane.
        """
        gc.set_threshold(*COLLECT)
        sys.setswitchinterval(SWITCH_S)
        threading.Thread(target=self._keep_house, name="house", daemon=True).start()
        try:
            while not self._stopping.is_set():
                try:
                    with connect(self._dsn, statement_s=60) as connection:
                        while not self._stopping.is_set():
                            with Deadline(connection, 20.0):
                                self._tick(connection)
                            self._stopping.wait(self._limits.tick_s)
                        self._leave(connection)
                except Unavailable as error:
                    log.warning("database_away", error=str(error).strip()[:200])
                    self._check()
                    self._stopping.wait(self._limits.tick_s)
        finally:
            for seat in self.seats.values():
                seat.stop()

    def _tick(self, connection: Connection) -> None:
        self._check()
        asked = time.monotonic()
        with connection.transaction():
            held = leases.renew(
                connection, self.name, self._wanted, timedelta(seconds=self._limits.lease_s)
            )
        for name in held.seats - self.seats.keys():
            self._take(name)
        for name, seat in self.seats.items():
            if name in held.seats:
                seat.valid_until = asked + self._limits.lease_s
        gone = [name for name in self.seats if name not in held.seats or name in held.spare]
        if gone:
            self._give_up(connection, gone)
        metrics.SEATS.set(len(self.seats))
        for name in sorted(self.seats.keys() - set(self._wanted)):
            self._end(connection, name)

    def _check(self) -> None:
        for seat in self.seats.values():
            if seat.failed is not None:
                raise seat.failed

    def _take(self, name: str) -> None:
        events = name == EVENTS_SEAT
        limits = self._limits
        link = Link(
            self._broker,
            f"{self._group}-ingest-{name}",
            filters(name, self._group, shared=self._shared),
            window=limits.events_window if events else limits.readings_window,
            clock=time.monotonic,
            make_client=self._make_client,
        )
        lane = IngestLane(
            name=name,
            link=link,
            open_ledger=lambda: PostgresLedger.open(self._dsn),
            writer=Writer(Placement(clock=time.monotonic), lane=name),
            clock=self._clock,
            bus=self._herald,
            poison=self._poison,
            limits=limits.events if events else limits.readings,
            channel=EVENTS_CHANNEL,
        )
        if name not in self._wanted:
            link.end()
        seat = self.seats[name] = LeasedLane(name, lane, link)
        seat.valid_until = time.monotonic() + limits.lease_s
        log.info("seat_taken", seat=name, worker=self.name)
        seat.start()

    def _give_up(self, connection: Connection, names: list[str]) -> None:
        """Stop lanes, and hand over their seats."""
        for name in names:
            self.seats.pop(name).stop()
        with connection.transaction():
            leases.release(connection, self.name, names)
        log.info("seats_given_up", seats=names, worker=self.name)

    def _end(self, connection: Connection, name: str) -> None:
        """Read what is left in the session of a seat that is not wanted any more, and end it."""
        if self.seats[name].link.quiet_s < self._limits.lease_s:
            return
        self.seats[name].link.emptied = True
        self.seats.pop(name).stop()
        with connection.transaction():
            leases.remove(connection, name)
        log.info("seat_ended", seat=name)

    def _keep_house(self) -> None:
        """Do what one worker does for all: commands that are due, gaps that must be asked for.

        A thread of its own, since a city's door lists take longer than a lease lasts.
        """
        limits = self._limits
        while not self._stopping.wait(limits.tick_s):
            if EVENTS_SEAT not in self.seats:
                continue
            with suppress(*Unavailable), connect(self._dsn, statement_s=60) as connection:
                while EVENTS_SEAT in self.seats and not self._stopping.wait(
                    min(limits.tick_s, limits.gap_after_s)
                ):
                    with Deadline(connection, 90.0):
                        self._dispatcher.step(connection, time.monotonic())
                        ask_for_gaps(
                            connection,
                            self._publish,
                            after_s=limits.gap_after_s,
                            again_s=limits.ask_again_s,
                            give_up_s=limits.gap_give_up_s,
                        )

    def _publish(self, topic: str, payload: bytes) -> None:
        seat = self.seats.get(EVENTS_SEAT)
        if seat is not None:
            seat.link.publish(topic, payload)

    def _leave(self, connection: Connection) -> None:
        """Hand everything over to the others."""
        self._give_up(connection, list(self.seats))
        with connection.transaction():
            leases.leave(connection, self.name)
