"""Units of fire user devices: whatever one holds becomes items that the server takes, once."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

from devices.protocols import gb26875 as wire
from domain.ids import valid_event_id
from domain.wire import EventItem, ReadingItem
from gateway.config_tables import FireDeviceTable, PartTable
from gateway.fire_units import convert_unit
from gateway.outbox import OutboxEntry
from tests.devices.fuzzing import gb26875_unit
from tests.gateway.conftest import Bench

NOW = 1_790_000_000_000
HOST = FireDeviceTable(
    device="fire-1",
    source="0000000000a1",
    parts=[PartTable(device="smoke-1", part="00000001", system=1)],
)


def convert(bench: Bench, *objects: wire.InformationObject, kind: int = 2) -> OutboxEntry:
    unit = wire.Gb26875Unit(kind=kind, objects=objects)
    return convert_unit(unit, host=HOST, intake=bench.intake, now=NOW, drift_ms=3)


def part(number: int, state: int, minute: int = 0) -> wire.PartState:
    return wire.PartState(
        system_type=1,
        system=1,
        part_type=40,
        part=f"{number:08x}",
        state=state,
        text="",
        stamp=wire.encode_time(datetime(2026, 3, 1, 8, minute)),
    )


def test_any_unit_becomes_items_that_the_server_takes(bench: Callable[[str], Bench]) -> None:
    made = bench("")
    rng = random.Random(5)
    for _ in range(300):
        unit = gb26875_unit(rng)
        entry = convert_unit(unit, host=HOST, intake=made.intake, now=NOW, drift_ms=None)
        for item in entry.items:
            assert item.device in ("fire-1", "smoke-1")
            assert isinstance(item, ReadingItem) or valid_event_id(item.id)
        assert entry.contacts[-1].device == "fire-1"


def test_an_alarm_begins_once_and_ends_once(bench: Callable[[str], Bench]) -> None:
    made = bench("")
    fire = 0b11
    (began,) = convert(made, part(1, fire)).items
    assert isinstance(began, EventItem)
    assert (began.device, began.kind, began.data["hazard"]) == ("smoke-1", "hazard", "smoke")
    (again,) = convert(made, part(1, fire)).items
    assert again == began
    made.outbox.put([convert(made, part(1, fire))])
    (ended,) = convert(made, part(1, 1, minute=5)).items
    assert isinstance(ended, EventItem)
    assert (ended.kind, ended.data["state"]) == ("hazard", "off")
    assert convert(made, part(2, 1)).items == []


def test_while_another_part_reports_a_fire_the_danger_is_not_over(
    bench: Callable[[str], Bench],
) -> None:
    made = bench("")
    made.outbox.put([convert(made, part(7, 0b11), part(8, 0b11))])
    (event,) = convert(made, part(7, 1, minute=5)).items
    assert isinstance(event, EventItem)
    assert (event.kind, event.data["condition"], event.data["still"]) == ("device", "other", "fire")
    assert "hazard" not in event.data
