"""One batch of messages into the database, in one transaction.

A batch is placed (place.py) and stored (store_batch.py). What comes back says what may be
acknowledged now. Every value and event received is accounted for as stored, duplicate or
quarantined, and the batch checks this law before it commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.rejection import Rejected
from ingest import metrics
from ingest.account import BatchOutcome
from ingest.ledger import BatchLedger
from ingest.message import ReceivedMessage
from ingest.place import PlacedBatch, place_batch
from ingest.routes import RouteTable
from ingest.store_batch import cover_batch, store_batch
from store.database.connection import DuplicateKey
from store.register.placement import Placement

#: How long one batch may keep the database busy before its connection is cut.
BATCH_SECONDS = 20.0


@dataclass(slots=True)
class Writer:
    """Writes batches; keeps only what it can ask for again."""

    placement: Placement
    lane: str = ""
    routes: RouteTable = field(init=False)

    def __post_init__(self) -> None:
        self.routes = RouteTable(self.placement)

    def write(
        self,
        ledger: BatchLedger,
        messages: Sequence[ReceivedMessage],
        now_ms: int,
        *,
        rejection: Rejected | None = None,
    ) -> BatchOutcome:
        """Write a batch and commit it. With `rejection` every message is quarantined for it.

        Raises: the driver's errors. Then nothing of the batch is stored, and it may be tried again.
        """
        try:
            return self._attempt(ledger, messages, now_ms, rejection, merge=False)
        except DuplicateKey:
            # Some of it is stored already. Merging finds out what, row by row.
            pass
        try:
            return self._attempt(ledger, messages, now_ms, rejection, merge=True)
        except DuplicateKey:
            # Another worker was storing the same at this moment. It has finished by now.
            return self._attempt(ledger, messages, now_ms, rejection, merge=True)

    def _attempt(
        self,
        ledger: BatchLedger,
        messages: Sequence[ReceivedMessage],
        now_ms: int,
        rejection: Rejected | None,
        *,
        merge: bool,
    ) -> BatchOutcome:
        with ledger.batch(BATCH_SECONDS):
            self.routes.refresh(ledger)
            batch = self._place(ledger, messages, now_ms, rejection)
            with metrics.stage(self.lane, "write"):
                cover_batch(ledger, batch)
                outcome = store_batch(ledger, self.placement, batch, merge=merge)
                ledger.commit()
            return outcome

    def _place(
        self,
        ledger: BatchLedger,
        messages: Sequence[ReceivedMessage],
        now_ms: int,
        rejection: Rejected | None,
    ) -> PlacedBatch:
        """Place a batch, and commit the points that were made for it.

        New points are committed first. If the batch fails, an unused point does no harm.
        """
        try:
            with metrics.stage(self.lane, "place"):
                batch = place_batch(ledger, self.routes, messages, now_ms, rejection=rejection)
            ledger.commit()
        except BaseException:
            # Whether the new points exist is not known, so nothing is assumed.
            self.placement.forget()
            raise
        return batch
