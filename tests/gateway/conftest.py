from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import GatewayClock
from gateway.config import Config, parse_config
from gateway.group_commit import GroupCommitWriter
from gateway.intake import Intake
from gateway.outbox import Outbox
from gateway.unknown_devices import UnknownDevices

HEAD = 'estate = "es"\ngateway = "gw"\ntoken_key_file = "key"\n'


class Bench:
    """A gateway's inner parts around one configuration, without its process."""

    def __init__(self, folder: Path, text: str) -> None:
        (folder / "key").write_text("a key of sixteen bytes")
        (folder / "secret").write_text("a-token-of-sixteen-characters")
        (folder / "password").write_text("field")
        self.config: Config = parse_config(HEAD + text, folder, "gateway.toml")
        self.clock = GatewayClock()
        self.outbox = Outbox(self.config.outbox_path, "boot-1")
        self.outbox_writer = GroupCommitWriter(self.outbox)
        self.intake = Intake(self.config, self.clock, self.outbox)
        self.unknown_devices = UnknownDevices(self.outbox)

    def items(self) -> list[dict[str, Any]]:
        """Everything that waits, decoded, oldest first."""
        import msgspec

        rows = self.outbox._db.execute("SELECT body FROM items ORDER BY id").fetchall()
        return [msgspec.json.decode(body) for (body,) in rows]

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run something beside the outbox_writer."""

        async def main() -> None:
            writer = asyncio.ensure_future(self.outbox_writer.run())
            try:
                await asyncio.wait_for(work(), 30)
            finally:
                writer.cancel()

        asyncio.run(main())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    made: list[Bench] = []

    def make(text: str) -> Bench:
        made.append(Bench(tmp_path, text))
        return made[-1]

    yield make
    for one in made:
        one.outbox.close()


async def until(check: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not check():
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)
