"""One batch in one transaction: everything received is stored, known already, or in quarantine; and a batch is all or nothing."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from domain.rejection import Reason
from ingest.write import Message, Outcome, Unbalanced, Writer
from store import ingest_log, quarantine
from store.connect import Connection
from store.partitions import Partitions
from store.placement import Placement
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
NOW = 1_795_220_200_000


def message(
    items: list[Any], *, up: str = "readings", gateway: str = "gw", estate: str = "es", seq: int | None = None
) -> Message:
    body = {"v": 1, "items": items} | ({"boot": "b1", "seq": seq} if seq else {})
    return Message(topic=f"anju/v1/{estate}/{gateway}/up/{up}", payload=json.dumps(body).encode())


def reading(at: int, value: Any, device: str = "wm-1") -> dict[str, Any]:
    return {"device": device, "at": NOW - at * 1000, "values": {"water_m3": value}}


def smoke(number: int, state: str = "on") -> dict[str, Any]:
    return {
        "device": "smoke-1",
        "at": NOW - number,
        "id": str(number),
        "kind": "hazard",
        "data": {"hazard": "smoke", "state": state},
    }


@pytest.fixture
def writer(any_connection: Connection) -> Writer:
    register(any_connection)
    placement = Placement(clock=time.monotonic, absent_s=0.0)
    placement.refresh(any_connection)
    made = Writer(placement, Partitions(any_connection))
    any_connection.commit()
    return made


def totals(connection: Connection) -> tuple[int, int, int, int]:
    tallies = ingest_log.read_tallies(connection).values()
    assert all(t.balanced for t in tallies)
    return tuple(sum(getattr(t, n) for t in tallies) for n in ("received", "stored", "duplicates", "quarantined"))  # type: ignore[return-value]


def count(connection: Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row["n"])


def test_the_law_of_conservation_holds_for_any_mixture(
    any_connection: Connection, writer: Writer, rng: random.Random
) -> None:
    """Whatever comes, however often and in whatever order: received = stored + duplicates + quarantined, and tables agree."""
    kinds = [
        lambda: message([reading(rng.randrange(50), rng.choice([1.0, 2.0])) for _ in range(rng.randrange(6))]),
        lambda: message([reading(1, "x"), reading(rng.randrange(50), 1.0)]),
        lambda: message([reading(rng.randrange(50), 1.0, "unknown-1"), reading(2, 1.0, "wm-2")]),
        lambda: message([smoke(rng.randrange(20)), smoke(rng.randrange(20), "off")], up="events"),
        lambda: message([reading(3, 1.0)], gateway="nobody"),
        lambda: message([reading(3, 1.0)], estate="other"),
        lambda: Message(topic="anju/v1/es/gw/up/readings", payload=rng.randbytes(20)),
        lambda: Message(topic="else/where", payload=b"{}"),
    ]
    sent: list[Message] = []
    for _ in range(40):
        batch = [rng.choice(kinds)() for _ in range(rng.randrange(1, 8))]
        if sent and rng.random() < 0.4:
            batch += rng.sample(sent, min(3, len(sent)))
        sent += batch
        writer.write(any_connection, batch, NOW)
    _received, stored, _, quarantined = totals(any_connection)
    assert stored == count(any_connection, "readings") + count(any_connection, "events")
    assert quarantined == count(any_connection, "quarantine") > 0
    before = totals(any_connection)
    for item in sent:
        writer.write(any_connection, [item], NOW)
    after = totals(any_connection)
    assert (after[1], after[3]) == (before[1], before[3]), "sending everything again changed something"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (message([reading(0, 1.0)], gateway="nobody"), Reason.UNKNOWN_GATEWAY),
        (message([reading(0, 1.0)], estate="other"), Reason.UNKNOWN_GATEWAY),
        (message([reading(0, 1.0, "wm-9")]), Reason.UNKNOWN_DEVICE),
        (message([reading(0, 1.0, "wm-2")]), Reason.FOREIGN_DEVICE),
        (Message(topic="anju/v1/es/gw/up/readings", payload=b"not json"), Reason.UNREADABLE),
    ],
)
def test_what_is_not_ours_is_kept_with_its_reason(connection: Connection, given: Message, reason: Reason) -> None:
    register(connection)
    writer = Writer(Placement(clock=time.monotonic, absent_s=0.0), Partitions(connection))
    outcome = writer.write(connection, [given], NOW)
    assert outcome.reasons == [reason]
    row = quarantine.list_open(connection)[0]
    assert row["reason"] == reason and row["topic"] == given.topic
    assert count(connection, "readings") == 0


def test_another_value_for_the_same_instant_is_a_conflict_not_a_loss(
    any_connection: Connection, writer: Writer
) -> None:
    writer.write(any_connection, [message([reading(0, 1.0)])], NOW)
    outcome = writer.write(any_connection, [message([reading(0, 7.0)])], NOW)
    assert outcome.reasons == [Reason.CONFLICT]
    assert b"7.0" in bytes(quarantine.list_open(any_connection)[0]["payload"])


def test_a_device_registered_later_is_served_from_quarantine(any_connection: Connection, writer: Writer) -> None:
    writer.write(any_connection, [message([reading(0, 1.0, "wm-9")])], NOW)
    any_connection.execute(
        "INSERT INTO devices (estate_id, code, kind, profile) SELECT id, 'wm-9', 'water_meter', 'x' FROM estates WHERE code = 'es'"
    )
    taken = quarantine.take_for_replay(any_connection, Reason.UNKNOWN_DEVICE)
    any_connection.commit()
    writer.write(any_connection, [Message(topic=r["topic"], payload=bytes(r["payload"])) for r in taken], NOW)
    assert count(any_connection, "readings") == 1 and quarantine.count_open(any_connection) == {}


def acked(outcome: Outcome) -> tuple[int, list[int]]:
    return outcome.acks[0][2].upto, outcome.acks[0][2].also


def test_acknowledgements_follow_the_numbers_and_gaps_are_filled(any_connection: Connection, writer: Writer) -> None:
    assert acked(writer.write(any_connection, [message([reading(1, 1.0)], seq=1)], NOW)) == (1, [])
    assert acked(writer.write(any_connection, [message([reading(4, 1.0)], seq=4)], NOW)) == (1, [4])
    key = next(iter(writer.progress))
    ingest_log.note_gaps(any_connection, key, writer.progress[key].missing())
    assert count(any_connection, "gaps") == 2
    # What cannot be stored is acknowledged too, or its gateway would send it for ever.
    assert acked(writer.write(any_connection, [message([reading(2, "bad")], seq=2)], NOW)) == (2, [])
    assert acked(writer.write(any_connection, [message([reading(3, 1.0)], seq=3)], NOW)) == (4, [])
    row = any_connection.execute("SELECT count(*) AS n FROM gaps WHERE filled_at IS NULL").fetchone()
    assert row == {"n": 0}
    fresh = Writer(writer.placement, writer.partitions)
    assert acked(fresh.write(any_connection, [message([reading(4, 1.0)], seq=4)], NOW)) == (4, [])


def test_a_batch_that_does_not_add_up_is_rolled_back(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    register(connection)
    writer = Writer(Placement(clock=time.monotonic, absent_s=0.0), Partitions(connection))
    monkeypatch.setattr("ingest.write._Batch._settle", lambda *_: None)
    with pytest.raises(Unbalanced):
        writer.write(connection, [message([reading(0, 1.0)])], NOW)
    assert count(connection, "readings") == 0


def test_hazards_are_queued_for_watch_in_the_same_transaction(any_connection: Connection, writer: Writer) -> None:
    outcome = writer.write(any_connection, [message([smoke(1)], up="events")], NOW)
    assert outcome.to_watch == 1 and count(any_connection, "watch_queue") == 1
    writer.write(any_connection, [message([smoke(1)], up="events")], NOW)
    assert count(any_connection, "watch_queue") == 1
    # A resend that comes in one batch with something new is still not acted on twice.
    writer.write(any_connection, [message([smoke(1)], up="events"), message([smoke(2)], up="events")], NOW)
    assert count(any_connection, "watch_queue") == 2


def test_late_data_for_a_month_that_retention_dropped_are_stored(connection: Connection) -> None:
    """The writer forgets what partitions it knew when a batch fails, so that the second try makes the month again."""
    from datetime import UTC, datetime

    from store.connect import Unstorable
    from store.retention import drop_before

    register(connection)
    writer = Writer(Placement(clock=time.monotonic, absent_s=0.0), Partitions(connection))
    writer.write(connection, [message([reading(0, 1.0)])], NOW)
    drop_before(connection, "readings", datetime(2030, 1, 1, tzinfo=UTC))
    connection.commit()
    with pytest.raises(Unstorable):
        writer.write(connection, [message([reading(5, 1.0)])], NOW)
    writer.write(connection, [message([reading(5, 1.0)])], NOW)
    assert count(connection, "readings") == 1
