"""The outbox's file beside its process: what another process reads is what the outbox holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.wire import ReadingItem
from gateway.outbox import DeviceContact, Outbox, OutboxEntry
from gateway.outbox_file import LastContact, OutboxUnusable, open_outbox, read_snapshot

AT = 1_790_000_000_000


def test_a_snapshot_is_what_the_outbox_holds(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path, "b1")
    reading = ReadingItem(device="wm-1", at=AT, values={"water_m3": 1.0})
    contact = DeviceContact(device="wm-1", at=AT, summary="water_m3 1", drift_ms=7)
    memory = {"status": "{}", "poll/wm-1": "1 1"}
    outbox.put([OutboxEntry(items=[reading], contacts=[contact], memory=memory)])
    snapshot = read_snapshot(path)
    assert snapshot.contacts == outbox.contacts()
    assert snapshot.contacts["wm-1"].summary == "water_m3 1"
    assert snapshot.waiting == outbox.items == 1
    assert snapshot.memory == {"status": "{}"}
    assert snapshot.losses == {}
    outbox.close()


@settings(deadline=None, max_examples=30)
@given(faults=st.lists(st.booleans(), min_size=1, max_size=12))
def test_failures_count_since_the_last_contact(faults: list[bool]) -> None:
    outbox = Outbox(None, "b1")
    for number, is_fault in enumerate(faults):
        contact = DeviceContact(
            device="wm-1",
            at=AT + number,
            summary=None if is_fault else "alive",
            fault="silent" if is_fault else None,
        )
        outbox.put([OutboxEntry(contacts=[contact])])
    expected = 0
    for is_fault in faults:
        expected = expected + 1 if is_fault else 0
    last = outbox.contacts()["wm-1"]
    assert last.failures == expected
    assert last.summary == (None if all(faults) else "alive")
    outbox.close()


def test_a_file_that_is_being_made_is_empty_and_one_of_nonsense_is_named(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "new").close()
    assert read_snapshot(tmp_path / "new").contacts == {}
    (tmp_path / "bad").write_bytes(b"this is no database and long enough to be read as one" * 50)
    with pytest.raises(OutboxUnusable, match="the disk is unwell"):
        read_snapshot(tmp_path / "bad")
    with pytest.raises(OutboxUnusable, match="move the file away"):
        open_outbox(tmp_path / "bad")
    assert LastContact(device="d").failures == 0
