"""A fire lane as a camera on a wall or a pole sees it.

Cars pass, stop for a minute, or stay; there are people, weather, day and night. Everything stands
on the ground in metres and goes into the picture through a pinhole.

Light is the sun's with cast shadows, clouds, lamps and headlights. The camera turns to infrared at
dusk, adapts its exposure, and shakes a little. Pictures come twice a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulators.scenes.paint import Floats, Grey, Sensor, cover, dim, fill, rain, spot, texture

FPS = 2.0
SIZE = (360, 640)
#: The lane lies along y; x is across it, metres.
HALF_LANE_M = 2.0
NEAR_M = 6.0
FAR_M = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocking:
    """Something stood in the lane, from when to when (seconds into the scene)."""

    what: str
    begins_s: float
    ends_s: float


@dataclass(slots=True)
class _Thing:
    """A box on the ground, which stands from `begins` to `ends` (seconds).

    Before and after it drives or walks along the lane.
    """

    what: str
    length: float
    width: float
    height: float
    x: float
    y: float
    begins: float
    ends: float
    speed: float
    shades: NDArray[np.float64]
    turned: bool = False
    windows: bool = False


@dataclass
class LaneScene:
    """One scene. `polygon` is the lane as an installer would draw it, in shares of the picture."""

    seed: int
    seconds: float = 1800.0
    size: tuple[int, int] = SIZE
    blocked: bool | None = None
    truth: list[Blocking] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Draw what will happen."""
        r = np.random.default_rng([9, self.seed])
        self._random = r
        self._height = float(r.uniform(4.0, 9.0))
        self._tilt = float(r.uniform(0.35, 0.6))
        self._pan = float(r.uniform(-0.25, 0.25))
        self._side = float(r.uniform(-2.5, 2.5))
        self._focal = float(r.uniform(0.75, 1.1)) * self.size[1]
        self.light = str(
            r.choice(["sun", "overcast", "night", "dusk", "dawn"], p=[0.35, 0.25, 0.2, 0.1, 0.1])
        )
        self.wet = bool(r.random() < 0.25)
        corners = [
            (-HALF_LANE_M, NEAR_M),
            (HALF_LANE_M, NEAR_M),
            (HALF_LANE_M, FAR_M),
            (-HALF_LANE_M, FAR_M),
        ]
        drawn = self._ground(np.array(corners)) / [self.size[1], self.size[0]]
        self.polygon = _within(drawn)
        self._things: list[_Thing] = []
        self._paint_ground()
        self._happen()

    # Geometry -------------------------------------------------------------------------------------

    def _project(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres (x, y, z) to pixels; rows of (n, 3) to (n, 2)."""
        x = places[:, 0] - self._side
        y = places[:, 1]
        z = places[:, 2] - self._height
        cos = np.cos(self._pan)
        sin = np.sin(self._pan)
        panned_x = x * cos - y * sin
        panned_y = x * sin + y * cos
        cos = np.cos(self._tilt)
        sin = np.sin(self._tilt)
        depth = np.maximum(panned_y * cos - z * sin, 0.5)
        down = -z * cos - panned_y * sin
        return np.stack(
            [
                self.size[1] / 2 + self._focal * panned_x / depth,
                self.size[0] / 2 + self._focal * down / depth,
            ],
            axis=1,
        )

    def _ground(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._project(np.column_stack([places, np.zeros(len(places))]))

    def _paint_ground(self) -> None:
        """Paving of its own albedo and grain, kerbs, lines, patches, manholes, grass beside it."""
        r = self._random
        albedo = np.full(self.size, r.uniform(0.18, 0.4), np.float32)
        albedo += (
            texture(r, self.size, 0, 0.010)
            + texture(r, self.size, 2, 0.012)
            + texture(r, self.size, 12, 0.012)
        )
        for side in (-1, 1):
            grass = np.array(
                [(side * 2.6, 1), (side * 14, 1), (side * 14, 60), (side * 2.6, 60)], float
            )
            found = cover(self.size, self._ground(grass))
            if found is not None:
                place, inside = found
                rough = texture(
                    r, (place[0].stop - place[0].start, place[1].stop - place[1].start), 2, 0.035
                ) + r.uniform(0.1, 0.3)
                albedo[place] += (rough - albedo[place]) * inside
            kerb = np.array(
                [(side * 2.35, 1), (side * 2.6, 1), (side * 2.6, 60), (side * 2.35, 60)], float
            )
            fill(albedo, self._ground(kerb), 0.55)
        if r.random() < 0.7:
            for y in np.arange(6, 30, 2.0):
                line = np.array([(-1.9, y), (1.9, y + 1.6), (1.9, y + 1.8), (-1.9, y + 0.2)])
                fill(
                    albedo,
                    self._ground(line),
                    float(r.uniform(0.5, 0.7)),
                    share=float(r.uniform(0.4, 1)),
                )
        for _ in range(int(r.integers(0, 5))):
            x = r.uniform(-2, 2)
            y = r.uniform(6, 28)
            s = r.uniform(0.3, 1.2)
            patch = np.array([(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)])
            fill(albedo, self._ground(patch), float(r.uniform(0.1, 0.45)), share=0.7)
        wall = self._project(
            np.array([(-14, 45, 0), (14, 45, 0), (14, 45, 40), (-14, 45, 40)], float)
        )
        fill(albedo, wall, 0.5)
        self._albedo = np.clip(albedo, 0.03, 1).astype(np.float32)

    # What happens ---------------------------------------------------------------------------------

    def _happen(self) -> None:
        r = self._random
        long = self.seconds
        blocks = bool(r.random() < 0.5) if self.blocked is None else self.blocked
        if blocks:
            begins = float(r.uniform(150, max(long * 0.5, 160)))
            ends = min(begins + float(r.uniform(170, 900)), long + 999)
            self._stand(begins, ends)
        for _ in range(r.poisson(long / 600)):
            begins = float(r.uniform(130, max(long, 140)))
            self._stand(begins, begins + float(r.uniform(10, 75)), brief=True)
        for _ in range(r.poisson(long / 240)):
            self._things.append(
                self._car(float(r.uniform(0, long)), 0.0, x=float(r.uniform(-0.8, 0.8)), y=0.0)
            )
        for _ in range(r.poisson(long / 90)):
            self._things.append(self._person(float(r.uniform(0, long))))
        # Cars parked beside the lane come and go, and throw their shadows into it.
        for _ in range(r.poisson(long / 900)):
            begins = float(r.uniform(0, long))
            side = float(r.choice([-1, 1]))
            thing = self._car(
                begins, float(r.uniform(200, 1500)), x=side * 4.3, y=float(r.uniform(8, 26))
            )
            self._things.append(thing)
        self._things.sort(key=lambda one: -one.y)
        self._sun = (float(r.uniform(-1.2, 1.2)), float(r.uniform(-1.2, 1.2)))
        self._clouds = bool(self.light in ("sun", "dusk", "dawn") and r.random() < 0.6)
        self._edge = (float(r.uniform(-6, 6)), float(r.normal(0, 0.0006)), bool(r.random() < 0.6))
        self._tree = [
            (float(r.uniform(-4, 4)), float(r.uniform(6, 26)), float(r.uniform(0.3, 1.2)))
            for _ in range(int(r.integers(0, 12)))
        ]
        self._lamp_at = float(r.uniform(0.2, 0.8)) * long
        self._sweeps = [float(s) for s in r.uniform(0, long, r.poisson(long / 200))]
        self._insects = self.light == "night" and r.random() < 0.6

    def _stand(self, begins: float, ends: float, *, brief: bool = False) -> None:
        """Something comes to stand in the lane; where it hides from the camera behind nothing."""
        r = self._random
        what = str(r.choice(["car", "van", "pile", "ebike"], p=[0.55, 0.15, 0.15, 0.15]))
        x = float(r.uniform(-0.9, 0.9))
        y = float(r.uniform(8, 22))
        shown = self._ground(np.array([(x - 1, y), (x + 1, y), (x + 1, y + 4), (x - 1, y + 4)])) / [
            self.size[1],
            self.size[0],
        ]
        if shown.min() < 0.02 or shown.max() > 0.98:
            return
        for other in self._things:
            if (
                other.speed > 0
                and abs(other.y - y) < 6
                and not (other.ends + 60 < begins or other.begins - 60 > ends)
            ):
                return
        if what in ("car", "van"):
            thing = self._car(begins, ends - begins, x=x, y=y, van=what == "van")
        else:
            size = (
                r.uniform([1.0, 0.8, 0.6], [2.4, 1.6, 1.4])
                if what == "pile"
                else np.array([1.7, 0.6, 1.1])
            )
            long, wide, high = (float(side) for side in size)
            turned = bool(r.random() < 0.5)
            thing = _Thing(
                what,
                long,
                wide,
                high,
                x,
                y,
                begins,
                ends,
                1.0,
                r.uniform(0.05, 0.8, 3),
                turned=turned,
            )
        self._things.append(thing)
        self.kinds.append(f"{what} {'stops' if brief else 'stays'}")
        if not brief:
            self.truth.append(Blocking(what=what, begins_s=begins, ends_s=ends))

    def _car(
        self, begins: float, stands: float, *, x: float, y: float, van: bool = False
    ) -> _Thing:
        r = self._random
        size = (
            (float(r.uniform(4.8, 5.8)), 2.0, float(r.uniform(1.9, 2.4)))
            if van
            else (float(r.uniform(3.6, 4.9)), 1.8, 1.5)
        )
        body = float(r.choice([0.05, 0.12, 0.3, 0.55, 0.8, 0.9]))
        shades = np.clip(body * np.array([1.0, 0.75, 0.9]), 0.03, 0.95)
        ends = begins + stands if stands else begins
        return _Thing(
            "van" if van else "car",
            *size,
            x,
            y,
            begins,
            ends,
            float(r.uniform(2, 6)),
            shades,
            windows=True,
        )

    def _person(self, begins: float) -> _Thing:
        r = self._random
        return _Thing(
            "person",
            0.35,
            0.5,
            1.7,
            float(r.uniform(-3, 3)),
            0.0,
            begins,
            begins,
            float(r.uniform(0.8, 1.7)),
            r.uniform(0.05, 0.6, 3),
        )

    def _place(self, thing: _Thing, t: float) -> tuple[float, float] | None:
        """Where a thing is; None where it is out of sight."""
        if thing.what in ("pile", "ebike"):
            return (thing.x, thing.y) if thing.begins <= t <= thing.ends else None
        if thing.begins <= t <= thing.ends and thing.ends > thing.begins:
            return thing.x, thing.y
        if thing.ends == thing.begins:
            y = 2 + thing.speed * (t - thing.begins)
            return (thing.x, y) if 2 <= y <= 42 else None
        # It drives in from the near end, and away to the far one, slowing as cars do.
        if t < thing.begins:
            y = thing.y - 0.5 * min(thing.speed, 3) * (thing.begins - t) ** 1.3
            return (thing.x, y) if y > 2 else None
        y = thing.y + 0.5 * min(thing.speed, 3) * (t - thing.ends) ** 1.3
        return (thing.x, y) if y < 42 else None

    # Pictures -------------------------------------------------------------------------------------

    def pictures(self) -> Iterator[tuple[float, Grey]]:
        """Yield (seconds into the scene, picture)."""
        r = self._random
        night = self.light == "night"
        sensor = Sensor(r, self.size, noise=2.4 if night else 1.0, pace=0.25)
        shaky = r.random() < 0.3
        for frame in range(int(self.seconds * FPS)):
            t = frame / FPS
            light = self._lit(t)
            places = [(thing, self._place(thing, t)) for thing in self._things]
            if self.light in ("sun", "dawn", "dusk"):
                for thing, place in places:
                    if place is not None:
                        self._shadow(light, thing, place, 0.45)
            seen = sorted(
                ((thing, place) for thing, place in places if place is not None),
                key=lambda one: -one[1][1],
            )
            level = float(light.mean() / self._albedo.mean())
            for thing, place in seen:
                self._box(light, thing, place, level, night)
            self._weather(light, r)
            picture = sensor.picture(np.clip(light, 0.0008, 1.5))
            if shaky and r.random() < 0.1:
                picture = np.roll(picture, int(r.choice([-1, 1])), axis=int(r.integers(2)))
            yield t, picture

    def _lit(self, t: float) -> Floats:
        """The empty ground under the light of a moment."""
        part = t / self.seconds
        sun = {
            "sun": 1.0,
            "overcast": 0.5,
            "night": 0.0,
            "dusk": max(0.0, 1 - 1.6 * part),
            "dawn": min(1.0, 0.02 + 1.3 * part),
        }[self.light]
        if self._clouds:
            sun *= 0.65 + 0.35 * np.tanh(3 * np.sin(2 * np.pi * t / 310 + self.seed))
        light = self._albedo * np.float32(0.04 + 0.9 * sun)
        if self.wet:
            light = light * np.float32(0.75) + np.float32(0.05 * (0.1 + sun))
        if sun > 0.2 and self.light != "overcast":
            edge, pace, stands = self._edge
            if stands:
                x = edge + pace * t * 10
                dim(
                    light,
                    self._ground(np.array([(x, 1.0), (x - 20, 1.0), (x - 20, 60.0), (x, 60.0)])),
                    0.5,
                )
            for i, (x, y, s) in enumerate(self._tree):
                sway = 0.25 * np.sin(0.9 * t + i) + 0.1 * np.sin(2.3 * t + 2 * i)
                dim(
                    light,
                    self._ground(
                        np.array(
                            [
                                (x + sway - s, y),
                                (x + sway, y - s),
                                (x + sway + s, y),
                                (x + sway, y + s),
                            ]
                        )
                    ),
                    0.6,
                )
        dark = sun < 0.15
        if dark and t >= (self._lamp_at if self.light == "night" else 0):
            cx, cy = self._ground(np.array([(1.5, 14.0)]))[0]
            spot(light, cx, cy, (self.size[1] * 0.25, self.size[0] * 0.3), 0.12)
        if dark:
            # The camera's own infrared: brightest in the middle.
            spot(
                light,
                self.size[1] / 2,
                self.size[0] * 0.6,
                (self.size[1] * 0.35, self.size[0] * 0.4),
                0.06,
            )
            light *= 0.5 + self._albedo
        for begins in self._sweeps:
            if 0 <= t - begins < 6 and sun < 0.4:
                cx, cy = self._ground(np.array([(-6 + 2 * (t - begins), 8 + 2.5 * (t - begins))]))[
                    0
                ]
                spot(light, cx, cy, (self.size[1] * 0.1, self.size[0] * 0.08), 0.25)
        return light

    def _weather(self, light: Floats, r: np.random.Generator) -> None:
        if self.wet:
            rain(light, r, 120, length=16, amount=0.06 * float(light.mean() / 0.2))
        if self._insects and r.random() < 0.15:
            spot(
                light,
                float(r.uniform(0, self.size[1])),
                float(r.uniform(0, self.size[0])),
                (r.uniform(4, 18), r.uniform(4, 18)),
                0.15,
            )

    def _shadow(
        self, light: Floats, thing: _Thing, place: tuple[float, float], factor: float
    ) -> None:
        """Draw the sun's shadow of a box: the convex outline of its base and its shifted base."""
        x, y = place
        base = self._outline(thing, x, y)
        both = np.vstack([base, base + np.array(self._sun) * thing.height])
        dim(light, self._ground(_hull(both)), factor)

    @staticmethod
    def _outline(thing: _Thing, x: float, y: float) -> NDArray[np.float64]:
        along, across = (thing.width, thing.length) if thing.turned else (thing.length, thing.width)
        return np.array(
            [
                (x - across / 2, y),
                (x + across / 2, y),
                (x + across / 2, y + along),
                (x - across / 2, y + along),
            ]
        )

    def _box(
        self, light: Floats, thing: _Thing, place: tuple[float, float], level: float, night: bool
    ) -> None:
        x, y = place
        base = self._outline(thing, x, y)
        low = np.column_stack([base, np.zeros(4)])
        high = np.column_stack([base, np.full(4, thing.height)])
        side = 0 if self._side < x else 1
        edge = (3, 0) if side == 0 else (1, 2)
        faces = [
            (
                np.array([low[edge[0]], low[edge[1]], high[edge[1]], high[edge[0]]]),
                thing.shades[1] * 0.8,
            ),
            (np.array([low[0], low[1], high[1], high[0]]), thing.shades[2]),
            (high, thing.shades[0]),
        ]
        for corners, shade in faces:
            fill(light, self._project(corners), float(shade * level * (0.7 if night else 1)))
        if thing.windows:
            for corners in (faces[0][0], faces[1][0]):
                middle = corners.copy()
                middle[:, 2] = np.where(corners[:, 2] > 0, thing.height * 0.92, thing.height * 0.6)
                fill(light, self._project(middle), 0.06 * level)
            roof = high + (high.mean(0) - high) * 0.35
            fill(light, self._project(roof), float(min(thing.shades[0] * 1.15, 1) * level))
        if night and thing.what in ("car", "van") and (thing.ends == thing.begins):
            cx, cy = self._ground(np.array([(x, y - 2)]))[0]
            spot(light, cx, cy, (28, 18), 0.25)


def _within(corners: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return the part of a polygon within the unit square (Sutherland and Hodgman, 1974)."""
    for axis in (0, 1):
        for sign, limit in ((1, 0.0), (-1, -1.0)):
            kept: list[NDArray[np.float64]] = []
            for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                ina = sign * a[axis] >= limit
                inb = sign * b[axis] >= limit
                if ina:
                    kept.append(a)
                if ina != inb:
                    kept.append(a + (b - a) * (sign * limit - a[axis]) / (b[axis] - a[axis]))
            corners = np.array(kept)
    return [(float(np.clip(x, 0, 1)), float(np.clip(y, 0, 1))) for x, y in corners]


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The convex outline of some points (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points))

    def half(row: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        chain: list[tuple[float, ...]] = []
        for p in row:
            while len(chain) > 1 and _cross(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))


def _cross(o: tuple[float, ...], a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
