"""`anju bench vision`: what the camera rules find in rendered scenes with truth, and their speed.

Scenes are drawn from seeds that nobody looked at while the rules were made (from UNSEEN_SEEDS_FROM
on). A scene is a stream of pictures; the detectors see nothing else. Recall comes with its 95 %
interval (Clopper-Pearson by the beta law, found by bisection). False alarms come with the exact
Poisson interval over the time that was watched.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import comb, exp, factorial
from pathlib import Path
from statistics import median
from typing import Any

from anju.memory import kept_memory

#: Scenes from this seed on were not seen while the rules were made.
UNSEEN_SEEDS_FROM = 220_000
#: A thing counts as one to be found if it stands this much longer than the dwell time (seconds).
GRACE_S = 20.0
#: It is found in time if it is reported this soon after the dwell time (seconds).
REPORTED_WITHIN_S = 30.0
DWELL_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What was found in one scene.

    `returned` counts things that left in time and were reported as gone within a minute.
    """

    seed: int
    true: int
    found: int
    false: int
    seconds: float
    left: int = 0
    returned: int = 0

    @property
    def odd(self) -> bool:
        """Something was missed, or reported that is not true."""
        return self.found < self.true or self.false > 0 or self.returned < self.left


def falling_scene(seed: int, seconds: float, crowd: float = 1.0) -> Scene:
    """Look at one facade.

    `crowd` is how many times as many birds, leaves and insects there are as usual.
    """
    from gateway.vision.falling import Falling
    from gateway.vision.rules import FallingRule
    from simulators.scenes.facade import FacadeScene

    _alone()
    scene = FacadeScene(seed, seconds=seconds, crowd=crowd)
    detector = Falling(FallingRule(heights=sorted(scene.marks), roof_m=scene.roof_m))
    seen = [
        one for t, picture in scene.pictures() for one in detector.see(t, picture)
    ] + detector.finish()
    used: set[int] = set()
    found = 0
    for throw in scene.truth:
        mine = {
            i
            for i, one in enumerate(seen)
            if throw.begins_s - 0.5 <= one.at_s <= throw.ends_s + 0.5
        } - used
        found += bool(mine)
        used |= mine
    return Scene(
        seed=seed, true=len(scene.truth), found=found, false=len(seen) - len(used), seconds=seconds
    )


def lane_scene(seed: int, seconds: float) -> Scene:
    """Look at one fire lane."""
    from gateway.vision.lane import LaneWatch
    from gateway.vision.rules import LaneRule
    from simulators.scenes.lane import LaneScene

    _alone()
    scene = LaneScene(seed, seconds=seconds)
    detector = LaneWatch(LaneRule(polygon=scene.polygon, dwell_s=DWELL_S))
    seen = [(t, one) for t, picture in scene.pictures() for one in detector.see(t, picture)]
    on = [(t, one) for t, one in seen if one.state == "on"]
    off = [one.at_s for _, one in seen if one.state == "off"]
    due = [
        one for one in scene.truth if min(one.ends_s, seconds) - one.begins_s >= DWELL_S + GRACE_S
    ]
    used = {
        i
        for i, (_, one) in enumerate(on)
        if any(true.begins_s - 5 <= one.at_s <= true.ends_s for true in scene.truth)
    }
    # Only what is told in time counts as found.
    found = sum(
        any(
            true.begins_s + DWELL_S - 5 <= t <= true.begins_s + DWELL_S + REPORTED_WITHIN_S
            for t, _ in on
        )
        for true in due
    )
    left = [true for true in due if true.ends_s < seconds - 90]
    returned = sum(any(true.ends_s - 5 <= at <= true.ends_s + 60 for at in off) for true in left)
    return Scene(
        seed=seed,
        true=len(due),
        found=found,
        false=len(on) - len(used),
        seconds=seconds,
        left=len(left),
        returned=returned,
    )


def _alone() -> None:
    from gateway.vision.stream import one_thread

    one_thread()


class Watched(StrEnum):
    """What a camera rule looks for."""

    FALLING = "falling"
    LANE = "lane"


#: How a scene is looked at, and the seconds in which at most one false alarm is allowed: a camera's
#: day, a camera's week.
SCENES: dict[Watched, Callable[..., Scene]] = {
    Watched.FALLING: falling_scene,
    Watched.LANE: lane_scene,
}
UNIT_S = {Watched.FALLING: 86_400.0, Watched.LANE: 7 * 86_400.0}


