"""`anju notices`.

The file is checked with its fix, a channel is tried, what waits is shown, keys are made.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anju.cli.app import app
from anju.cli.notices import notices_app
from notices.channels.push import public_key
from tests.notices.conftest import Receiver, receiver  # noqa: F401

FILE = """
[channels.guards]
kind = "feishu"
role = "guard"
key = "k"
url = "{url}"
allow_private = true
[[rules]]
name = "life"
channel = "guards"
classes = ["life_safety"]
after_s = 120
"""


def test_a_file_is_checked_and_a_channel_tried(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    receiver: Receiver,
) -> None:
    run = CliRunner()
    path = tmp_path / "notices.toml"
    path.write_text(FILE.format(url=receiver.url), "utf-8")
    assert "life" in run.invoke(app, ["notices", "check", str(path)]).output
    monkeypatch.setenv("ANJU_NOTICES_FILE", str(path))
    assert run.invoke(app, ["notices", "test", "guards"]).exit_code == 0 and len(receiver.got) == 1
    receiver.answer = lambda _n: (200, b'{"code": 19001, "msg": "bad key"}')
    assert "19001" in run.invoke(app, ["notices", "test", "guards"]).output
    assert "guards" in run.invoke(app, ["notices", "test", "nobody"]).output
    path.write_text(FILE.replace('guards"\nclasses', 'gards"\nclasses'), "utf-8")
    assert "gards" in run.invoke(app, ["notices", "check", str(path)]).output
    assert notices_app.info.help


def test_a_key_for_web_push_is_made() -> None:
    said = CliRunner().invoke(app, ["notices", "vapid"]).output.split()
    assert len(public_key(said[2])) == 87


@pytest.mark.real
def test_what_waits_is_shown(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANJU_DSN", dsn)
    run = CliRunner()
    assert run.invoke(app, ["notices", "status"]).exit_code == 0
    assert "0 messages" in run.invoke(app, ["notices", "replay", "guards"]).output
    assert run.invoke(app, ["notices", "enable", "guards"]).exit_code == 0
