"""The outbox: nothing leaves it but by acknowledgement or by its cap, which counts.

What is sealed never changes.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.wire import EventItem, ReadingItem, Up
from gateway.outbox import Outbox, OutboxEntry
from gateway.outbox_file import OutboxUnusable

T0 = 1_790_000_000_000


def reading(n: int) -> ReadingItem:
    return ReadingItem(device=f"wm-{n % 7}", at=T0 + n, values={"water_m3": n / 1000})


def event(n: int, kind: str = "passage") -> EventItem:
    return EventItem(
        device="door-1",
        at=T0 + n,
        id=f"e{n}",
        kind=kind,
        data={"hazard": "smoke", "state": "on"} if kind == "hazard" else {},
    )


def items(payload: bytes) -> list[dict[str, object]]:
    return list(msgspec.json.decode(payload)["items"])


def ats(payload: bytes) -> list[int]:
    return [int(str(item["at"])) - T0 for item in items(payload)]


def test_readings_go_oldest_first_and_events_newest_first() -> None:
    box = Outbox(None, "b1")
    for n in range(1200):
        box.put([OutboxEntry(items=[reading(n), event(n)])])
    first, second = box.next(Up.READINGS, T0), box.next(Up.READINGS, T0)
    assert first is not None and second is not None
    assert ats(first.payload) == list(range(500)) and ats(second.payload) == list(range(500, 1000))
    newest = box.next(Up.EVENTS, T0)
    assert newest is not None
    # The newest five hundred, told in the order in which they happened.
    assert ats(newest.payload) == list(range(700, 1200))
    assert msgspec.json.decode(newest.payload)["seq"] == 1


def test_a_hazard_goes_before_newer_passages() -> None:
    box = Outbox(None, "b1")
    box.put([OutboxEntry(items=[event(0, "hazard")])])
    for n in range(1, 900):
        box.put([OutboxEntry(items=[event(n)])])
    first = box.next(Up.EVENTS, T0)
    assert first is not None and 0 in ats(first.payload)


def test_only_an_acknowledgement_empties_it_also_across_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path, "b1")
    box.put([OutboxEntry(items=[reading(n) for n in range(600)])])
    sealed = [box.next(Up.READINGS, T0), box.next(Up.READINGS, T0)]
    assert box.next(Up.READINGS, T0) is None
    box.close()
    again = Outbox(path, "b2")
    assert again.items == 600
    resent = [again.next(Up.READINGS, T0 + 99), again.next(Up.READINGS, T0 + 99)]
    assert [m.payload for m in resent if m] == [m.payload for m in sealed if m]
    again.put([OutboxEntry(items=[reading(601)])])
    fresh = again.next(Up.READINGS, T0)
    assert fresh is not None and msgspec.json.decode(fresh.payload)["boot"] == "b2"
    again.acknowledge(Up.READINGS, "b1", 1, [])
    assert again.items == 101
    again.acknowledge(Up.READINGS, "b1", 1, [2])
    again.acknowledge(Up.READINGS, "b2", 1, [])
    assert (again.items, again.bytes, again.messages) == (0, 0, 0)


def test_what_the_server_asks_for_again_is_byte_for_byte_the_first() -> None:
    box = Outbox(None, "b1")
    box.put([OutboxEntry(items=[reading(1)])])
    first = box.next(Up.READINGS, T0)
    assert first is not None
    assert [m.payload for m in box.find_messages(Up.READINGS, "b1", [1, 2, 7])] == [first.payload]
    assert box.find_messages(Up.READINGS, "other", [1]) == []


def test_an_event_that_comes_twice_is_put_down_once(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.sqlite", "b1")
    assert box.put([OutboxEntry(items=[event(1)]), OutboxEntry(items=[event(1), event(2)])]) == 2
    sealed = box.next(Up.EVENTS, T0)
    box.acknowledge(Up.EVENTS, "b1", 1, [])
    box.close()
    box = Outbox(tmp_path / "o.sqlite", "b2")
    assert sealed is not None and box.put([OutboxEntry(items=[event(1)])]) == 0


def test_another_event_under_a_used_id_is_no_repeat() -> None:
    box = Outbox(None, "b1")
    one = EventItem(
        device="door-1",
        at=T0,
        id="17",
        kind="passage",
        data={"method": "card", "person": "p-00001"},
    )
    other = EventItem(
        device="door-1",
        at=T0 + 9,
        id="17",
        kind="passage",
        data={"method": "card", "person": "p-00002"},
    )
    assert [box.put([OutboxEntry(items=[item])]) for item in (one, other, one, other)] == [
        1,
        1,
        0,
        0,
    ]
    sealed = box.next(Up.EVENTS, T0)
    assert sealed is not None
    first, second = (str(item["id"]) for item in items(sealed.payload))
    assert first == "17" and second.startswith("17~")


def test_the_cap_gives_up_readings_first_hazards_last_and_counts(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.sqlite", "b1", cap_bytes=60_000)
    box.put([OutboxEntry(items=[event(n, "hazard") for n in range(50)])])
    box.put([OutboxEntry(items=[event(n) for n in range(100, 200)])])
    for n in range(2000):
        box.put([OutboxEntry(items=[reading(n)])])
    assert box.bytes <= 60_000
    lost = box.losses()
    assert set(lost) == {"readings"} and lost["readings"] + box.items == 2150
    # The newest readings are the ones that are kept.
    kept = box._db.execute(
        "SELECT body FROM items WHERE kind = 'readings' ORDER BY id DESC LIMIT 1"
    ).fetchone()[0]
    assert msgspec.json.decode(kept)["at"] == T0 + 1999
    for n in range(1000, 3000):
        box.put([OutboxEntry(items=[event(n, "hazard")])])
    assert box.losses()["events"] > 100
    ranks = [rank for (rank,) in box._db.execute("SELECT DISTINCT rank FROM items")]
    assert ranks == [3]


def test_what_was_sealed_and_is_given_up_does_not_block_the_sender() -> None:
    box = Outbox(None, "b1", cap_bytes=40_000)
    box.put([OutboxEntry(items=[reading(n) for n in range(400)])])
    assert box.next(Up.READINGS, T0) is not None
    box.requeue()
    box.put([OutboxEntry(items=[event(n, "hazard") for n in range(500)])])
    assert box.losses()["readings"] == 400
    message = box.next(Up.EVENTS, T0)
    assert message is not None and box.next(Up.READINGS, T0) is None
    assert box.payload(1) is None


def test_a_disk_that_refuses_takes_nothing_of_an_entry(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.sqlite", "b1")
    box.put([OutboxEntry(items=[reading(0)])])
    pages = box._db.execute("PRAGMA page_count").fetchone()[0]
    box._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    before = box.bytes, box.items
    with pytest.raises(sqlite3.Error):
        for n in range(1, 400):
            before = box.bytes, box.items
            box.put(
                [
                    OutboxEntry(
                        items=[event(n * 100 + k) for k in range(100)], memory={"poll/x": str(n)}
                    )
                ]
            )
    assert (box.bytes, box.items) == before
    stored = box._db.execute("SELECT count(*) FROM items").fetchone()[0]
    assert stored == box.items
    box._db.execute(f"PRAGMA max_page_count = {pages + 10_000}")
    assert box.put([OutboxEntry(items=[reading(9999)])]) == 1


def test_an_outbox_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(
        b"this is no database, and long enough to be looked at as one" * 50
    )
    with pytest.raises(OutboxUnusable, match="move the file away"):
        Outbox(tmp_path / "bad", "b1")


def test_memory_and_item_are_written_together(tmp_path: Path) -> None:
    """A process killed with SIGKILL at any instant has both of an entry or none."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom gateway.outbox import OutboxEntry, "
        "Outbox\nfrom domain.wire import ReadingItem\n"
        "box = Outbox(Path(sys.argv[1]), 'b1')\nn = 0\n"
        "while True:\n    n += 1\n    item = ReadingItem(device='wm-1', at=1790000000000 "
        "+ n, values={'water_m3': float(n)})\n"
        "    box.put([OutboxEntry(items=[item], memory={'poll/wm-1': str(n)})])\n    "
        "print(n, flush=True)\n"
    )
    path = tmp_path / "o.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = 0
    for line in process.stdout:
        told = int(line)
        if told >= 50:
            process.kill()
            break
    told = max([told, *(int(line) for line in process.stdout if line.strip())])
    process.wait()
    box = Outbox(path, "b2")
    assert box.items == int(box.recall("poll/wm-1") or 0) >= told


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["reading", "event", "send", "ack", "ack_one", "restart", "again"]),
            st.integers(0, 400),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_and_nothing_doubled(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Whatever is done in whatever order: what was put in is acknowledged or still there."""
    path = tmp_path_factory.mktemp("box") / "o.sqlite"
    box, boots, put, taken = Outbox(path, "b0"), 0, set(), set()
    sent: list[tuple[str, str, int, bytes]] = []
    n = 0
    for step, many in steps:
        if step in ("reading", "event"):
            for _ in range(many % 60):
                n += 1
                box.put([OutboxEntry(items=[reading(n) if step == "reading" else event(n)])])
                put.add(n)
        elif step == "send":
            for kind in Up.READINGS, Up.EVENTS:
                message = box.next(kind, T0)
                if message is not None:
                    head = msgspec.json.decode(message.payload)
                    sent.append((str(kind), head["boot"], head["seq"], message.payload))
        elif step in ("ack", "ack_one") and sent:
            kind_, boot, seq, _ = sent[many % len(sent)]
            gone = [
                s
                for s in sent
                if s[:2] == (kind_, boot) and (s[2] <= seq if step == "ack" else s[2] == seq)
            ]
            box.acknowledge(
                Up(kind_), boot, seq if step == "ack" else 0, [] if step == "ack" else [seq]
            )
            taken |= {at for s in gone for at in ats(s[3])}
        elif step == "restart":
            box.close()
            boots += 1
            box = Outbox(path, f"b{boots}")
        elif step == "again":
            box.requeue()
    left: set[int] = set()
    box.requeue()
    for kind in Up.READINGS, Up.EVENTS:
        while (message := box.next(kind, T0)) is not None:
            here = ats(message.payload)
            assert not left & set(here)
            left |= set(here)
    assert left | taken == put and not left & taken
    box.close()
