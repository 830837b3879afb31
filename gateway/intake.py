"""From what a driver heard to what the outbox keeps: the device's code, the instant, the profile's points and alarms.

An instant is the device's own where it told one that can be true, else the gateway's; where the device's clock cannot be
true (far ahead, before 2001), the gateway's is taken and the device's kept beside it, since an alarm must not wait in
quarantine for a wrong clock. An alarm of a profile's map is an event when it begins and when it ends, not each time it
is read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from devices.mapping import AlarmState, MappedValues, apply_profile
from devices.messages import ReceivedEvent, ReceivedFields, ReceivedHeartbeat
from devices.messages import ReceivedMessage as Message
from devices.profiles import Profile
from domain.calendar import to_ms
from domain.wire import AHEAD_MS, EARLIEST_MS, EventItem, ReadingItem
from gateway.clock import GatewayClock
from gateway.config import Config, DeviceTable
from gateway.outbox import DeviceContact, Outbox, OutboxEntry

#: Half of what the server allows: the rest is for the gateway's own clock.
AHEAD_OF_GATEWAY_MS = AHEAD_MS // 2
#: What comes later than this after its own time was delayed on its way, or its clock is behind: nobody can tell which.
LIVE_MS = 5_000
#: A token that Anju made; it is passed on as it is.
_TOKEN = re.compile(r"[pqcn]-[a-z0-9][a-z0-9-]{1,60}")
_PREFIX = {"person": "p", "card": "c", "plate": "n"}


def make_token(key: bytes, kind: str, value: str) -> str:
    """Turn what identifies a person, a card or a plate into an opaque token: a keyed hash, the same on a whole estate."""
    if _TOKEN.fullmatch(value):
        return value
    digest = hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).digest()
    return f"{_PREFIX[kind]}-{base64.b32encode(digest[:10]).decode().lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownDevice:
    """Something spoke that the configuration does not know."""

    native: str


class Intake:
    """Makes entries of what was heard. Pure but for the clock and what the outbox remembers of alarms."""

    def __init__(
        self, config: Config, clock: GatewayClock, outbox: Outbox, known: set[str] | None = None
    ) -> None:
        self._clock, self._outbox, self._zone = clock, outbox, config.zone
        self._profiles, self._key = config.profiles, config.token_key
        self._max_drift_ms = config.table.clock.max_drift_s * 1000
        #: People whom Anju put into a terminal; it names them as it was told. Shared by every intake of a process.
        self.known: set[str] = set() if known is None else known

    def token(self, kind: str, value: str) -> str:
        """Make a token with the estate's key."""
        return (
            value
            if kind == "person" and value in self.known
            else make_token(self._key, kind, value)
        )

    def pushed(
        self, devices: dict[str, DeviceTable], messages: Sequence[Message]
    ) -> list[OutboxEntry | UnknownDevice]:
        """Take what a push held. `devices` are the source's, by their own names in lower case."""
        return [self._one(devices, message) for message in messages]

    def _one(
        self, devices: dict[str, DeviceTable], message: Message
    ) -> OutboxEntry | UnknownDevice:
        table = table_of(devices, message.native)
        if table is None:
            return UnknownDevice(native=message.native)
        now = self._clock.now_ms()
        if isinstance(message, ReceivedHeartbeat):
            return OutboxEntry(heard=[DeviceContact(device=table.device, at=now, said="alive")])
        at, drift, told = self.instant(message.at, now)
        if isinstance(message, ReceivedEvent):
            data = dict(message.data)
            if told is not None:
                data["device_at"] = told
            if data.get("direction") == "unknown":
                data["direction"] = table.readers.get(str(data.get("reader", "")), table.direction)
            item = EventItem(
                device=table.device, at=at, id=message.id, kind=message.kind, data=data
            )
            note = DeviceContact(
                device=table.device, at=now, said=_say(message.kind, data), drift_ms=drift
            )
            return OutboxEntry(items=[item], heard=[note])
        return self.fields(table.device, self._profiles[table.profile], message, at, drift)

    def fields(
        self, device: str, profile: Profile, message: ReceivedFields, at: int, drift: int | None
    ) -> OutboxEntry:
        """Take a report of fields."""
        return self.said(device, apply_profile(profile, message.fields), at=at, drift_ms=drift)

    def said(
        self,
        device: str,
        said: MappedValues,
        *,
        at: int,
        drift_ms: int | None = None,
        memory: dict[str, str] | None = None,
    ) -> OutboxEntry:
        """Take what a profile understood: readings, readings of an earlier time, alarms that changed, the clock."""
        items: list[ReadingItem | EventItem] = []
        if said.values:
            items.append(ReadingItem(device=device, at=at, values=said.values))
        if said.frozen is not None:
            values = said.frozen.values
            frozen_at = self._utc(said.frozen.at)
            if EARLIEST_MS <= frozen_at <= at and self._outbox.recall(f"freeze/{device}") != str(
                frozen_at
            ):
                items.append(ReadingItem(device=device, at=frozen_at, values=values))
                memory = {**(memory or {}), f"freeze/{device}": str(frozen_at)}
        changes = dict(memory or {})
        if said.clock is not None:
            drift_ms = self._utc(said.clock) - at
        if drift_ms is not None:
            shown = AlarmState(
                key="clock",
                kind="device",
                word="clock",
                on=abs(drift_ms) > self._max_drift_ms,
                value=drift_ms,
            )
            items += self._alarm(device, shown, at, changes)
        for alarm in said.alarms:
            items += self._alarm(device, alarm, at, changes)
        text = (
            ", ".join(f"{name} {value:.12g}" for name, value in said.values.items())
            or "nothing to store"
        )
        return OutboxEntry(
            items=items,
            memory=changes,
            heard=[DeviceContact(device=device, at=at, said=text, drift_ms=drift_ms)],
        )

    def _alarm(
        self, device: str, alarm: AlarmState, at: int, changes: dict[str, str]
    ) -> list[EventItem]:
        key, now = f"alarm/{device}/{alarm.key}", "on" if alarm.on else "off"
        before = changes.get(key) or self._outbox.recall(key) or "off"
        if now == before:
            return []
        changes[key] = now
        word = "hazard" if alarm.kind == "hazard" else "condition"
        value = (
            alarm.value
            if isinstance(alarm.value, int | float)
            else str(alarm.value)[:80].replace("\0", "")
        )
        data = {word: alarm.word, "state": now, "item": alarm.key[:200], "value": value}
        if not alarm.on and self.others_hold(f"alarm/{device}/", f":{alarm.word}", key, changes):
            # Two rows may mean one danger (a current and a temperature): it is over when both are.
            data = {**data, "condition": "other", "still": alarm.word}
            data.pop("hazard", None)
            return [
                EventItem(
                    device=device, at=at, id=alarm_id(alarm.key, now, at), kind="device", data=data
                )
            ]
        return [
            EventItem(
                device=device, at=at, id=alarm_id(alarm.key, now, at), kind=alarm.kind, data=data
            )
        ]

    def others_hold(self, prefix: str, suffix: str, key: str, changes: dict[str, str]) -> bool:
        """Tell whether another alarm of a device, which means the same, still holds."""
        held = {**self._outbox.recall_all(prefix), **changes}
        return any(
            state == "on" and k != key and k.startswith(prefix) and k.endswith(suffix)
            for k, state in held.items()
        )

    def instant(self, told: int | datetime | None, now: int) -> tuple[int, int | None, int | None]:
        """Return the instant to store, how far the device's clock is off, and the device's time where it was not taken."""
        if told is None:
            return now, None, None
        at = told if isinstance(told, int) else self._utc(told)
        if EARLIEST_MS <= at <= now + AHEAD_OF_GATEWAY_MS:
            # What a device kept while it was cut off, or sends again, is old and true; that says nothing of its clock.
            return at, at - now if at - now > -LIVE_MS else None, None
        return now, at - now, at

    def _utc(self, local: datetime) -> int:
        return (
            to_ms(local.replace(tzinfo=self._zone).astimezone(UTC))
            if local.tzinfo is None
            else to_ms(local)
        )

    def local(self, at: int) -> datetime:
        """Return an instant as the estate's clocks show it."""
        return local_time(at, self._zone)


def table_of(devices: dict[str, DeviceTable], native: str) -> DeviceTable | None:
    """Find a source's device by its own name; `*` takes every other."""
    return devices.get(native.lower()) or devices.get("*")


def alarm_id(key: str, state: str, at: int) -> str:
    """Name an alarm's beginning or end; a field's name may hold what an event's id may not (a Chinese one, a long one)."""
    safe = re.sub(r"[^!-~]", "_", key)[:40]
    if safe != key:
        safe += "-" + hashlib.blake2b(key.encode(), digest_size=4).hexdigest()
    return f"{safe}-{state}-{at}"


def local_time(at: int, zone: ZoneInfo) -> datetime:
    """Return an instant as a zone's clocks show it, without its offset."""
    return datetime.fromtimestamp(at / 1000, zone).replace(tzinfo=None)


def _say(kind: str, data: dict[str, Any]) -> str:
    words = (
        data.get(name)
        for name in ("hazard", "condition", "method", "outcome", "state", "direction")
    )
    return " ".join([kind, *(str(word) for word in words if word)])
