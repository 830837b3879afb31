"""The careful way finds for every item its place, or the reason why it has none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain.rejection import Reason
from ingest.account import BatchAccount
from ingest.arrival import Arrivals
from ingest.careful import CarefulReader
from ingest.message import ReceivedMessage
from store.ingest.log import TallyKey
from store.register.placement import PlacedGateway, Placement
from tests.simulation.database import Database, SimLedger
from tests.simulation.world import START_MS, World


def make(*, as_sent: bool = False) -> CarefulReader:
    """Make a reader over a register of two gateways with two devices each."""
    world = World(1)
    database = Database(world, gateways=2, devices=2)
    database.gateways["es", "gw-0"] = PlacedGateway(id=1, estate_id=1, as_sent=as_sent)
    placement = Placement(clock=world.monotonic)
    return CarefulReader(SimLedger(database), placement, BatchAccount(), Arrivals(START_MS), [])


def message(up: str, body: dict[str, Any], gateway: str = "gw-0") -> ReceivedMessage:
    topic = f"anju/v1/es/{gateway}/up/{up}"
    return ReceivedMessage(topic.encode(), json.dumps({"v": 1, **body}).encode(), 0)


def event(device: str = "d-0-0", **fields: Any) -> dict[str, Any]:
    data = {"hazard": "smoke", "state": "on"}
    return {"device": device, "at": START_MS, "id": "1", "kind": "hazard", "data": data, **fields}


def reasons(reader: CarefulReader) -> list[Reason]:
    return [refused.why.reason for refused in reader.account.refused]


def test_an_event_is_placed() -> None:
    reader = make()
    reader.read(0, message("events", {"items": [event()], "boot": "b1", "seq": 3}))
    (placed,) = reader.events
    assert (placed.row.device_id, placed.estate_id, placed.row.received_ms) == (1, 1, START_MS)
    assert reader.account.tallies[TallyKey("es/gw-0", "events")].received == 1
    assert reasons(reader) == []


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (event("nobody"), Reason.UNKNOWN_DEVICE),
        (event("d-1-0"), Reason.FOREIGN_DEVICE),
        (event(kind="party"), Reason.BAD_EVENT),
    ],
)
def test_an_event_without_a_place_is_refused(item: dict[str, Any], reason: Reason) -> None:
    reader = make()
    reader.read(0, message("events", {"items": [item, event(id="2")]}))
    assert reasons(reader) == [reason]
    assert [placed.row.event_id for placed in reader.events] == ["2"], "its sibling is kept"
    assert reader.account.unnumbered == {1}


def test_a_gateway_that_is_not_registered_is_refused_whole() -> None:
    reader = make()
    reader.read(0, message("events", {"items": [event()]}, gateway="nobody"))
    assert reasons(reader) == [Reason.UNKNOWN_GATEWAY]
    assert reader.account.registered == set() and reader.events == []


def test_a_state_is_reported_and_counted() -> None:
    reader = make()
    reader.read(0, message("state", {"online": True, "at": START_MS, "boot": "b1"}))
    (report,) = reader.reports
    assert report.address == ("es", "gw-0") and report.state is not None and report.birth is None
    tally = reader.account.tallies[TallyKey("es/gw-0", "state")]
    assert (tally.received, tally.stored) == (1, 1)


def test_new_points_of_a_registered_device_are_made() -> None:
    reader = make()
    item = {"device": "d-0-0", "at": START_MS, "values": {"water_m3": 1.0, "odd_thing": 2.0}}
    reader.read(4, message("readings", {"items": [item]}))
    assert sorted(reading.value for reading in reader.readings) == [1.0, 2.0]
    assert len({reading.point for reading in reader.readings}) == 2
    assert {reading.position for reading in reader.readings} == {4}


def test_a_recordings_message_arrived_when_it_was_sent() -> None:
    reader = make(as_sent=True)
    old = event(at=START_MS - 5000)
    reader.read(0, message("events", {"items": [old], "sent_at": START_MS - 4000}))
    reader.read(1, message("events", {"items": [{**old, "id": "2"}]}))
    received = [placed.row.received_ms for placed in reader.events]
    assert received == [START_MS - 4000, START_MS - 5000]
