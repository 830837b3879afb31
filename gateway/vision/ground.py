"""What a picture of the ground is made of: slow light, grain and outlines.

Pictures are logarithms of grey, so light is additive. Detail is what is finer than some tenths of
the picture's height. A cell is a square of CELL pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
#: A cell is a square of so many pixels.
CELL = 4
#: Regions are at least so many cells wide and high.
THIN = 3
#: Pixels around a cell over which the ground's grain is compared.
WINDOW = 9
#: So many times as steep as the ground usually is: an edge of light.
EDGE = 4.0
#: Pixels nearby, over which the ground's least steepness is looked for.
NEARBY = 13
#: The share of pixels around a cell that must be valid (not burnt out) for its grain to count.
LEAST_VALID = 0.3


def thick(cells: Mask) -> Mask:
    """Cells that lie in parts thick enough for a thing; a small one may lack its corners."""
    square, cross = (
        cv2.getStructuringElement(shape, (THIN, THIN))
        for shape in (cv2.MORPH_RECT, cv2.MORPH_CROSS)
    )
    return _opened(cells, square) | _opened(cells, cross)


def _opened(cells: Mask, by: cv2.typing.MatLike) -> Mask:
    return np.asarray(cv2.morphologyEx(cells.astype(np.uint8), cv2.MORPH_OPEN, by)) > 0


def regions(cells: Mask) -> Iterator[tuple[NDArray[np.int32], Mask]]:
    """Yield the outline and the filled area of each region that is thick enough for a thing."""
    whole = closed(thick(cells)).astype(np.uint8)
    outlines, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for outline in outlines:
        region = np.zeros_like(whole)
        cv2.drawContours(region, [outline], -1, 1, cv2.FILLED)
        yield np.asarray(outline, np.int32), region.astype(bool)


def grown(sure: Mask, perhaps: Mask) -> Mask:
    """Add the possible cells that hang together with a thick part of the sure ones."""
    count, parts = cv2.connectedComponents((sure | perhaps).astype(np.uint8))
    with_thick = np.zeros(count, bool)
    with_thick[parts[thick(sure)]] = True
    return np.asarray(sure | (perhaps & with_thick[parts]))


def widened(cells: Mask, by: int) -> Mask:
    """Cells with so many more around them."""
    return (
        np.asarray(cv2.dilate(cells.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)))
        > 0
    )


def closed(cells: Mask) -> Mask:
    """Cells with the gaps between them, of two cells at most, filled."""
    return (
        np.asarray(
            cv2.morphologyEx(cells.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        )
        > 0
    )


def detail_of(log: Floats) -> Floats:
    """Return what is finer than some tenths of the picture's height.

    Light that changes slowly over the picture falls out.
    """
    return np.asarray(log - cv2.blur(cv2.blur(log, (21, 21)), (11, 11)), np.float32)


def grain(detail: Floats) -> Floats:
    """Return how strong a surface's own grain is around each cell.

    Edges beside it are left out.
    """
    finest = detail - cv2.blur(detail, (5, 5))
    return np.sqrt(np.maximum(per_cell(_around(finest * finest)), 0))


def beyond(detail: Floats, ground: Floats, tolerance: Floats) -> Floats:
    """Return 1 for each pixel whose detail differs from the ground by more than the tolerance.

    The ground's neighbouring pixels form the band of allowed values. Other pixels are 0.
    """
    square = np.ones((3, 3), np.uint8)
    high = np.asarray(cv2.dilate(ground, square))
    low = np.asarray(cv2.erode(ground, square))
    return np.asarray(np.maximum(detail - high, low - detail) > tolerance, np.float32)


def share(flags: Floats) -> Floats:
    """The share of flags around each cell."""
    return per_cell(np.asarray(cv2.blur(flags, (7, 7)), np.float32))


def level_of(log: Floats) -> Floats:
    """How light each cell is."""
    return per_cell(np.asarray(cv2.blur(log, (5, 5)), np.float32))


def per_cell(values: Floats) -> Floats:
    """Take the value in the middle of each cell."""
    return np.asarray(values[CELL // 2 :: CELL, CELL // 2 :: CELL], np.float32)


def pixels(cells: Mask) -> Mask:
    """Each cell as the pixels that it has."""
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1)


def _slopes(log: Floats) -> tuple[Floats, Floats]:
    return np.asarray(cv2.Sobel(log, cv2.CV_32F, 1, 0)), np.asarray(
        cv2.Sobel(log, cv2.CV_32F, 0, 1)
    )


def steepness(detail: Floats, mask: NDArray[np.uint8], outline: Mask) -> float:
    """Return how steep a picture typically is across a region's outline.

    It is a median, so half of the outline must be steep. A line on the ground that crosses the
    region is no outline.
    """
    inwards = _slopes(
        np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3.0), np.float32)
    )
    across, down = _slopes(detail)
    steep = np.abs(across * inwards[0] + down * inwards[1]) / (np.hypot(*inwards) + 1e-6)
    return float(
        np.median(
            np.asarray(cv2.dilate(steep, np.ones((2 * CELL + 1, 2 * CELL + 1), np.uint8)))[outline]
        )
    )


def _around(values: Floats) -> Floats:
    return np.asarray(cv2.blur(values, (WINDOW, WINDOW)), np.float32)


def shows_through(detail: Floats, ground: Floats, valid: Floats) -> tuple[Floats, Floats, Mask]:
    """Return how well the ground shows (cells), weights (pixels), and cells that cannot tell.

    The first is the correlation of the ground's slopes with the picture's, over valid pixels. It is
    0 in the cells of the third, which have too few.

    A pixel whose slope is far from the ground's lies on an edge of light and counts little. The
    usual steepness is the least one nearby, so that an edge cannot hide itself. Where the picture
    is far flatter than the ground, a rest of the ground in the average does not count.
    """
    gx, gy = _slopes(ground)
    dx, dy = _slopes(detail)
    steep = _around(np.abs(gx) + np.abs(gy))
    usual = np.asarray(
        cv2.erode(steep, np.ones((NEARBY, NEARBY), np.uint8)), np.float32
    ) * np.float32(0.63) + np.float32(1e-4)
    ex = dx - gx
    ey = dy - gy
    weight = np.asarray(
        1 / np.square(1 + (ex * ex + ey * ey) / np.square(np.float32(EDGE) * usual)), np.float32
    )
    # Light that rises evenly lifts all slopes around alike, so each is taken against the mean
    # around it.
    weight_around = _around(weight) + np.float32(1e-3)
    most = 2 * usual
    least = -most
    px, py, qx, qy = (
        np.asarray(cv2.min(cv2.max(slope - _around(weight * slope) / weight_around, least), most))
        for slope in (dx, dy, gx, gy)
    )
    counts = weight * valid
    around = [
        per_cell(_around(product))
        for product in (
            (px * qx + py * qy) * counts,
            (px * px + py * py) * counts,
            (qx * qx + qy * qy) * counts,
            valid,
        )
    ]
    # A running sum's rounding may leave a little less than nothing.
    together = around[0]
    here = np.maximum(around[1], 0)
    there = np.maximum(around[2], 0)
    share = around[3]
    shown = np.asarray(
        together / np.sqrt(np.maximum(here, 0.06 * there) * there + 1e-9), np.float32
    )
    few = share < LEAST_VALID
    shown[few] = 0
    # So few pixels agree by chance now and then: a cell is asked together with its neighbours.
    return np.asarray(cv2.blur(shown, (3, 3)), np.float32), weight, few
