"""One camera in its own process: what it sees and refuses, within its limits."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.vision.clips import ClipFolder, Ring, annotated
from gateway.vision.rules import FallingRule, Rules
from gateway.vision.sighting import Sighting
from gateway.vision.stream import NotPlayable, is_live, one_thread, read, write_film
from gateway.vision.watcher import Watcher
from gateway.vision.worker import Orders
from simulators.scenes.facade import FacadeScene
from tests.conftest import SEED


def work(orders: dict[str, Any], limit_s: float = 60) -> tuple[int, list[dict[str, Any]], float]:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gateway.vision.worker"],
        input=json.dumps(orders) + "\n",
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    return (
        done.returncode,
        [json.loads(line) for line in done.stdout.splitlines()],
        time.monotonic() - begun,
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FacadeScene]:
    folder = tmp_path_factory.mktemp("film")
    made = FacadeScene(3, seconds=14, throws=1, size=(360, 640))
    write_film(folder / "scene.mp4", made.pictures(), 25.0)
    return folder / "scene.mp4", made


def falling(made: FacadeScene) -> dict[str, Any]:
    return msgspec.to_builtins(
        Rules(rules=[FallingRule(heights=sorted(made.marks), roof_m=made.roof_m)])
    )  # type: ignore[no-any-return]


def test_a_film_is_watched_and_its_clip_lies_there(
    scene: tuple[Path, FacadeScene], tmp_path: Path
) -> None:
    film, made = scene
    code, lines, _ = work(
        {"url": str(film), "rules": falling(made), "folder": str(tmp_path / "clips")}
    )
    seen = [line["sighting"] for line in lines if "sighting" in line]
    assert code == 0 and [one["hazard"] for one in seen] == ["falling_object"], lines
    assert (
        abs(seen[0]["t"] - made.truth[0].begins_s) < 1.0
        and abs(seen[0]["data"]["from_height_m"] - made.truth[0].height_m) < 4
    )
    files = sorted(path.name for path in (tmp_path / "clips").iterdir())
    assert files == [f"{seen[0]['clip']}.jpg", f"{seen[0]['clip']}.webp"]
    import cv2

    still = cv2.imread(str(tmp_path / "clips" / files[0]))
    assert still is not None and ((still[:, :, 2] > 180) & (still[:, :, 1] < 90)).sum() > 20, (
        "the way of what fell is drawn in red"
    )
    loaded, clip = cv2.imreadanimation(str(tmp_path / "clips" / files[1]))
    assert loaded and len(clip.frames) > 20


def test_bent_films_are_refused_within_their_limits(
    scene: tuple[Path, FacadeScene], tmp_path: Path
) -> None:
    film, made = scene
    whole = film.read_bytes()
    dice = random.Random(SEED)
    bent = {
        "empty": b"",
        "truncated": whole[: len(whole) // 3],
        "head": whole[:40],
        "text": b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n",
        "noise": dice.randbytes(200_000),
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "sdp": b"v=0\nm=video 9999 RTP/AVP 96\nc=IN IP4 127.0.0.1\n",
    }
    for n in range(6):
        body = bytearray(whole)
        for _ in range(200):
            body[dice.randrange(len(body))] = dice.randrange(256)
        bent[f"flipped {n}"] = bytes(body)
    for name, body in bent.items():
        path = tmp_path / f"{name.replace(' ', '-')}.mp4"
        path.write_bytes(body)
        code, lines, took = work(
            {
                "url": str(path),
                "rules": falling(made),
                "folder": str(tmp_path / "clips"),
                "most_cpu_s": 30,
                "memory_mb": 1024,
            }
        )
        assert code in (0, 3, -9, -24), (name, code, lines)
        assert took < 50, name
        if name in ("empty", "text", "noise", "concat", "head"):
            assert code == 3 and "cannot be opened" in lines[-1]["fault"], (name, lines)
    assert not any(
        b"root:" in path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix in (".jpg", ".webp")
    )


def test_a_bomb_of_pixels_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A PNG of 30,000 x 30,000 in a few kilobytes, as a one-picture film."""
    side = 30_000

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(300)) + packer.flush()
    body = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(body)
    code, lines, took = work(
        {
            "url": str(tmp_path / "bomb.png"),
            "rules": {"rules": []},
            "folder": str(tmp_path),
            "memory_mb": 768,
            "most_cpu_s": 20,
        }
    )
    assert code == 3 and took < 30 and lines and "fault" in lines[-1]


def test_too_little_memory_ends_this_process_and_no_other(
    scene: tuple[Path, FacadeScene], tmp_path: Path
) -> None:
    code, _, took = work(
        {"url": str(scene[0]), "rules": {"rules": []}, "folder": str(tmp_path), "memory_mb": 160}
    )
    assert code != 0 and took < 30


def test_addresses(tmp_path: Path) -> None:
    one_thread()
    for url, told in (
        ("http://127.0.0.1/x", "use rtsp"),
        (str(tmp_path / "none.mp4"), "no such file"),
        ("file:///etc/passwd", "use rtsp"),
    ):
        with pytest.raises(NotPlayable, match=told):
            next(iter(read(url)))
    assert is_live("rtsp://camera/1") and not is_live("film.mp4")
    with pytest.raises(NotPlayable, match="127.0.0.1:9/x") as error:
        next(iter(read("rtsp://user:" + "secret" + "@127.0.0.1:9/x")))
    assert "secret" not in str(error.value)
    with pytest.raises(NotPlayable):
        write_film(tmp_path / "x.nothing", iter([(0.0, np.zeros((32, 32), np.uint8))]), 5)


def test_orders_and_a_watcher_without_rules() -> None:
    assert Orders(url="x", rules={}, folder="y").keep_days == 7
    watcher = Watcher(Rules())
    assert watcher.finish() == [] and watcher.saved() == {}
    watcher.restore({})


def test_clips_are_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    ring, noise = (
        Ring(0.1),
        np.random.default_rng(1).integers(0, 255, (720, 1280, 3), dtype=np.uint8),
    )
    for n in range(400):
        ring.add(n / 10, noise)
    held = ring.between(0, 99)
    assert held[0][0] >= 40 - 14.2 and sum(len(jpeg) for _, jpeg in held) <= 16 * 1024 * 1024
    folder = ClipFolder(tmp_path / "clips", 1_000_000, 7)
    now = datetime.now(UTC)
    for _ in range(6):
        folder.save(folder.name(now), noise[:360, :640], held[:2])
    assert 0 < sum(path.stat().st_size for path in (tmp_path / "clips").iterdir()) <= 1_000_000
    assert (
        folder.make_room(now + timedelta(days=8)) > 0 and list((tmp_path / "clips").iterdir()) == []
    )
    assert ClipFolder(tmp_path / "none", 1, 1).make_room(now) == 0
    drawn = annotated(
        noise[:, :, 0],
        Sighting(
            state="on",
            at_s=0,
            hazard="fire_lane_blocked",
            polygon=[(0.1, 0.1), (0.5, 0.1), (0.3, 0.9)],
            path=[(0.5, 0.5)],
        ),
        [[(0, 0), (1, 0), (1, 1)]],
    )
    assert drawn.shape == (720, 1280, 3)
