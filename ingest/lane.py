"""A lane: one session at the broker, and the way of its messages: receive → decode and place → write → acknowledge → fan out.

One thread drives it, step by step, and it holds one batch at a time: while the database is busy the socket is not read, and the
broker keeps what comes. Nothing is acknowledged before it is committed, so a batch that cannot be written is simply
forgotten: the lane lets go of the broker, and the broker sends all of it again. That one rule serves a database that is away,
restarting, read-only or full. Memory is bounded by the batch whatever happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import structlog

from domain import wire
from domain.rejection import Reason, Rejected
from domain.wire import Ack, Down
from ingest import metrics
from ingest.bulk import Frame
from ingest.latest import Latest
from ingest.ledger import LaneLedger
from ingest.poison import Poison
from ingest.write import BatchOutcome, Writer
from store.database.connection import SerializationConflict, Unavailable, Unstorable

log = structlog.get_logger()


#: Where mosquitto counts what it has dropped, every ten seconds.
BROKER_DROPPED = "$SYS/broker/publish/messages/dropped"


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
        """Tell whether a connection is open or being made."""

    def connect(self) -> None:
        """Begin a connection."""

    def drop(self) -> None:
        """Let go; the session stays."""

    def receive(self) -> list[Frame]:
        """Return what has come."""

    def acknowledge(self, generation: int, mids: Iterable[int]) -> bool:
        """Answer messages that came on a connection."""

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send a message."""


