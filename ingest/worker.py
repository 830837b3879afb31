"""The ingest process: it holds leases, and runs a lane for each.

A lease gives the right to read one session at the broker. There is one for events, states and
births, so that an alarm never queues behind a back-fill. There are one or more for readings, which
share them by a shared subscription where the broker speaks MQTT 5. Any number of workers may run;
they divide the leases among themselves. A worker that stops releases its leases at once. One that
is killed, frozen or cut off loses them when they run out, and another worker reads on what the
broker kept for the session. While the database is away no lease can be renewed, so nobody reads.
Then everything stays at the broker and in the gateways' outboxes.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from domain import wire
from domain.broker import BrokerAddress
from ingest import metrics
from ingest.broker_statistics import DROPPED_TOPIC
from ingest.bulk import StockClient, new_client
from ingest.downlink import Downlink
from ingest.gaps import GapLimits
from ingest.lane import EVENTS, READINGS, IngestLane, LaneLimits
from ingest.leased_lane import LeasedLane
from ingest.link import Link
from ingest.poison import Poison
from ingest.write import Writer
from store.database.connection import Connection, Deadline, Unavailable, connect
from store.ingest import leases
from store.ingest.ledger import PostgresLedger
from store.live.bus import EVENTS_CHANNEL, BackgroundPublisher, LiveBus
from store.register.placement import Placement

log = structlog.get_logger()

EVENTS_LEASE = "events"
#: How long a thread may hold the interpreter while others wait, seconds. Python's own five
#: milliseconds are too long for an alarm that waits behind a thread that reads in bulk.
SWITCH_INTERVAL_S = 0.0005
#: Thresholds of Python's collector. It stops everything to look at all that the placement
#: remembers, and what ingest throws away has no cycles. So it looks seldom.
COLLECTOR_THRESHOLDS = (100_000, 50, 1_000)
#: How long renewing the leases may take before the connection is cut.
RENEW_SECONDS = 20.0


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
    gaps: GapLimits = field(default_factory=GapLimits)
    #: See `Poison`.
    unstorable_in_a_row: int = 50


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Return seconds that never step."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Return the wall clock, ms UTC."""
        return time.time_ns() // 1_000_000


def lease_names(readings: int, *, shared: bool) -> list[str]:
    """Name the leases: events, and as many for readings as can share them."""
    count = readings if shared else 1
    return [EVENTS_LEASE, *(f"readings-{number}" for number in range(count))]


def topic_filters(lease: str, group: str, *, shared: bool) -> list[str]:
    """Return what the session of a lease subscribes to."""
    if lease == EVENTS_LEASE:
        kinds = (wire.Up.EVENTS, wire.Up.STATE, wire.Up.BIRTH)
        return [*(f"{wire.ROOT}/+/+/up/{kind}" for kind in kinds), DROPPED_TOPIC]
    topic = f"{wire.ROOT}/+/+/up/{wire.Up.READINGS}"
    return [f"$share/{group}/{topic}" if shared else topic]


