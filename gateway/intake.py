"""What a driver received, turned into what the outbox keeps: device code, instant, points, alarms.

An instant is the device's own where it gave one that can be true, else the gateway's. Where the
device's clock cannot be true (far ahead, before 2001), the gateway's time is taken and the device's
is kept beside it, since an alarm must not wait in quarantine for a wrong clock. An alarm of a
profile's map is an event when it begins and when it ends, not each time it is read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from devices.mapping import AlarmState, FrozenReading, MappedValues, apply_profile
from devices.messages import ReceivedEvent, ReceivedHeartbeat, ReceivedMessage
from domain.calendar import to_ms
from domain.wire import AHEAD_MS, EARLIEST_MS, EventItem, ReadingItem
from gateway.clock import GatewayClock
from gateway.config import Config
from gateway.config_tables import DeviceTable
from gateway.outbox import DeviceContact, Outbox, OutboxEntry

#: Half of what the server allows; the other half is for the gateway's own clock.
AHEAD_OF_GATEWAY_MS = AHEAD_MS // 2
#: A message later than this was delayed on its way, or its device's clock is behind: nobody can
#: tell which.
LIVE_MS = 5_000
#: A token that Anju made; it is passed on as it is.
_TOKEN = re.compile(r"[pqcn]-[a-z0-9][a-z0-9-]{1,60}")
_TOKEN_PREFIX = {"person": "p", "card": "c", "plate": "n"}
#: Fields of an event that a person wants to read in a list.
_SUMMARY_FIELDS = ("hazard", "condition", "method", "outcome", "state", "direction")


def make_token(key: bytes, kind: str, value: str) -> str:
    """Turn what identifies a person, a card or a plate into an opaque token.

    The token is a keyed hash, the same on a whole estate. `kind` is person, card or plate.
    """
    if _TOKEN.fullmatch(value):
        return value
    digest = hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).digest()
    return f"{_TOKEN_PREFIX[kind]}-{base64.b32encode(digest[:10]).decode().lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownDevice:
    """A message of a device that is not configured."""

    native: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTime:
    """The instant to store, from a device's time and the gateway's; all in milliseconds.

    `drift_ms` is how far the device's clock is ahead, None where nobody can tell. `rejected_at` is
    the device's own time where it cannot be true.
    """

    at: int
    drift_ms: int | None = None
    rejected_at: int | None = None


class Intake:
    """Makes outbox entries of messages.

    Pure but for the clock and the outbox's memory of alarms.
    """

    def __init__(
        self,
        config: Config,
        clock: GatewayClock,
        outbox: Outbox,
        own_people: set[str] | None = None,
    ) -> None:
        self._clock = clock
        self._outbox = outbox
        self._zone = config.zone
        self._profiles = config.profiles
        self._token_key = config.token_key
        self._max_drift_ms = config.table.clock.max_drift_s * 1000
        #: Tokens of people whom Anju put into a terminal, which reports them under these tokens.
        #: Shared by every intake of a process.
        self.own_people: set[str] = set() if own_people is None else own_people

    def token(self, kind: str, value: str) -> str:
        """Make a token with the estate's key."""
        if kind == "person" and value in self.own_people:
            return value
        return make_token(self._token_key, kind, value)

    def convert_messages(
        self, devices: Mapping[str, DeviceTable], messages: Sequence[ReceivedMessage]
    ) -> list[OutboxEntry | UnknownDevice]:
        """Convert the messages of a push.

        `devices` are the source's, by their own names in lower case.
        """
        return [self._convert_message(devices, message) for message in messages]

    def _convert_message(
        self, devices: Mapping[str, DeviceTable], message: ReceivedMessage
    ) -> OutboxEntry | UnknownDevice:
        table = find_device(devices, message.native)
        if table is None:
            return UnknownDevice(native=message.native)
        now = self._clock.now_ms()
        if isinstance(message, ReceivedHeartbeat):
            contact = DeviceContact(device=table.device, at=now, summary="alive")
            return OutboxEntry(contacts=[contact])
        time = self.resolve_time(message.at, now)
        if isinstance(message, ReceivedEvent):
            return self._convert_event(table, message, time, now)
        values = apply_profile(self._profiles[table.profile], message.fields)
        return self.convert_values(table.device, values, at=time.at, drift_ms=time.drift_ms)

    def _convert_event(
        self, table: DeviceTable, event: ReceivedEvent, time: ResolvedTime, now: int
    ) -> OutboxEntry:
        data = dict(event.data)
        if time.rejected_at is not None:
            data["device_at"] = time.rejected_at
        if data.get("direction") == "unknown":
            reader = str(data.get("reader", ""))
            data["direction"] = table.readers.get(reader, table.direction)
        item = EventItem(device=table.device, at=time.at, id=event.id, kind=event.kind, data=data)
        contact = DeviceContact(
            device=table.device,
            at=now,
            summary=_summarise(event.kind, data),
            drift_ms=time.drift_ms,
        )
        return OutboxEntry(items=[item], contacts=[contact])

    def convert_values(
        self,
        device: str,
        mapped: MappedValues,
        *,
        at: int,
        drift_ms: int | None = None,
        memory: Mapping[str, str] | None = None,
    ) -> OutboxEntry:
        """Convert a report of fields: readings, the frozen reading, alarms that changed, the clock.

        `at` is the report's instant (ms), `drift_ms` the known drift of the device's clock,
        `memory` what is to be remembered with the entry anyway.
        """
        changes = dict(memory or {})
        items: list[ReadingItem | EventItem] = []
        if mapped.values:
            items.append(ReadingItem(device=device, at=at, values=mapped.values))
        if mapped.frozen is not None:
            items += self._convert_frozen(device, mapped.frozen, at, changes)
        if mapped.clock is not None:
            drift_ms = self._utc(mapped.clock) - at
        if drift_ms is not None:
            items += self._convert_alarm(device, self._clock_alarm(drift_ms), at, changes)
        for alarm in mapped.alarms:
            items += self._convert_alarm(device, alarm, at, changes)
        values = [f"{name} {value:.12g}" for name, value in mapped.values.items()]
        contact = DeviceContact(
            device=device,
            at=at,
            summary=", ".join(values) or "nothing to store",
            drift_ms=drift_ms,
        )
        return OutboxEntry(items=items, memory=changes, contacts=[contact])

    def _convert_frozen(
        self, device: str, frozen: FrozenReading, at: int, changes: dict[str, str]
    ) -> list[ReadingItem]:
        """Convert a frozen reading that was not converted before; note it in `changes`."""
        frozen_at = self._utc(frozen.at)
        key = f"freeze/{device}"
        is_new = self._outbox.recall(key) != str(frozen_at)
        if not is_new or not EARLIEST_MS <= frozen_at <= at:
            return []
        changes[key] = str(frozen_at)
        return [ReadingItem(device=device, at=frozen_at, values=frozen.values)]

    def _clock_alarm(self, drift_ms: int) -> AlarmState:
        return AlarmState(
            key="clock",
            kind="device",
            word="clock",
            on=abs(drift_ms) > self._max_drift_ms,
            value=drift_ms,
        )

    def _convert_alarm(
        self, device: str, alarm: AlarmState, at: int, changes: dict[str, str]
    ) -> list[EventItem]:
        """Convert an alarm that begins or ends; note its state in `changes`."""
        key = f"alarm/{device}/{alarm.key}"
        state = "on" if alarm.on else "off"
        state_before = changes.get(key) or self._outbox.recall(key) or "off"
        if state == state_before:
            return []
        changes[key] = state
        kind = alarm.kind
        data = {
            "hazard" if kind == "hazard" else "condition": alarm.word,
            "state": state,
            "item": alarm.key[:200],
            "value": _plain_value(alarm.value),
        }
        if not alarm.on and self.holds_elsewhere(device, f":{alarm.word}", key, changes):
            # Two rows may mean one danger (a current and a temperature): it is over when both are.
            kind = "device"
            data = still_holding(data, alarm.word)
        number = alarm_id(alarm.key, state, at)
        return [EventItem(device=device, at=at, id=number, kind=kind, data=data)]

    def holds_elsewhere(
        self, device: str, suffix: str, key: str, changes: Mapping[str, str]
    ) -> bool:
        """Tell whether an alarm of a device other than `key` holds, among those that end in
        `suffix`.
        """
        prefix = f"alarm/{device}/"
        states = {**self._outbox.recall_all(prefix), **changes}
        return any(
            state == "on" and other != key and other.startswith(prefix) and other.endswith(suffix)
            for other, state in states.items()
        )

    def recall(self, key: str) -> str | None:
        """Return what the outbox remembers under a key, or None."""
        return self._outbox.recall(key)

    def resolve_time(self, device_time: int | datetime | None, now: int) -> ResolvedTime:
        """Resolve the instant of a message from its device's time; `now` is the gateway's (ms)."""
        if device_time is None:
            return ResolvedTime(at=now)
        at = device_time if isinstance(device_time, int) else self._utc(device_time)
        drift_ms = at - now
        if not EARLIEST_MS <= at <= now + AHEAD_OF_GATEWAY_MS:
            return ResolvedTime(at=now, drift_ms=drift_ms, rejected_at=at)
        if drift_ms <= -LIVE_MS:
            # A message that was kept or sent again is old and true; it says nothing of the clock.
            return ResolvedTime(at=at)
        return ResolvedTime(at=at, drift_ms=drift_ms)

    def _utc(self, time: datetime) -> int:
        if time.tzinfo is None:
            time = time.replace(tzinfo=self._zone).astimezone(UTC)
        return to_ms(time)

    def local(self, at: int) -> datetime:
        """Return an instant (ms) as the estate's clocks show it."""
        return local_time(at, self._zone)