def run(
    rule: Watched,
    scenes: int,
    seconds: float,
    first: int,
    processes: int,
    report: Callable[[Scene], None],
    **more: float,
) -> dict[str, Any]:
    """Judge scenes of `seconds` each, from the seed `first` on.

    `report` is called with each scene as it is done; `more` are arguments of the scene.
    """
    done: list[Scene] = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for one in pool.imap(partial(_scene, rule, seconds, more), range(first, first + scenes)):
            done.append(one)
            report(one)
    return summary(done, UNIT_S[rule])


def _scene(rule: Watched, seconds: float, more: dict[str, float], seed: int) -> Scene:
    with kept_memory():
        return SCENES[rule](seed, seconds, **more)


def summary(scenes: list[Scene], unit_s: float) -> dict[str, Any]:
    """Put scenes together; false alarms are told for `unit_s` of one camera."""
    true, found, false = (
        sum(getattr(one, name) for one in scenes) for name in ("true", "found", "false")
    )
    units = sum(one.seconds for one in scenes) / unit_s
    low, high = poisson_interval(false)
    return {
        "scenes": len(scenes),
        "true": true,
        "found": found,
        "recall": found / true if true else None,
        "recall_interval": binomial_interval(found, true),
        "false": false,
        "watched": units,
        "false_rate": false / units,
        "false_interval": (low / units, high / units),
        "left": sum(one.left for one in scenes),
        "returned": sum(one.returned for one in scenes),
    }


def binomial_interval(hits: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson, 1934)."""
    tail = (1 - confidence) / 2

    def above(p: float) -> float:
        return sum(comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(hits, of + 1))

    def below(p: float) -> float:
        return sum(comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(hits + 1))

    low = 0.0 if hits == 0 else _where(lambda p: above(p) - tail)
    high = 1.0 if hits == of else _where(lambda p: tail - below(p))
    return low, high


def poisson_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a count's mean (Garwood, 1936)."""
    tail = (1 - confidence) / 2
    most = 10.0 + 4 * count

    def at_most(mean: float, k: int) -> float:
        return exp(-mean) * sum(mean**i / factorial(i) for i in range(k + 1))

    low = (
        0.0
        if count == 0
        else most * _where(lambda share: 1 - at_most(share * most, count - 1) - tail)
    )
    return low, most * _where(lambda share: tail - at_most(share * most, count))


def _where(rising: Callable[[float], float]) -> float:
    """Find where a rising function of 0 to 1 passes nought."""
    low = 0.0
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


# Speed -------------------------------------------------------------------------------------------


def speed(rounds: int = 3, seconds: float = 12.0) -> dict[str, float]:
    """Return how many pictures a second one core decodes and looks at, 720p at 25 a second.

    Each figure is a median over the rounds; every round measures the kinds in turn.
    """
    from datetime import datetime

    from gateway.vision.rules import FallingRule, LaneRule, Rules
    from gateway.vision.stream import read, write_film
    from gateway.vision.watcher import Watcher
    from simulators.scenes.facade import FacadeScene

    _alone()
    scene = FacadeScene(UNSEEN_SEEDS_FROM, seconds=seconds, throws=2)
    polygon = [(0.2, 0.95), (0.8, 0.95), (0.6, 0.3), (0.4, 0.3)]
    rules: dict[str, tuple[Rules | None, float]] = {
        "decoding only": (None, 0.25),
        "fire lane": (Rules(rules=[LaneRule(polygon=polygon)]), 0.25),
        "falling object": (Rules(rules=[FallingRule(heights=sorted(scene.marks))]), 0.0),
    }
    now = datetime(2026, 11, 21, 12)  # noqa: DTZ001
    taken: dict[str, list[float]] = {name: [] for name in rules}
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "scene.mp4"
        count = write_film(film, _in_colour(scene.pictures()), 25.0)
        for _ in range(rounds):
            for name, (chosen, every_s) in rules.items():
                watcher = Watcher(chosen) if chosen is not None else None
                begun = time.process_time()
                for frame in read(str(film), every_s):
                    if watcher is not None:
                        watcher.see(frame.t, frame.picture, now)
                taken[name].append(count / (time.process_time() - begun))
    return {name: median(values) for name, values in taken.items()}


def _in_colour(pictures: Iterator[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    import numpy as np

    for t, picture in pictures:
        yield t, np.repeat(picture[:, :, None], 3, axis=2)