@dataclass(slots=True, kw_only=True)
class Worker:
    """One ingest process. `run` returns after `stop`, or raises what it cannot recover from."""

    dsn: str
    broker: BrokerAddress
    bus: LiveBus
    name: str
    #: Lanes for readings, of all workers together.
    readings: int = 1
    #: Name of the group of workers, in client ids and shared subscriptions.
    group: str = "anju"
    limits: Limits = field(default_factory=Limits)
    make_client: Callable[..., StockClient] = new_client
    #: The lanes that this worker holds, by lease.
    lanes: dict[str, LeasedLane] = field(init=False, default_factory=dict)
    _publisher: BackgroundPublisher = field(init=False)
    _poison: Poison = field(init=False)
    _stopping: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._publisher = BackgroundPublisher(self.bus)
        self._poison = Poison(unstorable_in_a_row=self.limits.unstorable_in_a_row)

    def run(self) -> None:
        """Hold leases and read until `stop`.

        Raises: Poisoned, or whatever else ended a lane.
        """
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._start_downlink()
        try:
            while not self._stopping.is_set():
                try:
                    self._hold_leases()
                except Unavailable as error:
                    log.warning("database_away", error=str(error).strip()[:200])
                    self._raise_failure()
                    self._stopping.wait(self.limits.tick_s)
        finally:
            for lane in self.lanes.values():
                lane.stop()

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()

    # Leases ----------------------------------------------------------------------------------

    def _hold_leases(self) -> None:
        """Renew leases over one connection until `stop`, then release them.

        Raises: Unavailable; whatever ended a lane.
        """
        with connect(self.dsn, statement_s=60) as connection:
            while not self._stopping.is_set():
                with Deadline(connection, RENEW_SECONDS):
                    self._renew(connection)
                self._stopping.wait(self.limits.tick_s)
            self._release(connection, list(self.lanes))
            with connection.transaction():
                leases.leave(connection, self.name)

    def _renew(self, connection: Connection) -> None:
        """Renew the leases once; start and stop lanes accordingly."""
        self._raise_failure()
        desired = lease_names(self.readings, shared=self._is_shared)
        lease_time = timedelta(seconds=self.limits.lease_s)
        asked_at = time.monotonic()
        with connection.transaction():
            held = leases.renew(connection, self.name, desired, lease_time)
        for name in held.names - self.lanes.keys():
            self._start_lane(name, is_desired=name in desired)
        for name in held.names:
            self.lanes[name].valid_until = asked_at + self.limits.lease_s
        given_up = [name for name in self.lanes if name not in held.names or name in held.surplus]
        if given_up:
            self._release(connection, given_up)
        metrics.LEASES.set(len(self.lanes))
        for name in sorted(self.lanes.keys() - set(desired)):
            self._end_session(connection, name)

    def _release(self, connection: Connection, names: list[str]) -> None:
        """Stop lanes, and release their leases."""
        for name in names:
            self.lanes.pop(name).stop()
        with connection.transaction():
            leases.release(connection, self.name, names)
        log.info("leases_released", leases=names, worker=self.name)

    def _end_session(self, connection: Connection, name: str) -> None:
        """End the session of a lease that is not desired any more, once nothing comes of it."""
        lane = self.lanes[name]
        if lane.link.quiet_s < self.limits.lease_s:
            return
        lane.link.emptied = True
        self.lanes.pop(name).stop()
        with connection.transaction():
            leases.remove(connection, name)
        log.info("lease_removed", lease=name)

    def _raise_failure(self) -> None:
        """Raise what ended a lane, if anything did."""
        for lane in self.lanes.values():
            if lane.failure is not None:
                raise lane.failure

    # Lanes -----------------------------------------------------------------------------------

    @property
    def _is_shared(self) -> bool:
        """Whether several lanes share the readings (MQTT 5, 4.8.2)."""
        return self.readings > 1 and self.broker.protocol == 5

    def _start_lane(self, name: str, *, is_desired: bool) -> None:
        """Start the lane of a lease. One that is not desired reads only what its session holds."""
        is_events = name == EVENTS_LEASE
        limits = self.limits
        link = Link(
            self.broker,
            f"{self.group}-ingest-{name}",
            topic_filters(name, self.group, shared=self._is_shared),
            window=limits.events_window if is_events else limits.readings_window,
            clock=time.monotonic,
            make_client=self.make_client,
        )
        if not is_desired:
            link.end()
        lane = IngestLane(
            name=name,
            link=link,
            open_ledger=lambda: PostgresLedger.open(self.dsn),
            writer=Writer(Placement(clock=time.monotonic), lane=name),
            clock=SystemClock(),
            bus=self._publisher,
            poison=self._poison,
            limits=limits.events if is_events else limits.readings,
            channel=EVENTS_CHANNEL,
        )
        leased = LeasedLane(name, lane, link)
        leased.valid_until = time.monotonic() + limits.lease_s
        self.lanes[name] = leased
        log.info("lease_taken", lease=name, worker=self.name)
        leased.start()

    # What goes down --------------------------------------------------------------------------

    def _start_downlink(self) -> None:
        Downlink(
            dsn=self.dsn,
            publish=self._publish,
            is_ours=lambda: EVENTS_LEASE in self.lanes,
            gaps=self.limits.gaps,
            every_s=self.limits.tick_s,
            stopping=self._stopping,
        ).start()

    def _publish(self, topic: str, payload: bytes) -> None:
        lane = self.lanes.get(EVENTS_LEASE)
        if lane is not None:
            lane.link.publish(topic, payload)
