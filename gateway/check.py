"""`anju gateway check`: per device what it said last and when, and where it is silent, why. Reads the outbox beside the process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.outbox import look_into


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
        return (
            not self.faults and not self.lost and all(line.fault is None for line in self.devices)
        )


def look(config: Config, now_ms: int) -> Report:
    """Read what the gateway's process has put down; one that never ran has a report without times."""
    report = Report()
    path = config.outbox_path
    heard: dict[str, dict[str, Any]] = {}
    if path.is_file():
        heard = _read(path, report)
    else:
        report.faults["process"] = (
            "it has never run: there is no outbox yet; start it with `anju gateway run`"
        )
    for device, (profile, place) in sorted(config.devices().items()):
        note = heard.get(device, {})
        heard_at, drift, failures = (
            note.get("heard_at"),
            note.get("drift_ms"),
            note.get("failures", 0),
        )
        quiet = None if heard_at is None else max(0, (now_ms - heard_at) // 1000)
        expected = config.profiles[profile].expected_interval_s
        why: str | None = None
        if failures:
            ago = max(0, (now_ms - note["fault_at"]) // 1000)
            why = f"{note['fault']} ({failures} times in a row, last {ago} s ago)"
        elif place.startswith("part "):
            why = None  # A part of a fire system speaks when it burns; its host is the one to be missed.
        elif quiet is None:
            why = "never heard"
        elif quiet > 2 * expected + 60:
            why = f"silent for {quiet} s; it speaks every {expected} s"
        elif drift is not None and abs(drift) > config.table.clock.max_drift_s * 1000:
            why = f"its clock is {time_span(drift)} off"
        report.devices.append(
            DeviceLine(
                device=device,
                profile=profile,
                place=place,
                quiet_s=quiet,
                said=note.get("said") or "",
                drift_ms=drift,
                fault=why,
            )
        )
    return report


def time_span(ms: int) -> str:
    """Write a span with its sign: seconds up to two hours, days from two days on."""
    seconds = ms / 1000
    if abs(seconds) < 7200:
        return f"{seconds:+.0f} s"
    return f"{seconds / 3600:+.0f} h" if abs(seconds) < 172_800 else f"{seconds / 86_400:+.0f} d"


def _read(path: Path, report: Report) -> dict[str, dict[str, Any]]:
    kept = look_into(path)
    status = json.loads(kept.memory.get("status", "{}"))
    report.connected, report.offset_ms = status.get("connected"), status.get("offset_ms")
    report.waiting, report.lost = kept.waiting, kept.losses
    report.faults.update(status.get("faults", {}))
    if report.connected is False:
        report.faults["uplink"] = "not connected to the broker"
    strangers = json.loads(kept.memory.get("strangers", "[]"))
    report.strangers = [f"{text} ({entry['count']} times)" for text, entry in strangers]
    return kept.heard
