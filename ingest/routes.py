"""The routes of a lane: which gateway a topic belongs to, and the points of its devices.

A route is all that the fast way needs to place a message. Routes are made from the register when a
message names something new, and forgotten when the register has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain import wire
from domain.ids import valid_id, valid_point
from domain.wire import Up
from ingest.columns import Route, UnknownPoints, find_unknown
from ingest.message import ReceivedMessage
from store.register.placement import PlacedDevice, Placement, RegisterSnapshot

#: Routes remembered; beyond it all are forgotten and found anew.
MAX_ROUTES = 50_000


@dataclass(slots=True)
class RouteTable:
    """Routes by topic. It keeps only what it can ask the register for again."""

    placement: Placement
    by_topic: dict[bytes, Route] = field(default_factory=dict)
    #: The routes of the messages that the last batch took the fast way, one for each message.
    used: list[Route] = field(default_factory=list)
    _epoch: int = -1

    def refresh(self, register: RegisterSnapshot) -> None:
        """Forget all routes where the register has changed, or where there are too many."""
        self.placement.refresh(register)
        if self.placement.epoch != self._epoch or len(self.by_topic) > MAX_ROUTES:
            self.by_topic.clear()
            self._epoch = self.placement.epoch

    def begin_batch(self, used: list[Route]) -> None:
        """Reset what the last batch has counted. `used` is the list that this batch fills."""
        for route in self.used:
            route.reset()
        self.used = used

    def learn(self, register: RegisterSnapshot, messages: Sequence[ReceivedMessage]) -> None:
        """Make known all that some messages name and the register holds, in a few queries."""
        for topic in {message.topic for message in messages} - self.by_topic.keys():
            self._learn_topic(register, topic)
        unknown = find_unknown(messages, self.by_topic)
        self.placement.learn(
            register,
            {
                (points.route.gateway.estate_id, points.device)
                for points in unknown
                if valid_id(points.device)
            },
        )
        devices = [(points, self._own_device(points)) for points in unknown]
        placed = [(points, device) for points, device in devices if device is not None]
        self.placement.make_points(
            register,
            [
                (device, name)
                for points, device in placed
                for name in points.names
                if valid_point(name)
            ],
        )
        for points, device in placed:
            points.route.points[points.device] = device.points

    def _learn_topic(self, register: RegisterSnapshot, topic: bytes) -> None:
        """Make a route for a topic of readings whose gateway is registered."""
        text = topic.decode("utf-8", "replace")
        parsed = wire.parse_up_topic(text)
        if parsed is None or parsed.up is not Up.READINGS:
            return
        if not valid_id(parsed.estate) or not valid_id(parsed.gateway):
            return
        gateway = self.placement.gateway(register, parsed.estate, parsed.gateway)
        if gateway is not None:
            source = f"{parsed.estate}/{parsed.gateway}"
            self.by_topic[topic] = Route(topic=text, source=source, gateway=gateway)

    def _own_device(self, points: UnknownPoints) -> PlacedDevice | None:
        """Find the device of some points; None where the route's gateway may not speak for it."""
        gateway = points.route.gateway
        device = self.placement.device(gateway.estate_id, points.device)
        if device is None or device.gateway_id not in (None, gateway.id):
            return None
        return device
