"""A gateway for the fault tests, as a process that can be killed: the real outbox on disk, the real
uplink, and devices that talk.

Everything is written into a journal: an intent before it is handed to the outbox, its number after
the outbox has taken it. So after any kill it is known what must be in the database, and what may
be.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from domain.broker import BrokerAddress
from domain.wire import EventItem, ReadingItem
from gateway import sender
from gateway.outbox import Outbox, OutboxEntry
from gateway.uplink import Uplink


def main(home: Path, port: int, gateway: str, device: str, smoke: str, seed: int) -> None:
    sender.RESEND_S = 2.0
    dice = random.Random(f"{seed} {time.time_ns()}")
    boot = f"b{time.time_ns()}"
    journal = os.open(home / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    outbox = Outbox(home / "outbox.db", boot)
    now = int(time.time() * 1000)
    last = max((row["at"] for row in read(home / "journal") if row["at"] <= now), default=0)
    number = int(time.time_ns() // 1000)
    with Uplink(BrokerAddress(port=port), "es", gateway, outbox) as uplink:
        while not (home / "quiet").exists():
            items: list[ReadingItem | EventItem] = []
            for _ in range(dice.randrange(1, 5)):
                number += 1
                # Now and then a device's clock has jumped: two hours ahead, or a month back.
                last = max(last + 1, int(time.time() * 1000))
                at = last + dice.choices((0, 7_200_000, -30 * 86_400_000), (0.94, 0.03, 0.03))[0]
                if dice.random() < 0.15:
                    data = {"hazard": "smoke", "state": dice.choice(("on", "off"))}
                    items.append(
                        EventItem(device=smoke, at=at, id=str(number), kind="hazard", data=data)
                    )
                else:
                    items.append(
                        ReadingItem(
                            device=device, at=at, values={"water_m3": float(number % 10_000_000)}
                        )
                    )
            told = [
                {
                    "n": number,
                    "device": i.device,
                    "at": i.at,
                    "id": getattr(i, "id", None),
                    "values": getattr(i, "values", None),
                }
                for i in items
            ]
            os.write(journal, b"".join(json.dumps(one).encode() + b"\n" for one in told))
            outbox.put([OutboxEntry(items=items)])
            os.write(journal, json.dumps({"taken": number, "at": 0}).encode() + b"\n")
            time.sleep(dice.uniform(0.005, 0.03))
        while outbox.items:
            time.sleep(0.05)
        uplink.drain(1)
    (home / "empty").touch()


def read(journal: Path) -> list[Any]:
    """Read a journal; a line that a kill cut short is left out."""
    found = []
    for line in journal.read_bytes().splitlines() if journal.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(Path(given.pop("home")), **given)
