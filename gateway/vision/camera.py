"""A camera in the gateway's process: it starts a worker, reads its lines, and restarts it.

No picture comes into this process. It turns lines of JSON into events for the outbox. It kills a
worker that sends nothing. A camera that is away is tried again, after ever longer pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from domain.wire import EventItem
from gateway.clock import GatewayClock
from gateway.config import Config
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import alarm_id
from gateway.outbox import DeviceContact, OutboxEntry
from gateway.vision.tables import CameraTable

log = structlog.get_logger()

#: A worker that says nothing for so long is killed: the first picture may take longer than the
#: next.
SILENT_S = 20.0
FIRST_S = 40.0
#: A camera that has been away so long is told as offline.
AWAY_S = 30.0
#: Pauses before the next try, seconds: doubled each time, up to the last.
PAUSE_S = 1.0
MOST_PAUSE_S = 60.0
#: Characters of one line that a worker may say.
MOST_LINE = 64 * 1024
#: A short hazard is told as over after so long, so that it does not stand for ever; its alert stays
#: until somebody has seen it.
MOMENT_MS = 1000
_MOMENTS = {"falling_object"}


@dataclass(slots=True)
class Camera:
    """One camera. `run` serves until cancelled."""

    table: CameraTable
    config: Config
    outbox_writer: GroupCommitWriter
    clock: GatewayClock
    fault: str | None = "not connected yet"
    _lost_since: float | None = None
    _pause: float = PAUSE_S
    _random: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311

    async def run(self) -> None:
        """Watch the camera until cancelled."""
        loop = asyncio.get_running_loop()
        self._lost_since = loop.time()
        while True:
            began = loop.time()
            why = await self._watch()
            self.fault = why
            if self._lost_since is None:
                self._lost_since = loop.time()
            log.warning("camera_lost", device=self.table.device, why=why)
            if loop.time() - began > 60:
                self._pause = PAUSE_S
            wait = self._pause * self._random.uniform(0.8, 1.2)
            self._pause = min(self._pause * 2, MOST_PAUSE_S)
            if loop.time() - self._lost_since + wait > AWAY_S:
                await self._offline(why)
            await asyncio.sleep(wait)

    def orders(self) -> dict[str, Any]:
        """Return the orders for the worker."""
        vision = self.config.table.vision
        return {
            "url": self.url(),
            "rules": msgspec.to_builtins(self.config.rules[self.table.device]),
            "folder": str(self.folder),
            "zone": self.config.table.timezone,
            "memory_mb": vision.memory_mb,
            "max_mb": vision.max_mb,
            "keep_days": vision.keep_days,
        }

    def url(self) -> str:
        """The camera's address, with the password of its file put in."""
        password = self.config.secret(self.table.password_file)
        return self.table.url.replace("{password}", password) if password else self.table.url

    @property
    def folder(self) -> Path:
        """Where its clips lie."""
        return self.config.folder / self.config.table.vision.folder / self.table.device

    async def _watch(self) -> str:
        """Run one worker to its end; returns why it ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.vision.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=MOST_LINE,
        )
        try:
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write(json.dumps(self.orders()).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await worker.stdin.drain()
            return await self._listen(worker.stdout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()

    async def _listen(self, lines: asyncio.StreamReader) -> str:
        why = "its worker ended; see the limits under [vision] if that comes again"
        patience = FIRST_S
        while True:
            try:
                async with asyncio.timeout(patience):
                    raw = await lines.readline()
            except TimeoutError:
                return f"no picture for {patience:.0f} s"
            except ValueError:
                return "its worker said a line that is too long"
            if not raw:
                return why
            line = json.loads(raw)
            if "fault" in line:
                why = str(line["fault"])[:200]
            elif "sighting" in line:
                await self._take(line["sighting"])
            elif "alive" in line:
                patience = SILENT_S
                await self._alive(line)

    async def _alive(self, line: dict[str, Any]) -> None:
        self.fault = None
        self._lost_since = None
        now = self.clock.now_ms()
        width, height = line["size"]
        contacts_now = [
            DeviceContact(
                device=self.table.device, at=now, summary=f"pictures of {width} x {height}"
            )
        ]
        await self._put(
            self._state_change("offline", {"condition": "offline"}, "device", "off", now),
            contacts_now,
        )

    async def _offline(self, why: str) -> None:
        now = self.clock.now_ms()
        contacts_now = [DeviceContact(device=self.table.device, at=now, fault=why)]
        await self._put(
            self._state_change(
                "offline", {"condition": "offline", "detail": why}, "device", "on", now
            ),
            contacts_now,
        )

    async def _take(self, seen: dict[str, Any]) -> None:
        """Turn a sighting into an event.

        The event's instant is that of the thing, which may have stood for its dwell time.
        """
        at = self.clock.now_ms() - max(0, round(float(seen["ago_s"]) * 1000))
        what = {
            name: seen[name] for name in ("hazard", "condition", "detail", "clip") if seen.get(name)
        }
        kind, key = (
            ("hazard", str(seen["hazard"]))
            if seen.get("hazard")
            else ("device", str(seen.get("detail") or seen["condition"]))
        )
        entry = self._state_change(key, {**what, **seen["data"]}, kind, str(seen["state"]), at)
        if key in _MOMENTS:
            entry = OutboxEntry(
                items=[
                    self._event(key, {**what, **seen["data"]}, kind, "on", at),
                    self._event(key, {"hazard": key}, kind, "off", at + MOMENT_MS),
                ]
            )
        log.info("camera_saw", device=self.table.device, what=key, state=seen["state"])
        await self._put(
            entry,
            [
                DeviceContact(
                    device=self.table.device,
                    at=self.clock.now_ms(),
                    summary=f"{key} {seen['state']}",
                )
            ],
        )

    def _state_change(
        self, key: str, data: dict[str, Any], kind: str, state: str, at: int
    ) -> OutboxEntry:
        """Return an event where a state changes, and an empty entry where it does not.

        The last state is in the outbox's memory, so it survives a restart.
        """
        memory = f"alarm/{self.table.device}/camera:{key}"
        if (self.outbox_writer.outbox.recall(memory) or "off") == state:
            return OutboxEntry()
        return OutboxEntry(items=[self._event(key, data, kind, state, at)], memory={memory: state})

    def _event(self, key: str, data: dict[str, Any], kind: str, state: str, at: int) -> EventItem:
        return EventItem(
            device=self.table.device,
            at=at,
            id=alarm_id(f"camera-{key}", state, at),
            kind=kind,
            data={**data, "state": state},
        )

    async def _put(self, entry: OutboxEntry, contacts: list[DeviceContact]) -> None:
        while True:
            try:
                await self.outbox_writer.put(
                    OutboxEntry(items=entry.items, memory=entry.memory, contacts=contacts)
                )
                return
            except WriteRefused:
                # The disk does not take it; the worker waits meanwhile, and its ring is bounded.
                await asyncio.sleep(1.0)
