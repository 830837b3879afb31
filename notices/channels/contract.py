"""What a way out is: it takes one message, and says in which manner it failed where it did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeMessage:
    """What is to be carried. The id stays the same however often it is tried."""

    id: str
    recipient: str
    subject: str
    body: str
    sent_at: datetime
    urgent: bool = False


class DeliveryFailed(Exception):
    """A message was not taken.

    `hold` is for how long nothing is to be sent on the channel: its receiver is away, or a limit
    was hit. It is None where only this message was refused. `gone` says that the channel is closed
    for good, `recipient_gone` that this one of its recipients is.
    """

    def __init__(
        self,
        why: str,
        *,
        hold: timedelta | None = None,
        gone: bool = False,
        recipient_gone: bool = False,
    ) -> None:
        super().__init__(why)
        self.hold = hold
        self.gone = gone
        self.recipient_gone = recipient_gone


#: The way is away; the sender's own backoff says for how long.
AWAY = timedelta(0)


class NoticeChannel(Protocol):
    """A way out."""

    def send(self, message: NoticeMessage) -> None:
        """Carry a message.

        Raises: DeliveryFailed.
        """


def clip(text: str, most_bytes: int) -> str:
    """Cut a text to what a provider takes, in UTF-8, and show that it was cut."""
    raw = text.encode()
    return text if len(raw) <= most_bytes else raw[: most_bytes - 3].decode("utf-8", "ignore") + "…"
