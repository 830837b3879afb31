"""A clock in an unknown font is read once its digits are learnt; anything else is not judged."""

from __future__ import annotations

from datetime import datetime, timedelta

import cv2
import numpy as np
import pytest

from gateway.vision.burnt_clock import BurntClock
from gateway.vision.rules import ClockRule

NOON = datetime(2026, 11, 21, 12, 34, 50)
FORMAT = "YYYY-MM-DD hh:mm:ss"
CELL = (14, 24)
random = np.random.default_rng(4)


def burnt(text: str, font: int) -> np.ndarray:
    """A picture of moving things with a text burnt in, in cells of one width."""
    picture = np.clip(
        cv2.GaussianBlur(random.normal(110, 60, (360, 640)).astype(np.float32), (0, 0), 6), 0, 255
    ).astype(np.uint8)
    for i, letter in enumerate(text):
        at = (10 + i * CELL[0], 10 + CELL[1] - 6)
        cv2.putText(picture, letter, at, font, 0.6, 0, 4, cv2.LINE_AA)
        cv2.putText(picture, letter, at, font, 0.6, 255, 1, cv2.LINE_AA)
    return picture


RULE = ClockRule(
    box=(10 / 640, 10 / 360, len(FORMAT) * CELL[0] / 640, CELL[1] / 360), format=FORMAT
)


def run(
    clock: BurntClock,
    seconds: int,
    *,
    off: timedelta = timedelta(0),
    font: int = cv2.FONT_HERSHEY_SIMPLEX,
    start: int = 0,
) -> list[str]:
    found = []
    for n in range(start * 4, (start + seconds) * 4):
        now = NOON + timedelta(seconds=n / 4)
        shown = (now + off).strftime("%Y-%m-%d %H:%M:%S")
        found += [s.state for s in clock.see(n / 4, burnt(shown, font), now)]
    return found


@pytest.mark.parametrize(
    "font", [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN]
)
def test_a_wrong_clock_is_told_and_a_right_one_is_not(font: int) -> None:
    clock = BurntClock(RULE)
    assert run(clock, 60, font=font) == []
    assert clock.read is not None and abs(clock.read - (NOON + timedelta(seconds=59))) <= timedelta(
        seconds=1
    ), "it reads what stands there"
    assert run(clock, 20, off=timedelta(hours=8), font=font, start=60) == ["on"] and clock.wrong
    assert run(clock, 20, font=font, start=80) == ["off"]


def test_what_is_no_clock_is_not_judged() -> None:
    clock = BurntClock(RULE)
    for n in range(400):
        assert clock.see(n / 4, burnt("CAMERA 01 GATE WEST", cv2.FONT_HERSHEY_SIMPLEX), NOON) == []
        assert clock.see(n / 4, random.integers(0, 255, (360, 640), dtype=np.uint8), NOON) == []
    assert clock.read is None
    assert BurntClock(RULE).see(0, np.zeros((20, 30), np.uint8), NOON) == [], "too small to read"
