"""Clips go to whoever brings the server's signature, and to nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient

from domain.clips import sign
from gateway.vision.fetch import ClipServer
from tests.gateway.conftest import Bench

TEXT = (
    '[vision]\nport = 8911\nlink_key_file = "secret"\n[[camera]]\ndevice = "cam-1"\nurl = '
    '"rtsp://127.0.0.1:9/stream"\n'
)
CLIP = "20261122t011027-b434ac8e82f9"


def test_links(bench: Callable[[str], Bench], tmp_path: Path) -> None:
    one = bench(TEXT)
    (tmp_path / "clips" / "cam-1").mkdir(parents=True)
    (tmp_path / "clips" / "cam-1" / f"{CLIP}.jpg").write_bytes(b"a picture")
    until, key = int(time.time()) + 100, b"a-token-of-sixteen-characters"

    def ask(
        device: str, file: str, *, by: bytes = key, named: str | None = None
    ) -> tuple[int, bytes]:
        signature = sign(by, named or f"es/{device}/{file}", until)
        answer = client.get(f"/clips/{device}/{file}", params={"until": until, "sig": signature})
        return answer.status_code, answer.content

    with TestClient(ClipServer(one.config).app) as client:
        assert ask("cam-1", f"{CLIP}.jpg") == (200, b"a picture")
        assert ask("cam-1", f"{CLIP}.webp")[0] == 410, "kept for some days only"
        assert ask("cam-1", f"{CLIP}.jpg", by=b"another key")[0] == 403
        assert ask("cam-1", f"{CLIP}.jpg", named=f"es/cam-1/{CLIP}.webp")[0] == 403
        assert ask("cam-2", f"{CLIP}.jpg")[0] == 404 and ask("cam-1", "gateway.toml")[0] == 404
        assert client.get(f"/clips/cam-1/{CLIP}.jpg").status_code == 403
