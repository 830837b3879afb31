"""Many messages of readings into columns at once: the fast way through ingest, for what fits and is known.

A message goes this way where its topic, its devices and their points are known and it reads as the wire contract says. Anything
else is left to the careful way (decode.py, write.py), which finds the reason; so this file holds no rule of its own, and a
property test holds both ways to the same outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from domain import wire
from domain.ids import valid_id
from ingest.bulk import Frame
from store.register.placement import PlacedGateway

#: What the contract's types mean here: the same fields, with the ranges that the careful way checks one by one.
_RANGES: dict[tuple[type, str], Any] = {
    (wire.ReadingItem, "at"): Annotated[int, Meta(ge=wire.EARLIEST_MS, le=2**53)],
    (wire.ReadingItem, "values"): Annotated[
        dict[str, float], Meta(min_length=1, max_length=wire.MAX_VALUES)
    ],
    (wire.Readings, "v"): Annotated[int, Meta(ge=wire.VERSION, le=wire.VERSION)],
    (wire.Readings, "seq"): Annotated[int, Meta(ge=1, le=2**53)] | None,
}


def _struct(of: type, replaced: dict[str, Any]) -> type[msgspec.Struct]:
    """Make the struct that msgspec reads fastest, with the fields of a type of the contract."""
    fields: list[Any] = []
    for one in dataclasses.fields(of):
        kind = replaced.get(one.name) or _RANGES.get((of, one.name)) or one.type
        fields.append(
            (one.name, kind)
            if one.default is dataclasses.MISSING
            else (one.name, kind, one.default)
        )
    return msgspec.defstruct(
        f"Fast{of.__name__}", fields, gc=False, namespace={"__module__": __name__}
    )


_ITEM: Any = _struct(wire.ReadingItem, {"device": str})
_MESSAGE = _struct(
    wire.Readings,
    {
        "items": Annotated[list[_ITEM], Meta(max_length=wire.MAX_ITEMS)],
        "boot": str | None,
        "sent_at": int | None,
        "replayed": bool,
    },
)
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_MESSAGE)


#: Boots of one gateway that are remembered at a time.
MAX_BOOTS = 16


@dataclass(slots=True)
class Route:
    """What is known of a topic: its gateway, and the points of the devices that have spoken through it."""

    topic: str
    source: str
    gateway: PlacedGateway
    points: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Numbers of the present batch by boot, values and messages taken, and what the newest message told of the clock.
    seqs: dict[str, list[int]] = field(default_factory=dict)
    received: int = 0
    unnumbered: bool = False
    sent_at: int | None = None

    def reset(self) -> None:
        """Count anew."""
        self.received, self.unnumbered, self.sent_at = 0, False, None
        if len(self.seqs) > MAX_BOOTS:
            self.seqs.clear()
        for seqs in self.seqs.values():
            seqs.clear()


@dataclass(slots=True)
class Columns:
    """Readings of a batch as columns of one length, and for each message taken where its rows begin."""

    at: list[int] = field(default_factory=list)
    point: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    #: Of each message: its first row, its frame, its route and when it says that it was sent.
    begins: list[int] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    sent_at: list[int | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.at)

    def take(self, frames: Iterable[Frame], routes: dict[bytes, Route]) -> list[Frame]:
        """Add what fits; returns the frames that do not."""
        odd: list[Frame] = []
        at, point, value = self.at, self.point, self.value
        add_at, add_point, add_value = at.append, point.append, value.append
        decode, most = _DECODER.decode, wire.MAX_BYTES
        for frame in frames:
            route = routes.get(frame[0])
            if route is None or len(frame[1]) > most:
                odd.append(frame)
                continue
            begin = len(at)
            try:
                message = decode(frame[1])
                boot, seq = message.boot, message.seq
                # A number without a boot is looked up too, and found by nobody.
                seqs = route.seqs[boot] if boot is not None or seq is not None else None
                known = route.points
                for item in message.items:
                    points = known[item.device]
                    when = item.at
                    for name, number in item.values.items():
                        add_point(points[name])
                        add_at(when)
                        add_value(number)
            except (KeyError, msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
                # A device, a point or a boot that is new, or a message that does not fit: the careful way tells which.
                del at[begin:], point[begin:], value[begin:]
                odd.append(frame)
                continue
            if seqs is None or seq is None:
                route.unnumbered = True
            else:
                seqs.append(seq)
            route.received += len(at) - begin
            if message.sent_at is not None and not message.replayed:
                route.sent_at = message.sent_at
            self.begins.append(begin)
            self.frames.append(frame)
            self.routes.append(route)
            self.sent_at.append(message.sent_at)
        return odd

    def wanted(
        self, frames: Iterable[Frame], routes: dict[bytes, Route]
    ) -> dict[bytes, dict[str, set[str]]]:
        """List the devices and points that messages of known topics name and that are not known, by topic."""
        found: dict[bytes, dict[str, set[str]]] = {}
        for frame in frames:
            route = routes.get(frame[0])
            if route is None:
                continue
            try:
                message = _DECODER.decode(frame[1])
            except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
                continue
            if message.boot is not None and valid_id(message.boot):
                route.seqs.setdefault(message.boot, [])
            for item in message.items:
                names = route.points.get(item.device, {})
                new = item.values.keys() - names.keys()
                if new:
                    found.setdefault(frame[0], {}).setdefault(item.device, set()).update(new)
        return found

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
        """Return the columns as arrays."""
        return (
            np.array(self.at, dtype=np.int64),
            np.array(self.point, dtype=np.int32),
            np.array(self.value, dtype=np.float64),
        )
