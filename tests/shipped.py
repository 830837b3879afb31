"""The broker as it is shipped, on a real mosquitto: its own configuration, ACL and secrets, with
other ports and places.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anju.demo.embedded import find_program
from anju.processes import Child, answers, free_port, start, wait_for
from tests.conftest import ROOT


class Shipped:
    """A running one; `ports` by the numbers that stand in the file."""

    def __init__(
        self,
        place: Path,
        *,
        more_users: dict[str, str] | None = None,
        more: str = "",
        more_acl: str = "",
        anonymous: bool = False,
    ) -> None:
        program = find_program("mosquitto")
        if (
            program is None
            or shutil.which("mosquitto_passwd") is None
            or shutil.which("openssl") is None
        ):
            pytest.skip("mosquitto, mosquitto_passwd or openssl is not on this machine")
        shutil.copytree(ROOT / "deploy", place / "deploy", ignore=shutil.ignore_patterns("secrets"))
        subprocess.run(
            ["sh", str(place / "deploy" / "make-secrets.sh")], check=True, capture_output=True
        )
        self.secrets, self.ports = (
            place / "deploy" / "secrets",
            {number: free_port() for number in (8883, 8884, 8885)},
        )
        for user, password in (more_users or {}).items():
            subprocess.run(
                ["mosquitto_passwd", "-b", "broker_passwords", user, password],
                cwd=self.secrets,
                check=True,
                capture_output=True,
            )
        text = (ROOT / "deploy" / "mosquitto" / "mosquitto.conf").read_text("utf-8")
        acl = place / "deploy" / "mosquitto" / "acl"
        acl.write_text(more_acl + acl.read_text("utf-8"), "utf-8")
        places = {
            "/run/secrets/broker_passwords": self.secrets / "broker_passwords",
            "/run/secrets/ca_cert": self.secrets / "ca.crt",
            "/run/secrets/broker_cert": self.secrets / "broker.crt",
            "/run/secrets/broker_key": self.secrets / "broker.key",
            "/mosquitto/trust": self.secrets / "trust",
            "/mosquitto/config/acl": acl,
            "/mosquitto/data": place,
        }
        for there, here in places.items():
            text = text.replace(there, str(here))
        for number, port in self.ports.items():
            text = text.replace(f"listener {number}", f"listener {port} 127.0.0.1")
        if anonymous:
            text = text.replace("allow_anonymous false", "allow_anonymous true")
        text += more + ("\nuser root\n" if os.geteuid() == 0 else "")
        (place / "mosquitto.conf").write_text(text, "utf-8")
        self.child: Child = start(
            "mosquitto", [program, "-c", place / "mosquitto.conf"], place / "mosquitto.log"
        )
        wait_for(lambda: answers(self.ports[8885]), self.child)

    def password(self, name: str) -> str:
        return (self.secrets / name).read_text("utf-8")


@contextmanager
def plain_broker(place: Path, lines: str) -> Iterator[int]:
    """Run a mosquitto of its default configuration and some lines; gives its port."""
    program = find_program("mosquitto")
    if program is None:
        pytest.skip("mosquitto is not on this machine")
    port = free_port()
    (place / "plain.conf").write_text(f"listener {port} 127.0.0.1\n{lines}\n", "utf-8")
    child = start("mosquitto", [program, "-c", place / "plain.conf"], place / "plain.log")
    try:
        wait_for(lambda: answers(port), child)
        yield port
    finally:
        child.stop()
