"""What a lane has received and not written yet, with its bounds.

Messages that are urgent are kept apart, so that a hazard does not wait behind a storm of other
events. What is taken out is the caller's: nothing is put back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.message import ReceivedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferLimits:
    """When a batch is written, and how large it is."""

    #: The buffer is full when it holds so many messages or bytes.
    max_messages: int = 10_000
    max_bytes: int = 4_000_000
    #: Writes begin at least so far apart, seconds.
    linger_s: float = 0.05
    #: Bytes of one batch, where urgent messages may come meanwhile.
    batch_bytes: int = 4_000_000
    #: What the payload of an urgent message holds; None where no message is urgent.
    urgent_mark: bytes | None = None


@dataclass(slots=True)
class ReceiveBuffer:
    """Messages in the order in which they came, the urgent ones apart."""

    limits: BufferLimits
    _urgent: list[ReceivedMessage] = field(default_factory=list)
    _others: list[ReceivedMessage] = field(default_factory=list)
    _bytes: int = 0
    _due_at: float = float("inf")
    _taken_at: float = float("-inf")

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be received before something is written."""
        return len(self) >= self.limits.max_messages or self._bytes >= self.limits.max_bytes

    @property
    def due_at(self) -> float:
        """When a batch is to be written, monotonic seconds; infinite where there is none."""
        return self._due_at if len(self) else float("inf")

    def add(self, messages: list[ReceivedMessage], now: float) -> None:
        """Add what has come.

        A message that comes alone is due at once. A stream gathers while a batch is written.
        """
        if not len(self):
            self._due_at = max(now, self._taken_at + self.limits.linger_s)
        self._bytes += sum([len(message.payload) for message in messages])
        mark = self.limits.urgent_mark
        if mark is None:
            self._others += messages
            return
        for message in messages:
            target = self._urgent if mark in message.payload else self._others
            target.append(message)

    def take_batch(self, now: float) -> list[ReceivedMessage]:
        """Take what is written next: the urgent messages, or a piece of the others."""
        self._taken_at = now
        source = self._urgent or self._others
        count = len(source)
        size = self._bytes
        is_mixed = bool(self._urgent and self._others)
        if is_mixed or size > self.limits.batch_bytes:
            count, size = _measure_batch(source, self.limits.batch_bytes)
        batch = source[:count]
        del source[:count]
        self._bytes -= size
        return batch

    def clear(self) -> None:
        """Forget everything."""
        self._urgent = []
        self._others = []
        self._bytes = 0


def _measure_batch(messages: list[ReceivedMessage], max_bytes: int) -> tuple[int, int]:
    """Return the number and the bytes of the first messages that fill a batch."""
    size = 0
    for count, message in enumerate(messages, start=1):
        size += len(message.payload)
        if size >= max_bytes:
            return count, size
    return len(messages), size
