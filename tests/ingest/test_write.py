"""One batch in one transaction: everything received is stored, known already, or in quarantine; and
a batch is all or nothing.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from anju.demo.embedded import Postgres, make_database
from domain.rejection import Reason
from ingest.account import AccountingError, BatchOutcome
from ingest.columns import Columns
from ingest.message import ReceivedMessage
from ingest.write import Writer
from store.database.connection import Connection, Unstorable, connect
from store.database.migration import Level, migrate
from store.database.retention import drop_before
from store.ingest import log, quarantine
from store.ingest.ledger import PostgresLedger
from store.register.placement import Placement
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
NOW = 1_795_220_200_000
READINGS = b"anju/v1/es/gw/up/readings"


def message(
    items: list[Any],
    *,
    up: str = "readings",
    gateway: str = "gw",
    estate: str = "es",
    seq: int | None = None,
) -> ReceivedMessage:
    body = {"v": 1, "items": items} | ({"boot": "b1", "seq": seq} if seq else {})
    topic = f"anju/v1/{estate}/{gateway}/up/{up}"
    return ReceivedMessage(topic.encode(), json.dumps(body).encode(), 0)


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


class Book:
    """A writer, and the ledger that it writes through."""

    def __init__(self, dsn: str) -> None:
        self.ledger = PostgresLedger.open(dsn)
        self.writer = Writer(Placement(clock=time.monotonic, absent_s=0.0, look_s=0.0))

    def write(self, messages: list[ReceivedMessage], now_ms: int = NOW) -> BatchOutcome:
        return self.writer.write(self.ledger, messages, now_ms)


@pytest.fixture
def book(any_dsn: str) -> Iterator[Book]:
    with connect(any_dsn) as connection:
        register(connection)
    made = Book(any_dsn)
    yield made
    made.ledger.close()


@pytest.fixture
def look(any_dsn: str) -> Iterator[Connection]:
    with connect(any_dsn, autocommit=True) as connection:
        yield connection


def totals(look: Connection) -> tuple[int, int, int, int]:
    tallies = log.read_tallies(look).values()
    assert all(t.balanced for t in tallies)
    received = sum(tally.received for tally in tallies)
    stored = sum(tally.stored for tally in tallies)
    duplicates = sum(tally.duplicates for tally in tallies)
    quarantined = sum(tally.quarantined for tally in tallies)
    return received, stored, duplicates, quarantined


def count(look: Connection, table: str) -> int:
    row = look.execute(f"SELECT count(*) AS n FROM {table}").fetchone()
    assert row is not None
    return int(row["n"])


def mixture(rng: random.Random) -> Callable[[], ReceivedMessage]:
    """Make messages of every sort: right, doubtful and wrong."""
    kinds = [
        lambda: message(
            [reading(rng.randrange(50), rng.choice([1.0, 2.0])) for _ in range(rng.randrange(6))]
        ),
        lambda: message(
            [reading(rng.randrange(50), rng.random()) for _ in range(3)], seq=rng.randrange(1, 60)
        ),
        lambda: message([reading(1, "x"), reading(rng.randrange(50), 1.0)]),
        lambda: message(
            [reading(rng.randrange(9), -5.0), reading(rng.randrange(50), 1.0)],
            seq=rng.randrange(1, 60),
        ),
        lambda: message([reading(-3600, 1.0), reading(rng.randrange(50), 1.0)]),
        lambda: message([reading(rng.randrange(50), 1.0, "unknown-1"), reading(2, 1.0, "wm-2")]),
        lambda: message([{"device": "wm-1", "at": NOW, "values": {}}]),
        lambda: message(
            [
                {
                    "device": "wm-1",
                    "at": NOW,
                    "values": {"Bad Name": 1, "odd_thing": rng.randrange(3)},
                }
            ]
        ),
        lambda: message([smoke(rng.randrange(20)), smoke(rng.randrange(20), "off")], up="events"),
        lambda: message([reading(3, 1.0)], gateway="nobody"),
        lambda: message([reading(3, 1.0)], estate="other"),
        lambda: ReceivedMessage(READINGS, rng.randbytes(20), 0),
        lambda: ReceivedMessage(READINGS, b'{"v":1,"boot":"B!","seq":1,"items":[]}', 0),
        lambda: ReceivedMessage(READINGS, b'{"v":1,"seq":1,"items":[]}', 0),
        lambda: ReceivedMessage(
            READINGS,
            b'{"v":1,"boot":"B!","items":[{"device":"wm-1","at":%d,"values":{"water_m3":1}}]}'
            % (NOW - 9),
            0,
        ),
        lambda: ReceivedMessage(
            READINGS,
            b'{"v":1,"sent_at":0,"items":[{"device":"wm-1","at":%d,"values":{"water_m3":1}}]}'
            % (NOW - 8),
            0,
        ),
        lambda: ReceivedMessage(b"else/where", b"{}", 0),
        lambda: ReceivedMessage(b"\xff/x", b"{}", 0),
    ]
    return lambda: rng.choice(kinds)()


def test_the_law_of_conservation_holds_for_any_mixture(
    book: Book, look: Connection, rng: random.Random
) -> None:
    """Whatever comes, however often and in whatever order: received = stored + duplicates +
    quarantined, and tables agree.
    """
    make = mixture(rng)
    sent: list[ReceivedMessage] = []
    for _ in range(40):
        batch = [make() for _ in range(rng.randrange(1, 8))]
        if sent and rng.random() < 0.4:
            batch += rng.sample(sent, min(3, len(sent)))
        sent += batch
        book.write(batch)
    _received, stored, _, quarantined = totals(look)
    assert stored == count(look, "readings") + count(look, "events")
    assert quarantined == count(look, "quarantine") > 0
    before = totals(look)
    for item in sent:
        book.write([item])
    after = totals(look)
    assert (after[1], after[3]) == (before[1], before[3]), (
        "sending everything again changed something"
    )


def test_the_fast_way_and_the_careful_way_come_to_the_same(
    postgres: Postgres, dsn: str, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fast way is only faster: with it and without it the same tables, the same reasons, the
    same acknowledgements.
    """
    make = mixture(rng)
    batches = [[make() for _ in range(rng.randrange(1, 12))] for _ in range(60)]
    batches += [rng.sample([frame for batch in batches for frame in batch], 20)]
    found = []
    for fast in (True, False):
        name = make_database(postgres, f"ways_{fast}".lower())
        migrate(name, level=Level.PLAIN)
        with connect(name) as connection:
            register(connection)
        if not fast:
            monkeypatch.setattr(
                Columns, "take", lambda _self, _messages, positions, _routes: list(positions)
            )
        book = Book(name)
        acks = []
        taken = 0
        for batch in batches:
            outcome = book.write(batch)
            acks.append(
                sorted(
                    (address, ack.kind, ack.boot, ack.upto, tuple(ack.also))
                    for address, ack in outcome.acks
                )
            )
            taken += len(book.writer.routes.used)
        book.ledger.close()
        assert (taken > 50) is fast
        with connect(name) as look:
            found.append(
                (
                    acks,
                    look.execute(
                        "SELECT at, p.name, value FROM readings r JOIN points p ON p.id = "
                        "r.point_id ORDER BY 1, 2"
                    ).fetchall(),
                    look.execute(
                        "SELECT topic, reason, detail, payload FROM quarantine ORDER BY digest"
                    ).fetchall(),
                    log.read_tallies(look),
                    look.execute("SELECT best_effort FROM gateway_state").fetchall(),
                    look.execute(
                        "SELECT kind, boot, received::text FROM gateway_progress ORDER BY 1, 2"
                    ).fetchall(),
                )
            )
    assert found[0] == found[1]
    assert len(found[0][1]) > 30 and len(found[0][2]) > 10


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (message([reading(0, 1.0)], gateway="nobody"), Reason.UNKNOWN_GATEWAY),
        (message([reading(0, 1.0)], estate="other"), Reason.UNKNOWN_GATEWAY),
        (message([reading(0, 1.0, "wm-9")]), Reason.UNKNOWN_DEVICE),
        (message([reading(0, 1.0, "wm-2")]), Reason.FOREIGN_DEVICE),
        (ReceivedMessage(READINGS, b"not json", 0), Reason.UNREADABLE),
        (message([reading(-400, 1.0)]), Reason.CLOCK_AHEAD),
        (message([reading(0, -1.0)]), Reason.BAD_VALUE),
    ],
)
def test_what_is_not_ours_is_kept_with_its_reason(
    book: Book, look: Connection, given: ReceivedMessage, reason: Reason
) -> None:
    outcome = book.write([given])
    assert outcome.reasons == [reason]
    row = quarantine.list_open(look)[0]
    assert row.reason == reason and row.topic == given.topic.decode()
    assert count(look, "readings") == 0


