"""Pictures of one passage at a door make one event with a token, and no picture is left.

Real faces are used where the extra is installed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

import gateway.faces.dlib_engine as dlib_engine
import gateway.faces.onnx_engine as onnx_engine
import gateway.faces.worker as worker
from domain.wire import Command
from gateway.commands import CommandExecutor
from gateway.faces.door import Encoder, FaceServer, PictureRefused, fades, take_faces
from gateway.faces.engine import EngineMissing, check_sum, make
from gateway.faces.matching import MatchVerdict, Thresholds, decide, roc
from gateway.faces.tables import FOLDER
from gateway.faces.template_store import Vault
from tests.gateway.conftest import Bench, until

TEXT = """
[faces]
key_file = "face.key"
assessment = "PIA-2026-001"
other_ways = ["card"]
port = 8910
strangers_days = 14
[[faces.doors]]
device = "door-1"
token_file = "secret"
"""
A, B = "k-aaaaaaaaaa", "k-bbbbbbbbbb"
real = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition") is None,
    reason="the faces extra is not installed: `make faces`",
)


def astronaut() -> np.ndarray:
    """A real photograph: Eileen Collins, NASA, in the public domain, as scikit-image brings it."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        pytest.skip("scikit-image is not installed: `make faces`")
    return np.asarray(
        Image.open(Path(found.submodule_search_locations[0]) / "data" / "astronaut.png").convert(
            "RGB"
        )
    )


def jpeg(picture: np.ndarray, quality: int = 90) -> bytes:
    body = io.BytesIO()
    Image.fromarray(picture).save(body, "JPEG", quality=quality)
    return body.getvalue()


def made(bench: Callable[[str], Bench], tmp_path: Path) -> tuple[Bench, Vault, FaceServer]:
    (tmp_path / "face.key").write_text("ab" * 32)
    one = bench(TEXT)
    vault = Vault(tmp_path / FOLDER, one.config.face_key())
    return one, vault, FaceServer(one.config, one.outbox_writer, one.clock, vault)


def test_what_a_passage_says(bench: Callable[[str], Bench], tmp_path: Path) -> None:
    one, vault, server = made(bench, tmp_path)
    server.encoder.engine, server.encoder.thresholds = (
        "e",
        Thresholds(match=0.5, unknown=0.7, margin=0.05),
    )
    now = one.clock.now_ms()
    vault.take_list("door-1", [{"consent": A, "person": "r-7", "to": "2099-01-01"}], now)
    face = np.random.default_rng(1).normal(0, 1, 128).astype(np.float32)
    vault.enrol(A, [face], engine="e", now_ms=now, doors=["door-1"], today="2026-11-21")
    door = one.config.table.faces.doors[0]  # type: ignore[union-attr]

    def said(*frames: np.ndarray) -> dict[str, Any]:
        entry = server.judge(door, "p-1", now, frames, now)
        one.outbox.put([entry])
        return dict(entry.items[0].data)  # type: ignore[union-attr]

    match = said(face + 0.001, face - 0.001)
    assert (
        match["verdict"] == MatchVerdict.MATCH
        and match["person"] == "r-7"
        and match["purpose"] == "entrance"
        and match["compared"] == 1
    )
    assert "person" not in said(face), "one picture decides nothing"
    stranger = said(face + 1, face + 1.001)
    assert stranger["verdict"] == MatchVerdict.UNKNOWN and stranger["person"].startswith("q-")
    vault.take_list("door-1", [], now)
    assert said(face, face)["person"].startswith("q-"), "after the withdrawal this is nobody"
    assert not any("encoding" in json.dumps(item) for item in one.items())
    assert (
        fades([0.45] * 10, server.encoder.thresholds)
        and not fades([0.45] * 9, server.encoder.thresholds)
        and not fades([0.3] * 10, server.encoder.thresholds)
    )


def test_a_list_comes_as_a_command_and_is_answered_with_what_is_held(
    bench: Callable[[str], Bench], tmp_path: Path
) -> None:
    one, vault, _ = made(bench, tmp_path)
    commander = CommandExecutor(one.outbox_writer, one.clock, lambda: None)
    commander.apply_config(one.config, [])

    def order(number: int, rows: Any) -> Command:
        expires = one.clock.now_ms() + 60_000
        return Command(
            v=1,
            id=f"c-{number}",
            device="door-1",
            command="faces",
            expires_at=expires,
            argument={"consents": rows},
        )

    async def work() -> None:
        commander.receive(order(0, []))
        await until(lambda: len(one.items()) == 1)
        commander.faces = lambda device, argument, now: take_faces(
            vault, {"door-1"}, device, argument, now
        )
        commander.receive(order(1, [{"consent": A, "person": "r-7", "to": "2099-01-01"}]))
        await until(lambda: len(one.items()) == 2)
        vault.enrol(
            A,
            [np.zeros(8, np.float32)],
            engine="e",
            now_ms=one.clock.now_ms(),
            doors=["door-1"],
            today="2026-11-21",
        )
        commander.receive(order(2, []))
        await until(lambda: len(one.items()) == 3)
        commander.receive(order(3, [{"consent": A, "person": "r-7"}]))
        commander.receive(order(4, "nonsense"))
        await until(lambda: len(one.items()) == 5)

    one.run(work)
    told = {item["data"]["command"]: item["data"] for item in one.items()}
    assert told["c-0"]["result"] == "done" and told["c-0"]["held"] == [], (
        "where faces are off nothing is held, and that is said"
    )
    assert (
        told["c-2"]["destroyed"] == [A]
        and told["c-2"]["held"] == []
        and told["c-3"]["refused"] == [A]
        and told["c-4"]["result"] == "failed"
    )


