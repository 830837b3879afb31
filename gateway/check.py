"""`anju gateway check`: per device what it said last and when, and where it is silent, why. Reads the outbox beside the process."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """One device. `quiet_s` is None where it was never heard; `fault` is what is wrong now, None where all is well."""

    device: str
    profile: str
    place: str
    quiet_s: int | None
    said: str
    drift_ms: int | None
    fault: str | None


@dataclass(slots=True, kw_only=True)
class Report:
    """The gateway as it stands."""

    devices: list[DeviceLine] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    connected: bool | None = None
    offset_ms: int | None = None
    waiting: int = 0
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.faults and not self.lost and all(line.fault is None for line in self.devices)


def look(config: Config, now_ms: int) -> Report:
    """Read what the gateway's process has put down; one that never ran has a report without times."""
    report = Report()
    path = config.outbox_path
    heard: dict[str, tuple[Any, ...]] = {}
    if path.is_file():
        heard = _read(path, report)
    else:
        report.faults["process"] = "it has never run: there is no outbox yet; start it with `anju gateway run`"
    for device, (profile, place) in sorted(config.devices().items()):
        heard_at, said, fault, fault_at, failures, drift = heard.get(device, (None, None, None, None, 0, None))
        quiet = None if heard_at is None else max(0, (now_ms - heard_at) // 1000)
        expected = config.profiles[profile].expected_interval_s
        why: str | None = None
        if failures:
            why = f"{fault} ({failures} times in a row, last {max(0, (now_ms - fault_at) // 1000)} s ago)"
        elif quiet is None:
            why = "never heard"
        elif quiet > 2 * expected + 60:
            why = f"silent for {quiet} s; it speaks every {expected} s"
        report.devices.append(
            DeviceLine(
                device=device, profile=profile, place=place, quiet_s=quiet, said=said or "", drift_ms=drift, fault=why
            )
        )
    return report


def _read(path: Path, report: Report) -> dict[str, tuple[Any, ...]]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        rows = db.execute("SELECT device, heard_at, said, fault, fault_at, failures, drift_ms FROM heard").fetchall()
        memory = dict(db.execute("SELECT key, value FROM memory WHERE key IN ('status', 'strangers')").fetchall())
        report.waiting = db.execute(
            "SELECT (SELECT count(*) FROM items) + (SELECT coalesce(sum(items), 0) FROM messages)"
        ).fetchone()[0]
        report.lost = dict(db.execute("SELECT kind, items FROM losses").fetchall())
    finally:
        db.close()
    status = json.loads(memory.get("status", "{}"))
    report.connected, report.offset_ms = status.get("connected"), status.get("offset_ms")
    report.faults.update(status.get("faults", {}))
    if report.connected is False:
        report.faults["uplink"] = "not connected to the broker"
    report.strangers = [f"{text} ({entry['count']} times)" for text, entry in json.loads(memory.get("strangers", "[]"))]
    return {row[0]: row[1:] for row in rows}
