"""`anju gateway check`: per device its last report and its age, and the fault where it is silent.

It reads the outbox beside the gateway's process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config import Config, DevicePlace
from gateway.outbox_file import LastContact, read_snapshot

#: Seconds that a device may be late beyond twice its interval.
GRACE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """One device. `quiet_s` is None without any contact; `fault` is None where all is well."""

    device: str
    profile: str
    place: str
    quiet_s: int | None
    summary: str
    drift_ms: int | None
    fault: str | None


@dataclass(slots=True, kw_only=True)
class GatewayCheckReport:
    """The gateway's state."""

    devices: list[DeviceStatus] = field(default_factory=list)
    unknown_devices: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    connected: bool | None = None
    offset_ms: int | None = None
    waiting: int = 0
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Tell whether nothing is wrong."""
        has_device_fault = any(device.fault is not None for device in self.devices)
        return not self.faults and not self.lost and not has_device_fault


def inspect_gateway(config: Config, now_ms: int) -> GatewayCheckReport:
    """Report what the gateway's process has stored.

    One that never ran has a report without times.
    """
    report = GatewayCheckReport()
    contacts: dict[str, LastContact] = {}
    if config.outbox_path.is_file():
        contacts = _read_outbox(config.outbox_path, report)
    else:
        report.faults["process"] = (
            "it has never run: there is no outbox yet; start it with `anju gateway run`"
        )
    for device, place in sorted(config.devices().items()):
        contact = contacts.get(device, LastContact(device=device))
        report.devices.append(_inspect_device(config, place, contact, now_ms))
    return report


def _inspect_device(
    config: Config, place: DevicePlace, contact: LastContact, now_ms: int
) -> DeviceStatus:
    quiet_s = None
    if contact.contact_at is not None:
        quiet_s = max(0, (now_ms - contact.contact_at) // 1000)
    return DeviceStatus(
        device=contact.device,
        profile=place.profile,
        place=place.place,
        quiet_s=quiet_s,
        summary=contact.summary or "",
        drift_ms=contact.drift_ms,
        fault=_find_fault(config, place, contact, quiet_s, now_ms),
    )


def _find_fault(
    config: Config, place: DevicePlace, contact: LastContact, quiet_s: int | None, now_ms: int
) -> str | None:
    if contact.failures:
        ago = max(0, (now_ms - (contact.fault_at or now_ms)) // 1000)
        return f"{contact.fault} ({contact.failures} times in a row, last {ago} s ago)"
    if place.is_part:
        # A part of a fire system reports only a fire; its host is the one to be missed.
        return None
    if quiet_s is None:
        return "never heard"
    expected_s = config.profiles[place.profile].expected_interval_s
    if quiet_s > 2 * expected_s + GRACE_S:
        return f"silent for {quiet_s} s; it speaks every {expected_s} s"
    drift_ms = contact.drift_ms or 0
    if abs(drift_ms) > config.table.clock.max_drift_s * 1000:
        return f"its clock is {time_span(drift_ms)} off"
    return None


def time_span(ms: int) -> str:
    """Write a span with its sign: seconds up to two hours, days from two days on."""
    seconds = ms / 1000
    if abs(seconds) < 7200:
        return f"{seconds:+.0f} s"
    if abs(seconds) < 172_800:
        return f"{seconds / 3600:+.0f} h"
    return f"{seconds / 86_400:+.0f} d"


def _read_outbox(path: Path, report: GatewayCheckReport) -> dict[str, LastContact]:
    """Read the outbox into the report; return the last contact with each device.

    Raises: OutboxUnusable.
    """
    snapshot = read_snapshot(path)
    status = json.loads(snapshot.memory.get("status", "{}"))
    report.connected = status.get("connected")
    report.offset_ms = status.get("offset_ms")
    report.waiting = snapshot.waiting
    report.lost = snapshot.losses
    report.faults.update(status.get("faults", {}))
    if report.connected is False:
        report.faults["uplink"] = "not connected to the broker"
    notes = json.loads(snapshot.memory.get("unknown_devices", "[]"))
    report.unknown_devices = [f"{text} ({note['count']} times)" for text, note in notes]
    return snapshot.contacts