def test_another_value_for_the_same_instant_is_a_conflict_not_a_loss(
    book: Book, look: Connection
) -> None:
    book.write([message([reading(0, 1.0)])])
    outcome = book.write(
        [
            message([reading(0, 7.0), reading(1, 3.0)]),
            message([reading(1, 4.0)]),
            message([reading(0, 1.0)]),
        ]
    )
    assert outcome.reasons == [Reason.CONFLICT, Reason.CONFLICT]
    kept = sorted(row.payload for row in quarantine.list_open(look))
    assert b'"water_m3":4.0' in kept[0] and b'"water_m3":7.0' in kept[1]
    (tally,) = log.read_tallies(look).values()
    assert (tally.stored, tally.duplicates, tally.quarantined) == (2, 1, 2)


def test_a_gateway_and_a_device_registered_later_speak_at_once(
    book: Book, look: Connection
) -> None:
    assert book.write([message([reading(0, 1.0, "wm-9")])]).reasons == [Reason.UNKNOWN_DEVICE]
    look.execute(
        "INSERT INTO devices (estate_id, code, kind, profile) SELECT id, 'wm-9', 'water_meter', "
        "'x' FROM estates WHERE code = 'es'"
    )
    assert (
        book.write([message([reading(1, 1.0, "wm-9")])]).reasons == []
        and count(look, "readings") == 1
    )


