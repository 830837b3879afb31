"""A lane: one session at the broker, and the way of its messages.

Receive → decode and place → write → acknowledge → fan out. One thread drives the lane, step by
step, and it writes one batch at a time. While the database is busy the socket is not read, and the
broker keeps what comes. Nothing is acknowledged before it is committed. So a batch that cannot be
written is forgotten: the lane lets go of the broker, and the broker sends all of it again. That
one rule serves a database that is away, restarting, read-only or full. Memory is bounded by the
buffer whatever happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec
import structlog

from domain import wire
from domain.wire import Down
from ingest import metrics
from ingest.account import ReportedClock
from ingest.acknowledge import AckQueue
from ingest.broker_statistics import BrokerStatistics
from ingest.latest import LatestSaver
from ingest.ledger import LaneLedger
from ingest.message import ReceivedMessage
from ingest.poison import Poison
from ingest.receive_buffer import BufferLimits, ReceiveBuffer
from ingest.retry import CommittedMessages, RetryingWriter
from ingest.write import Writer
from store.database.connection import Unavailable

log = structlog.get_logger()

#: How long a lane sleeps at most while nothing is due, seconds.
IDLE_S = 0.25


class LaneClock(Protocol):
    """The time, for people and for spans."""

    def monotonic(self) -> float:
        """Return seconds that never step."""

    def now_ms(self) -> int:
        """Return the wall clock, ms UTC."""


class BrokerSession(Protocol):
    """The lane's session at the broker: `ingest.link.Link`, or the simulation's."""

    generation: int
    up: bool

    @property
    def connecting(self) -> bool:
        """Whether a connection is open or being made."""

    def connect(self) -> None:
        """Begin a connection."""

    def drop(self) -> None:
        """Let go; the session stays."""

    def receive(self) -> list[ReceivedMessage]:
        """Return what has come."""

    def acknowledge(self, generation: int, packet_ids: Iterable[int]) -> bool:
        """Answer messages that came on a connection."""

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send a message."""


