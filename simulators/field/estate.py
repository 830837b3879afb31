"""A whole estate of simulated devices on their own ports.

It has lines of meters, terminals at doors, a fire host, and one sender of each other kind. The same
seed gives the same estate. Faults are spread over the first line of each protocol, one a meter.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from devices.messages import ReceivedEvent, ReceivedFields, ReceivedMessage
from domain.calendar import HOUR_MS
from simulators.field.fire_host import FireHost
from simulators.field.line import Line
from simulators.field.meters import ZONE, Fault, Now, SimulatedMeter
from simulators.field.senders import DeviceSender
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
PASSWORD = "field"  # noqa: S105
FOREVER = 2**62


@dataclass
class Door:
    """A terminal: what it pushes, and its own HTTP side."""

    device: str
    mac: str
    sender: DeviceSender
    server: TerminalServer
    serial: int = 0
    #: Ids of the passages that it gave out.
    given: list[str] = field(default_factory=list)

    def pass_through(self, person: str, now_ms: int, *, granted: bool = True) -> None:
        """Let somebody pass."""
        self.serial += 1
        minor = 75 if granted else 76
        time = datetime.fromtimestamp(now_ms // 1000, UTC).isoformat()
        event = ReceivedEvent(
            native=self.mac,
            at=now_ms // 1000 * 1000,
            id=f"s-{self.serial}-5-{minor}-{time}",
            kind="passage",
            data={"door": "1", "reader": "1", "person": person},
        )
        self.given.append(event.id)
        self.sender.queue(event)


@dataclass
class Other:
    """Any other sender: one device of a kind of push, which says something now and then."""

    kind: str
    device: str
    profile: str
    native: str
    sender: DeviceSender
    count: int = 0
    #: Ids of the events that it gave out, and of its readings (point, value, instant).
    events: list[str] = field(default_factory=list)
    readings: list[tuple[str, float, int]] = field(default_factory=list)

    def speak(self, now_ms: int) -> None:
        """Say the next thing."""
        self.count += 1
        at = now_ms // 1000 * 1000
        message = self._next_message(
            at, datetime.fromtimestamp(at / 1000, ZONE).replace(tzinfo=None)
        )
        if isinstance(message, ReceivedEvent):
            self.events.append(message.id)
        self.sender.queue(message)

    def _next_message(self, at: int, local: datetime) -> ReceivedMessage:
        n = self.count
        native = self.native
        passage = {
            "method": "card",
            "outcome": "granted",
            "direction": "in",
            "person": f"p-{n:05d}",
        }
        if self.kind == "dahua":
            return ReceivedEvent(
                native=native, at=at, id=f"r-{n}-{at}", kind="passage", data=passage
            )
        if self.kind == "access":
            ways = ("id_card", "fingerprint", "gait", "qr")
            return ReceivedEvent(
                native=native,
                at=at,
                id=f"{n}-{at}",
                kind="passage",
                data={**passage, "method": ways[n % 4]},
            )
        if self.kind == "plates":
            return ReceivedEvent(
                native=native, at=at, id=f"p-{n}-{at}", kind="plate", data={"plate": f"n-{n:05d}"}
            )
        if self.kind == "edge":
            data = {"hazard": "ebike_in_lift", "state": "on" if n % 2 else "off", "confidence": 0.9}
            return ReceivedEvent(native=native, at=at, id=f"a{n}-{at}", kind="hazard", data=data)
        if self.kind == "gat1400":
            return ReceivedEvent(
                native=native,
                at=local,
                id=f"f-{n}-{local:%Y%m%d%H%M%S}",
                kind="passage",
                data={"method": "face", "outcome": "unknown"},
            )
        if self.kind == "gb28181":
            data = {"condition": "fault", "state": "on", "priority": 1, "method": 6}
            return ReceivedEvent(
                native=native, at=local, id=f"n-{n}-{local.isoformat()}", kind="device", data=data
            )
        if self.kind == "chirpstack":
            self.readings.append(("water_m3", round((500_000 + n) / 1000, 6), at))
            return ReceivedFields(
                native=native, at=at, id=f"d{n}", fields={"volume_l": 500_000 + n}
            )
        self.readings.append(("water_m3", round(40 + n / 100, 6), at))
        return ReceivedFields(
            native=native,
            at=at,
            id=f"{native}-{at}-{n}",
            fields={"total_m3": round(40 + n / 100, 6)},
        )


#: One device of each other kind of push: its profile, and what it calls itself.
OTHERS = {
    "dahua": ("door-terminal", "9e02ab1paj00001"),
    "access": ("door-terminal", "reader-3"),
    "plates": ("camera", "c0ffee01"),
    "edge": ("camera", "box-1"),
    "gat1400": ("camera", "43010000001190000001"),
    "gb28181": ("camera", "43010000001320000001"),
    "ctwing": ("nb-water", "860000000000001"),
    "chirpstack": ("lora-water", "0101010101010101"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSize:
    """How many meters, doors and lines a field has. Meters are shared out evenly over lines."""

    meters: int
    doors: int
    lines: int


def _make_door(number: int, push_url: str) -> Door:
    sender = DeviceSender(kind="hikvision", url=push_url, doubles=1 if number % 5 == 0 else 0)
    return Door(
        device=f"door-{number + 1:02d}",
        mac=f"02:00:00:00:{number // 256:02x}:{number % 256:02x}",
        sender=sender,
        server=TerminalServer(password=PASSWORD),
    )


class Field:
    """The estate's devices. Start it, `live` through a span of time, stop it."""

    def __init__(
        self,
        *,
        now: Now,
        size: FieldSize,
        push_url: str,
        fire_port: int,
        seed: int = 1,
    ) -> None:
        self.now = now
        self._rng = random.Random(seed)  # noqa: S311
        self._seed = seed
        self.lines = self._make_lines(size)
        self.doors = [_make_door(number, push_url) for number in range(size.doors)]
        self.others = [
            Other(
                kind=kind,
                device=f"{kind}-1",
                profile=profile,
                native=native,
                sender=DeviceSender(
                    kind=kind, url=push_url.replace("/doors/", f"/{kind}/"), doubles=1
                ),
            )
            for kind, (profile, native) in OTHERS.items()
        ]
        self.fire = FireHost(source="0000000000a1", port=fire_port, now=now)
        #: (part, state) that the fire host gave out.
        self.fire_given: list[tuple[str, int]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _make_lines(self, size: FieldSize) -> list[Line]:
        """Make the lines of meters; line after line takes the next protocol."""
        per_line = max(1, size.meters // size.lines)
        protocols = list(KINDS)
        lines = []
        for number in range(size.lines):
            protocol = protocols[number % len(protocols)]
            meters = [self._meter(number, place, protocol) for place in range(per_line)]
            seed = self._seed + number
            lines.append(Line(protocol=protocol, meters=meters, now=self.now, seed=seed))
        return lines

    def _meter(self, line: int, place: int, protocol: str) -> SimulatedMeter:
        _, point, step, per_hour = KINDS[protocol]
        address = {
            "dlt645": f"{line + 1:02d}{place + 1:010d}",
            "cjt188": f"{line + 1:04d}{place + 1:010d}",
        }.get(protocol, str(place + 1))
        return SimulatedMeter(
            device=f"{'em' if point == 'energy_kwh' else 'wm'}-{line + 1}-{place + 1:02d}",
            protocol=protocol,
            address=address,
            point=point,
            step=step,
            register=round(self._rng.uniform(10, 900), 2),
            per_hour=per_hour,
            rollover={"dlt645": 1e6, "cjt188": 1e6, "mbus": 1e5, "modbus-rtu": 1e6}[protocol],
            seed=self._seed,
            serial=f"{line + 1:02d}{place + 1:06d}",
        )

    def spread_faults(self) -> dict[str, Fault]:
        """Give one meter each of the first lines a fault from now on; returns which has which."""
        spread: dict[str, Fault] = {}
        for line in self.lines[: len(KINDS)]:
            for meter, fault in zip(
                line.meters,
                (
                    Fault.SILENT,
                    Fault.GARBAGE,
                    Fault.BAD_CHECKSUM,
                    Fault.CLOCK_JUMP,
                    Fault.LOW_BATTERY,
                    Fault.CLOCK_DRIFT,
                    Fault.REVERSED,
                    Fault.SWAPPED,
                ),
                strict=False,
            ):
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
        self._tasks += [asyncio.ensure_future(other.sender.run()) for other in self.others]
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
                    door.pass_through(
                        f"p-{self._rng.randrange(200):05d}", now, granted=self._rng.random() < 0.95
                    )
            for other in self.others:
                if self._rng.random() < (now - last) / HOUR_MS * 3:
                    other.speak(now)
            if self._rng.random() < (now - last) / HOUR_MS * 2:
                part = f"{self._rng.randrange(PARTS):08x}"
                states[part] = 1 if states.get(part) == 3 else 3
                self.fire.part(part, states[part], f"一号楼{int(part, 16)}层烟感")
                self.fire_given.append((part, states[part]))
            last = now
            await asyncio.sleep(0.05)

    @property
    def all_delivered(self) -> bool:
        """Tell whether every event was taken."""
        senders = [door.sender for door in self.doors] + [other.sender for other in self.others]
        return not self.fire.pending and all(not sender.waiting for sender in senders)
