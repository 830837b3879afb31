"""Where things are: the look-ups by which ingest places what a message names.

`Placement` is a copy in memory of what the register says of gateways, devices and points. The whole of it is read again
every half minute, so that what was retired or moved is known soon; what is missing from it is asked for at once, so
that what was just registered speaks at once, and its absence is remembered for a moment, so that a stranger who keeps
talking costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from store.connect import Connection

#: Absences remembered at a time.
MAX_ABSENT = 10_000


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


_GATEWAYS = (
    "SELECT e.code AS estate, g.code, g.id, g.estate_id FROM gateways g JOIN estates e ON e.id = g.estate_id "
    "WHERE g.retired_on IS NULL"
)
_ONE_GATEWAY = _GATEWAYS + " AND e.code = %s AND g.code = %s"
_DEVICES = "SELECT estate_id, code, id, gateway_id FROM devices"
_ONE_DEVICE = _DEVICES + " WHERE estate_id = %s AND code = %s"


@dataclass(slots=True)
class Placement:
    """Gateways, devices and points by the codes that stand in messages."""

    clock: Callable[[], float]
    refresh_s: float = 30.0
    absent_s: float = 2.0
    gateways: dict[tuple[str, str], PlacedGateway] = field(default_factory=dict)
    points: dict[tuple[int, str], int] = field(default_factory=dict)
    _devices: dict[tuple[int, str], PlacedDevice] = field(default_factory=dict)
    _absent: dict[tuple[str | int, str], float] = field(default_factory=dict)
    _read_at: float = float("-inf")

    def refresh(self, connection: Connection) -> bool:
        """Read the register again where that is due; True where it was read."""
        if self.clock() - self._read_at < self.refresh_s:
            return False
        self._read_at = self.clock()
        self.gateways = {
            (row["estate"], row["code"]): PlacedGateway(id=row["id"], estate_id=row["estate_id"])
            for row in connection.execute(_GATEWAYS)
        }
        self._devices = {
            (row["estate_id"], row["code"]): PlacedDevice(id=row["id"], gateway_id=row["gateway_id"])
            for row in connection.execute(_DEVICES)
        }
        self.points = {
            (row["device_id"], row["name"]): row["id"]
            for row in connection.execute("SELECT device_id, name, id FROM points")
        }
        return True

    def gateway(self, connection: Connection, estate: str, code: str) -> PlacedGateway | None:
        """Find a gateway; None where the register has none."""
        found = self.gateways.get((estate, code))
        if found is None and self._worth_asking((estate, code)):
            row = connection.execute(_ONE_GATEWAY, [estate, code]).fetchone()
            if row is not None:
                found = self.gateways[estate, code] = PlacedGateway(id=row["id"], estate_id=row["estate_id"])
                del self._absent[estate, code]
        return found

    def device(self, connection: Connection, estate_id: int, code: str) -> PlacedDevice | None:
        """Find a device of an estate; None where the register has none."""
        found = self._devices.get((estate_id, code))
        if found is None and self._worth_asking((estate_id, code)):
            row = connection.execute(_ONE_DEVICE, [estate_id, code]).fetchone()
            if row is not None:
                found = self._devices[estate_id, code] = PlacedDevice(id=row["id"], gateway_id=row["gateway_id"])
                del self._absent[estate_id, code]
        return found

    def _worth_asking(self, key: tuple[str | int, str]) -> bool:
        """Tell whether an absence is new or old enough to ask again, and remember that it was asked."""
        now = self.clock()
        if now - self._absent.get(key, float("-inf")) < self.absent_s:
            return False
        if len(self._absent) >= MAX_ABSENT:
            self._absent.clear()
        self._absent[key] = now
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
