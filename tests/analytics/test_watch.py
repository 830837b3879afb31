"""Watch: an event is acted on once, hazards latch, tests raise nothing, a silent gateway is one alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics import watch
from analytics.policy import BadPolicy, Policy, load_policy
from domain.calendar import to_ms
from domain.wire import State
from store import ingest_log
from store.connect import Connection
from store.series import EventRow
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
POLICY = load_policy()


def device(connection: Connection, code: str) -> int:
    row = connection.execute("SELECT id FROM devices WHERE code = %s", [code]).fetchone()
    assert row is not None
    return int(row["id"])


def happen(
    connection: Connection,
    code: str,
    state: str,
    *,
    ago: timedelta = timedelta(0),
    kind: str = "hazard",
    word: str = "smoke",
) -> None:
    data = {"hazard" if kind == "hazard" else "condition": word, "state": state}
    at = to_ms(datetime.now(UTC) - ago)
    ingest_log.queue_for_watch(
        connection,
        [EventRow(device_id=device(connection, code), at_ms=at, event_id=f"{at}{state}", kind=kind, data=data)],
    )
    connection.commit()


def rows(connection: Connection) -> list[dict[str, Any]]:
    return connection.execute("SELECT a.*, 'Asia/Shanghai' AS timezone FROM alerts a ORDER BY id").fetchall()


def test_smoke_latches_and_a_second_one_is_a_count(any_connection: Connection) -> None:
    register(any_connection)
    for state in ("on", "on", "off"):
        happen(any_connection, "smoke-1", state)
    assert watch.step(any_connection, POLICY) == 3
    (row,) = rows(any_connection)
    assert (row["occurrences"], row["condition"], row["ended_at"]) == (2, "returned", None)
    assert "烟雾报警" in POLICY.sentence(row, "zh") and "Smoke" in POLICY.sentence(row, "en")
    assert POLICY.title(row, "en") == "Smoke" and "119" in POLICY.advice(row, "zh")
    assert watch.step(any_connection, POLICY) == 0


def test_an_old_hazard_of_a_backlog_goes_on_record_without_a_siren(connection: Connection) -> None:
    register(connection)
    happen(connection, "smoke-1", "on", ago=timedelta(days=9))
    happen(connection, "smoke-1", "off", ago=timedelta(days=8))
    watch.step(connection, POLICY)
    (row,) = rows(connection)
    assert row["ended_at"] is not None


def test_a_test_and_an_unknown_word_raise_nothing(connection: Connection) -> None:
    register(connection)
    happen(connection, "smoke-1", "test")
    happen(connection, "door-1", "on", kind="device", word="valve")
    assert watch.step(connection, POLICY) == 0 and rows(connection) == []
    happen(connection, "door-1", "on", kind="device", word="held_open")
    happen(connection, "door-1", "off", kind="device", word="held_open")
    assert watch.step(connection, POLICY) == 2
    assert rows(connection)[0]["ended_at"] is not None


def test_what_fails_half_way_is_taken_again(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    register(connection)
    happen(connection, "smoke-1", "on")
    monkeypatch.setattr("store.alerts.note_occurrence", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        watch.step(connection, POLICY)
    connection.rollback()
    monkeypatch.undo()
    assert rows(connection) == [] and watch.step(connection, POLICY) == 1 and len(rows(connection)) == 1


def test_a_clock_that_is_far_off_is_one_alert_until_it_is_set(connection: Connection) -> None:
    register(connection)
    gateway = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert gateway is not None
    ingest_log.save_state(connection, gateway["id"], State(v=1, online=True, at=to_ms(datetime.now(UTC)), boot="b1"))
    told = []
    for skew in (299_000, -301_000, -400_000, 200_000, 149_000, 0):
        ingest_log.save_skew(connection, {gateway["id"]: skew})
        told.append(watch.check_gateways(connection, POLICY))
    assert told == [0, 1, 0, 0, 1, 0]
    (row,) = rows(connection)
    assert (row["detector"], row["evidence"]["seconds"], row["evidence"]["behind"]) == ("clock_skew", 301, True)
    assert "301" in POLICY.sentence({**row, "timezone": "Asia/Shanghai"}, "en")


def test_a_silent_gateway_is_one_alert_and_ends_when_it_speaks(connection: Connection) -> None:
    register(connection)
    gateway = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert gateway is not None
    now = to_ms(datetime.now(UTC))

    def say(online: bool, at: int) -> None:
        ingest_log.save_state(connection, gateway["id"], State(v=1, online=online, at=at, boot="b1"))

    say(False, now)
    assert watch.check_gateways(connection, POLICY) == 1 and watch.check_gateways(connection, POLICY) == 0
    say(True, now - 5000)
    assert watch.check_gateways(connection, POLICY) == 0, "an older state that comes late changes nothing"
    say(True, now + 5000)
    assert watch.check_gateways(connection, POLICY) == 1
    (row,) = rows(connection)
    assert row["detector"] == "gateway_silent" and row["ended_at"] is not None and row["evidence"]["devices"] == 3
    assert "网关" not in POLICY.sentence(row, "en") and "3 devices" in POLICY.sentence(row, "en")


def test_a_bad_policy_is_named_with_its_fix() -> None:
    good = POLICY._table
    for change, named in (
        ({"unoccupied": None}, "unoccupied"),
        ({"unoccupied": {**good["unoccupied"], "params": {"warm_days": 3}}}, "warm_days"),
        ({"gateway_silent": {**good["gateway_silent"], "class": "panic"}}, "class or severity"),
    ):
        table = {k: v for k, v in {**good, **change}.items() if v is not None}
        with pytest.raises(BadPolicy, match=named):
            Policy(table)
    assert (
        Policy({**good, "unoccupied": {**good["unoccupied"], "params": {"warn_days": 60}}}).params("unoccupied")[
            "warn_days"
        ]
        == 60
    )


def store_event(connection: Connection, code: str, state: str, ago: timedelta) -> None:
    """Store an event as ingest does, with its place in the queue."""
    from store.partitions import Partitions
    from store.series import write_events

    at = datetime.now(UTC) - ago
    row = EventRow(device_id=device(connection, code), at_ms=to_ms(at), event_id=f"{to_ms(at)}{state}", kind="hazard",
                   data={"hazard": "smoke", "state": state})  # fmt: skip
    connection.commit()
    Partitions(connection).cover(connection, at, at)
    with connection.transaction():
        write_events(connection, [row])
        ingest_log.queue_for_watch(connection, [row])


def test_an_end_that_comes_before_its_beginning_leaves_nothing_burning(any_connection: Connection) -> None:
    """A gateway that was cut off sends its newest first: the end is stored when the beginning arrives."""
    register(any_connection)
    store_event(any_connection, "smoke-1", "off", timedelta(minutes=50))
    assert watch.step(any_connection, POLICY) == 0
    store_event(any_connection, "smoke-1", "on", timedelta(minutes=60))
    watch.step(any_connection, POLICY)
    (row,) = rows(any_connection)
    # It happened, so it stays on screen until somebody has seen it; it burns no longer.
    assert (row["condition"], row["acknowledgement"], row["ended_at"]) == ("returned", "unacknowledged", None)
    store_event(any_connection, "smoke-1", "on", timedelta(minutes=5))
    watch.step(any_connection, POLICY)
    assert [r["condition"] for r in rows(any_connection)] == ["active"]
    # What began and ended before it, and comes later still, changes nothing of that.
    store_event(any_connection, "smoke-1", "off", timedelta(minutes=70))
    store_event(any_connection, "smoke-1", "on", timedelta(minutes=80))
    watch.step(any_connection, POLICY)
    assert [r["condition"] for r in rows(any_connection)] == ["active"]
