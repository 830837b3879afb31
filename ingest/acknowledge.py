"""Acknowledgements to gateways, gathered for a moment so that one message names many numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from domain import wire
from domain.wire import Ack, Down
from ingest.account import GatewayAck


class AckKey(NamedTuple):
    """What an acknowledgement is about: a gateway's messages of one kind and boot."""

    estate: str
    gateway: str
    kind: str
    boot: str


@dataclass(slots=True)
class AckQueue:
    """Acknowledgements that wait to be sent."""

    delay_s: float
    #: When they are to be sent, monotonic seconds; infinite where none waits.
    due_at: float = float("inf")
    _waiting: dict[AckKey, Ack] = field(default_factory=dict)

    def add(self, acks: Iterable[GatewayAck], now: float) -> None:
        """Add acknowledgements, and join them with those that wait."""
        for address, ack in acks:
            key = AckKey(address.estate, address.gateway, ack.kind, ack.boot)
            self._waiting[key] = _join(self._waiting.get(key), ack)
            self.due_at = min(self.due_at, now + self.delay_s)

    def send(self, publish: Callable[[str, bytes], object]) -> None:
        """Send all that wait. `publish` takes a topic and a payload."""
        for key, ack in self._waiting.items():
            topic = wire.down_topic(key.estate, key.gateway, Down.ACK)
            publish(topic, msgspec.json.encode(ack))
        self.clear()

    def clear(self) -> None:
        """Forget all that wait. Their messages come again, and are acknowledged then."""
        self._waiting = {}
        self.due_at = float("inf")


def _join(waiting: Ack | None, ack: Ack) -> Ack:
    """Join two acknowledgements: numbers above the watermark are named until it passes them."""
    if waiting is None:
        return ack
    also = sorted({number for number in (*waiting.also, *ack.also) if number > ack.upto})
    return Ack(v=wire.VERSION, kind=ack.kind, boot=ack.boot, upto=ack.upto, also=also)