class NotificationBus(Protocol):
    """Where it is told that something was committed."""

    def publish(self, channel: str, message: str) -> None:
        """Wake whoever listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """Every bound of a lane."""

    #: A batch is written when it holds so many messages or bytes, or when the one before was begun so long ago.
    messages: int = 10_000
    bytes: int = 4_000_000
    linger_s: float = 0.05
    #: Acknowledgements to a gateway are gathered so long.
    ack_every_s: float = 0.1
    #: Latest values and skews are written so often.
    keep_every_s: float = 5.0
    #: So many latest values at a time, so that no batch waits for all of them.
    keep_most: int = 1_000
    #: Tries of a batch that met another transaction.
    tries: int = 3
    #: Bytes that one transaction takes, where what comes meanwhile may have to go first.
    piece: int = 4_000_000
    #: Looks at the socket before one writes, where something may have to go first.
    reads: int = 100
    #: What a message holds that goes before all others that wait.
    first: str = ""
    retry_s: float = 0.5
    retry_most_s: float = 15.0


#: Readings may wait for company; an event may not.
READINGS = LaneLimits()
#: A hazard does not stand behind a storm of other events: those are written in small pieces, and it goes before the next.
EVENTS = LaneLimits(
    messages=20_000,
    bytes=32_000_000,
    linger_s=0.02,
    ack_every_s=0.0,
    piece=200_000,
    first='"hazard"',
)


@dataclass(slots=True)
class IngestLane:
    """One lane. `step` never waits longer than the database does; it returns for how long there is nothing to do."""

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
    #: The channel on the bus that hears of events to look at.
    channel: str = ""
    _ledger: LaneLedger | None = None
    _frames: list[Frame] = field(default_factory=list)
    _urgent: list[Frame] = field(default_factory=list)
    _bytes: int = 0
    _generation: int = 0
    _due: float = float("inf")
    _began: float = float("-inf")
    _retry_at: float = float("-inf")
    _failures: int = 0
    _latest: Latest = field(default_factory=Latest)
    _skews: dict[int, int] = field(default_factory=dict)
    _acks: dict[tuple[str, str, str, str], Ack] = field(default_factory=dict)
    _acks_due: float = float("inf")
    _keep_due: float = 0.0
    _dropped: int = 0

    @property
    def held(self) -> tuple[int, int]:
        """How many messages and bytes are in memory."""
        return len(self._frames) + len(self._urgent), self._bytes

    def step(self) -> float:
        """Do what is due, and return the seconds until something is.

        Raises: Poisoned.
        """
        now = self.clock.monotonic()
        if now < self._retry_at:
            return self._retry_at - now
        try:
            if self._ledger is None:
                self._ledger = self.open_ledger()
        except Unavailable as error:
            self._let_go("database", error)
            return 0.0
        if not self.link.connecting:
            try:
                self.link.connect()
            except OSError as error:
                self._let_go("broker", error)
                return 0.0
        return self._work(self._ledger, now)

    def _work(self, ledger: LaneLedger, now: float) -> float:
        if self.link.generation != self._generation:
            # What a former connection brought is written all the same, and not acknowledged; it comes again and is known.
            self._write_all(ledger)
            self._generation = self.link.generation
        full = self._full()
        with metrics.stage(self.name, "receive"):
            frames = [] if full else self._receive()
        if any(frame[0][:1] == b"$" for frame in frames):
            frames = self._set_aside(frames)
        if frames and self.link.generation == self._generation:
            if not self.held[0]:
                # Writes begin at least so far apart: a lone message waits for nobody, a stream gathers while the last is written.
                self._due = max(now, self._began + self.limits.linger_s)
            self._hold(frames)
            self._bytes += sum([len(frame[1]) for frame in frames])
        if self._full() or (self.held[0] and self.clock.monotonic() >= self._due):
            self._write(ledger)
        elif frames:
            return 0.0
        self._settle()
        now = self.clock.monotonic()
        return max(
            0.0,
            min(self._due if self.held[0] else now + 0.25, self._acks_due, self._keep_due) - now,
        )

    def _receive(self) -> list[Frame]:
        """Take what has come; where something may have to go first, all that has, since it may stand at the very end."""
        frames = came = self.link.receive()
        if self.limits.first:
            for _ in range(self.limits.reads):
                if not came:
                    break
                came = self.link.receive()
                frames = frames + came
        return frames

    def _full(self) -> bool:
        return self.held[0] >= self.limits.messages or self._bytes >= self.limits.bytes

    def _hold(self, frames: list[Frame]) -> None:
        """Hold messages until they are written, those that go first apart."""
        first = self.limits.first.encode()
        if not first:
            self._frames += frames
            return
        for frame in frames:
            (self._urgent if first in frame[1] else self._frames).append(frame)

    def _take(self) -> list[Frame]:
        """Take what is written next: what is urgent, or a piece of the rest."""
        held = self._urgent or self._frames
        count, size = len(held), self._bytes
        if size > self.limits.piece or (self._urgent and self._frames):
            count = size = 0
            for count, frame in enumerate(held, 1):  # noqa: B007
                size += len(frame[1])
                if size >= self.limits.piece:
                    break
        taken, rest = held[:count], held[count:]
        if self._urgent:
            self._urgent = rest
        else:
            self._frames = rest
        self._bytes -= size
        return taken

    def _set_aside(self, frames: list[Frame]) -> list[Frame]:
        """Take out what the broker tells of itself: how many messages it has dropped because a queue was full."""
        for topic, payload, _ in frames:
            if topic == BROKER_DROPPED.encode() and payload.isdigit():
                dropped = int(payload)
                if dropped > self._dropped:
                    log.warning(
                        "broker_dropped",
                        messages=dropped - self._dropped,
                        hint="raise its queue; see `anju doctor`",
                    )
                self._dropped = dropped
                metrics.DROPPED.set(dropped)
        return [frame for frame in frames if not frame[0].startswith(b"$")]

    def _write_all(self, ledger: LaneLedger) -> None:
        """Write all that is held. Whatever comes of it, nothing is held afterwards."""
        while self.held[0]:
            self._write(ledger)

    def _write(self, ledger: LaneLedger) -> None:
        """Write what comes next. Whatever comes of it, that is not held afterwards."""
        frames = self._take()
        self._began = began = self.clock.monotonic()
        metrics.WAITING.labels(self.name).set(len(frames) + self.held[0])
        try:
            self._write_part(ledger, frames)
        except Unavailable as error:
            self._let_go("database", error)
            return
        finally:
            metrics.WAITING.labels(self.name).set(self.held[0])
        self._failures = 0
        metrics.COMMIT.labels(self.name).observe(self.clock.monotonic() - began)
        metrics.MESSAGES.labels(self.name).inc(len(frames))

    def _write_part(self, ledger: LaneLedger, frames: list[Frame]) -> None:
        """Write messages; where they cannot be stored, write halves, so that the one that cannot is found and set aside."""
        for attempt in range(self.limits.tries):
            try:
                outcome = self.writer.write(ledger, frames, self.clock.now_ms())
            except SerializationConflict as error:
                metrics.RETRIES.labels("in_the_way").inc()
                if attempt + 1 == self.limits.tries:
                    raise
                log.info("in_the_way", lane=self.name, error=str(error).strip()[:200])
            except Unstorable as error:
                metrics.RETRIES.labels("unstorable").inc()
                # Retention may have dropped the month meanwhile; the second try makes it again.
                if attempt == 0:
                    continue
                self._split(ledger, frames, error)
                return
            else:
                self.poison.note(outcome)
                self._after_commit(outcome, frames)
                return

    def _split(self, ledger: LaneLedger, frames: list[Frame], error: BaseException) -> None:
        if len(frames) > 1:
            half = len(frames) // 2
            self._write_part(ledger, frames[:half])
            self._write_part(ledger, frames[half:])
            return
        log.error(
            "unstorable",
            topic=frames[0][0].decode("utf-8", "replace"),
            error=str(error).strip()[:300],
        )
        self.poison.unstorable()
        why = Rejected(
            reason=Reason.UNSTORABLE,
            detail="the database refused it; its bytes are kept for replay after a fix",
        )
        self._after_commit(
            self.writer.write(ledger, frames, self.clock.now_ms(), whole=why), frames
        )

    def _after_commit(self, outcome: BatchOutcome, frames: list[Frame]) -> None:
        """Acknowledge to the broker and to the gateways, and fan out."""
        with metrics.stage(self.name, "acknowledge"):
            self.link.acknowledge(self._generation, [frame[2] for frame in frames if frame[2]])
        if outcome.to_watch:
            self.bus.publish(self.channel, msgspec.json.encode(outcome.to_watch).decode())
        now = self.clock.monotonic()
        for estate, gateway, ack in outcome.acks:
            key = (estate, gateway, ack.kind, ack.boot)
            held = self._acks.get(key)
            # What is held back is joined: the watermark never falls, and numbers above it are named until it passes them.
            also = sorted({n for n in (*(held.also if held else ()), *ack.also) if n > ack.upto})
            self._acks[key] = Ack(
                v=wire.VERSION, kind=ack.kind, boot=ack.boot, upto=ack.upto, also=also
            )
            self._acks_due = min(self._acks_due, now + self.limits.ack_every_s)
        for estate, gateway, at in outcome.states:
            told = wire.Time(v=wire.VERSION, at=self.clock.now_ms(), echo=at)
            self.link.publish(
                wire.down_topic(estate, gateway, Down.TIME), msgspec.json.encode(told), 0
            )
        if outcome.readings is not None:
            self._latest.offer(outcome.readings)
        for gateway_id, skew in outcome.skews.items():
            # A delay makes a clock look slow, never fast: the largest is nearest to the truth.
            self._skews[gateway_id] = max(skew, self._skews.get(gateway_id, skew))
            metrics.LAG.labels(self.name).set(max(0.0, -skew / 1000))
        for (_, kind), tally in outcome.tallies.items():
            for word in ("received", "stored", "duplicates", "quarantined"):
                metrics.ITEMS.labels(kind, word).inc(getattr(tally, word))
        for reason in outcome.reasons:
            metrics.REFUSED.labels(reason).inc()

    def _settle(self) -> None:
        """Send acknowledgements that are due, and write what may be written later."""
        now = self.clock.monotonic()
        if now >= self._acks_due:
            acks, self._acks, self._acks_due = self._acks, {}, float("inf")
            for (estate, gateway, _, _), ack in acks.items():
                self.link.publish(
                    wire.down_topic(estate, gateway, Down.ACK), msgspec.json.encode(ack)
                )
        if now >= self._keep_due and not self.held[0] and self._ledger is not None:
            self._keep_due = now + self.limits.keep_every_s
            self._keep(self._ledger)

    def _keep(self, ledger: LaneLedger) -> None:
        latest, skews = self._latest.take(self.limits.keep_most), self._skews
        if latest is None and not skews:
            return
        if latest is not None and len(latest[0]) == self.limits.keep_most:
            self._keep_due = self.clock.monotonic() + 0.02
        self._skews = {}
        try:
            with ledger.batch(20.0):
                if skews:
                    ledger.save_skew(skews)
                if latest is not None:
                    ledger.keep_latest(*latest)
                ledger.commit()
        except SerializationConflict:
            # The next value of each point makes it good.
            return
        except Unavailable as error:
            self._let_go("database", error)

    def _let_go(self, who: str, error: BaseException) -> None:
        """Forget what is held, let go of the broker, which keeps it, and try again after a while."""
        self._failures += 1
        doubled = self.limits.retry_s * 2 ** min(self._failures - 1, 8)
        wait = min(self.limits.retry_most_s, doubled) * self.jitter()
        metrics.AWAY.labels(who).inc()
        log.warning(
            f"{who}_away", lane=self.name, error=str(error).strip()[:200], again_in_s=round(wait, 1)
        )
        self._frames, self._urgent, self._bytes, self._acks, self._acks_due = (
            [],
            [],
            0,
            {},
            float("inf"),
        )
        self.link.drop()
        if who == "database" and self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self._retry_at = self.clock.monotonic() + wait

    def close(self) -> None:
        """Write what is held, send what is due, and let go of everything."""
        if self._ledger is not None:
            if self.link.generation == self._generation:
                self._write_all(self._ledger)
            self._acks_due = (
                min(self._acks_due, self.clock.monotonic()) if self._acks else self._acks_due
            )
            self._keep_due = 0.0
            self._settle()
        self.link.receive()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
