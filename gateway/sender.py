"""What of the outbox is sent now: a window of messages on their way, each sent again until the
server names it.

Pure but for the outbox: no socket, no thread, no clock of its own, so that the simulation runs the
very same code. Events go before readings, and readings wait a moment for company.
"""

from __future__ import annotations

from collections.abc import Callable

from domain import wire
from domain.wire import Up
from gateway.outbox import Outbox, SealedMessage

#: Messages that may be on their way at a time; a few places of them are for events only.
WINDOW = 64
RESERVED_FOR_EVENTS = 8
#: After this long without an acknowledgement a message is sent again.
RESEND_S = 15.0
#: How long a reading may wait for others, and how many others are enough.
LINGER_S = 0.5
ENOUGH_READINGS = 100


class OutboxSender:
    """One gateway's turn-taking. Not thread-safe: the uplink holds its lock around every call."""

    def __init__(self, outbox: Outbox, now_ms: Callable[[], int], *, window: int = WINDOW) -> None:
        self.outbox = outbox
        self._now_ms = now_ms
        self._window = window
        self._sent: dict[int, tuple[Up, float]] = {}
        self._sealed_readings = 0.0

    def due(self, now: float) -> list[SealedMessage]:
        """Return what is due at a moment of the monotonic clock, and count it as on its way."""
        found: list[SealedMessage] = []
        for number, (kind, sent) in list(self._sent.items()):
            if now - sent > RESEND_S:
                payload = self.outbox.payload(number)
                if payload is None:
                    # Acknowledged meanwhile, or given up by the cap.
                    del self._sent[number]
                else:
                    found.append(SealedMessage(id=number, kind=kind, payload=payload))
                    self._sent[number] = (kind, now)
        while len(self._sent) < self._window:
            message = self.outbox.next(Up.EVENTS, self._now_ms())
            if message is None and len(self._sent) < max(1, self._window - RESERVED_FOR_EVENTS):
                message = self._next_readings(now)
            if message is None:
                break
            self._sent[message.id] = (message.kind, now)
            found.append(message)
        return found

    def _next_readings(self, now: float) -> SealedMessage | None:
        """Take readings when enough wait, or when the first has waited long enough."""
        least = 1 if now - self._sealed_readings > LINGER_S else ENOUGH_READINGS
        message = self.outbox.next(Up.READINGS, self._now_ms(), least=least)
        if message is not None:
            self._sealed_readings = now
        return message

    def acknowledged(self, ack: wire.Ack) -> None:
        """Forget what the server has committed."""
        for number in self.outbox.acknowledge(Up(ack.kind), ack.boot, ack.upto, ack.also):
            self._sent.pop(number, None)

    def find_missing(self, request: wire.Backfill, now: float) -> list[SealedMessage]:
        """Return the messages that the server misses, and count them as on their way."""
        found = self.outbox.find_messages(Up(request.kind), request.boot, request.missing)
        for message in found:
            self._sent[message.id] = (message.kind, now)
        return found
