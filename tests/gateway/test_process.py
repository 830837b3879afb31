"""The gateway's process: it takes a changed configuration without losing a reading, and leaves a
faulty one aside.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anju.demo.embedded import Broker
from anju.field import Pace, configuration, make_field
from anju.processes import Child, start_anju
from gateway.check import inspect_gateway
from gateway.config import load_config
from simulators.field.estate import Field
from tests.conftest import SEED

pytestmark = pytest.mark.real


class Running:
    """A gateway's process over simulated devices that run in this one."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.folder, self.path = folder, folder / "gateway.toml"
        now = int(time.time() * 1000)
        self.pace = Pace(speed=1.0, start_ms=now, real_ms=now)
        self.field, self.ports = make_field(
            folder, self.pace, meters=16, doors=2, lines=4, seed=SEED
        )
        self.broker = broker
        self.child: Child | None = None

    def text(self) -> str:
        return configuration(self.field, self.ports, self.pace, self.broker.address, every_s=3600)

    def start(self) -> None:
        self.child = start_anju(
            "gateway", ["gateway", "run", str(self.path)], self.folder / "gateway.log", {}
        )

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text("utf-8")

    def read(self) -> int:
        """How many devices were heard."""
        return sum(
            line.quiet_s is not None
            for line in inspect_gateway(load_config(self.path), self.pace.now()).devices
        )

    async def until(self, check: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < deadline, self.log()[-3000:]
            assert self.child is not None
            self.child.check()
            await asyncio.sleep(0.05)


def run(folder: Path, broker: Broker, script: Callable[[Running, Field], object]) -> Running:
    async def go() -> Running:
        running = Running(folder, broker)
        await running.field.start()
        running.path.write_text(running.text(), "utf-8")
        running.start()
        try:
            await script(running, running.field)  # type: ignore[misc]
        finally:
            assert running.child is not None
            running.child.stop()
            await running.field.stop()
        return running

    return asyncio.run(go())


def test_a_changed_configuration_is_taken_and_a_faulty_one_left_aside(
    tmp_path: Path, broker: Broker
) -> None:
    async def script(running: Running, field: Field) -> None:
        await running.until(lambda: running.read() >= 16)
        good = running.path.read_text("utf-8")
        waiting = inspect_gateway(load_config(running.path), running.pace.now()).waiting
        running.path.write_text(good.replace("timeout_ms = 500", "timeout_ms = 0", 1), "utf-8")
        await running.until(lambda: "config_refused" in running.log())
        # One meter more, one door less, another time-out for one line.
        changed = good.replace(
            "[[fire]]",
            '[[bus]]\nname = "line-9"\nat = "127.0.0.1:1"\n[[bus.devices]]\ndevice = '
            '"em-new"\nprofile = "dlt645-energy"\naddress = "77"\n\n[[fire]]',
            1,
        )
        running.path.write_text(changed, "utf-8")
        await running.until(lambda: "config_applied" in running.log())
        await running.until(
            lambda: any(
                line.device == "em-new" and "cannot be reached" in (line.fault or "")
                for line in inspect_gateway(load_config(running.path), running.pace.now()).devices
            )
        )
        assert inspect_gateway(load_config(running.path), running.pace.now()).waiting >= waiting
        field.doors[0].pass_through("p-00001", running.pace.now())
        await running.until(lambda: field.doors[0].sender.taken == 1)

    running = run(tmp_path, broker, script)
    # No line was asked twice for one hour: what did not change went on.
    asked = [meter.requests for line in running.field.lines for meter in line.meters]
    assert max(asked) <= 8, asked


def test_two_processes_do_not_share_an_outbox_and_a_killed_one_leaves_it_free(
    tmp_path: Path, broker: Broker
) -> None:
    async def script(running: Running, field: Field) -> None:
        await running.until(lambda: "gateway_up" in running.log())
        command = [sys.executable, "-m", "anju", "gateway", "run", str(running.path)]
        second = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=30
        )
        assert second.returncode == 2 and "another gateway process holds it" in second.stderr
        assert running.child is not None
        running.child.kill()
        running.start()
        await running.until(lambda: running.log().count("gateway_up") == 2)

    run(tmp_path, broker, script)


def test_a_port_that_is_taken_is_told_and_tried_again(tmp_path: Path, broker: Broker) -> None:
    import socket

    async def script(running: Running, field: Field) -> None:
        await running.until(
            lambda: "fire:" in str(inspect_gateway(load_config(running.path), 0).faults)
        )
        taken.close()
        await running.until(lambda: not inspect_gateway(load_config(running.path), 0).faults)

    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()

    async def go() -> None:
        running = Running(tmp_path, broker)
        running.ports["fire"] = taken.getsockname()[1]
        await running.field.start()
        running.path.write_text(running.text(), "utf-8")
        running.start()
        try:
            await script(running, running.field)
        finally:
            assert running.child is not None
            running.child.stop()
            await running.field.stop()

    asyncio.run(go())


def test_what_cannot_change_while_it_runs_is_said(tmp_path: Path, broker: Broker) -> None:
    async def script(running: Running, field: Field) -> None:
        await running.until(lambda: "gateway_up" in running.log())
        running.path.write_text(
            running.path.read_text("utf-8").replace('gateway = "gw-field"', 'gateway = "gw-other"'),
            "utf-8",
        )
        await running.until(lambda: "gateway cannot change while the gateway runs" in running.log())

    run(tmp_path, broker, script)


def test_check_says_per_device_what_was_heard_and_why_not(tmp_path: Path, broker: Broker) -> None:
    async def script(running: Running, field: Field) -> None:
        from simulators.field.meters import Fault

        field.lines[0].meters[0].faults[Fault.SILENT] = (0, 2**62)
        await running.until(lambda: running.read() >= 14)
        await asyncio.sleep(2.5)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "anju", "gateway", "check", str(running.path)],
            capture_output=True,
            text=True,
            env={"COLUMNS": "300", "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 1
        lines = {
            line.split("│")[1].strip(): line
            for line in done.stdout.splitlines()
            if line.startswith("│")
        }
        silent = field.lines[0].meters[0].device
        assert "no answer to" in lines[silent] and "never heard" in lines["door-01"]
        assert "energy_kwh" in lines[field.lines[0].meters[1].device]
        faults = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "anju", "gateway", "check", "--faults", str(running.path)],
            capture_output=True,
            text=True,
        )
        assert field.lines[0].meters[1].device not in faults.stdout

    run(tmp_path, broker, script)


def test_a_configuration_that_is_wrong_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('estate = "es"\ngateway = "gw"\nbuss = []\n')
    done = subprocess.run(
        [sys.executable, "-m", "anju", "gateway", "run", str(tmp_path / "gateway.toml")],
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2
        and "did you mean bus?" in done.stderr
        and len(done.stderr.strip().splitlines()) == 1
    )


def test_a_gateway_that_never_ran_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('estate = "es"\ngateway = "gw"\n')
    report = inspect_gateway(load_config(tmp_path / "gateway.toml"), 0)
    assert not report.healthy and "it has never run" in report.faults["process"]
    assert json.dumps(report.faults)