def find_device(devices: Mapping[str, DeviceTable], native: str) -> DeviceTable | None:
    """Find a source's device by its own name; `*` takes every other."""
    return devices.get(native.lower()) or devices.get("*")


def still_holding(data: Mapping[str, Any], word: str) -> dict[str, Any]:
    """Turn the end of an alarm into a condition that says that the same danger still holds."""
    condition = {**data, "condition": "other", "still": word}
    condition.pop("hazard", None)
    return condition


def alarm_id(key: str, state: str, at: int) -> str:
    """Make the id of an alarm's beginning or end.

    A field's name may hold what an event's id may not: Chinese characters, too many characters.
    """
    safe = re.sub(r"[^!-~]", "_", key)[:40]
    if safe != key:
        safe += "-" + hashlib.blake2b(key.encode(), digest_size=4).hexdigest()
    return f"{safe}-{state}-{at}"


def local_time(at: int, zone: ZoneInfo) -> datetime:
    """Return an instant (ms) as a zone's clocks show it, without its offset."""
    return datetime.fromtimestamp(at / 1000, zone).replace(tzinfo=None)


def _plain_value(value: Any) -> int | float | str:
    if isinstance(value, int | float):
        return value
    return str(value)[:80].replace("\0", "")


def _summarise(kind: str, data: Mapping[str, Any]) -> str:
    words = [str(data[name]) for name in _SUMMARY_FIELDS if data.get(name)]
    return " ".join([kind, *words])
