"""The messages of a batch, read and placed: most the fast way, the others the careful way.

The result is what store_batch.py writes. Nothing here writes more than new points of registered
devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from domain.rejection import Rejected
from domain.wire import Up
from ingest.account import BatchAccount
from ingest.arrival import Arrivals
from ingest.careful import CarefulReader, CarefulReading, GatewayReport, PlacedEvent
from ingest.columns import Columns, FastReadings
from ingest.message import ReceivedMessage
from ingest.routes import RouteTable
from store.ingest.log import TallyKey
from store.register.placement import RegisterSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedReadings:
    """Readings in the order in which their messages came, as arrays of one length."""

    #: ms UTC.
    at: NDArray[np.int64]
    #: Ids of points.
    point: NDArray[np.int32]
    #: In the point's unit of measure.
    value: NDArray[np.float64]
    #: Index into the batch's topics.
    topic: NDArray[np.int32]
    #: When the message arrived, ms UTC.
    received_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedBatch:
    """A batch that is ready to be stored."""

    now_ms: int
    account: BatchAccount
    readings: PlacedReadings
    #: The topics that `readings.topic` points to.
    topics: list[str]
    events: list[PlacedEvent] = field(default_factory=list)
    reports: list[GatewayReport] = field(default_factory=list)


def place_batch(
    register: RegisterSnapshot,
    routes: RouteTable,
    messages: Sequence[ReceivedMessage],
    now_ms: int,
    *,
    rejection: Rejected | None = None,
) -> PlacedBatch:
    """Decode messages, and find in the register what they speak of.

    With `rejection` every message is refused whole for that reason.
    """
    account = BatchAccount()
    arrivals = Arrivals(now_ms)
    columns = Columns()
    routes.begin_batch(columns.routes)
    left = list(range(len(messages)))
    if rejection is None:
        left = _take_fast(register, routes, columns, messages)
    fast, left_out = columns.check(routes.placement, now_ms)
    topics, topic_of_message = _index_topics(columns)
    careful = CarefulReader(register, routes.placement, account, arrivals, topics)
    for position in left + left_out:
        careful.read(position, messages[position], rejection=rejection)
    _close_routes(columns, account, now_ms)
    arrivals.note_columns(columns)
    return PlacedBatch(
        now_ms=now_ms,
        account=account,
        readings=_join(columns, fast, topic_of_message, careful.readings, arrivals),
        topics=topics,
        events=careful.events,
        reports=careful.reports,
    )


def _take_fast(
    register: RegisterSnapshot,
    routes: RouteTable,
    columns: Columns,
    messages: Sequence[ReceivedMessage],
) -> list[int]:
    """Take what fits the fast way, after learning what is new; return the positions left."""
    left = columns.take(messages, range(len(messages)), routes.by_topic)
    if left:
        routes.learn(register, [messages[position] for position in left])
        left = columns.take(messages, left, routes.by_topic)
    return left


def _index_topics(columns: Columns) -> tuple[list[str], NDArray[np.int32]]:
    """List the topics of the columns, and for each message the index of its topic."""
    index: dict[str, int] = {}
    of_message = np.fromiter(
        (index.setdefault(route.topic, len(index)) for route in columns.routes),
        dtype=np.int32,
        count=len(columns.routes),
    )
    return list(index), of_message


def _close_routes(columns: Columns, account: BatchAccount, now_ms: int) -> None:
    """Take over into the account what the routes have counted."""
    for route in {route.topic: route for route in columns.routes}.values():
        account.tally(TallyKey(route.source, str(Up.READINGS))).received += route.received
        account.registered.add(route.source)
        for boot, numbers in route.numbers.items():
            if numbers:
                account.note_numbers(route.gateway, route.source, Up.READINGS, boot, numbers)
        if route.unnumbered:
            account.unnumbered.add(route.gateway.id)
        if route.sent_at is not None and not route.gateway.as_sent:
            account.note_sent_at(route.gateway, route.sent_at, now_ms)


def _join(
    columns: Columns,
    fast: FastReadings,
    topic_of_message: NDArray[np.int32],
    careful: list[CarefulReading],
    arrivals: Arrivals,
) -> PlacedReadings:
    """Put the readings of both ways into the order of their messages.

    The order matters where two readings clash: the first one counts.
    """
    readings = PlacedReadings(
        at=fast.at,
        point=fast.point,
        value=fast.value,
        topic=topic_of_message[fast.message],
        received_at=arrivals.of_positions(columns.positions)[fast.message],
    )
    positions = np.array(columns.positions, dtype=np.int64)
    if not careful and bool((np.diff(positions) > 0).all()):
        return readings
    careful_positions = [reading.position for reading in careful]
    order = np.argsort(np.append(positions[fast.message], careful_positions), kind="stable")
    return _append(readings, _as_columns(careful, arrivals), order)


def _as_columns(careful: list[CarefulReading], arrivals: Arrivals) -> PlacedReadings:
    positions = [reading.position for reading in careful]
    return PlacedReadings(
        at=np.array([reading.at for reading in careful], dtype=np.int64),
        point=np.array([reading.point for reading in careful], dtype=np.int32),
        value=np.array([reading.value for reading in careful], dtype=np.float64),
        topic=np.array([reading.topic for reading in careful], dtype=np.int32),
        received_at=arrivals.of_positions(positions),
    )


def _append(
    first: PlacedReadings, second: PlacedReadings, order: NDArray[np.int64]
) -> PlacedReadings:
    """Join two sets of readings, and put the rows into an order."""
    return PlacedReadings(
        at=np.append(first.at, second.at)[order],
        point=np.append(first.point, second.point)[order],
        value=np.append(first.value, second.value)[order],
        topic=np.append(first.topic, second.topic)[order],
        received_at=np.append(first.received_at, second.received_at)[order],
    )
