"""Paints grey pictures: polygons, soft spots, texture, rain, and a noisy sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]


def cover(
    shape: tuple[int, int], corners: NDArray[np.float64]
) -> tuple[tuple[slice, slice], Floats] | None:
    """Return where a convex polygon lies, and how much of each pixel it covers (0 to 1).

    The edge is soft over a pixel. Returns None outside the picture.
    """
    low = np.floor(corners.min(0)).astype(int) - 1
    high = np.ceil(corners.max(0)).astype(int) + 2
    x0 = max(low[0], 0)
    y0 = max(low[1], 0)
    x1 = min(high[0], shape[1])
    y1 = min(high[1], shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    xs = np.arange(x0, x1, dtype=np.float32)
    ys = np.arange(y0, y1, dtype=np.float32)[:, None]
    nexts = np.roll(corners, -1, axis=0)
    winding = np.sum(corners[:, 0] * nexts[:, 1] - nexts[:, 0] * corners[:, 1])
    inside: Floats = np.ones((y1 - y0, x1 - x0), np.float32)
    for (ax, ay), (bx, by) in zip(corners, nexts, strict=True):
        length = float(np.hypot(bx - ax, by - ay))
        if length < 1e-6:
            continue
        distance = ((bx - ax) * (ys - ay) - (by - ay) * (xs - ax)) / length * np.sign(winding)
        np.minimum(inside, np.clip(distance + 0.5, 0, 1), out=inside)
    return (slice(y0, y1), slice(x0, x1)), inside


def fill(
    picture: Floats, corners: NDArray[np.float64], value: float, *, share: float = 1.0
) -> None:
    """Paint a convex polygon, in place."""
    found = cover(picture.shape, corners)
    if found is not None:
        place, inside = found
        part = picture[place]
        part += (value - part) * inside * share


def dim(picture: Floats, corners: NDArray[np.float64], factor: float) -> None:
    """Multiply the light within a convex polygon, in place: a shadow below 1, a light above."""
    found = cover(picture.shape, corners)
    if found is not None:
        place, inside = found
        picture[place] *= 1 + (factor - 1) * inside


def spot(picture: Floats, x: float, y: float, radius: tuple[float, float], amount: float) -> None:
    """Add a soft spot of light (or dark), in place."""
    rx, ry = radius
    x0 = max(int(x - 3 * rx), 0)
    x1 = min(int(x + 3 * rx) + 2, picture.shape[1])
    y0 = max(int(y - 3 * ry), 0)
    y1 = min(int(y + 3 * ry) + 2, picture.shape[0])
    if x0 < x1 and y0 < y1:
        xs = np.arange(x0, x1, dtype=np.float32)
        ys = np.arange(y0, y1, dtype=np.float32)
        across = np.exp(-0.5 * ((xs - x) / rx) ** 2)
        down = np.exp(-0.5 * ((ys - y) / ry) ** 2)
        picture[y0:y1, x0:x1] += np.float32(amount) * down[:, None] * across


def blurred(picture: Floats, radius: int) -> Floats:
    """Blur with a box, twice."""
    for _ in range(2):
        for axis in (0, 1):
            padded = np.pad(
                picture,
                [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)],
                mode="edge",
            )
            sums = np.cumsum(padded, axis=axis, dtype=np.float64)
            size = 2 * radius + 1
            upper = sums[size:] if axis == 0 else sums[:, size:]
            lower = sums[:-size] if axis == 0 else sums[:, :-size]
            picture = ((upper - lower) / size).astype(np.float32)
    return picture


def texture(
    random: np.random.Generator, shape: tuple[int, int], grain: int, strength: float
) -> Floats:
    """Return an even surface's own pattern, around 0."""
    if grain <= 0:
        return random.normal(0, strength, shape).astype(np.float32)
    field = blurred(random.normal(0, 1, shape).astype(np.float32), grain)
    return (field / max(float(field.std()), 1e-6) * strength).astype(np.float32)


class Sensor:
    """Turns light (0 to 1) into a grey picture.

    Its exposure follows the scene; its noise grows as light goes.
    """

    def __init__(
        self,
        random: np.random.Generator,
        shape: tuple[int, int],
        *,
        noise: float,
        pace: float = 0.05,
    ) -> None:
        self._random = random
        self._noise = noise
        self._pace = pace
        self._exposure: float | None = None
        # A stock of noise is begun anywhere: drawing new numbers for every pixel would cost more
        # than all the rest.
        self._stock = [
            np.tile(random.normal(0, 1, shape).astype(np.float32).ravel(), 2) for _ in range(5)
        ]

    def picture(self, light: Floats) -> Grey:
        """Take one picture."""
        desired = 0.42 / max(float(light[::8, ::8].mean()), 0.004)
        desired = min(max(desired, 0.6), 40.0)
        self._exposure = (
            desired
            if self._exposure is None
            else self._exposure + (desired - self._exposure) * self._pace
        )
        gain = self._exposure
        shot = self._stock[int(self._random.integers(len(self._stock)))]
        begin = light.size - int(self._random.integers(1, light.size))
        grey = shot[begin : begin + light.size].reshape(light.shape) * np.float32(
            self._noise * (1 + 0.5 * np.sqrt(gain))
        )
        grey += light * np.float32(255 * gain)
        return np.clip(grey, 0, 255, out=grey).astype(np.uint8)


def rain(
    picture: Floats, random: np.random.Generator, drops: int, *, length: float, amount: float
) -> None:
    """Add streaks of rain, in place: each a short light line, anew in every picture."""
    height, width = picture.shape
    count = random.poisson(drops)
    xs = random.uniform(0, width, count)
    ys = random.uniform(-length, height, count)
    steps = np.arange(max(int(length), 1))
    slope = random.normal(0.08, 0.03, count)
    px = (xs[:, None] + slope[:, None] * steps).astype(int)
    py = (ys[:, None] + steps).astype(int)
    inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
    np.add.at(picture, (py[inside], px[inside]), np.float32(amount))
