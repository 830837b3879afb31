"""A facade as an upward camera sees it: things thrown from its floors, and other motion.

Metres of height and along the wall go into the picture through a pinhole at the wall's foot. A
floor is wide below and narrow above. What is thrown falls with gravity and drag. Birds, leaves,
rain, laundry and insects move in their own ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulators.scenes.paint import Floats, Grey, Sensor, fill, rain, spot, texture

FPS = 25
GRAVITY = 9.81
SIZE = (720, 1280)
FLOOR_M = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Throw:
    """One thing thrown: when it leaves its floor, when it is down (seconds), and its height."""

    begins_s: float
    ends_s: float
    height_m: float
    floor: int


@dataclass(slots=True)
class _Path:
    """Something that moves: its place in every frame, its radius and its brightness.

    `x` and `y` are metres, or pixels where it is at the lens.
    """

    first: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    size: float
    bright: float
    at_lens: bool = False
    flap: float = 0.0


@dataclass
class FacadeScene:
    """One scene.

    `marks` are an installer's measures: (share of the picture's height, metres above ground).
    """

    seed: int
    seconds: float = 60.0
    throws: int | None = None
    #: How many times as many birds, leaves and insects as usual.
    crowd: float = 1.0
    size: tuple[int, int] = SIZE
    truth: list[Throw] = field(default_factory=list)
    marks: list[tuple[float, float]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Draw what will happen."""
        self._random = np.random.default_rng([8, self.seed])
        r = self._random
        self.floors = int(r.integers(6, 34))
        self.roof_m = self.floors * FLOOR_M + 1.5
        self._distance = float(r.uniform(9, 22))
        # The camera's tilt and zoom are set so that the wall fills the picture from about the
        # second floor to the roof.
        low = np.arctan2(2.0, self._distance)
        high = np.arctan2(self.roof_m, self._distance)
        self._tilt = float((low + high) / 2)
        self._focal = float(self.size[0] * 0.47 / np.tan((high - low) / 2))
        frames = int(self.seconds * FPS)
        self._frames = frames
        self.night = bool(r.random() < 0.3)
        self.wet = bool(r.random() < 0.25)
        self._paths: list[_Path] = []
        heights = np.linspace(3, self.roof_m - 1, 5)
        _, ys = self._project(np.zeros(5), heights)
        self.marks = [(float(y) / self.size[0], float(h)) for y, h in zip(ys, heights, strict=True)]
        self._wall = self._paint_wall()
        for begin in sorted(self._throw_times(r)):
            self._throw(begin)
        self._others()

    def _throw_times(self, r: np.random.Generator) -> list[float]:
        count = int(r.integers(0, 3)) if self.throws is None else self.throws
        room = self.seconds - 12
        return [4 + room * (i + float(r.random()) * 0.7) / max(count, 1) for i in range(count)]

    # Geometry -------------------------------------------------------------------------------------

    def _project(
        self, x_m: NDArray[np.float64], h_m: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Metres on the wall's plane to pixels."""
        sin = np.sin(self._tilt)
        cos = np.cos(self._tilt)
        depth = self._distance * cos + h_m * sin
        up = h_m * cos - self._distance * sin
        return self.size[1] / 2 + self._focal * x_m / depth, self.size[
            0
        ] / 2 - self._focal * up / depth

    def _scale(self, h_m: float) -> float:
        """Pixels for a metre at a height."""
        return float(self._focal / (self._distance * np.cos(self._tilt) + h_m * np.sin(self._tilt)))

    def _paint_wall(self) -> Floats:
        r = self._random
        height = self.size[0]
        light = np.full(self.size, r.uniform(0.3, 0.6), np.float32)
        light += np.linspace(0.1, -0.05, height, dtype=np.float32)[:, None]
        light += texture(r, self.size, 2, 0.012)
        half = float(r.uniform(12, 20))
        columns = np.linspace(-half, half, int(r.integers(6, 12)))
        self._half = half
        bright: list[tuple[NDArray[np.float64], float]] = []
        for floor in range(self.floors):
            base = floor * FLOOR_M
            for x in columns:
                corners = np.array(
                    [
                        self._project(np.array(px), np.array(py))
                        for px, py in (
                            (x - 0.8, base + 0.9),
                            (x + 0.8, base + 0.9),
                            (x + 0.8, base + 2.4),
                            (x - 0.8, base + 2.4),
                        )
                    ]
                )
                lit = self.night and r.random() < 0.25
                fill(light, corners, float(r.uniform(0.08, 0.3)))
                if lit:
                    bright.append((corners, float(r.uniform(0.3, 0.8))))
        if self.night:
            light *= np.float32(0.12)
            for corners, lamp in bright:
                fill(light, corners, lamp)
        return np.clip(light, 0.004, 1.0)

    # What moves -----------------------------------------------------------------------------------

    def _throw(self, begins_s: float) -> None:
        """Drop or throw a heavy thing from the second floor or above; it falls with drag."""
        r = self._random
        floor = int(r.integers(2, self.floors + 1))
        h = (floor - 1) * FLOOR_M + float(r.uniform(1.0, 1.8))
        # Where the camera sees it for most of its way down: nearer to the ground the picture takes
        # in less of the wall.
        seen = 0.36 * self.size[1] / self._scale(max(2.0, h / 3))
        x = float(r.uniform(-0.7, 0.7)) * min(self._half, seen / 0.7)
        vx = float(r.normal(0, 1.2))
        vh = float(r.choice([0.0, 0.0, 1.0, 2.5]) * r.random())
        # Drag by terminal speed: a bottle or a brick 25 to 60 m/s, a full bag of rubbish 15 to 25.
        terminal = float(r.uniform(15, 60))
        hs = [h]
        xs = [x]
        dt = 1 / FPS
        while hs[-1] > 0 and len(hs) < 300:
            for _ in range(4):
                speed = float(np.hypot(vx, vh))
                vx -= GRAVITY * speed * vx / terminal**2 * dt / 4
                vh -= (GRAVITY + GRAVITY * speed * vh / terminal**2) * dt / 4
                x = x + vx * dt / 4
                h = h + vh * dt / 4
            hs.append(h)
            xs.append(x)
        size = float(r.uniform(0.08, 0.35))
        bright = (
            float(r.choice([-1, 1]) * r.uniform(0.15, 0.4))
            if not self.night
            else float(r.uniform(0.05, 0.15))
        )
        first = int(begins_s * FPS)
        self._paths.append(_Path(first, np.array(xs), np.array(hs), size, bright))
        self.truth.append(
            Throw(begins_s=begins_s, ends_s=begins_s + len(hs) / FPS, height_m=hs[0], floor=floor)
        )

    def _others(self) -> None:
        r = self._random
        plenty = self.seconds / 60 * self.crowd
        if not self.night:
            self._many("bird", r.poisson(4 * plenty), self._bird)
        self._many("leaf", r.poisson((3 if r.random() < 0.5 else 12) * plenty), self._leaf)
        self._many("insect", r.poisson((25 if self.night else 4) * plenty), self._insect)
        self._cloths = []
        for _ in range(int(r.integers(0, 6))):
            floor = int(r.integers(1, self.floors + 1))
            self._cloths.append(
                (
                    float(r.uniform(-0.7, 0.7)) * self._half,
                    floor * FLOOR_M - 1.2,
                    float(r.uniform(0.4, 1.1)),
                    float(r.uniform(-0.3, 0.3)),
                    float(r.uniform(0.2, 0.9)),
                    float(r.uniform(0, 6)),
                )
            )
        if self._cloths:
            self.kinds.append("laundry")
        if self.wet:
            self.kinds.append("rain")

    def _many(self, kind: str, count: int, make: object) -> None:
        for _ in range(count):
            make()  # type: ignore[operator]
        if count:
            self.kinds.append(kind)

    def _bird(self) -> None:
        """Let a bird cross, turn, or dive off a ledge and swoop away."""
        r = self._random
        n = int(r.uniform(1.5, 5) * FPS)
        t = np.arange(n) / FPS
        side = float(r.choice([-1, 1]))
        speed = float(r.uniform(5, 14))
        climb = float(r.normal(0, 2.5))
        x = (
            -side * self._half * 1.1
            + side * speed * t
            + r.normal(0, 1.0) * np.sin(t * r.uniform(0.5, 2) + r.uniform(0, 6))
        )
        h = (
            r.uniform(4, self.roof_m)
            + climb * t
            + r.uniform(0, 1.2) * np.sin(t * r.uniform(1, 4) + r.uniform(0, 6))
        )
        if r.random() < 0.25:
            # Off a ledge: it drops nearly freely for a moment before its wings take hold.
            drop = float(r.uniform(0.4, 0.9))
            x = r.uniform(-0.7, 0.7) * self._half + side * np.where(
                t < drop, 0.8 * t, 0.8 * drop + speed * (t - drop)
            )
            fallen = 0.5 * 8.5 * np.minimum(t, drop) ** 2 + np.where(
                t > drop, 8.5 * drop * (1 - np.exp(-3 * (t - drop))) / 3, 0
            )
            h = (
                r.uniform(8, max(self.roof_m, 9))
                - fallen
                + np.where(t > drop, 1.5 * np.maximum(t - drop, 0) ** 1.5, 0)
            )
        first = int(r.uniform(0, max(self._frames - n, 1)))
        self._paths.append(
            _Path(
                first,
                x,
                h,
                float(r.uniform(0.15, 0.4)),
                float(r.uniform(-0.35, -0.1)),
                flap=float(r.uniform(4, 9)),
            )
        )

    def _leaf(self) -> None:
        """A leaf, a sheet of paper or a plastic bag: down at its terminal speed, swaying."""
        r = self._random
        n = int(r.uniform(3, 12) * FPS)
        t = np.arange(n) / FPS
        sway = float(r.uniform(0.1, 0.8))
        pace = float(r.uniform(1.5, 5))
        x = r.uniform(-1, 1) * self._half + r.normal(0, 1.2) * t + sway * np.sin(pace * t)
        h = r.uniform(3, self.roof_m) - r.uniform(0.6, 2.5) * t + 0.3 * sway * np.cos(2 * pace * t)
        first = int(r.uniform(0, max(self._frames - n, 1)))
        self._paths.append(
            _Path(
                first,
                x,
                h,
                float(r.uniform(0.05, 0.25)),
                float(r.choice([-1, 1]) * r.uniform(0.08, 0.25)),
            )
        )

    def _insect(self) -> None:
        """An insect near the lens: a large soft spot on a curved way of its own, in pixels."""
        r = self._random
        n = int(r.uniform(0.4, 2.5) * FPS)
        heading = np.cumsum(r.normal(0, 0.08, n)) + r.uniform(0, 2 * np.pi)
        pace = np.abs(r.uniform(6, 30) + np.cumsum(r.normal(0, 0.8, n)))
        x = r.uniform(0, self.size[1]) + np.cumsum(pace * np.cos(heading))
        y = r.uniform(0, self.size[0]) + np.cumsum(pace * np.sin(heading))
        first = int(r.uniform(0, max(self._frames - n, 1)))
        self._paths.append(
            _Path(first, x, y, float(r.uniform(3, 14)), float(r.uniform(0.1, 0.5)), at_lens=True)
        )

    # Pictures -------------------------------------------------------------------------------------

    def pictures(self) -> Iterator[tuple[float, Grey]]:
        """Yield (seconds into the scene, picture)."""
        r = self._random
        sensor = Sensor(r, self.size, noise=1.2 if not self.night else 2.0, pace=0.02)
        gust = r.uniform(0, 6, 3)
        for frame in range(self._frames):
            t = frame / FPS
            light = self._wall.copy()
            wind = 0.5 + 0.5 * np.sin(0.7 * t + gust[0]) * np.sin(0.23 * t + gust[1])
            for x, h, width, shade, tempo, phase in self._cloths:
                self._cloth(
                    light,
                    x,
                    h,
                    width,
                    shade,
                    float(0.18 * wind * np.sin(2 * np.pi * tempo * t + phase)),
                )
            for path in self._paths:
                self._draw(light, path, frame)
            if self.wet:
                rain(light, r, 120, length=14, amount=0.06 if not self.night else 0.03)
            yield t, sensor.picture(light)

    def _cloth(
        self, light: Floats, x: float, h: float, width: float, shade: float, sway: float
    ) -> None:
        places = (
            (x - width / 2, h),
            (x + width / 2, h),
            (x + width / 2 + sway, h - 1.1),
            (x - width / 2 + sway, h - 1.1),
        )
        corners = np.array([self._project(np.array(a), np.array(b)) for a, b in places])
        base = float(
            light[
                int(np.clip(corners[0, 1], 0, self.size[0] - 1)),
                int(np.clip(corners[0, 0], 0, self.size[1] - 1)),
            ]
        )
        fill(light, corners, float(np.clip(base + shade * (0.1 if self.night else 1), 0.01, 1)))

    def _draw(self, light: Floats, path: _Path, frame: int) -> None:
        i = frame - path.first
        if not 0 <= i < len(path.x):
            return
        before = max(i - 1, 0)
        if path.at_lens:
            spot(
                light,
                float(path.x[i]),
                float(path.y[i]),
                (path.size, path.size),
                path.bright * (0.3 if self.night else 0.5),
            )
            return
        # What is fast is drawn out along its way, as an exposure of a third of the frame's time
        # does.
        px, py = self._project(path.x[i], path.y[i])
        qx, qy = self._project(path.x[before], path.y[before])
        radius = max(path.size * self._scale(float(path.y[i])) / 2, 0.55)
        if path.flap:
            radius *= 1 + 0.5 * np.sin(2 * np.pi * path.flap * i / FPS)
        drawn = float(np.hypot(px - qx, py - qy)) / 3
        steps = max(int(drawn / max(radius, 1)), 1)
        for k in range(steps):
            share = k / steps / 3
            spot(
                light,
                float(px + (qx - px) * share),
                float(py + (qy - py) * share),
                (radius, radius),
                path.bright / steps**0.7,
            )