class NotificationBus(Protocol):
    """Where others learn that something was committed."""

    def publish(self, channel: str, message: str) -> None:
        """Wake whoever listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """Every bound of a lane."""

    buffer: BufferLimits = field(default_factory=BufferLimits)
    #: Looks at the socket before a batch is written, where something may be urgent.
    max_receives: int = 100
    #: How long acknowledgements to a gateway are gathered.
    ack_delay_s: float = 0.1
    #: How often latest values and clock skews are written.
    save_every_s: float = 5.0
    #: The first wait after a failure; each further one is twice as long.
    retry_s: float = 0.5
    retry_max_s: float = 15.0


#: Readings may wait for company; an event may not.
READINGS = LaneLimits()
#: A hazard does not wait behind a storm of other events: those are written in small batches, and
#: it goes before the next.
EVENTS = LaneLimits(
    buffer=BufferLimits(
        max_messages=20_000,
        max_bytes=32_000_000,
        linger_s=0.02,
        batch_bytes=200_000,
        urgent_mark=b'"hazard"',
    ),
    ack_delay_s=0.0,
)


@dataclass(slots=True)
class IngestLane:
    """One lane. `step` waits no longer than the database does."""

    name: str
    link: BrokerSession
    open_ledger: Callable[[], LaneLedger]
    writer: Writer
    clock: LaneClock
    bus: NotificationBus
    poison: Poison
    limits: LaneLimits = READINGS
    #: A factor for waits, so that workers do not come back in the same moment.
    jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0)  # noqa: S311
    #: The channel on the bus that carries events to look at.
    channel: str = ""
    _ledger: LaneLedger | None = None
    #: The connection to the broker that brought what the buffer holds.
    _generation: int = 0
    _retry_at: float = float("-inf")
    _failures: int = 0
    _buffer: ReceiveBuffer = field(init=False)
    _retrying: RetryingWriter = field(init=False)
    _acks: AckQueue = field(init=False)
    _latest: LatestSaver = field(init=False)
    _statistics: BrokerStatistics = field(default_factory=BrokerStatistics)

    def __post_init__(self) -> None:
        self._buffer = ReceiveBuffer(self.limits.buffer)
        self._retrying = RetryingWriter(self.writer, self.poison, self.clock.now_ms)
        self._acks = AckQueue(self.limits.ack_delay_s)
        self._latest = LatestSaver(self.limits.save_every_s)

    @property
    def buffered(self) -> int:
        """How many messages are in memory."""
        return len(self._buffer)

    @property
    def failures(self) -> int:
        """How often in a row a batch could not be written or a connection not be made."""
        return self._failures

    # Driving ---------------------------------------------------------------------------------

    def step(self) -> float:
        """Do what is due, and return the seconds until something is.

        Raises: Poisoned.
        """
        now = self.clock.monotonic()
        if now < self._retry_at:
            return self._retry_at - now
        ledger = self._open_database()
        if ledger is None or not self._open_session():
            return 0.0
        return self._work(ledger)

    def close(self) -> None:
        """Write what is buffered, send what is due, and let go of the database."""
        if self._ledger is not None and self.link.generation == self._generation:
            self._write_all(self._ledger)
        if self._ledger is not None:
            self._acks.send(self.link.publish)
            self._save_latest(self._ledger)
        # Receiving is also what makes the link send.
        self.link.receive()
        self._close_database()

    def _open_database(self) -> LaneLedger | None:
        """Return the connection to the database; None where it is away."""
        try:
            if self._ledger is None:
                self._ledger = self.open_ledger()
        except Unavailable as error:
            self._let_go("database", error)
        return self._ledger

    def _open_session(self) -> bool:
        """Connect to the broker if need be; False where nobody answers."""
        if self.link.connecting:
            return True
        try:
            self.link.connect()
        except OSError as error:
            self._let_go("broker", error)
            return False
        return True

    def _work(self, ledger: LaneLedger) -> float:
        """Receive, write and acknowledge once; return the seconds until something is due."""
        if self.link.generation != self._generation:
            # What a former connection brought is written, and not acknowledged to the broker,
            # which sends it again on this one.
            self._write_all(ledger)
            self._generation = self.link.generation
        messages = self._receive()
        if messages and self.link.generation == self._generation:
            self._buffer.add(messages, self.clock.monotonic())
        if self._buffer.is_full or self.clock.monotonic() >= self._buffer.due_at:
            self._write(ledger)
        elif messages:
            return 0.0
        self._send_and_save()
        now = self.clock.monotonic()
        next_batch_at = self._buffer.due_at if self.buffered else now + IDLE_S
        return max(0.0, min(next_batch_at, self._acks.due_at, self._latest.due_at) - now)

    def _let_go(self, service: Literal["database", "broker"], error: BaseException) -> None:
        """Forget what is buffered, let go of the broker, and try again after a while.

        The broker keeps what was not acknowledged.
        """
        self._failures += 1
        doubled = self.limits.retry_s * 2 ** min(self._failures - 1, 8)
        wait = min(self.limits.retry_max_s, doubled) * self.jitter()
        metrics.UNAVAILABLE.labels(service).inc()
        log.warning(
            f"{service}_away",
            lane=self.name,
            error=str(error).strip()[:200],
            again_in_s=round(wait, 1),
        )
        self._buffer.clear()
        self._acks.clear()
        self.link.drop()
        if service == "database":
            self._close_database()
        self._retry_at = self.clock.monotonic() + wait

    def _close_database(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    # Receiving -------------------------------------------------------------------------------

    def _receive(self) -> list[ReceivedMessage]:
        """Return what gateways have sent; nothing while the buffer is full."""
        if self._buffer.is_full:
            return []
        with metrics.stage(self.name, "receive"):
            messages = self._receive_all() if self._has_urgent else self.link.receive()
        return self._statistics.take_out(messages)

    @property
    def _has_urgent(self) -> bool:
        return self.limits.buffer.urgent_mark is not None

    def _receive_all(self) -> list[ReceivedMessage]:
        """Return all that waits at the socket: what is urgent may be at the very end."""
        messages: list[ReceivedMessage] = []
        for _ in range(self.limits.max_receives + 1):
            received = self.link.receive()
            if not received:
                break
            messages += received
        return messages

    # Writing ---------------------------------------------------------------------------------

    def _write_all(self, ledger: LaneLedger) -> None:
        """Write all that is buffered. Whatever comes of it, nothing is buffered afterwards."""
        while self.buffered:
            self._write(ledger)

    def _write(self, ledger: LaneLedger) -> None:
        """Write the next batch. Whatever comes of it, it is not buffered afterwards."""
        began = self.clock.monotonic()
        messages = self._buffer.take_batch(began)
        unacknowledged = metrics.UNACKNOWLEDGED.labels(self.name)
        unacknowledged.set(len(messages) + self.buffered)
        try:
            for committed in self._retrying.write(ledger, messages):
                self._after_commit(committed)
        except Unavailable as error:
            self._let_go("database", error)
            return
        finally:
            unacknowledged.set(self.buffered)
        self._failures = 0
        metrics.COMMIT.labels(self.name).observe(self.clock.monotonic() - began)
        metrics.MESSAGES.labels(self.name).inc(len(messages))

    def _after_commit(self, committed: CommittedMessages) -> None:
        """Acknowledge to the broker and to the gateways, and fan out."""
        outcome = committed.outcome
        with metrics.stage(self.name, "acknowledge"):
            packet_ids = [message.packet_id for message in committed.messages if message.packet_id]
            self.link.acknowledge(self._generation, packet_ids)
        if outcome.to_watch:
            self.bus.publish(self.channel, msgspec.json.encode(outcome.to_watch).decode())
        self._acks.add(outcome.acks, self.clock.monotonic())
        for clock in outcome.clocks:
            self._send_time(clock)
        self._latest.collect(outcome.readings, outcome.skews)
        metrics.count_outcome(self.name, outcome)

    def _send_time(self, reported: ReportedClock) -> None:
        """Tell a gateway the server's time, in answer to its state."""
        answer = wire.Time(v=wire.VERSION, at=self.clock.now_ms(), echo=reported.at)
        topic = wire.down_topic(reported.address.estate, reported.address.gateway, Down.TIME)
        self.link.publish(topic, msgspec.json.encode(answer), 0)

    def _send_and_save(self) -> None:
        """Send acknowledgements that are due, and write what may be written later."""
        now = self.clock.monotonic()
        if now >= self._acks.due_at:
            self._acks.send(self.link.publish)
        if now >= self._latest.due_at and not self.buffered and self._ledger is not None:
            self._save_latest(self._ledger)

    def _save_latest(self, ledger: LaneLedger) -> None:
        try:
            self._latest.save(ledger, self.clock.monotonic())
        except Unavailable as error:
            self._let_go("database", error)
