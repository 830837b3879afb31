"""The demo as a newcomer has it.

From nothing to a page with leads, then Ctrl-C, then a second start that goes on.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from anju.demo import run
from anju.processes import answers, free_port

pytestmark = [pytest.mark.real, pytest.mark.long]


def begin(home: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-u",
            "-m",
            "anju",
            "demo",
            "--home",
            str(home),
            "--units",
            "120",
            "--port",
            str(port),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_until(process: subprocess.Popen[str], wanted: str, seconds: float) -> str:
    text, deadline = "", time.monotonic() + seconds
    assert process.stdout is not None
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        text += line
        if wanted in line:
            return text
        assert line or process.poll() is None, text
    raise AssertionError(text)


def test_from_nothing_to_a_page_and_again(tmp_path: Path) -> None:
    home, port = tmp_path / "demo", free_port()
    first = begin(home, port)
    try:
        text = read_until(first, "ready after", 240)
        hits = re.search(
            r"(\d+) of (\d+) leads are true, (\d+) of (\d+) left or sublet homes are missed; "
            r"(\d+) of (\d+) leak",
            text,
        )
        assert hits is not None, text
        true, said, missed, left, leak_true, leaks = map(int, hits.groups())
        print(hits[0], re.search(r"ready after \d+ s", text)[0])  # type: ignore[index]
        assert said > 0 and true == said and missed == 0 and left >= 1 and leak_true == leaks >= 1
        assert "无人居住迹象" in text and "烟雾报警" in text
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            assert json.load(answer)["status"] == "ok"
        time.sleep(8)
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(40)
    state = json.loads((home / "demo.json").read_text("utf-8"))
    assert not any(answers(p) for p in [port, *state["ports"].values()]), "a child outlived Ctrl-C"
    second = begin(home, port)
    try:
        text = read_until(second, "ready after", 180)
        assert "goes on" in text and state["password"] in text
        assert int(re.search(r"ready after (\d+) s", text)[1]) < 90  # type: ignore[index]
    finally:
        second.send_signal(signal.SIGINT)
        second.wait(40)
    from rich.console import Console

    run.clean_demo(home, Console())
    assert not home.exists()
