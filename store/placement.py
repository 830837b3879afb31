"""Where things are: the look-ups by which ingest places a device, and analytics its units.

`Placement` is a copy in memory of what the register says of gateways, devices and points. It is read again when
something unknown turns up (at most every few seconds), so that a newly registered device speaks at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from store.connect import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedGateway:
    """A gateway of the register."""

    id: int
    estate_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDevice:
    """A device of the register; `gateway_id` is None where any gateway of the estate may speak for it."""

    id: int
    gateway_id: int | None
    kind: str


@dataclass(slots=True)
class Placement:
    """Gateways, devices and points by the codes that stand in messages."""

    clock: Callable[[], float]
    refresh_s: float = 2.0
    gateways: dict[tuple[str, str], PlacedGateway] = field(default_factory=dict)
    devices: dict[tuple[int, str], PlacedDevice] = field(default_factory=dict)
    points: dict[tuple[int, str], int] = field(default_factory=dict)
    _read_at: float = float("-inf")

    def refresh(self, connection: Connection, *, force: bool = False) -> bool:
        """Read the register again unless that was done a moment ago; True where it was read."""
        if not force and self.clock() - self._read_at < self.refresh_s:
            return False
        self._read_at = self.clock()
        self.gateways = {
            (row["estate"], row["code"]): PlacedGateway(id=row["id"], estate_id=row["estate_id"])
            for row in connection.execute(
                "SELECT e.code AS estate, g.code, g.id, g.estate_id FROM gateways g JOIN estates e ON e.id = g.estate_id "
                "WHERE g.retired_on IS NULL"
            )
        }
        self.devices = {
            (row["estate_id"], row["code"]): PlacedDevice(id=row["id"], gateway_id=row["gateway_id"], kind=row["kind"])
            for row in connection.execute("SELECT estate_id, code, id, gateway_id, kind FROM devices")
        }
        self.points = {
            (row["device_id"], row["name"]): row["id"]
            for row in connection.execute("SELECT device_id, name, id FROM points")
        }
        return True

    def make_points(self, connection: Connection, wanted: list[tuple[int, str]]) -> None:
        """Create points that registered devices have begun to send."""
        if not wanted:
            return
        rows = connection.execute(
            "INSERT INTO points (device_id, name) SELECT * FROM unnest(%s::integer[], %s::text[]) "
            "ON CONFLICT (device_id, name) DO UPDATE SET name = excluded.name RETURNING device_id, name, id",
            [[device for device, _ in wanted], [name for _, name in wanted]],
        )
        for row in rows:
            self.points[row["device_id"], row["name"]] = row["id"]
