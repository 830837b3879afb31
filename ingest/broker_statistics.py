"""What the broker publishes about itself: how many messages it has dropped.

It drops a message when a queue is full. mosquitto counts them on a topic of its own, every ten
seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from ingest import metrics
from ingest.message import ReceivedMessage

log = structlog.get_logger()

#: Where mosquitto publishes how many messages it has dropped.
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"
_DROPPED_TOPIC_BYTES = DROPPED_TOPIC.encode()
_STATISTICS_PREFIX = b"$"


@dataclass(slots=True)
class BrokerStatistics:
    """The broker's own counts, as far as they are watched."""

    dropped: int = 0

    def take_out(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Note what the broker says of itself, and return the other messages."""
        statistics = [m for m in messages if m.topic.startswith(_STATISTICS_PREFIX)]
        if not statistics:
            return messages
        for message in statistics:
            if message.topic == _DROPPED_TOPIC_BYTES and message.payload.isdigit():
                self._note_dropped(int(message.payload))
        return [m for m in messages if not m.topic.startswith(_STATISTICS_PREFIX)]

    def _note_dropped(self, dropped: int) -> None:
        if dropped > self.dropped:
            log.warning(
                "broker_dropped",
                messages=dropped - self.dropped,
                hint="raise its queue; see `anju doctor`",
            )
        self.dropped = dropped
        metrics.BROKER_DROPPED.set(dropped)