def test_a_device_that_moved_to_another_gateway_is_known_at_once(
    book: Book, look: Connection
) -> None:
    assert book.write([message([reading(0, 1.0)])]).reasons == []
    look.execute(
        "UPDATE devices SET gateway_id = (SELECT id FROM gateways WHERE code = 'gw-2') WHERE "
        "code = 'wm-1'"
    )
    assert book.write([message([reading(1, 1.0)])]).reasons == [Reason.FOREIGN_DEVICE]


def acked(outcome: BatchOutcome) -> tuple[int, list[int]]:
    return outcome.acks[0].ack.upto, outcome.acks[0].ack.also


def test_acknowledgements_follow_the_numbers_and_gaps_are_filled(
    book: Book, look: Connection
) -> None:
    assert acked(book.write([message([reading(1, 1.0)], seq=1)])) == (1, [])
    assert acked(book.write([message([reading(4, 1.0)], seq=4)])) == (1, [4])
    assert look.execute("SELECT first_seq, last_seq FROM gaps").fetchall() == [
        {"first_seq": 2, "last_seq": 3}
    ]
    # What cannot be stored is acknowledged too, or its gateway would send it for ever.
    assert acked(book.write([message([reading(2, "bad")], seq=2)])) == (2, [])
    assert acked(book.write([message([reading(3, 1.0)], seq=3)])) == (4, [])
    assert count(look, "gaps") == 0
    fresh = Writer(Placement(clock=time.monotonic))
    assert acked(fresh.write(book.ledger, [message([reading(4, 1.0)], seq=4)], NOW)) == (4, [])


def test_a_batch_that_does_not_add_up_is_rolled_back(
    book: Book, look: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresLedger, "keep_refused", lambda *_: [])
    with pytest.raises((AccountingError, ValueError)):
        book.write([message([reading(0, 1.0), reading(1, "x")])])
    assert count(look, "readings") == 0


def test_hazards_are_queued_for_watch_in_the_same_transaction(book: Book, look: Connection) -> None:
    outcome = book.write([message([smoke(1)], up="events")])
    assert [event.event_id for event in outcome.to_watch] == ["1"] and count(
        look, "watch_queue"
    ) == 1
    book.write([message([smoke(1)], up="events")])
    assert count(look, "watch_queue") == 1
    # A resend that comes in one batch with something new is still not acted on twice.
    book.write([message([smoke(1)], up="events"), message([smoke(2)], up="events")])
    assert count(look, "watch_queue") == 2


def test_late_data_for_a_month_that_retention_dropped_are_stored(
    dsn: str, connection: Connection
) -> None:
    """The ledger forgets what partitions it knew when a batch fails, so that the second try makes
    the month again.
    """
    register(connection)
    book = Book(dsn)
    book.write([message([reading(0, 1.0)])])
    drop_before(connection, "readings", datetime(2030, 1, 1, tzinfo=UTC))
    connection.commit()
    with pytest.raises(Unstorable):
        book.write([message([reading(5, 1.0)])])
    book.write([message([reading(5, 1.0)])])
    assert count(connection, "readings") == 1
    book.ledger.close()
