"""Where things are: the look-ups by which ingest places what a message names.

`Placement` caches what it has read from the register, so that a device's second message costs one
look into a dictionary. The version of the register is read every second. When it has risen, the
cache is emptied and filled again, with one query for a whole batch. What is not registered is
cached for a moment too, so that an unknown device that keeps sending costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from domain.measures import MEASURES

#: Absences remembered at a time.
MAX_ABSENT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedGateway:
    """A gateway of the register.

    `as_sent` says that its estate is played from a recording: its messages count as received when
    they say that they were sent.
    """

    id: int
    estate_id: int
    as_sent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDevice:
    """A device of the register, with the ids of its points by name.

    `gateway_id` is None where any gateway of the estate may speak for it.
    """

    id: int
    estate_id: int
    gateway_id: int | None
    points: dict[str, int] = field(default_factory=dict)


class RegisterSnapshot(Protocol):
    """What the placement asks of the register."""

    def version(self) -> int:
        """Return a number that rises when a gateway or a device changes."""

    def find_gateway(self, estate: str, code: str) -> PlacedGateway | None:
        """Find a gateway that is not retired."""

    def find_devices(
        self, wanted: Iterable[tuple[int, str]]
    ) -> dict[tuple[int, str], PlacedDevice]:
        """Find devices by estate and code, with their points."""

    def make_points(self, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """Create the points (device's id, name) that do not exist; return the ids of all."""


@dataclass(slots=True)
class Placement:
    """Gateways, devices and points by the codes that stand in messages."""

    clock: Callable[[], float]
    look_s: float = 1.0
    absent_s: float = 2.0
    #: Rises when everything was forgotten: what others derived from it is old then.
    epoch: int = 0
    #: By point id: the device, its estate, and the range that physics allows.
    device_of: np.ndarray[tuple[int], np.dtype[np.int32]] = field(
        default_factory=lambda: np.zeros(1024, dtype=np.int32)
    )
    estate_of: np.ndarray[tuple[int], np.dtype[np.int32]] = field(
        default_factory=lambda: np.zeros(1024, dtype=np.int32)
    )
    low: np.ndarray[tuple[int], np.dtype[np.float64]] = field(
        default_factory=lambda: np.full(1024, -np.inf)
    )
    high: np.ndarray[tuple[int], np.dtype[np.float64]] = field(
        default_factory=lambda: np.full(1024, np.inf)
    )
    _gateways: dict[tuple[str, str], PlacedGateway] = field(default_factory=dict)
    _devices: dict[tuple[int, str], PlacedDevice] = field(default_factory=dict)
    _absent: dict[tuple[str | int, str], float] = field(default_factory=dict)
    _version: int | None = None
    _looked_at: float = float("-inf")

    def refresh(self, register: RegisterSnapshot) -> None:
        """Empty the cache where the register has changed; called often, reads once a second."""
        if self.clock() - self._looked_at < self.look_s:
            return
        self._looked_at = self.clock()
        version = register.version()
        if version != self._version:
            self._version = version
            self.forget()

    def forget(self) -> None:
        """Empty the cache: the register has changed, or a transaction that made points failed."""
        self._gateways.clear()
        self._devices.clear()
        self._absent.clear()
        self.epoch += 1

    def gateway(self, register: RegisterSnapshot, estate: str, code: str) -> PlacedGateway | None:
        """Find a gateway; None where the register has none."""
        found = self._gateways.get((estate, code))
        if found is None and self._worth_asking((estate, code)):
            found = register.find_gateway(estate, code)
            if found is not None:
                self._gateways[estate, code] = found
                del self._absent[estate, code]
        return found

    def device(self, estate_id: int, code: str) -> PlacedDevice | None:
        """Find a cached device; None where the register has none, or it was not loaded."""
        return self._devices.get((estate_id, code))

    def learn(self, register: RegisterSnapshot, wanted: Iterable[tuple[int, str]]) -> None:
        """Load the devices (estate's id, code) that are not cached, in one query."""
        unknown = {key for key in wanted if key not in self._devices and self._worth_asking(key)}
        if not unknown:
            return
        for key, device in register.find_devices(sorted(unknown)).items():
            self._devices[key] = device
            del self._absent[key]
            for name, point in device.points.items():
                self._note_point(point, device, name)

    def make_points(
        self, register: RegisterSnapshot, wanted: Iterable[tuple[PlacedDevice, str]]
    ) -> None:
        """Create points that registered devices have begun to send."""
        pairs = list(wanted)
        by_id = {device.id: device for device, _ in pairs}
        missing = sorted({(device.id, name) for device, name in pairs if name not in device.points})
        if not missing:
            return
        for (device_id, name), point in register.make_points(missing).items():
            by_id[device_id].points[name] = point
            self._note_point(point, by_id[device_id], name)

    def _note_point(self, point: int, device: PlacedDevice, name: str) -> None:
        if point >= len(self.device_of):
            grown = max(point + 1, 2 * len(self.device_of))
            more = grown - len(self.device_of)
            self.device_of = np.pad(self.device_of, (0, more))
            self.estate_of = np.pad(self.estate_of, (0, more))
            self.low = np.pad(self.low, (0, more), constant_values=-np.inf)
            self.high = np.pad(self.high, (0, more), constant_values=np.inf)
        self.device_of[point] = device.id
        self.estate_of[point] = device.estate_id
        measure = MEASURES.get(name)
        if measure is not None:
            self.low[point] = measure.low
            self.high[point] = measure.high

    def _worth_asking(self, key: tuple[str | int, str]) -> bool:
        """Tell whether an absence is new or old enough to ask again, and note that it was asked."""
        now = self.clock()
        if now - self._absent.get(key, float("-inf")) < self.absent_s:
            return False
        if len(self._absent) >= MAX_ABSENT:
            self._absent.clear()
        self._absent[key] = now
        return True
