"""Covered, moved, blurred, dark, frozen: each is told once it has lasted, and told as over."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from gateway.vision.health import CONDITIONS, CameraHealth

random = np.random.default_rng(2)
_BLOCKS = np.asarray(np.kron(random.integers(20, 235, (18, 32)), np.ones((20, 20))))
SCENE = np.asarray(cv2.GaussianBlur(_BLOCKS.astype(np.float32), (0, 0), 1))
SCENE += random.normal(0, 8, SCENE.shape).astype(np.float32)


def shot(scene: np.ndarray = SCENE, light: float = 1.0) -> np.ndarray:
    noisy: np.ndarray = scene * light + random.normal(0, 1.5, scene.shape)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def run(
    health: CameraHealth, make: Callable[[], np.ndarray], start: int, seconds: int
) -> list[tuple[str, str]]:
    return [
        (str(s.detail), s.state)
        for t in range(start, start + seconds)
        for s in health.see(float(t), make())
    ]


WRONG = {
    "covered": lambda: np.clip(90 + random.normal(0, 1.5, SCENE.shape), 0, 255).astype(np.uint8),
    "moved": lambda: shot(np.roll(SCENE, (140, 260), (0, 1))),
    "blurred": lambda: shot(np.asarray(cv2.GaussianBlur(SCENE, (0, 0), 5))),
    "dark": lambda: np.clip(random.normal(5, 1.5, SCENE.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("what", WRONG)
def test_it_is_told_and_told_as_over(what: str) -> None:
    health = CameraHealth()
    assert run(health, shot, 0, 120) == []
    assert run(health, WRONG[what], 120, 10) == [], "a moment is nothing"
    assert run(health, shot, 130, 20) == []
    assert (
        run(health, WRONG[what], 150, 60) == [(what, "on")]
        and health.blind
        and CONDITIONS[what] in ("tamper", "fault")
    )
    assert run(health, shot, 210, 40) == [(what, "off")] and not health.blind


def test_frozen_is_the_same_to_the_last_bit() -> None:
    health, one = CameraHealth(), shot()
    assert run(health, shot, 0, 60) == []
    assert run(health, lambda: one, 60, 50) == []
    assert run(health, lambda: one, 110, 30) == [("frozen", "on")]
    assert run(health, shot, 140, 30) == [("frozen", "off")]


def test_day_and_night_and_people_are_well() -> None:
    health = CameraHealth()
    run(health, shot, 0, 60)
    assert run(health, lambda: shot(light=0.35), 60, 120) == []

    def busy() -> np.ndarray:
        picture = shot()
        y, x = int(random.integers(0, 200)), int(random.integers(0, 400))
        picture[y : y + 120, x : x + 90] = 40
        return picture

    assert run(health, busy, 180, 200) == []


def test_a_moved_camera_is_accepted_by_a_person() -> None:
    health = CameraHealth()
    run(health, shot, 0, 60)
    assert run(health, WRONG["moved"], 60, 40) == [("moved", "on")]
    health.accept_view()
    assert run(health, WRONG["moved"], 100, 40) == [("moved", "off")]
