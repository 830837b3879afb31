"""Child processes that end with this one.

Each has a log file, is ended by its pid, and dies if this process is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.errors import UserError

_PR_SET_PDEATHSIG = 1


class ChildFailed(UserError):
    """A child did not start or ended by itself; the message holds the end of its log."""


@dataclass(slots=True, kw_only=True)
class Child:
    """A running child."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: int

    def stop(self, timeout_s: float = 15.0) -> None:
        """End it kindly, then by force."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """Kill it at once, and wait for it."""
        self.process.kill()
        self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raise where it has ended.

        Raises: ChildFailed.
        """
        if self.process.poll() is not None:
            raise ChildFailed(
                f"{self.name} ended with code {self.process.returncode}; its log "
                f"{self.log} ends:\n{self.tail()}"
            )


def start(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    user: int | None = None,
    stop_signal: int = signal.SIGTERM,
) -> Child:
    """Start a child with its output in `log`.

    It has a session of its own, so that Ctrl-C reaches this process and not the child.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, stop_signal)

    with log.open("ab") as stream:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            # Another user may not be allowed to enter this process's folder.
            cwd=None if user is None else "/",
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    return Child(name=name, process=process, log=log, stop_signal=stop_signal)


def start_anju(name: str, arguments: Sequence[str], log: Path, env: dict[str, str]) -> Child:
    """Start another `anju` command as a child."""
    return start(name, [sys.executable, "-m", "anju", *arguments], log, env=env)


def free_port() -> int:
    """Find a port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_free(port: int) -> bool:
    """Tell whether a port of the loopback can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_for(ready: Callable[[], bool], child: Child, timeout_s: float = 30.0) -> None:
    """Wait until a child answers.

    Raises: ChildFailed where it ends, or does not answer in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        child.check()
        if ready():
            return
        time.sleep(0.05)
    raise ChildFailed(
        f"{child.name} did not answer within {timeout_s:g} s; its log {child.log} "
        f"ends:\n{child.tail()}"
    )


def answers(port: int) -> bool:
    """Tell whether something listens on a port of the loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
