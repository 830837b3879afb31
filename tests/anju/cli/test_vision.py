"""`anju vision` and `anju faces` as an installer types them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from anju.cli.faces import faces_app
from anju.cli.vision import vision_app
from gateway.faces.tables import FOLDER
from gateway.faces.template_store import Vault


def anju(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "anju", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_scene_and_its_trial(tmp_path: Path) -> None:
    made = anju(
        "vision",
        "scene",
        "facade",
        "--seed",
        "3",
        "--seconds",
        "20",
        "--into",
        str(tmp_path / "scene"),
    )
    assert made.returncode == 0, made.stderr
    truth = json.loads((tmp_path / "scene" / "truth.json").read_text())
    arguments = [
        "vision",
        "try",
        str(tmp_path / "scene" / "scene.mp4"),
        "--rule",
        str(tmp_path / "scene" / "rules.yaml"),
        "--into",
        str(tmp_path / "out"),
    ]
    told = anju(*arguments, "--json")
    seen = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(truth) == len(seen) == 1 and abs(seen[0]["t"] - truth[0]["begins_s"]) < 1
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".jpg", ".webp"}
    assert vision_app.registered_commands and faces_app.registered_commands


@pytest.mark.parametrize(
    ("rule", "video", "told"),
    [
        ("kind: lane\n", "film.mp4", "polygon"),
        ("rules: []\n", "film.mp4", "cannot be opened"),
        ("rules: []\n", "none.mp4", "no such file"),
        ("rules: []\n", "http://x/y", "use rtsp"),
    ],
)
def test_what_cannot_be_tried_is_told_in_a_line(
    tmp_path: Path, rule: str, video: str, told: str
) -> None:
    (tmp_path / "rule.yaml").write_text(rule)
    (tmp_path / "film.mp4").write_bytes(b"no film")
    name = video if "://" in video else str(tmp_path / video)
    done = anju(
        "vision",
        "try",
        name,
        "--rule",
        str(tmp_path / "rule.yaml"),
        "--into",
        str(tmp_path / "out"),
    )
    assert (
        done.returncode == 2
        and told in done.stderr
        and len(done.stderr.splitlines()) == 1
        and "Traceback" not in done.stderr
    )


def test_faces_without_and_with_a_configuration(tmp_path: Path) -> None:
    assert (
        len(anju("faces", "key").stdout.strip()) == 64
        and len(anju("faces", "key", "--sm4").stdout.strip()) == 32
    )
    (tmp_path / "gateway.toml").write_text('estate = "es"\ngateway = "gw"\n')
    assert (
        "faces are off" in anju("faces", "check", "--config", str(tmp_path / "gateway.toml")).stderr
    )
    (tmp_path / "key").write_text("ab" * 32)
    (tmp_path / "token").write_text("a-token-of-sixteen-characters")
    (tmp_path / "gateway.toml").write_text(
        'estate = "es"\ngateway = "gw"\n[faces]\nkey_file = "key"\n'
        'assessment = "PIA-2026-001"\nother_ways = ["card"]\n'
        '[[faces.doors]]\ndevice = "door-1"\ntoken_file = "token"\n'
    )
    told = anju("faces", "check", "--config", str(tmp_path / "gateway.toml"))
    assert told.returncode == 0 and "nobody is matched" in told.stdout, told.stderr
    assert Vault(tmp_path / FOLDER, bytes(32)).stored() == []
    (tmp_path / "gateway.toml").write_text(
        (tmp_path / "gateway.toml").read_text().replace('["card"]', "[]")
    )
    assert (
        "never be the only one"
        in anju("faces", "check", "--config", str(tmp_path / "gateway.toml")).stderr
    )


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition") is None,
    reason="the faces extra is not installed: `make faces`",
)
def test_quality_and_errors_of_an_engine(tmp_path: Path) -> None:
    from PIL import Image

    from tests.gateway.faces.test_door import astronaut, jpeg

    Image.fromarray(astronaut()[:20, :20].repeat(20, 0).repeat(20, 1)).save(tmp_path / "blur.png")
    bad = anju("faces", "quality", str(tmp_path / "blur.png"))
    assert bad.returncode == 1 and "no face" in bad.stdout
    for person in ("one", "two"):
        (tmp_path / "people" / person).mkdir(parents=True)
    face = astronaut()[:300, 60:380]
    (tmp_path / "people" / "one" / "a.jpg").write_bytes(jpeg(face))
    (tmp_path / "people" / "one" / "b.jpg").write_bytes(jpeg((face * 0.7).astype("uint8"), 60))
    (tmp_path / "people" / "two" / "a.jpg").write_bytes(jpeg(face[:, ::-1]))
    told = anju("faces", "roc", str(tmp_path / "people"))
    assert told.returncode == 0 and "pictures/s" in told.stdout and "too few" in told.stdout, (
        told.stderr
    )
