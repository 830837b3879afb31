"""A broker with mosquitto's measured manners: it forgets everything when it is killed, drops in
silence when a queue is full, withholds a dead member's share, sends what is unacknowledged again
under the same packet ids, and begins them anew after a crash.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.message import ReceivedMessage
from tests.simulation.world import World


@dataclass(slots=True)
class Session:
    """What the broker keeps of one client."""

    kinds: frozenset[str]
    shared: bool
    queue: deque[tuple[str, bytes]] = field(default_factory=deque)
    inflight: OrderedDict[int, tuple[str, bytes]] = field(default_factory=OrderedDict)
    link: SimLink | None = None
    last_mid: int = 0


class Broker:
    """The broker, and the gateways that listen to it."""

    def __init__(self, world: World, *, max_queued: int, window: int, latency: float) -> None:
        self.world, self.max_queued, self.window, self.latency = world, max_queued, window, latency
        self.up = True
        self.sessions: dict[str, Session] = {}
        self.listeners: dict[str, Callable[[str, bytes], None]] = {}
        self.dropped = 0
        self._turn = 0
        #: Told of every message that was taken, dropped, and of a crash: what a sender without an
        #: outbox may count on.
        self.on_lost: Callable[[bytes], object] = lambda _payload: None

    # Faults --------------------------------------------------------------------------------------

    def crash(self) -> None:
        """SIGKILL: all that it held is gone."""
        for session in self.sessions.values():
            for _, payload in [*session.queue, *session.inflight.values()]:
                self.on_lost(payload)
        self._cut_all()
        self.sessions.clear()
        self.up = False

    def stop(self) -> None:
        """SIGTERM: sessions are kept on disk."""
        self._cut_all()
        self.up = False

    def _cut_all(self) -> None:
        for session in self.sessions.values():
            if session.link is not None:
                session.link.lost()

    # Up ------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes) -> bool:
        """Take a message, as far as a PUBACK tells; False where nobody answers."""
        if not self.up:
            return False
        kind, members = topic.rsplit("/", 1)[-1], []
        for session in self.sessions.values():
            if kind in session.kinds:
                if session.shared:
                    members.append(session)
                else:
                    self._enqueue(session, topic, payload)
        if members:
            self._turn += 1
            # A connected member is preferred; a share that was dealt to a dead one stays with it.
            alive = [session for session in members if session.link is not None] or members
            self._enqueue(alive[self._turn % len(alive)], topic, payload)
        return True

    def _enqueue(self, session: Session, topic: str, payload: bytes) -> None:
        if len(session.queue) >= self.max_queued:
            self.dropped += 1
            self.on_lost(payload)
            return
        session.queue.append((topic, payload))
        self._deliver(session)

    def _deliver(self, session: Session) -> None:
        while session.link is not None and session.queue and len(session.inflight) < self.window:
            session.last_mid = session.last_mid % 65535 + 1
            session.inflight[session.last_mid] = message = session.queue.popleft()
            session.link.bring(message, session.last_mid)

    # Down ----------------------------------------------------------------------------------------

    def send_down(self, topic: str, payload: bytes) -> None:
        """Hand a message to the gateway that it is for."""
        hear = self.listeners.get("/".join(topic.split("/")[2:4]))
        if self.up and hear is not None:
            self.world.after(
                self.world.rng.uniform(0.001, 0.05), lambda: hear(topic.rsplit("/", 1)[-1], payload)
            )


class SimLink:
    """A lane's session at the broker; keeps the shape of `ingest.lane.BrokerSession`."""

    clean_start = False

    def __init__(
        self, world: World, broker: Broker, session: str, kinds: frozenset[str], *, shared: bool
    ) -> None:
        self.generation, self.up = 0, False
        self._world, self._broker, self._name, self._kinds, self._shared = (
            world,
            broker,
            session,
            kinds,
            shared,
        )
        self._arrived: list[ReceivedMessage] = []
        self._session: Session | None = None
        self._at = 0.0
        self.cut = False

    @property
    def connecting(self) -> bool:
        return self._session is not None

    def connect(self) -> None:
        if not self._broker.up or self.cut:
            raise ConnectionRefusedError("simulated: nobody listens")
        sessions = self._broker.sessions
        if self.clean_start and self._name in sessions:
            for _, payload in [
                *sessions[self._name].queue,
                *sessions[self._name].inflight.values(),
            ]:
                self._broker.world.note(f"wiped {payload!r:.60}")
            del sessions[self._name]
        session = sessions.setdefault(self._name, Session(self._kinds, self._shared))
        if session.link is not None:
            # The same client id again: the former connection is thrown out (MQTT 3.1.4-3).
            session.link.lost()
        session.link, self._session, self.up = self, session, True
        self.generation += 1
        for mid, message in list(session.inflight.items()):
            self.bring(message, mid)
        self._broker._deliver(session)

    def bring(self, message: tuple[str, bytes], mid: int) -> None:
        """Carry a message over the network, in order, to where it is read, if the connection lives
        that long.
        """
        generation = self.generation
        self._at = max(
            self._at, self._world.now + self._world.rng.uniform(0.0005, self._broker.latency)
        )

        def arrive() -> None:
            if self._session is not None and generation == self.generation:
                self._arrived.append(ReceivedMessage(message[0].encode(), message[1], mid))

        self._world.after(self._at - self._world.now, arrive)

    def receive(self) -> list[ReceivedMessage]:
        received = self._arrived
        self._arrived = []
        return received

    def acknowledge(self, generation: int, mids: object) -> bool:
        if generation != self.generation or self._session is None:
            return False
        for mid in mids:  # type: ignore[attr-defined]
            self._session.inflight.pop(mid, None)
        self._broker._deliver(self._session)
        return True

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        if self._session is not None:
            self._broker.send_down(topic, payload)

    def drop(self) -> None:
        if self._session is not None and self._session.link is self:
            self._session.link = None
        self.lost()

    def lost(self) -> None:
        """The connection is gone, and what was on its way with it."""
        self._session, self.up, self._arrived = None, False, []
