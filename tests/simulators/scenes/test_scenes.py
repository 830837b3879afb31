"""Scenes follow from their seed, and their truth is of what they show."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.scenes import facade, lane, paint


def test_a_seed_is_a_scene() -> None:
    for make in (
        lambda seed: facade.FacadeScene(seed, seconds=3),
        lambda seed: lane.LaneScene(seed, seconds=60),
    ):
        one, same, other = (list(make(seed).pictures()) for seed in (7, 7, 8))
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(one, same, strict=True))
        assert not np.array_equal(one[-1][1], other[-1][1])
        assert one[0][1].dtype == np.uint8


def test_what_is_thrown_falls_by_the_law_and_lands() -> None:
    for seed in range(40):
        scene = facade.FacadeScene(seed, throws=2)
        for throw in scene.truth:
            free = (2 * throw.height_m / facade.GRAVITY) ** 0.5
            assert free - 0.2 < throw.ends_s - throw.begins_s < 2.5 * free + 1, (
                "not faster than free fall, not a leaf"
            )
            assert 0 < throw.height_m < scene.roof_m
        marks = sorted(scene.marks)
        assert all(a[1] > b[1] and 0 < a[0] < 1 for a, b in zip(marks, marks[1:], strict=False)), (
            "higher up is more metres"
        )


def test_what_stands_in_the_lane_hides_it() -> None:
    scenes = [
        one for seed in range(12) if (one := lane.LaneScene(seed, seconds=320, blocked=True)).truth
    ]
    assert len(scenes) >= 6
    changed = 0
    for scene in scenes[:5]:
        begins = scene.truth[0].begins_s
        wanted = {round(begins - 40), round(begins + 20)}
        before, during = [picture.astype(float) for t, picture in scene.pictures() if t in wanted]
        changed += bool((np.abs(during - before) > 12).mean() > 0.0008)
        assert len(scene.polygon) >= 3 and all(
            0 <= v <= 1 for corner in scene.polygon for v in corner
        )
    assert changed >= 4


@pytest.mark.parametrize("away", [(-50.0, -50.0), (500.0, 500.0)])
def test_painting_outside_the_picture_is_nothing(away: tuple[float, float]) -> None:
    picture = np.zeros((40, 60), np.float32)
    corners = np.array([(0, 0), (5, 0), (5, 5), (0, 5)], float) + away
    paint.fill(picture, corners, 1.0)
    paint.dim(picture, corners, 0.5)
    paint.spot(picture, *away, (2.0, 2.0), 1.0)
    assert paint.cover(picture.shape, corners) is None and not picture.any()


def test_a_polygon_covers_its_area() -> None:
    picture = np.zeros((100, 100), np.float32)
    paint.fill(picture, np.array([(10.0, 10.0), (60.0, 10.0), (60.0, 40.0), (10.0, 40.0)]), 1.0)
    assert abs(picture.sum() - 1500) < 90
