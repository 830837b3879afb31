"""The careful way through ingest: one message at a time, every refusal with its reason.

It takes what the fast way (columns.py) leaves: events, states and births, messages with anything
new in them, and all that is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from domain.rejection import Reason, Rejected
from domain.wire import Birth, EventItem, State, Topic
from ingest.account import BatchAccount, GatewayAddress
from ingest.arrival import Arrivals
from ingest.decode import Decoded, as_message, decode, reading_as_message
from ingest.message import ReceivedMessage, tally_key
from store.register.placement import PlacedDevice, PlacedGateway, Placement, RegisterSnapshot
from store.series.readings import EventRow

log = structlog.get_logger()


class CarefulReading(NamedTuple):
    """A reading that came the careful way: `at` in ms UTC, `topic` an index into the batch's."""

    at: int
    point: int
    value: float
    topic: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedEvent:
    """An event with its place in the register: as a row, and as it came."""

    topic: str
    item: EventItem
    estate_id: int
    row: EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayReport:
    """What a gateway reports of itself: a state, or a birth."""

    address: GatewayAddress
    gateway: PlacedGateway
    state: State | None
    birth: Birth | None


@dataclass(slots=True)
class CarefulReader:
    """Reads messages one by one into readings, events and reports."""

    register: RegisterSnapshot
    placement: Placement
    account: BatchAccount
    arrivals: Arrivals
    #: Topics of the batch; those of careful readings are appended.
    topics: list[str]
    readings: list[CarefulReading] = field(default_factory=list)
    events: list[PlacedEvent] = field(default_factory=list)
    reports: list[GatewayReport] = field(default_factory=list)

    def read(
        self, position: int, message: ReceivedMessage, *, rejection: Rejected | None = None
    ) -> None:
        """Decode a message and place what it holds. With `rejection` it is refused whole."""
        topic = message.topic.decode("utf-8", "replace")
        decoded = self._decode(topic, message.payload)
        if isinstance(decoded, Rejected):
            self._refuse_whole(topic, message.payload, rejection or decoded)
            return
        gateway = self.placement.gateway(self.register, decoded.topic.estate, decoded.topic.gateway)
        if gateway is None:
            unknown = _unknown_gateway(decoded.topic)
            self._refuse_whole(topic, message.payload, rejection or unknown)
            return
        self._note_gateway(topic, decoded, gateway)
        if rejection is not None:
            self._refuse_whole(topic, message.payload, rejection)
            return
        self._place(topic, decoded, gateway, position)

    def _decode(self, topic: str, payload: bytes) -> Decoded | Rejected:
        try:
            return decode(topic, payload, self.arrivals.now_ms)
        except Exception as error:
            # A bug of ours. Raised, it would stop the lane whenever the message comes again.
            log.exception("reader_failed", topic=topic)
            return Rejected(
                reason=Reason.UNREADABLE,
                detail=f"our reader failed on it ({type(error).__name__}): replay after a fix",
            )

    def _refuse_whole(self, topic: str, payload: bytes, why: Rejected) -> None:
        self.account.tally(tally_key(topic)).received += 1
        self.account.refuse(topic, payload, why)

    def _note_gateway(self, topic: str, decoded: Decoded, gateway: PlacedGateway) -> None:
        """Note that a registered gateway has spoken, and the number of its message.

        A refused message is acknowledged too, or its gateway would send it for ever.
        """
        key = tally_key(topic)
        self.account.registered.add(key.source)
        if decoded.seq is not None:
            self.account.note_numbers(
                gateway, key.source, decoded.topic.up, decoded.boot or "", [decoded.seq]
            )

    def _place(self, topic: str, decoded: Decoded, gateway: PlacedGateway, position: int) -> None:
        newest_at = max(
            [*decoded.at, *(item.at for item in decoded.events)],
            default=None,
        )
        self.arrivals.note(position, decoded.sent_at or newest_at, as_sent=gateway.as_sent)
        tally = self.account.tally(tally_key(topic))
        tally.received += decoded.received
        for piece in decoded.refused:
            self.account.refuse(topic, piece.payload, piece.why)
        if decoded.state is not None or decoded.birth is not None:
            self.reports.append(
                GatewayReport(
                    address=GatewayAddress(decoded.topic.estate, decoded.topic.gateway),
                    gateway=gateway,
                    state=decoded.state,
                    birth=decoded.birth,
                )
            )
            tally.stored += 1
            return
        if decoded.seq is None:
            self.account.unnumbered.add(gateway.id)
        devices = {*decoded.devices, *(item.device for item in decoded.events)}
        self.placement.learn(self.register, ((gateway.estate_id, code) for code in devices))
        self._place_readings(topic, decoded, gateway, position)
        for item in decoded.events:
            self._place_event(topic, item, gateway, position)

    def _place_readings(
        self, topic: str, decoded: Decoded, gateway: PlacedGateway, position: int
    ) -> None:
        devices = [self._find_device(gateway, code) for code in decoded.devices]
        self.placement.make_points(
            self.register,
            [
                (device, name)
                for device, name in zip(devices, decoded.names, strict=True)
                if isinstance(device, PlacedDevice)
            ],
        )
        topic_index = len(self.topics)
        self.topics.append(topic)
        columns = zip(
            devices, decoded.devices, decoded.at, decoded.names, decoded.values, strict=True
        )
        for device, code, at, name, value in columns:
            if isinstance(device, Rejected):
                self.account.refuse(topic, reading_as_message(code, at, name, value), device)
            else:
                point = device.points[name]
                self.readings.append(CarefulReading(at, point, value, topic_index, position))

    def _place_event(
        self, topic: str, item: EventItem, gateway: PlacedGateway, position: int
    ) -> None:
        device = self._find_device(gateway, item.device)
        if isinstance(device, Rejected):
            self.account.refuse(topic, as_message(item), device)
            return
        row = EventRow(
            device_id=device.id,
            at_ms=item.at,
            event_id=item.id,
            kind=item.kind,
            data=item.data,
            received_ms=self.arrivals.at(position),
        )
        self.events.append(
            PlacedEvent(topic=topic, item=item, estate_id=gateway.estate_id, row=row)
        )

    def _find_device(self, gateway: PlacedGateway, code: str) -> PlacedDevice | Rejected:
        """Find a device that a gateway speaks for, or say why it may not."""
        device = self.placement.device(gateway.estate_id, code)
        if device is None:
            return Rejected(
                reason=Reason.UNKNOWN_DEVICE,
                detail=f"device {code!r} is not registered at this estate; "
                "register it, then replay",
            )
        if device.gateway_id not in (None, gateway.id):
            return Rejected(
                reason=Reason.FOREIGN_DEVICE,
                detail=f"device {code!r} belongs to another gateway of this estate",
            )
        return device


def _unknown_gateway(topic: Topic) -> Rejected:
    return Rejected(
        reason=Reason.UNKNOWN_GATEWAY,
        detail=f"gateway {topic.gateway!r} is not registered at estate {topic.estate!r}, "
        "or its certificates were revoked; register it, correct the topic, "
        "or give it a new claim code, then replay",
    )