def test_engines_are_named_and_their_files_are_the_ones_meant(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="use dlib or onnx"):
        make("magic")
    with pytest.raises(EngineMissing, match="SHA-256"):
        make("onnx")
    file = tmp_path / "model.onnx"
    file.write_bytes(b"no model")
    good = hashlib.sha256(b"no model").hexdigest()
    check_sum(file, good.upper())
    with pytest.raises(EngineMissing, match="not the one of the configuration"):
        check_sum(file, "0" * 64)
    with pytest.raises(EngineMissing, match="cannot be read"):
        check_sum(tmp_path / "none", good)
    with pytest.raises(EngineMissing, match="cannot be used"):
        make("onnx", file, file, (good, good))
    assert (
        dlib_engine.DlibEngine.name
        and onnx_engine.OnnxEngine.thresholds.match < onnx_engine.OnnxEngine.thresholds.unknown
        and worker.main
    )


def test_a_worker_without_its_engine_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.faces.worker"],
        input='{"engine": "magic"}\n',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3 and "use dlib or onnx" in json.loads(done.stdout)["fault"]


@real
def test_a_real_face_is_found_verified_and_told_from_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = astronaut()
    mirrored, dim = picture[:, ::-1], (picture * 0.6).astype(np.uint8)

    async def work() -> tuple[list[Any], Thresholds, float]:
        encoder = Encoder({"engine": "dlib"})
        await encoder.start()
        try:
            found = [
                await encoder.faces(jpeg(one, q))
                for one, q in (
                    (picture, 92),
                    (dim, 60),
                    (mirrored, 90),
                    (picture[:300, 60:380], 85),
                )
            ]
            begun = time.perf_counter()
            for _ in range(3):
                await encoder.faces(jpeg(picture))
            took = (time.perf_counter() - begun) / 3
            for body in (
                b"",
                bytes(9_000_000),
                jpeg(picture)[:3000],
                b"\x89PNG\r\n\x1a\n" + bytes(50),
            ):
                with pytest.raises(PictureRefused):
                    await encoder.faces(body)
            assert (
                await encoder.faces(
                    jpeg(np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8))
                )
                == []
            )
        finally:
            await encoder.stop()
        return found, encoder.thresholds, took

    found, thresholds, took = asyncio.run(work())
    assert [len(faces) for faces in found] == [1, 1, 1, 1]
    top, right, bottom, left = found[0][0]["box"]
    assert 60 < top < 130 and 160 < left < 220 and right - left > 60 and bottom - top > 60, (
        "where her face is"
    )
    encodings = [np.array(faces[0]["encoding"], np.float32) for faces in found]
    rest = {
        f"k-{n:010d}": np.random.default_rng(n).normal(0, 0.12, (1, 128)).astype(np.float32)
        for n in range(60)
    }
    answer = decide(encodings[1:3], {A: np.stack(encodings[:1]), **rest}, thresholds)
    assert answer.verdict is MatchVerdict.MATCH and answer.subject == A
    assert decide(encodings[1:3], rest, thresholds).verdict is MatchVerdict.UNKNOWN
    errors = roc(
        {"her": np.stack(encodings), "noise": np.concatenate(list(rest.values()))[:4]},
        [thresholds.match],
    )
    assert errors[0].false_match.hits == 0
    begun = time.perf_counter()
    for _ in range(100):
        decide(encodings[1:3], {A: np.stack(encodings[:1]), **rest}, thresholds)
    with capsys.disabled():
        compare_ms = (time.perf_counter() - begun) * 10
        print(
            f"\nreal face: {1 / took:.1f} pictures/s (decode, HOG, 5 points, encoding), "
            f"1:61 in {compare_ms:.2f} ms"
        )


@real
@pytest.mark.filterwarnings("ignore")
def test_over_http_and_no_picture_stays(bench: Callable[[str], Bench], tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "face.key").write_text("ab" * 32)
    one = bench(TEXT.replace("port = 8910", f"port = {port}"))
    vault = Vault(tmp_path / FOLDER, one.config.face_key())
    server = FaceServer(one.config, one.outbox_writer, one.clock, vault)
    body, now = jpeg(astronaut()), one.clock.now_ms()
    vault.take_list("door-1", [{"consent": A, "person": "r-7", "to": "2099-01-01"}], now)

    async def work() -> None:
        task = asyncio.ensure_future(server.run())
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False
        ) as client:
            await until(lambda: server.encoder.engine != "")
            await asyncio.sleep(0.3)
            faces = await server.encoder.faces(body)
            vault.enrol(
                A,
                [np.array(faces[0]["encoding"], np.float32)],
                engine=server.encoder.engine,
                now_ms=now,
                doors=["door-1"],
                today="2026-11-21",
            )
            secret = "a-token-of-sixteen-characters"
            for _ in range(2):
                assert (
                    await client.post(f"/face/door-1/{secret}?passage=7", content=body)
                ).status_code == 202
            assert (
                await client.post("/face/door-1/wrong?passage=7", content=body)
            ).status_code == 404
            assert (
                await client.post(f"/face/door-1/{secret}?passage=8", content=b"nothing")
            ).status_code == 400
            assert (
                await client.post(f"/face/door-1/{secret}?passage=8", content=bytes(9_000_000))
            ).status_code == 413
            await until(lambda: len(one.items()) == 1, 15)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    one.run(work)
    (item,) = one.items()
    assert (
        item["kind"] == "passage"
        and item["data"]["person"] == "r-7"
        and item["data"]["frames"] == 2
    )
    marks = (body[1000:1040], base64.b64encode(body)[2000:2040])
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and any(mark in path.read_bytes() for mark in marks)
    ], "no picture stays"
