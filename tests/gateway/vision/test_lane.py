"""A lane is blocked by what stands in it; light, passers-by and short stops do not block it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gateway.vision.lane import LaneWatch
from gateway.vision.rules import LaneRule
from gateway.vision.sighting import Sighting

RULE = LaneRule(
    polygon=[(0.2, 0.98), (0.8, 0.98), (0.65, 0.1), (0.35, 0.1)], dwell_s=60.0, gone_s=5.0
)
SLOW = LaneRule(polygon=RULE.polygon, dwell_s=120.0)
random = np.random.default_rng(3)
GROUND = np.clip(110 + 12 * random.normal(0, 1, (180, 320)), 30, 220)
THING = np.clip(np.full((60, 70), 60.0) + 30 * (np.indices((60, 70)).sum(0) % 12 < 5), 0, 255)


def shot(scene: np.ndarray, noise: int = 3) -> np.ndarray:
    """A scene as a camera gives it."""
    return np.clip(scene + random.integers(-noise, noise + 1, scene.shape), 0, 255).astype(np.uint8)


def picture(
    *, thing: tuple[int, int] | None = None, light: float = 1.0, shade: bool = False, noise: int = 3
) -> np.ndarray:
    scene = GROUND.copy()
    if thing is not None:
        y, x = thing
        scene[y : y + 60, x : x + 70] = THING
    scene = scene * light
    if shade:
        scene[40:160, 120:220] *= 0.55
    return shot(scene, noise)


def run(
    detector: LaneWatch, pictures: list[np.ndarray], start: float = 0.0
) -> list[tuple[float, Sighting]]:
    return [
        (start + n / 2, seen)
        for n, one in enumerate(pictures)
        for seen in detector.see(start + n / 2, one)
    ]


def learnt(rule: LaneRule = RULE, scene: Callable[[], np.ndarray] = picture) -> LaneWatch:
    detector = LaneWatch(rule)
    assert run(detector, [scene() for _ in range(80)]) == []
    return detector


def test_it_stands_is_told_after_its_dwell_and_leaves() -> None:
    detector = learnt()
    stood = run(detector, [picture(thing=(80, 130)) for _ in range(200)], 40.0)
    assert len(stood) == 1
    at, on = stood[0]
    assert (
        on.state == "on"
        and on.hazard == "fire_lane_blocked"
        and 60 <= at - 40 <= 60 + 15
        and 40 - 1 <= on.at_s <= 40 + 12
    )
    assert detector.covered is not None and on.data["width"] > 0.3 and len(on.polygon) > 3
    left = run(detector, [picture() for _ in range(60)], 140.0)
    assert [seen.state for _, seen in left] == ["off"] and 140 <= left[0][1].at_s <= 152
    assert run(detector, [picture() for _ in range(300)], 170.0) == []


def test_it_stays_blocked_through_a_change_of_light_and_for_hours() -> None:
    detector = learnt()
    assert len(run(detector, [picture(thing=(80, 130)) for _ in range(180)], 40.0)) == 1
    fading = [picture(thing=(80, 130), light=1 - 0.7 * n / 400) for n in range(400)]
    assert run(detector, fading, 130.0) == []
    assert run(detector, [picture(thing=(80, 130), light=0.3) for _ in range(3000)], 330.0) == [], (
        "it does not become ground"
    )
    assert [
        seen.state for _, seen in run(detector, [picture(light=0.3) for _ in range(60)], 1830.0)
    ] == ["off"]


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        (
            "a stop of most of the dwell",
            lambda: (
                [picture(thing=(80, 130)) for _ in range(100)] + [picture() for _ in range(200)]
            ),
        ),
        (
            "one that never stops",
            lambda: [picture(thing=(10 + (3 * n) % 100, 130)) for n in range(400)],
        ),
        (
            "the sun goes and comes",
            lambda: [picture(light=0.45 + 0.4 * np.sin(n / 60)) for n in range(600)],
        ),
        ("a shadow that stays", lambda: [picture(shade=True) for _ in range(500)]),
        ("beside the lane", lambda: [picture(thing=(60, 2)) for _ in range(400)]),
        ("noise of the night", lambda: [picture(light=0.3, noise=6) for _ in range(400)]),
    ],
)
def test_what_blocks_nothing(name: str, pictures: object) -> None:
    assert run(learnt(), pictures(), 40.0) == [], name  # type: ignore[operator]


def test_what_stood_there_when_we_began_and_left_is_no_thing() -> None:
    detector = LaneWatch(RULE)
    run(detector, [picture(thing=(80, 130)) for _ in range(100)])
    assert run(detector, [picture() for _ in range(500)], 50.0) == [], (
        "the ground has its outlines, the picture has not"
    )


def test_a_restart_knows_what_stands() -> None:
    detector = learnt()
    run(detector, [picture(thing=(80, 130)) for _ in range(180)], 40.0)
    again = LaneWatch(RULE)
    again.restore(detector.saved())
    assert run(again, [picture(thing=(80, 130)) for _ in range(200)]) == [], "it was told before"
    assert [seen.state for _, seen in run(again, [picture() for _ in range(60)], 100.0)] == ["off"]
    stranger = LaneWatch(RULE)
    stranger.restore({})
    assert LaneWatch(RULE).saved() == {}


def with_boxes(*boxes: tuple[slice, slice, float]) -> np.ndarray:
    """The ground with plain boxes on it: rows, columns, grey; the last covers those before."""
    scene = GROUND.copy()
    for rows, columns, grey in boxes:
        scene[rows, columns] = grey
    return shot(scene)


def lined(*, box: float | None = None) -> np.ndarray:
    """A ground with white lines across it, and a plain box of some grey on it."""
    scene = GROUND.copy()
    scene[10:175:16, 70:250] = 210
    if box is not None:
        scene[80:130, 130:195] = box
    return shot(scene)


@pytest.mark.parametrize("grey", [35.0, 110.0, 255.0])
def test_a_plain_thing_on_lined_ground_has_come_and_not_left(grey: float) -> None:
    detector = learnt(scene=lined)
    assert [
        seen.state for _, seen in run(detector, [lined(box=grey) for _ in range(400)], 40.0)
    ] == ["on"]
    assert [seen.state for _, seen in run(detector, [lined() for _ in range(60)], 240.0)] == ["off"]


def test_among_lines_that_lie_close_together_it_has_come_too() -> None:
    def close(*, box: bool = False) -> np.ndarray:
        scene = GROUND.copy()
        scene[10:175:8, 70:250] = scene[11:175:8, 70:250] = 190
        if box:
            scene[80:130, 130:195] = 105
        return shot(scene)

    detector = learnt(scene=close)
    assert [
        seen.state for _, seen in run(detector, [close(box=True) for _ in range(400)], 40.0)
    ] == ["on"]


def test_what_came_to_stand_before_it_later_does_not_hold_it_up() -> None:
    first = (slice(40, 90), slice(130, 190), 55)
    other = (slice(90, 165), slice(120, 210), 200)
    stood = run(learnt(SLOW), [with_boxes(first, *[other] * (n >= 80)) for n in range(300)], 40.0)
    assert [seen.state for _, seen in stood] == ["on"] and 160 <= stood[0][0] <= 172


def test_a_small_thing_that_stands_out_behind_a_larger_one_that_came_later_is_told_for_itself() -> (
    None
):
    first = (slice(60, 76), slice(130, 190), 55)
    other = (slice(76, 165), slice(120, 210), 200)
    stood = run(learnt(SLOW), [with_boxes(first, *[other] * (n >= 120)) for n in range(500)], 40.0)
    assert [seen.state for _, seen in stood] == ["on"] and 160 <= stood[0][0] <= 175, (
        "since the small one came"
    )


@pytest.mark.parametrize("grey", [60, 180])
def test_a_thing_of_some_sixteen_pixels_is_told_in_time(grey: float) -> None:
    narrow = LaneRule(polygon=RULE.polygon, dwell_s=120.0, least_width=0.05)
    stood = run(
        learnt(narrow),
        [with_boxes((slice(110, 126), slice(150, 168), grey)) for _ in range(330)],
        40.0,
    )
    assert [seen.state for _, seen in stood] == ["on"] and 160 <= stood[0][0] <= 178


def test_what_stands_beside_the_lane_does_not_lend_its_age() -> None:
    first = (slice(40, 120), slice(10, 82), 55)
    other = (slice(80, 140), slice(82, 150), 200)
    stood = run(learnt(), [with_boxes(first, *[other] * (n >= 90)) for n in range(300)], 40.0)
    assert [seen.state for _, seen in stood] == ["on"]
    assert 85 + RULE.dwell_s <= stood[0][0] <= 105 + RULE.dwell_s and 80 <= stood[0][1].at_s <= 95


def test_what_was_hidden_by_something_larger_counts_from_when_that_left() -> None:
    first = (slice(40, 165), slice(120, 210), 200)
    behind = (slice(40, 80), slice(130, 190), 55)
    stood = run(learnt(SLOW), [with_boxes(first if n < 100 else behind) for n in range(500)], 40.0)
    assert [seen.state for _, seen in stood] == ["on"]
    assert 210 <= stood[0][0] <= 225 and 88 <= stood[0][1].at_s <= 100


def test_what_was_in_sight_all_along_counts_from_when_it_came_whatever_leaves_beside_it() -> None:
    behind = (slice(40, 80), slice(130, 190), 55)
    other = (slice(80, 165), slice(110, 210), 200)
    stood = run(learnt(SLOW), [with_boxes(behind, *[other] * (n < 100)) for n in range(500)], 40.0)
    assert [seen.state for _, seen in stood] == ["on"] and 160 <= stood[0][0] <= 172


def test_it_has_not_left_while_something_larger_stands_before_it() -> None:
    first = (slice(40, 90), slice(140, 170), 60)
    other = (slice(58, 165), slice(120, 210), 60)
    detector = learnt()
    assert len(run(detector, [with_boxes(first) for _ in range(180)], 40.0)) == 1
    assert run(detector, [with_boxes(first, other) for _ in range(100)], 130.0) == []
    assert run(detector, [with_boxes(first) for _ in range(100)], 180.0) == []
    assert [seen.state for _, seen in run(detector, [picture() for _ in range(60)], 230.0)] == [
        "off"
    ]


def test_a_faint_thing_has_not_left_when_mist_makes_it_fainter() -> None:
    fine = 110 + 0.2 * (GROUND - 110)

    def faint(contrast: float = 1.0, *, thing: bool = True) -> np.ndarray:
        scene = fine.copy()
        if thing:
            scene[80:130, 130:195] = 118
        return shot(110 + contrast * (scene - 110))

    detector = learnt(scene=lambda: faint(thing=False))
    assert [seen.state for _, seen in run(detector, [faint() for _ in range(180)], 40.0)] == ["on"]
    assert run(detector, [faint(0.5) for _ in range(200)], 130.0) == []
    assert [
        seen.state for _, seen in run(detector, [faint(thing=False) for _ in range(60)], 230.0)
    ] == ["off"]


def test_a_white_thing_has_not_left_when_the_sun_burns_it_out() -> None:
    def scene(*, white: bool, sun: float = 1.0) -> np.ndarray:
        ground = GROUND.copy()
        if white:
            ground[80:130, 130:195] = 255
        ground[:, 160:] *= sun
        return shot(ground)

    detector = learnt()
    assert len(run(detector, [scene(white=True) for _ in range(180)], 40.0)) == 1
    assert run(detector, [scene(white=True, sun=2.1) for _ in range(200)], 130.0) == []
    assert [
        seen.state for _, seen in run(detector, [scene(white=False) for _ in range(60)], 230.0)
    ] == ["off"]


@pytest.mark.parametrize(("pace", "shade"), [(0.04, 0.3), (0.05, 0.35)])
def test_an_edge_of_light_that_creeps_leaves_no_ghost(pace: float, shade: float) -> None:
    noise = np.random.default_rng(3)
    ground = 110 + 4 * noise.normal(0, 1, (180, 320))
    columns = np.arange(320)[None, :] + 0.35 * np.arange(180)[:, None]
    detector, found = LaneWatch(RULE), []
    for n in range(1200):
        scene = 1.2 * ground * np.where(columns < 150 + pace * n, shade, 1.0) + noise.integers(
            -3, 4, (180, 320)
        )
        found += detector.see(n / 2, np.clip(scene, 0, 255).astype(np.uint8))
    assert found == []


@pytest.mark.parametrize("pace", [0.05, 0.1, 0.2])
def test_shade_that_creeps_over_white_paint_which_the_sun_had_burnt_out_is_no_thing(
    pace: float,
) -> None:
    def painted(n: int, *, box: bool = False) -> np.ndarray:
        scene = GROUND.copy()
        scene[60:150, 120:210] = 280
        scene[:, : 100 + round(pace * n)] *= 0.5
        if box:
            scene[70:120, 150:200] = 60
        return shot(scene)

    detector = learnt(SLOW, lambda: painted(0))
    assert run(detector, [painted(n) for n in range(1200)], 40.0) == []
    detector = learnt(SLOW, lambda: painted(0))
    assert [
        seen.state for _, seen in run(detector, [painted(0, box=True) for _ in range(300)], 40.0)
    ] == ["on"]


def test_small_shadows_that_sway_are_no_thing() -> None:
    def leaves(n: int) -> np.ndarray:
        scene = GROUND.copy()
        for i in range(5):
            y, x = 40 + 25 * i, 130 + 15 * (i % 3) + round(2 * np.sin(0.45 * n + i))
            scene[y : y + 11, x : x + 16] *= 0.6
        return shot(scene)

    assert run(learnt(), [leaves(n) for n in range(500)], 40.0) == []


def test_a_white_kerb_that_the_sun_burns_out_is_no_thing() -> None:
    def kerb(grey: float) -> np.ndarray:
        scene = GROUND.copy()
        scene[20:176, 225:255] = grey
        return shot(scene)

    detector = learnt(scene=lambda: kerb(205))
    assert run(detector, [kerb(min(205 + 10 * n, 300)) for n in range(600)], 40.0) == []


def test_another_view_is_learnt_anew_and_nothing_told() -> None:
    detector = learnt()
    other = np.clip(90 + 40 * np.random.default_rng(9).normal(0, 1, GROUND.shape), 0, 255)
    views = [shot(other) for _ in range(300)]
    assert run(detector, views, 40.0) == []
    detector.forget()
    assert run(detector, [picture() for _ in range(60)], 200.0) == []
