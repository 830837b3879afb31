"""A whole estate of simulated devices on their own ports: lines of meters, terminals at doors, a fire host, platforms.

The same seed gives the same estate. Faults are spread over the first line of each protocol, one meter each, so that what a
gateway makes of each of them can be looked at.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from devices.heard import HeardEvent
from simulators.field.fire_host import FireHost
from simulators.field.line import Line
from simulators.field.meters import HOUR_MS, Fault, Meter, Now
from simulators.field.senders import Sender
from simulators.field.terminal import TerminalServer

#: By protocol: the profile, the point, the step of its register, what is used in an hour.
KINDS: dict[str, tuple[str, str, float, float]] = {
    "dlt645": ("dlt645-energy", "energy_kwh", 0.01, 0.4),
    "cjt188": ("cjt188-water-dn15", "water_m3", 0.01, 0.02),
    "mbus": ("mbus-water", "water_m3", 0.001, 0.015),
    "modbus-rtu": ("modbus-water", "water_m3", 0.001, 0.012),
}
PARTS = 12
#: What the simulated terminals' own log-in is.
PASSWORD = "field"  # noqa: S105 (they stand on the loopback)
FOREVER = 2**62


@dataclass
class Door:
    """A terminal: what it pushes, and its own HTTP side."""

    device: str
    mac: str
    sender: Sender
    server: TerminalServer
    serial: int = 0
    #: Ids of the passages that it gave out.
    given: list[str] = field(default_factory=list)

    def pass_through(self, person: str, now_ms: int, *, granted: bool = True) -> None:
        """Let somebody pass."""
        self.serial += 1
        minor = 75 if granted else 76
        time = datetime.fromtimestamp(now_ms // 1000, UTC).isoformat()
        event = HeardEvent(
            native=self.mac, at=now_ms // 1000 * 1000, id=f"s-{self.serial}-5-{minor}-{time}", kind="passage",
            data={"door": "1", "reader": "1", "person": person},
        )  # fmt: skip
        self.given.append(event.id)
        self.sender.say(event)


class Field:
    """The estate's devices. Start it, `live` through a span of time, stop it."""

    def __init__(
        self, *, now: Now, meters: int, doors: int, lines: int, push_url: str, fire_port: int, seed: int = 1
    ) -> None:
        self.now, self._rng = now, random.Random(seed)  # noqa: S311
        self.lines: list[Line] = []
        per_line = max(1, meters // lines)
        protocols = list(KINDS)
        for n in range(lines):
            protocol = protocols[n % len(protocols)]
            _, point, step, per_hour = KINDS[protocol]
            line = [self._meter(n, m, protocol, point, step, per_hour, seed) for m in range(per_line)]
            self.lines.append(Line(protocol=protocol, meters=line, now=now, seed=seed + n))
        self.doors = []
        for n in range(doors):
            mac = f"02:00:00:00:{n // 256:02x}:{n % 256:02x}"
            sender = Sender(kind="hikvision", url=push_url, doubles=1 if n % 5 == 0 else 0)
            self.doors.append(
                Door(device=f"door-{n + 1:02d}", mac=mac, sender=sender, server=TerminalServer(password=PASSWORD))
            )
        self.fire = FireHost(source="0000000000a1", port=fire_port, now=now)
        #: (part, state) that the fire host gave out.
        self.fire_given: list[tuple[str, int]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _meter(self, line: int, n: int, protocol: str, point: str, step: float, per_hour: float, seed: int) -> Meter:
        address = {"dlt645": f"{line + 1:02d}{n + 1:010d}", "cjt188": f"{line + 1:04d}{n + 1:010d}"}.get(
            protocol, str(n + 1)
        )
        return Meter(
            device=f"{'em' if point == 'energy_kwh' else 'wm'}-{line + 1}-{n + 1:02d}", protocol=protocol, address=address,
            point=point, step=step, register=round(self._rng.uniform(10, 900), 2), per_hour=per_hour,
            rollover={"dlt645": 1e6, "cjt188": 1e6, "mbus": 1e5, "modbus-rtu": 1e6}[protocol], seed=seed,
            serial=f"{line + 1:02d}{n + 1:06d}",
        )  # fmt: skip

    def spread_faults(self) -> dict[str, Fault]:
        """Give one meter each of the first lines a fault from now on; returns which has which."""
        spread: dict[str, Fault] = {}
        for line in self.lines[: len(KINDS)]:
            for meter, fault in zip(line.meters, (Fault.SILENT, Fault.GARBAGE, Fault.BAD_CHECKSUM, Fault.CLOCK_JUMP, Fault.LOW_BATTERY,
                                                  Fault.CLOCK_DRIFT, Fault.REVERSED, Fault.SWAPPED), strict=False):  # fmt: skip
                if fault is Fault.SWAPPED and line.protocol.startswith("modbus"):
                    continue  # Nothing on the wire tells it there.
                meter.faults[fault] = (self.now(), FOREVER)
                spread[meter.device] = fault
            if len(line.meters) > 10:
                # Rolls over within hours; and two meters with one address.
                line.meters[8].register = line.meters[8].rollover - line.meters[8].per_hour
                line.meters[10].address = line.meters[9].address
                spread[line.meters[9].device] = spread[line.meters[10].device] = Fault.DUPLICATE
        return spread

    async def start(self) -> None:
        """Start everything; ports that were 0 are known after it."""
        for line in self.lines:
            await line.start()
        for door in self.doors:
            await door.server.start()
            self._tasks.append(asyncio.ensure_future(door.sender.run()))
        self._tasks.append(asyncio.ensure_future(self.fire.run()))

    async def stop(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self.lines:
            await line.stop()
        for door in self.doors:
            await door.server.stop()

    def mute(self) -> None:
        """Let no meter answer any more; what was answered before is on its way."""
        for line in self.lines:
            for meter in line.meters:
                meter.faults[Fault.SILENT] = (0, FOREVER)

    async def live(self, until_ms: int) -> None:
        """Let people pass and parts change their state until an instant."""
        last = self.now()
        states: dict[str, int] = {}
        while (now := self.now()) < until_ms:
            for door in self.doors:
                if self._rng.random() < (now - last) / HOUR_MS * 4:
                    door.pass_through(f"p-{self._rng.randrange(200):05d}", now, granted=self._rng.random() < 0.95)
            if self._rng.random() < (now - last) / HOUR_MS * 2:
                part = f"{self._rng.randrange(PARTS):08x}"
                states[part] = 1 if states.get(part) == 3 else 3
                self.fire.part(part, states[part], f"一号楼{int(part, 16)}层烟感")
                self.fire_given.append((part, states[part]))
            last = now
            await asyncio.sleep(0.05)

    @property
    def told_everything(self) -> bool:
        """Tell whether every event was taken."""
        return not self.fire.pending and all(not door.sender.waiting for door in self.doors)
