"""What falls with drag is found; what moves evenly, steers or swings is not."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.vision.ballistics import GRAVITY, Scale
from gateway.vision.falling import Falling
from gateway.vision.rules import FallingRule
from gateway.vision.sighting import Sighting

ROWS, COLUMNS, FPS = 720, 1280, 25
MARKS = [(0.1, 40.0), (0.5, 16.0), (0.95, 3.0)]


def film(path: np.ndarray, *, size: int = 7) -> list[np.ndarray]:
    """Pictures of a dot on a wall with some noise.

    `path` gives pixels (x, y) a frame; NaN where the dot is not there.
    """
    random = np.random.default_rng(5)
    wall = random.integers(90, 130, (ROWS, COLUMNS)).astype(np.int16)
    pictures = []
    for x, y in path:
        picture = wall + random.integers(-2, 3, wall.shape)
        if np.isfinite(x) and 0 <= y < ROWS - size and 0 <= x < COLUMNS - size:
            picture[int(y) : int(y) + size, int(x) : int(x) + size] += 70
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return pictures


def look(pictures: list[np.ndarray]) -> list[Sighting]:
    detector = Falling(FallingRule(heights=MARKS))
    found = [seen for n, picture in enumerate(pictures) for seen in detector.see(n / FPS, picture)]
    return found + detector.finish()


def rows_of(heights: np.ndarray) -> np.ndarray:
    scale = Scale.through(MARKS, ROWS)
    y = np.linspace(0, ROWS, 4000)
    return np.interp(-heights, -scale.metres(y), y)


def quiet(frames: int = 6) -> np.ndarray:
    return np.full((frames, 2), np.nan)


def test_a_bottle_from_the_ninth_floor() -> None:
    t = np.arange(int(2.2 * FPS)) / FPS
    h = 26 - GRAVITY * t**2 / 2
    way = np.column_stack([600 + 20 * t, rows_of(np.maximum(h, -9))])
    found = look(film(np.vstack([quiet(), way, quiet()])))
    assert (
        len(found) == 1
        and found[0].hazard == "falling_object"
        and abs(found[0].data["from_height_m"] - 26) < 2
    )
    assert abs(found[0].at_s - 6 / FPS) < 0.6


@pytest.mark.parametrize(
    ("name", "height"),
    [
        ("a leaf at its own pace", lambda t: 30 - 2.0 * t),
        ("rain near the lens", lambda t: 60 - 25 * t),
        ("a bird that climbs", lambda t: 10 + 3 * t**2),
        ("laundry", lambda t: 20 + 0.6 * np.sin(6 * t)),
        ("a lift outside", lambda t: 38 - 6 * t),
        ("a dive that is caught", lambda t: 30 - 4.9 * np.minimum(t, 0.5) ** 2),
    ],
)
def test_what_is_no_fall(name: str, height: object) -> None:
    t = np.arange(int(2.5 * FPS)) / FPS
    way = np.column_stack([500 + 60 * t, rows_of(np.clip(height(t), -20, 90))])  # type: ignore[operator]
    assert look(film(np.vstack([quiet(), way, quiet()]))) == [], name


def seen_falling(
    begin_m: float, end_m: float, *, sideways: float = 20.0, size: int = 7, hidden_s: float = 0.0
) -> list[Sighting]:
    """Let a thing start at one height and vanish at another.

    `sideways` is in pixels a second; it is hidden for the first `hidden_s` seconds.
    """
    t = np.arange(int(hidden_s * FPS), int(np.sqrt(2 * (begin_m - end_m) / GRAVITY) * FPS)) / FPS
    way = np.column_stack([400 + sideways * t, rows_of(begin_m - GRAVITY * t**2 / 2)])
    return look(film(np.vstack([quiet(), way, quiet()]), size=size))


def test_a_short_fall_is_one_only_where_it_goes_on_to_the_ground() -> None:
    assert seen_falling(30, 25) == [], "a bird that drops off its ledge and takes wing"
    assert len(seen_falling(7.5, 2.2)) == 1, "out of the second floor"
    assert len(seen_falling(30, 12)) == 1, "far enough for anything"


def test_what_is_first_seen_in_mid_air_must_be_seen_for_long() -> None:
    assert len(seen_falling(9.5, 2.2)) == 1
    assert seen_falling(9.5, 2.2, hidden_s=0.6) == [], "a short one must begin at rest"
    assert seen_falling(22, 5, hidden_s=1.3) == [], "half a second"
    assert len(seen_falling(36, 5, hidden_s=1.3)) == 1, "more than a second"


def before_lit_windows(*rows: tuple[int, int]) -> list[Sighting]:
    """Let a thing fall past burnt-out windows, which hide it between two rows each."""
    t = np.arange(int(2.3 * FPS)) / FPS
    y = rows_of(np.maximum(33 - GRAVITY * t**2 / 2, 0.5))
    pictures = film(np.vstack([quiet(), np.column_stack([np.full_like(y, 600), y]), quiet(25)]))
    for picture in pictures:
        for top, bottom in rows:
            picture[top:bottom, 560:660] = 255
    return look(pictures)


def test_what_passes_before_lit_windows_is_one_fall() -> None:
    assert len(before_lit_windows()) == 1
    assert len(before_lit_windows((190, 250))) == 1
    assert len(before_lit_windows((170, 200), (290, 340), (480, 540))) == 1
    assert before_lit_windows((120, 330), (345, 700)) == [], "hardly seen at all"


def test_a_short_fall_is_no_bird() -> None:
    scale = float(Scale.through(MARKS, ROWS).pixels_per_metre(np.array([0.9 * ROWS]))[0])
    assert len(seen_falling(7.5, 2.2, sideways=2 * scale)) == 1
    assert seen_falling(7.5, 2.2, sideways=4.5 * scale) == []


def test_a_short_fall_is_no_insect_at_the_lens() -> None:
    scale = float(Scale.through(MARKS, ROWS).pixels_per_metre(np.array([0.9 * ROWS]))[0])
    wide = int(0.9 * scale)
    assert len(seen_falling(7.5, 2.2, size=wide // 3)) == 1
    assert seen_falling(7.5, 2.2, size=wide) == []


def test_nothing_thrown_flies_that_fast_sideways_nor_is_that_wide() -> None:
    scale = float(Scale.through(MARKS, ROWS).pixels_per_metre(np.array([ROWS / 2]))[0])
    assert seen_falling(30, 8, sideways=25 * scale) == []
    assert seen_falling(30, 8, size=int(4 * scale)) == []


def test_a_stream_that_stands_still_or_begins_anew() -> None:
    detector = Falling(FallingRule(heights=MARKS, polygon=[(0.1, 0), (0.9, 0), (0.9, 1)]))
    random = np.random.default_rng(1)
    for t in (0.0, 0.04, 0.08, 9.0, 9.04, 1.0, 1.04, 1.04):
        assert detector.see(t, random.integers(0, 255, (90, 160), dtype=np.uint8)) == []
    assert detector.see(2.0, np.zeros((45, 80), np.uint8)) == [], "another size is another stream"
