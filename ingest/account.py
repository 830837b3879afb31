"""What a batch has to account for, and what it led to.

Every value and event received is stored, a duplicate, or quarantined. `BatchAccount` counts while
the batch is read and stored. `BatchOutcome` is what the lane acts on after the commit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from domain.rejection import Reason, Rejected
from domain.wire import Ack, Up
from store.ingest.log import IngestTally, TallyKey
from store.ingest.progress import ProgressKey
from store.ingest.quarantine import QuarantinedMessage
from store.register.placement import PlacedGateway
from store.series.readings import ReadingColumns

#: The widest clock skew that is kept, 24 days in ms. Beyond it a gateway's clock is only wrong.
MAX_SKEW_MS = 2**31 - 1


class AccountingError(Exception):
    """A bug of ours: something received is not accounted for. The batch is rolled back."""


class GatewayAddress(NamedTuple):
    """A gateway as topics name it."""

    estate: str
    gateway: str


class GatewayAck(NamedTuple):
    """An acknowledgement, and the gateway that it is for."""

    address: GatewayAddress
    ack: Ack


class ReportedClock(NamedTuple):
    """A gateway that reported its state, and the state's `at`, ms UTC by its own clock."""

    address: GatewayAddress
    at: int


class EventKey(NamedTuple):
    """What identifies an event."""

    device_id: int
    event_id: str


@dataclass(slots=True)
class BatchAccount:
    """What a batch has received, refused and seen."""

    tallies: dict[TallyKey, IngestTally] = field(default_factory=dict)
    refused: list[QuarantinedMessage] = field(default_factory=list)
    #: Numbers of messages, in any order and however often.
    numbers: dict[ProgressKey, list[int]] = field(default_factory=dict)
    #: Addresses of the gateways that number their messages, by id.
    addresses: dict[int, GatewayAddress] = field(default_factory=dict)
    #: Ids of gateways that have sent a message without a number.
    unnumbered: set[int] = field(default_factory=set)
    #: Sources ("estate/gateway") that are gateways of the register.
    registered: set[str] = field(default_factory=set)
    #: How far gateways' clocks are from ours, by id, ms; negative where a message is old.
    skews: dict[int, int] = field(default_factory=dict)

    def tally(self, key: TallyKey) -> IngestTally:
        """Return the counts of a source and kind, to be added to."""
        return self.tallies.setdefault(key, IngestTally())

    def refuse(self, topic: str, payload: bytes, why: Rejected) -> None:
        """Note something that goes into quarantine."""
        self.refused.append(QuarantinedMessage(topic=topic, payload=payload, why=why))

    def note_numbers(
        self, gateway: PlacedGateway, source: str, kind: Up, boot: str, numbers: list[int]
    ) -> None:
        """Note the numbers of a gateway's messages."""
        key = ProgressKey(gateway.id, str(kind), boot)
        self.numbers.setdefault(key, []).extend(numbers)
        estate, _, code = source.partition("/")
        self.addresses[gateway.id] = GatewayAddress(estate, code)

    def note_sent_at(self, gateway: PlacedGateway, sent_at: int, now_ms: int) -> None:
        """Note when a gateway says that it sent its newest message, ms UTC."""
        self.skews[gateway.id] = max(-MAX_SKEW_MS, min(MAX_SKEW_MS, sent_at - now_ms))

    def check(self) -> None:
        """Check that everything received is accounted for.

        Raises: AccountingError.
        """
        for key, tally in self.tallies.items():
            if not tally.balanced:
                raise AccountingError(f"{key}: {tally}")


@dataclass(slots=True, kw_only=True)
class BatchOutcome:
    """What a batch led to, to be acted on after the commit."""

    acks: list[GatewayAck] = field(default_factory=list)
    #: Gateways that are to be told the server's time.
    clocks: list[ReportedClock] = field(default_factory=list)
    #: Events that watch has to look at.
    to_watch: list[EventKey] = field(default_factory=list)
    tallies: dict[TallyKey, IngestTally] = field(default_factory=dict)
    #: Reasons of what was quarantined for the first time.
    reasons: list[Reason] = field(default_factory=list)
    #: Digests of all that was refused, also of what is in quarantine already.
    refused: set[bytes] = field(default_factory=set)
    #: Sources ("estate/gateway") that are gateways of the register.
    registered: set[str] = field(default_factory=set)
    #: How far gateways' clocks are from ours, by id, ms.
    skews: dict[int, int] = field(default_factory=dict)
    #: Readings that are stored now; None where there are none.
    readings: ReadingColumns | None = None
