"""The city as messages of the wire contract: its past in bulk, its present as it happens.

Meters speak once an hour, doors when someone passes, detectors when they must. Nothing here knows a
database: the items go to whoever carries them (a gateway's uplink).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from domain.calendar import DAY_MS, HOUR_MS, day_start
from domain.wire import EventItem, ReadingItem
from simulators.city import ZONE, City, Home, Story
from simulators.households import Registers, run_home

#: Minutes by which a wrong clock is behind.
CLOCK_BEHIND_MIN = 47


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSeries:
    """One meter: its device, what it measures, and its readings as columns (ms UTC, register)."""

    device: str
    point: str
    at: NDArray[np.int64]
    value: NDArray[np.float64]


class Present:
    """A city run up to some day, with the register of every meter at hand."""

    def __init__(self, city: City, until: date) -> None:
        self.city = city
        self.days = (until - city.anchor).days + 1
        self.start_ms = int(day_start(city.anchor, ZONE).timestamp() * 1000)
        self._run: dict[int, Registers] = {}

    def registers(self, home: Home) -> Registers:
        """Return a home's registers, simulating it the first time."""
        found = self._run.get(home.index)
        if found is None:
            found = self._run[home.index] = run_home(self.city, home, self.days)
        return found

    def meters(self, home: Home) -> list[ValueSeries]:
        """Return the readings of a home's meters, with what is wrong with them."""
        run = self.registers(home)
        hours = len(run.water_m3)
        at = self.start_ms + (np.arange(hours, dtype=np.int64) + 1) * HOUR_MS
        # Meters do not speak at the full hour, and not all at once.
        at = at + int(self.city.rng(4, home.index).integers(0, 3000)) * 1000
        water = run.water_m3.copy()
        energy = run.energy_kwh
        has_story = home.from_day is not None
        begin = (home.from_day - self.city.anchor).days * 24 if home.from_day is not None else hours
        end = (home.to_day - self.city.anchor).days * 24 + 24 if home.to_day is not None else hours
        keep = np.ones(hours, dtype=bool)
        if has_story and home.story is Story.WATER_STUCK:
            water[begin:] = water[min(begin, hours - 1)]
        elif has_story and home.story is Story.METER_RESET:
            water[begin:] = np.round(water[begin:] - water[min(begin, hours - 1)], 3)
        elif has_story and home.story is Story.SILENT_METERS:
            keep[begin:end] = False
        elif has_story and home.story is Story.CLOCK_OFF:
            at = at - CLOCK_BEHIND_MIN * 60_000
        electricity = ValueSeries(
            device=energy_meter(home), point="energy_kwh", at=at[keep], value=energy[keep]
        )
        if has_story and home.story is Story.METER_SWAPPED and 0 < begin < hours:
            fresh = np.round(water[begin:] - water[begin], 3)
            return [
                ValueSeries(
                    device=water_meter(home), point="water_m3", at=at[:begin], value=water[:begin]
                ),
                ValueSeries(
                    device=water_meter(home) + "b", point="water_m3", at=at[begin:], value=fresh
                ),
                electricity,
            ]
        return [
            ValueSeries(device=water_meter(home), point="water_m3", at=at[keep], value=water[keep]),
            electricity,
        ]

    def readings(
        self, gateway: str, low_ms: int, high_ms: int, items: int
    ) -> Iterator[list[ReadingItem]]:
        """Give a gateway's readings over [low, high), oldest first, `items` in a message."""
        meters = [
            series
            for home in self.city.homes
            if home.gateway == gateway
            for series in self.meters(home)
        ]
        which = np.concatenate([np.full(len(s.at), i) for i, s in enumerate(meters)])
        at = np.concatenate([s.at for s in meters])
        value = np.concatenate([s.value for s in meters])
        inside = np.flatnonzero((at >= low_ms) & (at < high_ms))
        inside = inside[np.argsort(at[inside], kind="stable")]
        for i in range(0, len(inside), items):
            some = inside[i : i + items]
            yield [
                ReadingItem(device=meters[w].device, at=t, values={meters[w].point: v})
                for w, t, v in zip(
                    which[some].tolist(), at[some].tolist(), value[some].tolist(), strict=True
                )
            ]

    def passages(self, gateway: str, low_ms: int, high_ms: int) -> list[EventItem]:
        """Give a gateway's passages over [low, high), oldest first."""
        found = []
        for home in self.city.homes:
            if home.gateway != gateway:
                continue
            for day, passage in self.registers(home).passages:
                at = int(day_start(day, ZONE).timestamp() * 1000) + passage.second * 1000
                if low_ms <= at < high_ms:
                    found.append(
                        EventItem(
                            device=door(home.entrance),
                            at=at,
                            id=f"{day:%y%m%d}-{passage.person}-{passage.second}",
                            kind="passage",
                            data={
                                "method": "face" if home.index % 3 else "card",
                                "outcome": "granted",
                                "direction": passage.direction,
                                "person": passage.person,
                            },
                        )
                    )
        return sorted(found, key=lambda item: (item.at, item.id))


def past_hazards(city: City, gateway: str, until_ms: int) -> list[EventItem]:
    """Return the hazards of a building's past.

    Now and then a detector goes off and is reset an hour later.
    """
    found = []
    for building, entrance in city.entrances:
        if gateway != f"gw-{building}":
            continue
        rng = city.rng(5, int(building), int(entrance[-1]))
        for n in range(int(rng.integers(0, 3))):
            at = until_ms - int(rng.uniform(2, 150) * DAY_MS)
            for state, when in (("on", at), ("off", at + HOUR_MS)):
                found.append(
                    hazard(smoke_detector(entrance), when, f"past-{n}-{state}", "smoke", state)
                )
    return sorted(found, key=lambda item: item.at)


def hazard(device: str, at_ms: int, event_id: str, word: str, state: str) -> EventItem:
    """Make a hazard event."""
    return EventItem(
        device=device, at=at_ms, id=event_id, kind="hazard", data={"hazard": word, "state": state}
    )


def water_meter(home: Home) -> str:
    """Name a home's water meter."""
    return f"wm-{home.unit}"


def energy_meter(home: Home) -> str:
    """Name a home's electricity meter."""
    return f"em-{home.unit}"


def door(entrance: str) -> str:
    """Name an entrance's door terminal."""
    return f"door-{entrance}"


def smoke_detector(entrance: str) -> str:
    """Name an entrance's smoke detector."""
    return f"smoke-{entrance}"


def lane_camera(building: str) -> str:
    """Name the camera over a building's fire lane."""
    return f"lane-{building}"


def day_after(at: datetime, days: int) -> date:
    """Return the local day some days after an instant."""
    return at.astimezone(ZONE).date() + timedelta(days=days)
