"""Application units of fire user devices (GB/T 26875.3), turned into what the outbox keeps.

A part that the configuration lists reports as its own device; any other as the fire host, with the
part in its data. A state is an event for each alarm that begins or ends with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devices.protocols import gb26875 as wire
from domain.wire import EventItem, ReadingItem
from gateway.config_tables import FireDeviceTable
from gateway.intake import Intake, still_holding
from gateway.outbox import DeviceContact, OutboxEntry

#: Part types (GB/T 26875.3, table 9 of annex) by the hazard of their alarm; any other is a fire.
_HAZARDS = {
    **dict.fromkeys(range(10, 16), "gas"),
    **dict.fromkeys((16, 17, 18), "electrical"),
    **dict.fromkeys(range(40, 44), "smoke"),
}
#: Bits of a state that are conditions of a device.
_CONDITIONS = {
    "fault": "fault",
    "power_fault": "fault",
    "backup_power_fault": "low_battery",
    "bus_fault": "fault",
    "line_fault": "fault",
    "link_fault": "fault",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A state of a device: its bits, the hazard of its fire bit, and the part that it is of."""

    device: str
    bits: frozenset[str]
    known_bits: tuple[str, ...]
    hazard: str
    location: dict[str, Any]
    stamp: bytes

    @property
    def place(self) -> str:
        """Name the part, to remember its alarms."""
        return f"{self.location.get('system', '-')}-{self.location.get('part', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alarm:
    """What a bit of a state means in the wire contract."""

    bit: str
    kind: str
    data: dict[str, str]


def convert_unit(
    unit: wire.Gb26875Unit,
    *,
    host: FireDeviceTable,
    intake: Intake,
    now: int,
    drift_ms: int | None,
) -> OutboxEntry:
    """Convert an application unit of a host.

    `now` is the gateway's time (ms), `drift_ms` how far the host's clock is ahead, None where
    nobody can tell.
    """
    converter = _UnitConverter(host, intake, now)
    items: list[EventItem | ReadingItem] = []
    for information in unit.objects:
        items += converter.convert(information)
    summary = f"type {unit.kind}"
    parts = {item.device for item in items} - {host.device}
    contacts = [DeviceContact(device=part, at=now, summary=summary) for part in parts]
    contacts.append(DeviceContact(device=host.device, at=now, summary=summary, drift_ms=drift_ms))
    return OutboxEntry(items=items, memory=converter.memory, contacts=contacts)


class _UnitConverter:
    """Converts the objects of one unit; `memory` collects the states of alarms."""

    def __init__(self, host: FireDeviceTable, intake: Intake, now: int) -> None:
        self._host = host.device
        self._parts = {(part.system, part.part): part.device for part in host.parts}
        self._intake = intake
        self._now = now
        self.memory: dict[str, str] = {}

    def convert(self, information: wire.InformationObject) -> list[EventItem | ReadingItem]:
        match information:
            case wire.PartState():
                return self._convert_state(self._part_state(information))
            case wire.SystemState():
                return self._convert_state(self._system_state(information))
            case wire.TransmitterState():
                return self._convert_state(self._transmitter_state(information))
            case wire.AnalogValue() if information.quantity in wire.QUANTITIES:
                return [self._convert_analog(information)]
            case wire.OperatorAction():
                return [self._convert_action(information)]
        return []

    def _part_state(self, part: wire.PartState) -> _State:
        location: dict[str, Any] = {
            "system": part.system,
            "part": part.part,
            "part_type": part.part_type,
        }
        if part.text:
            location["text"] = part.text
        return _State(
            device=self._device_of(part),
            bits=wire.bit_names(part.state, wire.STATE_BITS),
            known_bits=wire.STATE_BITS,
            hazard=_HAZARDS.get(part.part_type, "fire"),
            location=location,
            stamp=part.stamp,
        )

    def _system_state(self, system: wire.SystemState) -> _State:
        return _State(
            device=self._host,
            bits=wire.bit_names(system.state, wire.STATE_BITS),
            known_bits=wire.STATE_BITS,
            hazard="fire",
            location={"system": system.system},
            stamp=system.stamp,
        )

    def _transmitter_state(self, transmitter: wire.TransmitterState) -> _State:
        return _State(
            device=self._host,
            bits=wire.bit_names(transmitter.state, wire.TRANSMITTER_BITS),
            known_bits=wire.TRANSMITTER_BITS,
            hazard="fire",
            location={"part": "transmitter"},
            stamp=transmitter.stamp,
        )

    def _device_of(self, part: wire.PartState | wire.AnalogValue) -> str:
        return self._parts.get((part.system, part.part), self._host)

    def _convert_analog(self, analog: wire.AnalogValue) -> ReadingItem:
        quantity = wire.QUANTITIES[analog.quantity]
        value = round(analog.value * quantity.step, 6)
        time = self._intake.resolve_time(wire.decode_time(analog.stamp), self._now)
        return ReadingItem(
            device=self._device_of(analog), at=time.at, values={quantity.point: value}
        )

    def _convert_action(self, action: wire.OperatorAction) -> EventItem:
        operations = sorted(wire.bit_names(action.flags, wire.OPERATION_BITS))
        time = self._intake.resolve_time(wire.decode_time(action.stamp), self._now)
        return EventItem(
            device=self._host,
            at=time.at,
            id=f"op-{action.flags}-{action.operator}-{action.stamp.hex()}",
            kind="device",
            data={
                "condition": "other",
                "state": "test" if "test" in operations else "on",
                "operation": operations,
                "operator": action.operator,
            },
        )

    def _convert_state(self, state: _State) -> list[EventItem | ReadingItem]:
        """Convert a state to an event for each alarm that begins or ends with it."""
        events = (self._convert_alarm(state, alarm) for alarm in _alarms_of(state))
        return [event for event in events if event is not None]

    def _convert_alarm(self, state: _State, alarm: _Alarm) -> EventItem | None:
        """Convert an alarm of a state; None for one that is off and was off before.

        An alarm that is reported again with the same time has the same id: it is the same event.
        """
        key = f"alarm/{state.device}/{state.place}/{alarm.bit}"
        alarm_state = "on" if alarm.bit in state.bits else "off"
        if alarm_state == "off" and (self._intake.recall(key) or "off") == "off":
            return None
        self.memory[key] = alarm_state
        time = self._intake.resolve_time(wire.decode_time(state.stamp), self._now)
        kind = alarm.kind
        data: Mapping[str, Any] = {
            **alarm.data,
            "state": alarm_state,
            **state.location,
            "bits": sorted(state.bits),
        }
        if time.rejected_at is not None:
            data = {**data, "device_at": time.rejected_at}
        suffix = f"/{alarm.bit}"
        if alarm_state == "off" and self._intake.holds_elsewhere(
            state.device, suffix, key, self.memory
        ):
            # Another part of the same device still reports a fire: the danger is not over.
            kind = "device"
            data = still_holding(data, alarm.bit)
        number = f"{state.place}-{alarm.bit}-{alarm_state}-{state.stamp.hex()}"[:80]
        return EventItem(device=state.device, at=time.at, id=number, kind=kind, data=dict(data))


def _alarms_of(state: _State) -> list[_Alarm]:
    """List the alarms that a state of this kind can report."""
    alarms = [_Alarm(bit="fire", kind="hazard", data={"hazard": state.hazard})]
    for bit, condition in _CONDITIONS.items():
        if bit in state.known_bits:
            alarms.append(_Alarm(bit=bit, kind="device", data={"condition": condition}))
    return alarms
