"""The face worker is a process: it refuses in a line what it cannot do, and never answers with a
traceback.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from gateway.faces import dlib_engine, worker
from gateway.faces.engine import EngineMissing


def run_worker(orders: dict[str, Any]) -> tuple[int, list[Any]]:
    """Start the worker with its orders and an input that ends at once."""
    done = subprocess.run(
        [sys.executable, "-m", worker.__name__],
        input=json.dumps(orders) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    code, lines = run_worker({"engine": "guess"})
    assert code == 3
    assert lines == [{"fault": "engine 'guess': use dlib or onnx"}]


def test_an_engine_without_its_files_names_them() -> None:
    code, lines = run_worker({"engine": "onnx"})
    assert code == 3
    assert "name detector and recogniser" in lines[0]["fault"]


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_recognition", None)
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(EngineMissing, match="run `make faces`"):
        dlib_engine.DlibEngine()
