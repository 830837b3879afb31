"""Messages are placed by the register: known ones the fast way, others the careful way, in one
order.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain.rejection import Reason, Rejected
from ingest.account import AccountingError, BatchAccount
from ingest.columns import Columns
from ingest.message import ReceivedMessage
from ingest.place import PlacedBatch, place_batch
from ingest.routes import RouteTable
from ingest.store_batch import store_batch
from store.ingest.log import TallyKey
from store.ingest.progress import ProgressKey
from store.register.placement import PlacedGateway, Placement
from tests.simulation.database import Database, SimLedger
from tests.simulation.world import START_MS, World

READINGS = "anju/v1/es/gw-0/up/readings"
SOURCE = TallyKey("es/gw-0", "readings")


class Site:
    """A register of one gateway with two devices, and the routes of one lane."""

    def __init__(self) -> None:
        world = World(1)
        self.database = Database(world, gateways=1, devices=2)
        self.ledger = SimLedger(self.database)
        self.placement = Placement(clock=world.monotonic)
        self.routes = RouteTable(self.placement)

    def place(self, *messages: ReceivedMessage, rejection: Rejected | None = None) -> PlacedBatch:
        self.routes.refresh(self.ledger)
        return place_batch(self.ledger, self.routes, messages, START_MS, rejection=rejection)


@pytest.fixture
def site() -> Site:
    return Site()


def reading(
    value: Any, *, device: str = "d-0-0", seq: int | None = None, age_ms: int = 0
) -> ReceivedMessage:
    item = {"device": device, "at": START_MS - age_ms, "values": {"water_m3": value}}
    body: dict[str, Any] = {"v": 1, "items": [item]}
    if seq is not None:
        body |= {"boot": "b1", "seq": seq, "sent_at": START_MS - age_ms}
    return ReceivedMessage(READINGS.encode(), json.dumps(body).encode(), 0)


def test_readings_stand_in_the_order_of_their_messages(site: Site) -> None:
    """A bad value goes the careful way; it does not change the places of the others."""
    site.place(reading(1.0), reading(1.0, device="d-0-1"))
    messages = [
        reading(1.0),
        reading("x"),
        reading(2.0, device="d-0-1"),
        reading(-5.0),
        reading(3.0),
    ]
    batch = site.place(*messages)
    assert batch.readings.value.tolist() == [1.0, 2.0, 3.0]
    assert [batch.topics[topic] for topic in batch.readings.topic] == [READINGS] * 3
    assert [refused.why.reason for refused in batch.account.refused] == [Reason.BAD_VALUE] * 2
    assert batch.account.tallies[SOURCE].received == 5


def test_what_is_new_is_learnt_within_the_batch(site: Site) -> None:
    batch = site.place(reading(1.0, seq=1), reading(2.0, device="d-0-1", seq=2))
    assert len(batch.readings) == 2 and len(site.routes.used) == 2, "not the fast way"
    assert len(set(batch.readings.point.tolist())) == 2


def test_numbers_are_noted_for_the_gateway(site: Site) -> None:
    batch = site.place(reading(1.0, seq=4), reading("x", seq=5))
    (key,) = batch.account.numbers
    assert key == ProgressKey(1, "readings", "b1")
    assert sorted(set(batch.account.numbers[key])) == [4, 5], "a refused message is not noted"
    assert batch.account.addresses[1] == ("es", "gw-0")


def test_how_far_a_clock_is_off_is_noted(site: Site) -> None:
    assert site.place(reading(1.0, seq=1, age_ms=700)).account.skews == {1: -700}


def test_a_message_without_a_number_is_noted(site: Site) -> None:
    assert site.place(reading(1.0)).account.unnumbered == {1}


def test_with_a_rejection_everything_is_refused_for_it(site: Site) -> None:
    why = Rejected(reason=Reason.UNSTORABLE, detail="planted")
    batch = site.place(reading(1.0, seq=1), rejection=why)
    assert len(batch.readings) == 0
    assert [refused.why for refused in batch.account.refused] == [why]
    assert batch.account.numbers, "its gateway would send it for ever"


def test_a_changed_register_is_asked_again(site: Site) -> None:
    site.place(reading(1.0))
    assert site.routes.by_topic
    site.placement.forget()
    site.routes.refresh(site.ledger)
    assert site.routes.by_topic == {}


def test_routes_begin_every_batch_at_nothing(site: Site) -> None:
    site.place(reading(1.0, seq=1))
    batch = site.place(reading(2.0, seq=2))
    assert batch.account.tallies[SOURCE].received == 1
    assert list(batch.account.numbers.values()) == [[2]]


def test_a_batch_is_stored_and_accounted_for(site: Site) -> None:
    batch = site.place(reading(1.0, seq=1), reading(1.0, seq=1), reading("x", seq=2))
    outcome = store_batch(site.ledger, site.placement, batch, merge=True)
    tally = outcome.tallies[SOURCE]
    assert (tally.received, tally.stored, tally.duplicates, tally.quarantined) == (3, 1, 1, 1)
    ((address, ack),) = outcome.acks
    assert address == ("es", "gw-0") and (ack.upto, ack.also) == (2, [])
    assert outcome.readings is not None and outcome.readings.value.tolist() == [1.0]
    assert outcome.reasons == [Reason.BAD_VALUE] and outcome.registered == {"es/gw-0"}


def test_a_batch_that_does_not_add_up_is_a_bug() -> None:
    account = BatchAccount()
    account.tally(SOURCE).received = 2
    account.tally(SOURCE).stored = 1
    with pytest.raises(AccountingError, match="es/gw-0"):
        account.check()


def test_a_clock_that_is_only_wrong_is_capped() -> None:
    account = BatchAccount()
    account.note_sent_at(PlacedGateway(id=3, estate_id=1), 0, START_MS)
    assert account.skews == {3: -(2**31 - 1)}


def test_a_bug_in_the_reader_stops_no_lane(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ingest.careful.decode", fail)
    monkeypatch.setattr(
        Columns, "take", lambda _self, _messages, positions, _routes: list(positions)
    )
    batch = site.place(reading(1.0))
    (refused,) = batch.account.refused
    assert refused.why.reason is Reason.UNREADABLE and "ZeroDivisionError" in refused.why.detail
