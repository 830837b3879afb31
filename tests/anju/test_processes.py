"""Children: their output is in their log, their environment is added to ours, they end with us."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from anju.processes import ChildFailed, answers, free_port, start


def test_a_child_sees_what_is_added_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANJU_OURS", "ours")
    command = ["sh", "-c", "echo $ANJU_OURS $ANJU_ADDED"]
    child = start("shell", command, tmp_path / "log", env={"ANJU_ADDED": "added"})
    assert child.process.wait(10) == 0
    assert child.tail() == "ours added"


def test_a_child_is_ended_by_its_own_signal(tmp_path: Path) -> None:
    child = start("sleeper", ["sleep", "60"], tmp_path / "log", stop_signal=signal.SIGINT)
    child.check()
    child.stop()
    assert child.process.returncode == -signal.SIGINT
    with pytest.raises(ChildFailed, match="sleeper ended with code -2"):
        child.check()


def test_a_child_that_does_not_listen_to_its_signal_is_killed(tmp_path: Path) -> None:
    command = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]
    child = start("deaf", command, tmp_path / "log")
    while "ready" not in child.tail():
        child.check()
    child.stop(timeout_s=0.2)
    assert child.process.returncode == -signal.SIGKILL


def test_a_free_port_has_no_listener() -> None:
    assert not answers(free_port())
