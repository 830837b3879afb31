"""Writing a batch in spite of trouble that ends by itself, and finding the message that does not.

A batch that met another transaction is written again. A batch that cannot be stored is split in
halves, until the message that cannot be stored stands alone; that one is quarantined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from domain.rejection import Reason, Rejected
from ingest import metrics
from ingest.account import BatchOutcome
from ingest.ledger import BatchLedger
from ingest.message import ReceivedMessage
from ingest.poison import Poison
from ingest.write import Writer
from store.database.connection import SerializationConflict, Unstorable

log = structlog.get_logger()

#: Tries of a batch that met another transaction.
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedMessages:
    """Messages that are stored or quarantined, and what they led to."""

    messages: list[ReceivedMessage]
    outcome: BatchOutcome


@dataclass(frozen=True, slots=True)
class RetryingWriter:
    """Writes messages until each is committed."""

    writer: Writer
    poison: Poison
    #: Returns the wall clock, ms UTC.
    now_ms: Callable[[], int]

    def write(
        self, ledger: BatchLedger, messages: list[ReceivedMessage]
    ) -> Iterator[CommittedMessages]:
        """Write messages, and yield each part as soon as it is committed.

        Raises: Unavailable, where the database is away or the tries are used up; Poisoned.
        """
        try:
            outcome = self._write_again(ledger, messages)
        except Unstorable as error:
            yield from self._split(ledger, messages, error)
            return
        yield CommittedMessages(messages=messages, outcome=outcome)

    def _write_again(self, ledger: BatchLedger, messages: list[ReceivedMessage]) -> BatchOutcome:
        """Write a batch as often as it is worth.

        Raises: Unavailable; Unstorable, at the second time.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                outcome = self.writer.write(ledger, messages, self.now_ms())
            except SerializationConflict as error:
                metrics.RETRIES.labels("serialization_conflict").inc()
                if attempt == MAX_ATTEMPTS:
                    raise
                log.info("serialization_conflict", lane=self.writer.lane, error=_shorten(error))
            except Unstorable:
                metrics.RETRIES.labels("unstorable").inc()
                # Retention may have dropped the month meanwhile. The second try makes it again.
                if attempt > 1:
                    raise
            else:
                self.poison.note(outcome)
                return outcome
        raise AssertionError("the last attempt returns or raises")

    def _split(
        self, ledger: BatchLedger, messages: list[ReceivedMessage], error: BaseException
    ) -> Iterator[CommittedMessages]:
        """Write the halves of what cannot be stored; quarantine a message that stands alone."""
        if len(messages) > 1:
            half = len(messages) // 2
            yield from self.write(ledger, messages[:half])
            yield from self.write(ledger, messages[half:])
            return
        topic = messages[0].topic.decode("utf-8", "replace")
        log.error("unstorable", topic=topic, error=_shorten(error))
        self.poison.unstorable()
        rejection = Rejected(
            reason=Reason.UNSTORABLE,
            detail="the database refused it; its bytes are kept for replay after a fix",
        )
        outcome = self.writer.write(ledger, messages, self.now_ms(), rejection=rejection)
        yield CommittedMessages(messages=messages, outcome=outcome)


def _shorten(error: BaseException) -> str:
    return str(error).strip()[:300]
