"""A simulated meter: a register that is frozen on the hour, a clock, and faults.

It gives one reading an hour, however often it is read, since the register stands still in between.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from domain.calendar import DAY_MS, DEFAULT_ZONE, HOUR_MS

ZONE = ZoneInfo(DEFAULT_ZONE)


class Fault(StrEnum):
    """What can be wrong with a meter or its line."""

    SILENT = "silent"
    GARBAGE = "garbage"
    BAD_CHECKSUM = "bad_checksum"
    DUPLICATE = "duplicate"
    SWAPPED = "swapped"
    REVERSED = "reversed"
    CLOCK_DRIFT = "clock_drift"
    CLOCK_JUMP = "clock_jump"
    LOW_BATTERY = "low_battery"


@dataclass(slots=True, kw_only=True)
class SimulatedMeter:
    """One meter.

    `register` is in the unit of its point; at `rollover` it starts again from zero. `faults` gives
    the span (ms) of each fault; an open end is a very large number.
    """

    device: str
    protocol: str
    address: str
    point: str
    step: float
    register: float
    per_hour: float
    rollover: float = 1e6
    serial: str = "00000000"
    seed: int = 1
    faults: dict[Fault, tuple[int, int]] = field(default_factory=dict)
    valve_open: bool = True
    #: Milliseconds that its clock is ahead, beside the drift.
    clock_ms: int = 0
    #: What it gave out: (hour, value) of its register, and when its clock was set.
    given: set[tuple[int, float]] = field(default_factory=set)
    clock_set: int = 0
    requests: int = 0
    _hour: int | None = None
    _began: int = 0

    def has(self, fault: Fault, now_ms: int) -> bool:
        """Tell whether a fault holds."""
        span = self.faults.get(fault)
        return span is not None and span[0] <= now_ms < span[1]

    def read(self, now_ms: int) -> float:
        """Return the register as it stands since the full hour, and note that it was given out."""
        value = self.shown(now_ms)
        assert self._hour is not None
        self.given.add((self._hour, value))
        return value

    def shown(self, now_ms: int) -> float:
        """Return the register as it stands since the full hour."""
        hour = now_ms // HOUR_MS
        if self._hour is None:
            self._hour = hour
            self._began = now_ms
        while self._hour < hour:
            self._hour += 1
            chance = random.Random(f"{self.seed}/{self.device}/{self._hour}")  # noqa: S311
            used = self.per_hour * (0.5 + chance.random())
            used = max(self.step, round(used / self.step) * self.step)
            if self.has(Fault.REVERSED, self._hour * HOUR_MS):
                used = -used
            if self.valve_open:
                self.register = (self.register + used) % self.rollover
        return round(self.register, 6)

    def clock(self, now_ms: int) -> datetime:
        """Return the meter's own local time."""
        self.shown(now_ms)
        off = self.clock_ms
        if self.has(Fault.CLOCK_DRIFT, now_ms):
            # Three minutes a day: a cheap crystal.
            off += int((now_ms - self.faults[Fault.CLOCK_DRIFT][0]) * 180 / 86_400)
        if self.has(Fault.CLOCK_JUMP, now_ms):
            off -= 26 * 365 * DAY_MS
        return datetime.fromtimestamp(0, ZONE).replace(tzinfo=None) + timedelta(
            milliseconds=now_ms + off
        )

    def set_clock(self, to: datetime, now_ms: int) -> None:
        """Take a time that was sent; a fault of the clock is over with it."""
        self.faults.pop(Fault.CLOCK_DRIFT, None)
        self.faults.pop(Fault.CLOCK_JUMP, None)
        real = datetime.fromtimestamp(0, ZONE).replace(tzinfo=None) + timedelta(milliseconds=now_ms)
        self.clock_ms = round((to - real) / timedelta(milliseconds=1))
        self.clock_set += 1


Now = Callable[[], int]
