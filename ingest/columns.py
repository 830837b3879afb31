"""The fast way through ingest: many messages of readings into columns at once.

A message goes this way where its topic, its devices and their points are known, and where it reads
as the wire contract says. Every other message is left to the careful way (careful.py), which finds
the reason. So this file holds no rule of its own, and a property test compares both ways.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from domain import wire
from domain.ids import valid_id
from ingest.message import ReceivedMessage
from store.register.placement import PlacedGateway, Placement

#: The contract's types with the ranges that the careful way checks one by one.
_RANGES: dict[tuple[type, str], Any] = {
    (wire.ReadingItem, "at"): Annotated[int, Meta(ge=wire.EARLIEST_MS, le=2**53)],
    (wire.ReadingItem, "values"): Annotated[
        dict[str, float], Meta(min_length=1, max_length=wire.MAX_VALUES)
    ],
    (wire.Readings, "v"): Annotated[int, Meta(ge=wire.VERSION, le=wire.VERSION)],
    (wire.Readings, "seq"): Annotated[int, Meta(ge=1, le=2**53)] | None,
}


def _make_struct(contract: type, replaced: dict[str, Any]) -> type[msgspec.Struct]:
    """Make the struct that msgspec reads fastest, with the fields of a type of the contract."""
    fields: list[Any] = []
    for declared in dataclasses.fields(contract):
        range_type = _RANGES.get((contract, declared.name))
        field_type = replaced.get(declared.name) or range_type or declared.type
        if declared.default is dataclasses.MISSING:
            fields.append((declared.name, field_type))
        else:
            fields.append((declared.name, field_type, declared.default))
    namespace = {"__module__": __name__}
    return msgspec.defstruct(f"Fast{contract.__name__}", fields, gc=False, namespace=namespace)


_ITEM: Any = _make_struct(wire.ReadingItem, {"device": str})
_MESSAGE = _make_struct(
    wire.Readings,
    {
        "items": Annotated[list[_ITEM], Meta(max_length=wire.MAX_ITEMS)],
        "boot": str | None,
        "sent_at": int | None,
        "replayed": bool,
    },
)
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_MESSAGE)
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
_UNFIT = (KeyError, *_UNREADABLE)

#: Boots of one gateway that are remembered at a time.
MAX_BOOTS = 16


@dataclass(slots=True)
class Route:
    """What is known of a topic, and what the present batch has counted on it."""

    topic: str
    source: str
    gateway: PlacedGateway
    #: Ids of points by name, by device's code.
    points: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Numbers of the batch by boot. A boot that is not a key here has not been checked.
    numbers: dict[str, list[int]] = field(default_factory=dict)
    #: Values that the batch holds.
    received: int = 0
    #: Whether the batch holds a message without a number.
    unnumbered: bool = False
    #: The `sent_at` of the newest message that is not a replay, ms UTC.
    sent_at: int | None = None

    def reset(self) -> None:
        """Begin a new batch."""
        self.received = 0
        self.unnumbered = False
        self.sent_at = None
        if len(self.numbers) > MAX_BOOTS:
            self.numbers.clear()
        for numbers in self.numbers.values():
            numbers.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPoints:
    """Points of one device that messages name and that are not known."""

    route: Route
    device: str
    names: set[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FastReadings:
    """Readings that came the fast way, as arrays of one length."""

    #: ms UTC.
    at: NDArray[np.int64]
    #: Ids of points.
    point: NDArray[np.int32]
    #: In the point's unit of measure.
    value: NDArray[np.float64]
    #: Index of the message, among those that `Columns` has taken.
    message: NDArray[np.int64]


@dataclass(slots=True)
class Columns:
    """Readings of a batch as lists of one length, and the messages that they came in."""

    at: list[int] = field(default_factory=list)
    point: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    #: Of each message: its position in the batch, its first row, its route, its `sent_at`.
    positions: list[int] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    sent_at: list[int | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.at)

    def take(
        self,
        messages: Sequence[ReceivedMessage],
        positions: Iterable[int],
        routes: dict[bytes, Route],
    ) -> list[int]:
        """Add the messages at some positions that fit; return the positions of the others.

        The loop is the hot path of ingest, so it calls nothing that it can do in place.
        """
        left: list[int] = []
        at = self.at
        point = self.point
        value = self.value
        add_at = at.append
        add_point = point.append
        add_value = value.append
        decode = _DECODER.decode
        max_bytes = wire.MAX_BYTES
        for position in positions:
            received = messages[position]
            route = routes.get(received.topic)
            if route is None or len(received.payload) > max_bytes:
                left.append(position)
                continue
            begin = len(at)
            try:
                message = decode(received.payload)
                boot = message.boot
                number = message.seq
                numbers = None
                if boot is not None or number is not None:
                    # A number without a boot is not found here, and left to the careful way.
                    numbers = route.numbers[boot]
                known = route.points
                for item in message.items:
                    points = known[item.device]
                    item_at = item.at
                    for name, item_value in item.values.items():
                        add_point(points[name])
                        add_at(item_at)
                        add_value(item_value)
            except _UNFIT:
                # A new device, point or boot, or a message that does not fit.
                del at[begin:], point[begin:], value[begin:]
                left.append(position)
                continue
            if numbers is None or number is None:
                route.unnumbered = True
            else:
                numbers.append(number)
            route.received += len(at) - begin
            if message.sent_at is not None and not message.replayed:
                route.sent_at = message.sent_at
            self.positions.append(position)
            self.begins.append(begin)
            self.routes.append(route)
            self.sent_at.append(message.sent_at)
        return left

    def counts(self) -> NDArray[np.int64]:
        """Return how many rows each message has."""
        begins = np.array([*self.begins, len(self)], dtype=np.int64)
        return begins[1:] - begins[:-1]

    def newest_at(self, message: int) -> int | None:
        """Return the newest instant of a message's readings, ms UTC; None where it has none."""
        begin = self.begins[message]
        is_last = message + 1 == len(self.begins)
        end = len(self) if is_last else self.begins[message + 1]
        return max(self.at[begin:end], default=None)

    def check(self, placement: Placement, now_ms: int) -> tuple[FastReadings, list[int]]:
        """Check times and values; return the readings, and the positions of messages left out.

        A message is left out whole where one of its times or values cannot be right.
        """
        counts = self.counts()
        message = np.repeat(np.arange(len(counts)), counts)
        at = np.array(self.at, dtype=np.int64)
        point = np.array(self.point, dtype=np.int32)
        value = np.array(self.value, dtype=np.float64)
        wrong = (
            (at > now_ms + wire.AHEAD_MS)
            | (value < placement.low[point])
            | (value > placement.high[point])
            | ~np.isfinite(value)
        )
        if not wrong.any():
            return FastReadings(at=at, point=point, value=value, message=message), []
        left_out = sorted({self._message_of(row) for row in np.flatnonzero(wrong).tolist()})
        for index in left_out:
            self.routes[index].received -= int(counts[index])
        keep = ~np.isin(message, left_out)
        readings = FastReadings(
            at=at[keep], point=point[keep], value=value[keep], message=message[keep]
        )
        return readings, [self.positions[index] for index in left_out]

    def _message_of(self, row: int) -> int:
        """Return the index of the message that a row came in."""
        return bisect_right(self.begins, row) - 1


def find_unknown(
    messages: Iterable[ReceivedMessage], routes: dict[bytes, Route]
) -> list[UnknownPoints]:
    """List the points that messages of known topics name and that are not known.

    Boots that fit the grammar are made known on the way.
    """
    unknown: dict[tuple[bytes, str], UnknownPoints] = {}
    for received in messages:
        route = routes.get(received.topic)
        if route is None:
            continue
        try:
            message = _DECODER.decode(received.payload)
        except _UNREADABLE:
            continue
        if message.boot is not None and valid_id(message.boot):
            route.numbers.setdefault(message.boot, [])
        for item in message.items:
            names = item.values.keys() - route.points.get(item.device, {}).keys()
            if names:
                key = (received.topic, item.device)
                if key not in unknown:
                    unknown[key] = UnknownPoints(route=route, device=item.device, names=set())
                unknown[key].names.update(names)
    return list(unknown.values())
