"""One camera's pictures through its rules: what turned on or off, whatever the stream is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gateway.vision.burnt_clock import BurntClock
from gateway.vision.falling import Falling
from gateway.vision.health import CameraHealth
from gateway.vision.lane import LaneWatch
from gateway.vision.rules import ClockRule, FallingRule, Rules
from gateway.vision.sighting import Sighting

Picture = NDArray[np.uint8]


@dataclass(slots=True)
class Watcher:
    """All detectors of a camera.

    `see` takes pictures in order. No rule judges while the camera cannot see.
    """

    rules: Rules
    health: CameraHealth = field(default_factory=CameraHealth)
    _detectors: list[LaneWatch | Falling | BurntClock] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make a detector for each rule."""
        for rule in self.rules.rules:
            if isinstance(rule, FallingRule):
                self._detectors.append(Falling(rule))
            elif isinstance(rule, ClockRule):
                self._detectors.append(BurntClock(rule))
            else:
                self._detectors.append(LaneWatch(rule))

    def see(self, t: float, picture: Picture, now: datetime) -> list[Sighting]:
        """Take a picture (grey or BGR, uint8) at `t` seconds and return what began or ended.

        `now` is local time, for a burnt-in clock.
        """
        grey = (
            picture
            if picture.ndim == 2
            else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
        )
        found = self.health.see(t, grey)
        moved = [one for one in found if one.detail == "moved" and one.state == "off"]
        for detector in self._detectors:
            if isinstance(detector, BurntClock):
                found += detector.see(t, grey, now)
                continue
            if isinstance(detector, LaneWatch) and moved:
                detector.forget()
            if not self.health.blind:
                found += detector.see(t, grey)
        return found

    def finish(self) -> list[Sighting]:
        """Judge what is under way when a recording ends."""
        return [
            seen for one in self._detectors if isinstance(one, Falling) for seen in one.finish()
        ]

    def saved(self) -> dict[str, NDArray[Any]]:
        """Return what must survive a restart."""
        return {
            f"{i}.{name}": array
            for i, one in enumerate(self._detectors)
            if isinstance(one, LaneWatch)
            for name, array in one.saved().items()
        }

    def restore(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `saved` gave; rules that have changed begin anew."""
        for i, one in enumerate(self._detectors):
            if isinstance(one, LaneWatch):
                one.restore(
                    {
                        name.partition(".")[2]: array
                        for name, array in saved.items()
                        if name.startswith(f"{i}.")
                    }
                )
