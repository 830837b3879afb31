"""A camera over RTSP is lost and comes back, with growing pauses and bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gateway.vision.camera as driver
from gateway.config_tables import BadConfig
from gateway.vision.camera import Camera
from gateway.vision.stream import write_film
from simulators.field.rtsp import RtspCamera
from tests.gateway.conftest import Bench, until

TEXT = (
    '[vision]\nfolder = "clips"\n[[camera]]\ndevice = "cam-1"\nurl = '
    '"rtsp://127.0.0.1:{port}/stream"\n'
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("film") / "film.ts"
    random = np.random.default_rng(1)
    scene = np.kron(random.integers(30, 220, (9, 16)), np.ones((20, 20))).astype(np.uint8)
    pictures = (
        (n / 10, np.clip(scene + random.normal(0, 4, scene.shape), 0, 255).astype(np.uint8))
        for n in range(100)
    )
    write_film(path, pictures, 10.0)
    return path.read_bytes()


def test_lost_and_back(
    bench: Callable[[str], Bench], film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "AWAY_S", 2.0)
    monkeypatch.setattr(driver, "PAUSE_S", 0.3)

    async def work() -> None:
        source = RtspCamera(film, 10.0)
        await source.start()
        made.append(bench(TEXT.format(port=source.port)))
        one = made[0]
        writer = asyncio.ensure_future(one.outbox_writer.run())
        camera = Camera(one.config.table.camera[0], one.config, one.outbox_writer, one.clock)
        camera._pause = 0.3
        task = asyncio.ensure_future(camera.run())
        said = lambda: [(i["data"].get("condition"), i["data"]["state"]) for i in one.items()]  # noqa: E731
        try:
            await until(lambda: camera.fault is None, 60)
            assert said() == [], "a camera that is there is no event"
            source.break_off()
            await until(lambda: said() == [("offline", "on")], 60)
            assert camera.fault is not None and camera._pause > 0.6, (
                "and it is asked ever more rarely"
            )
            asked = source.plays
            source.mend()
            camera._pause = 0.3
            await until(lambda: said() == [("offline", "on"), ("offline", "off")], 60)
            assert source.plays > asked
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await source.stop()
            writer.cancel()

    made: list[Bench] = []
    asyncio.run(work())


def test_a_stream_of_rubbish_and_one_that_stands_still(
    bench: Callable[[str], Bench], film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "FIRST_S", 25.0)
    monkeypatch.setattr(driver, "SILENT_S", 3.0)

    async def work() -> None:
        source = RtspCamera(film, 10.0)
        await source.start()
        one = bench(TEXT.format(port=source.port))
        writer = asyncio.ensure_future(one.outbox_writer.run())
        camera = Camera(one.config.table.camera[0], one.config, one.outbox_writer, one.clock)
        task = asyncio.ensure_future(camera.run())
        try:
            await until(lambda: camera.fault is None, 60)
            source.still = True
            await until(lambda: camera.fault is not None and "no picture" in camera.fault, 40)
            source.still, source.rubbish = False, True
            await asyncio.sleep(4)
            source.break_off()
            source.rubbish = False
            source.mend()
            await until(lambda: camera.fault is None, 60)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await source.stop()
            writer.cancel()

    asyncio.run(work())


def test_what_a_worker_sees_becomes_events(bench: Callable[[str], Bench]) -> None:
    one = bench(TEXT.format(port=9))
    camera = Camera(one.config.table.camera[0], one.config, one.outbox_writer, one.clock)

    def line(state: str, **what: Any) -> dict[str, Any]:
        return {
            "hazard": None,
            "condition": None,
            "detail": None,
            "state": state,
            "t": 1.0,
            "ago_s": 125.0,
            "data": {},
            **what,
        }

    async def work() -> None:
        await camera._take(line("on", hazard="fire_lane_blocked", clip="c-1", data={"width": 0.4}))
        await camera._take(line("on", hazard="fire_lane_blocked", clip="c-2"))
        await camera._take(line("off", hazard="fire_lane_blocked", ago_s=11.0))
        await camera._take(
            line("on", hazard="falling_object", clip="c-3", ago_s=2.0, data={"from_height_m": 21.0})
        )
        await camera._take(line("on", condition="tamper", detail="covered"))

    one.run(work)
    said = [
        (
            i["kind"],
            i["data"].get("hazard") or i["data"]["condition"],
            i["data"]["state"],
            i["data"].get("clip"),
        )
        for i in one.items()
    ]
    assert said == [
        ("hazard", "fire_lane_blocked", "on", "c-1"),
        ("hazard", "fire_lane_blocked", "off", None),
        ("hazard", "falling_object", "on", "c-3"),
        ("hazard", "falling_object", "off", None),
        ("device", "tamper", "on", None),
    ]
    first, over = one.items()[0], one.items()[1]
    assert over["at"] - first["at"] >= 113_000, (
        "an event's instant is when the thing came to a stand"
    )
    assert "image" not in str(one.items()) and camera.orders()["memory_mb"] == 2048


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("rtsp://", "http://"), "use rtsp"),
        (('"clips"', '"clips"\nkeep_days = 0'), "keep_days"),
        (('stream"', 'stream"\nrules = "none.yaml"'), "no file"),
        (('stream"', 'stream"\nrules = "bad.yaml"'), "polygon"),
        (('device = "cam-1"', 'device = "Cam 1"'), "lower-case"),
    ],
)
def test_configuration(
    bench: Callable[[str], Bench], tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    (tmp_path / "bad.yaml").write_text("kind: lane\npolygon: [[0, 0], [1, 0]]\n")
    with pytest.raises(BadConfig, match=told):
        bench(TEXT.format(port=9).replace(*change))


def test_a_password_is_put_in_and_not_shown(bench: Callable[[str], Bench]) -> None:
    text = (
        TEXT.format(port=9)
        .replace("rtsp://", "rtsp://user:{password}@")
        .replace('stream"', 'stream"\npassword_file = "password"')
    )
    one = bench(text)
    camera = Camera(one.config.table.camera[0], one.config, one.outbox_writer, one.clock)
    assert (
        camera.url() == "rtsp://user:" + "field" + "@127.0.0.1:9/stream"
        and "field" not in one.config.devices()["cam-1"].place
    )
