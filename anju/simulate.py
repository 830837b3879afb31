"""A simulated city sent through gateways' uplinks: its past in bulk, its present as it happens.

It joins simulators, which know no gateway, and gateways, which know no simulator. The demo and
`anju simulate live` both run on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from domain.broker import BrokerAddress
from domain.calendar import HOUR_MS
from domain.wire import BornDevice, EventItem
from gateway.outbox import Outbox
from gateway.uplink import Uplink
from simulators.city import ESTATE, City
from simulators.stream import (
    Present,
    day_after,
    door,
    hazard,
    lane_camera,
    past_hazards,
    smoke_detector,
)

MESSAGE_ITEMS = 800
#: A batch that is older than this is sent as a backlog.
BACKLOG_MS = 120_000
#: Steps of five seconds after which the events begin again, at the next entrance.
CYCLE_STEPS = 48
_PROFILE = {"water_m3": "water-dn15", "energy_kwh": "electricity-1p-60a"}


class LiveCity:
    """A city behind one uplink per building.

    `sent_ms` holds, by gateway, the instant (ms UTC) up to which everything is acknowledged.
    """

    def __init__(
        self, city: City, broker: BrokerAddress, boot: str, sent_ms: dict[str, int]
    ) -> None:
        self.city = city
        self.boot = boot
        self.sent_ms = sent_ms
        self.present = Present(city, day_after(datetime.now(UTC), 1))
        #: What the simulator has started and not yet ended, as (device, word).
        self.happening: set[tuple[str, str]] = set()
        self.uplinks = {
            f"gw-{building}": Uplink(broker, ESTATE, f"gw-{building}", Outbox(None, boot))
            for building in city.buildings
        }

    def __enter__(self) -> LiveCity:
        for uplink in self.uplinks.values():
            uplink.__enter__()
        for gateway, uplink in self.uplinks.items():
            uplink.wait_connected()
            born = [
                BornDevice(
                    device=series.device, profile=_PROFILE[series.point], points=[series.point]
                )
                for home in self.city.homes
                if home.gateway == gateway
                for series in self.present.meters(home)
            ]
            uplink.birth(born, int(time.time() * 1000))
        return self

    def __exit__(self, *_: object) -> None:
        for uplink in self.uplinks.values():
            uplink.__exit__(None, None, None)

    def send_past(self, now_ms: int, out: Console, check: Callable[[], None]) -> None:
        """Send what lies between the last time and now, gateway by gateway, with a bar."""
        begin_ms = {g: self.sent_ms.get(g, self.present.start_ms) for g in self.uplinks}
        unit_hours = {
            gateway: max(0, (now_ms - low) // HOUR_MS) * self._count_homes(gateway)
            for gateway, low in begin_ms.items()
        }
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=out) as bar:
            task = bar.add_task("past, unit-hours", total=sum(unit_hours.values()))
            done = 0
            for gateway, low in begin_ms.items():
                check()
                self._send(gateway, low, now_ms, lambda n: bar.advance(task, n / 2))
                if low == self.present.start_ms:
                    hazards = past_hazards(self.city, gateway, now_ms)
                    if hazards:
                        self.uplinks[gateway].send_events(hazards, replayed=True)
                self.uplinks[gateway].drain()
                done += unit_hours[gateway]
                bar.update(task, completed=done)
                self.sent_ms[gateway] = now_ms

    def _count_homes(self, gateway: str) -> int:
        return sum(home.gateway == gateway for home in self.city.homes)

    def _send(self, gateway: str, low: int, high: int, progress: Callable[[int], None]) -> None:
        uplink = self.uplinks[gateway]
        replayed = high - low > BACKLOG_MS
        for items in self.present.readings(gateway, low, high, MESSAGE_ITEMS):
            uplink.send_readings(items, sent_at=high, replayed=replayed)
            progress(len(items))
        passages = self.present.passages(gateway, low, high)
        for i in range(0, len(passages), MESSAGE_ITEMS // 2):
            uplink.send_events(
                passages[i : i + MESSAGE_ITEMS // 2], sent_at=high, replayed=replayed
            )

    def run(self, stopping: Callable[[], bool], check: Callable[[], None]) -> None:
        """Send the present every five seconds and start an event now and then, until stopped."""
        step = 1
        while not stopping():
            check()
            now = datetime.now(UTC)
            if (day_after(now, 0) - self.city.anchor).days + 1 >= self.present.days:
                self.present = Present(self.city, day_after(now, 1))
            for gateway in self.uplinks:
                now_ms = int(time.time() * 1000)
                self._send(gateway, self.sent_ms[gateway], now_ms, lambda _n: None)
                self.sent_ms[gateway] = now_ms
            self.play(step, int(time.time() * 1000))
            step += 1
            for _ in range(50):
                if stopping():
                    return
                time.sleep(0.1)

    def play(self, step: int, now_ms: int) -> None:
        """Start or end an event: smoke, a blocked fire lane, a door held open.

        Each lasts longer than its alert's delay; a cycle takes `CYCLE_STEPS` steps.
        """
        cycle = step // CYCLE_STEPS
        building, entrance = self.city.entrances[cycle % len(self.city.entrances)]
        event = {
            0: (smoke_detector(entrance), "smoke", "on"),
            12: (smoke_detector(entrance), "smoke", "off"),
            3: (lane_camera(building), "fire_lane_blocked", "on"),
            40: (lane_camera(building), "fire_lane_blocked", "off"),
            6: (door(entrance), "held_open", "on"),
            26: (door(entrance), "held_open", "off"),
        }.get(step % CYCLE_STEPS)
        if event is None:
            return
        device, word, state = event
        tag = f"live-{self.boot}-{step}"
        if word == "held_open":
            item = EventItem(
                device=device,
                at=now_ms,
                id=tag,
                kind="device",
                data={"condition": word, "state": state},
            )
        else:
            item = hazard(device, now_ms, tag, word, state)
        self.uplinks[f"gw-{building}"].send_events([item])
        if state == "on":
            self.happening.add((device, word))
        else:
            self.happening.discard((device, word))
