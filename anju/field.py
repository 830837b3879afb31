"""`anju simulate devices`: an estate of simulated devices, and a gateway's configuration for it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from anju.processes import free_port
from domain.broker import BrokerAddress
from domain.calendar import DEFAULT_ZONE, HOUR_MS
from simulators.field.estate import KINDS, PARTS, PASSWORD, Field, FieldSize
from simulators.field.line import Line

ESTATE = "field"
GATEWAY = "gw-field"
DEVICE_KINDS = {"dlt645": "electricity_meter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A clock that starts somewhere and runs faster; the same for devices and gateway."""

    speed: float
    start_ms: int
    real_ms: int

    @classmethod
    def since_yesterday(cls, speed: float) -> Pace:
        """Return a clock that starts 26 hours ago, so that there is a day to catch up on."""
        now = time.time_ns() // 1_000_000
        return cls(speed=speed, start_ms=now - 26 * HOUR_MS, real_ms=now)

    def now(self) -> int:
        """Return the time, ms UTC."""
        real = time.time_ns() // 1_000_000
        if self.speed == 1.0:
            return real
        return self.start_ms + int((real - self.real_ms) * self.speed)


def make_field(
    folder: Path, pace: Pace, *, meters: int, doors: int, lines: int, seed: int
) -> tuple[Field, dict[str, int]]:
    """Make the devices, and the secrets that stand beside the gateway's configuration.

    Returns the devices, and the ports of the gateway's own servers by name ("push", "fire").
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("token.key", "push.token", "door.password"):
        if not (folder / name).exists():
            (folder / name).write_text(
                PASSWORD if name == "door.password" else secrets.token_hex(16)
            )
    ports = {"push": free_port(), "fire": free_port()}
    url = f"http://127.0.0.1:{ports['push']}/push/doors/{(folder / 'push.token').read_text()}"
    field = Field(
        now=pace.now,
        size=FieldSize(meters=meters, doors=doors, lines=lines),
        push_url=url,
        fire_port=ports["fire"],
        seed=seed,
    )
    return field, ports


def configuration(
    field: Field, ports: dict[str, int], pace: Pace, broker: BrokerAddress, *, every_s: int = 3600
) -> str:
    """Write the gateway's configuration for a field whose lines listen."""
    lines = [
        f'estate = "{ESTATE}"',
        f'gateway = "{GATEWAY}"',
        'token_key_file = "token.key"',
        "",
        "[broker]",
        f'host = "{broker.host}"',
        f"port = {broker.port}",
        f"protocol = {broker.protocol}",
        "",
        "[clock]",
        f"speed = {pace.speed}",
        f"start_ms = {pace.start_ms}",
        f"real_ms = {pace.real_ms}",
    ]
    for number, line in enumerate(field.lines, 1):
        lines += _bus_section(number, line, every_s)
    lines += _fire_section(field, ports["fire"])
    lines += _push_section(field, ports["push"])
    return "\n".join(lines) + "\n"


def _bus_section(number: int, line: Line, every_s: int) -> list[str]:
    """Return the lines of one bus; of two meters with one address the first stands for both."""
    lines = [
        "",
        "[[bus]]",
        f'name = "line-{number}"',
        f'at = "127.0.0.1:{line.port}"',
        "timeout_ms = 500",
        "quiet_ms = 20",
    ]
    written: set[str] = set()
    for meter in line.meters:
        if meter.address in written:
            continue
        written.add(meter.address)
        lines += [
            "[[bus.devices]]",
            f'device = "{meter.device}"',
            f'profile = "{KINDS[line.protocol][0]}"',
            f'address = "{meter.address}"',
            f"every_s = {every_s}",
        ]
        if line.protocol == "mbus":
            lines.append(f'serial = "{meter.serial}"')
    return lines


def _fire_section(field: Field, port: int) -> list[str]:
    lines = [
        "",
        "[[fire]]",
        f"port = {port}",
        "[[fire.devices]]",
        'device = "fire-1"',
        f'source = "{field.fire.source}"',
    ]
    for n in range(PARTS):
        lines += ["[[fire.devices.parts]]", f'device = "smoke-{n + 1:02d}"', f'part = "{n:08x}"']
    return lines


def _push_section(field: Field, port: int) -> list[str]:
    """Return the lines of the doors' terminals, and of one source for each other sender."""
    lines = [
        "",
        "[push]",
        f"port = {port}",
        "[[push.sources]]",
        'name = "doors"',
        'kind = "hikvision"',
        'token_file = "push.token"',
    ]
    for door in field.doors:
        lines += [
            "[[push.sources.devices]]",
            f'device = "{door.device}"',
            'profile = "door-terminal"',
            f'address = "{door.mac}"',
            'readers = { 1 = "in", 2 = "out" }',
            f'control = {{ url = "http://127.0.0.1:{door.server.port}", password_file = '
            '"door.password" }',
        ]
    for other in field.others:
        lines += [
            "[[push.sources]]",
            f'name = "{other.kind}"',
            f'kind = "{other.kind}"',
            'token_file = "push.token"',
            "platform = true",
            "[[push.sources.devices]]",
            f'device = "{other.device}"',
            f'profile = "{other.profile}"',
            f'address = "{other.native}"',
        ]
    return lines


def register_rows(field: Field) -> dict[str, list[dict[str, str]]]:
    """Return the register's rows for the field's devices."""
    devices = []
    for line in field.lines:
        kind = DEVICE_KINDS.get(line.protocol, "water_meter")
        devices += [
            {"code": meter.device, "kind": kind, "profile": KINDS[line.protocol][0]}
            for meter in line.meters
        ]
    devices += [
        {"code": door.device, "kind": "door", "profile": "door-terminal"} for door in field.doors
    ]
    devices.append({"code": "fire-1", "kind": "detector", "profile": "fire-user-device"})
    kinds = {"door-terminal": "door", "camera": "camera"}
    devices += [
        {
            "code": other.device,
            "kind": kinds.get(other.profile, "water_meter"),
            "profile": other.profile,
        }
        for other in field.others
    ]
    devices += [
        {"code": f"smoke-{n + 1:02d}", "kind": "detector", "profile": "smoke-detector"}
        for n in range(PARTS)
    ]
    return {
        "estates": [{"code": ESTATE, "name": "模拟小区", "timezone": DEFAULT_ZONE}],
        "gateways": [{"estate": ESTATE, "code": GATEWAY}],
        "devices": [{"estate": ESTATE, "gateway": GATEWAY, **row} for row in devices],
    }


async def run_field(
    folder: Path,
    broker: BrokerAddress,
    field: Field,
    ports: dict[str, int],
    pace: Pace,
    *,
    faults: bool,
) -> None:
    """Run the devices until a signal stops them; write `gateway.toml` into the folder."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await field.start()
    if faults:
        for device, fault in field.spread_faults().items():
            print(f"{device}: {fault}", flush=True)
    (folder / "gateway.toml").write_text(configuration(field, ports, pace, broker), "utf-8")
    print(
        f"{sum(len(line.meters) for line in field.lines)} meters on {len(field.lines)} lines, "
        f"{len(field.doors)} doors, a fire host; "
        f"{folder / 'gateway.toml'} is written",
        flush=True,
    )
    living = asyncio.ensure_future(field.live(2**62))
    await stopping.wait()
    living.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await living
    await field.stop()
