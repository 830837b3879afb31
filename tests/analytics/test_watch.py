"""Watch: an event is acted on once, hazards latch, tests raise nothing, a silent gateway is one
alert.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest

from analytics import watch
from analytics.detectors import unoccupied
from analytics.policy import load_policy, read_policy
from analytics.policy_table import BadPolicy
from domain.alerting import AlertClass, Severity, Suppression
from domain.calendar import to_ms
from domain.wire import State
from store.alerts import changes, suppressions
from store.alerts.changes import AlertStep
from store.alerts.raising import NewAlert, raise_alert
from store.analytics import watch as store_watch
from store.database.connection import Connection, connect
from store.ingest import log
from store.series.readings import EventRow
from tests.ingest.conftest import register
from tests.store.alerts.test_alerts import list_all

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
    log.queue_for_watch(
        connection,
        [
            EventRow(
                device_id=device(connection, code),
                at_ms=at,
                event_id=f"{at}{state}",
                kind=kind,
                data=data,
            )
        ],
    )
    connection.commit()


def step(connection: Connection, after: timedelta = timedelta(0)) -> int:
    """Let watch work, as all its loops together do, at a later instant where one is given."""
    now = datetime.now(UTC) + after
    changed = sum(watch.step(connection, POLICY, now, urgent=urgent) for urgent in (True, False))
    changed += watch.tick(connection, POLICY, now)
    connection.commit()
    return changed


def test_smoke_latches_and_a_second_one_is_a_count(any_connection: Connection) -> None:
    register(any_connection)
    for state in ("on", "on", "off"):
        happen(any_connection, "smoke-1", state)
    assert step(any_connection) == 3
    (row,) = list_all(any_connection)
    assert (row.occurrences, row.condition, row.ended_at) == (2, "returned", None)
    assert "烟雾报警" in POLICY.sentence(row, "zh") and "Smoke" in POLICY.sentence(row, "en")
    assert POLICY.title(row.detector, "en") == "Smoke" and "119" in POLICY.advice(
        row.detector, "zh"
    )
    assert step(any_connection) == 0


def at(day_s: float) -> timedelta:
    return timedelta(seconds=day_s)


def held_open(connection: Connection, state: str, ago: float) -> None:
    happen(connection, "door-1", state, ago=at(ago), kind="device", word="held_open")


def test_a_door_is_held_open_only_after_its_delay_and_shut_only_after_the_other(
    connection: Connection,
) -> None:
    register(connection)
    held_open(connection, "on", 0)
    assert step(connection) == 0 and step(connection, at(30)) == 0 and list_all(connection) == []
    assert step(connection, at(61)) == 1
    (row,) = list_all(connection)
    assert (row.detector, row.condition, row.ended_at) == (
        "device:held_open",
        "active",
        None,
    )
    held_open(connection, "off", -70)
    assert step(connection, at(71)) == 0, "it may open again within seconds"
    held_open(connection, "on", -72)
    assert step(connection, at(73)) == 1 and step(connection, at(200)) == 0
    assert [r.occurrences for r in list_all(connection)] == [2]
    held_open(connection, "off", -210)
    assert step(connection, at(211)) == 0 and step(connection, at(216)) == 1
    assert list_all(connection)[0].ended_at is not None and step(connection, at(999)) == 0


def test_a_backlog_is_judged_by_its_own_times(connection: Connection) -> None:
    """Both ends come at once: twenty seconds were nothing then, two minutes were an alert, and it
    is over.
    """
    register(connection)
    held_open(connection, "on", 600)
    held_open(connection, "off", 580)
    assert step(connection) == 0 and list_all(connection) == []
    held_open(connection, "on", 500)
    held_open(connection, "off", 380)
    step(connection)
    (row,) = list_all(connection)
    assert (
        row.ended_at is not None
        and step(connection, at(999)) == 0
        and len(list_all(connection)) == 1
    )


def test_a_shelf_outlives_the_alert_and_ends_when_it_worsens_or_runs_out(
    connection: Connection,
) -> None:
    register(connection)
    happen(connection, "door-1", "on", kind="device", word="forced")
    step(connection)
    (row,) = list_all(connection)
    until = datetime.now(UTC) + timedelta(hours=8)
    suppressions.suppress_key(
        connection, row.key, "shelved", "lock is being changed", until, actor="wang"
    )
    state = row.state
    shelved = AlertStep(actor="wang", name="shelved")
    over = replace(state, suppression=Suppression.SHELVED, ended=True)
    changes.set_state(connection, row.id, over, shelved)
    connection.commit()
    happen(connection, "door-1", "on", kind="device", word="forced")
    step(connection)
    again = list_all(connection)[1]
    assert (again.suppression, again.suppressed_because) == (
        "shelved",
        "lock is being changed",
    )
    worse = NewAlert(
        key=again.key,
        estate_id=again.estate_id,
        subject=again.subject,
        alert_class=AlertClass.HAZARD,
        severity=Severity.CRITICAL,
        score=again.score,
        reasons=again.reasons,
        evidence=again.evidence,
        policy_version=again.policy_version,
        since_at=again.since_at,
    )
    raise_alert(connection, worse, actor="watch")
    assert (list_all(connection)[1].suppression, list_all(connection)[1].acknowledgement) == (
        "none",
        "unacknowledged",
    )
    assert changes.list_changes(connection, again.id)[-1].step == "worsened"
    suppressions.suppress_key(connection, again.key, "shelved", "once more", until, actor="wang")
    changes.set_state(
        connection, again.id, replace(state, suppression=Suppression.SHELVED), shelved
    )
    connection.commit()
    assert step(connection, timedelta(hours=7)) == 0 and step(connection, timedelta(hours=9)) == 1
    assert list_all(connection)[1].suppression == "none"


def test_announced_work_holds_back_what_it_covers_but_never_a_life_and_a_drill_is_marked(
    connection: Connection,
) -> None:
    register(connection)
    now = datetime.now(UTC)
    estate = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()["id"]  # type: ignore[index]
    span = {
        "estate_id": estate,
        "from_at": now - timedelta(hours=1),
        "to_at": now + timedelta(hours=1),
    }

    def add_window(**values: Any) -> int | None:
        window = suppressions.NewAlarmWindow(**span, **values)
        return suppressions.add_window(connection, window, actor="wang")

    assert add_window(kind="maintenance", reason="new locks", device="nothing") is None
    assert add_window(kind="maintenance", reason="new locks", gateway="gw") is not None
    connection.commit()
    happen(connection, "door-1", "on", kind="device", word="forced")
    happen(connection, "smoke-1", "on")
    step(connection)
    assert {r.detector: (r.suppression, r.drill) for r in list_all(connection)} == {
        "device:forced": ("by_design", False),
        "hazard:smoke": ("none", False),
    }
    drill = add_window(kind="drill", reason="fire drill")
    connection.commit()
    happen(connection, "smoke-1", "on", word="fire")
    step(connection)
    assert [r.drill for r in list_all(connection) if r.detector == "hazard:fire"] == [True]
    assert drill is not None and suppressions.end_window(connection, drill, (estate,), actor="wang")
    assert step(connection, timedelta(hours=2)) == 1, "the work is over: the door is shown"
    assert {r.suppression for r in list_all(connection)} == {"none"}


def test_devices_behind_a_silent_gateway_are_its_one_alert(connection: Connection) -> None:
    register(connection)
    gateway = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert gateway is not None
    for code in ("wm-1", "door-1", "smoke-1", "wm-2"):
        happen(connection, code, "on", kind="device", word="offline")
    now = to_ms(datetime.now(UTC))
    log.save_state(connection, gateway["id"], State(v=1, online=False, at=now, boot="b1"))
    watch.check_gateways(connection, POLICY, datetime.now(UTC))
    step(connection)
    assert step(connection, at(61)) == 1
    assert sorted((r.detector, r.subject) for r in list_all(connection)) == [
        ("device:offline", "? · wm-2"),
        ("gateway_silent", "gw"),
    ]
    log.save_state(connection, gateway["id"], State(v=1, online=True, at=now + 5000, boot="b1"))
    watch.check_gateways(connection, POLICY, datetime.now(UTC) + at(5))
    happen(connection, "door-1", "off", kind="device", word="offline", ago=at(-40))
    assert step(connection, at(70)) == 2, (
        "who is still away when the gateway is back is told of then"
    )


def test_two_watchers_share_the_lanes_and_keep_each_device_in_its_order(
    dsn: str, connection: Connection
) -> None:
    register(connection)
    for n in range(60):
        for code in ("smoke-1", "door-1", "wm-1", "wm-2"):
            happen(
                connection,
                code,
                "on" if n % 2 == 0 else "off",
                ago=at(3600 - n),
                word="fire_lane_blocked" if n > 60 else "other",
            )
    with connect(dsn) as second, connection.transaction():
        mine = store_watch.take_events(connection, urgent=True, limit=50)
        with second.transaction():
            theirs = store_watch.take_events(second, urgent=True, limit=50)
    assert not {e.device_id for e in mine} & {e.device_id for e in theirs}
    for one in (mine, theirs):
        for device_id in {e.device_id for e in one}:
            ids = [e.id for e in one if e.device_id == device_id]
            assert ids == sorted(ids)


def test_an_old_hazard_of_a_backlog_goes_on_record_without_a_siren(connection: Connection) -> None:
    register(connection)
    happen(connection, "smoke-1", "on", ago=timedelta(days=9))
    happen(connection, "smoke-1", "off", ago=timedelta(days=8))
    step(connection)
    (row,) = list_all(connection)
    assert row.ended_at is not None


def test_a_test_and_an_unknown_word_raise_nothing(connection: Connection) -> None:
    register(connection)
    happen(connection, "smoke-1", "test")
    happen(connection, "door-1", "on", kind="device", word="valve")
    assert step(connection) == 0 and list_all(connection) == []


def test_what_fails_half_way_is_taken_again(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(connection)
    happen(connection, "smoke-1", "on")
    monkeypatch.setattr("store.analytics.watch.find_condition_end", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step(connection)
    connection.rollback()
    monkeypatch.undo()
    assert list_all(connection) == [] and step(connection) == 1 and len(list_all(connection)) == 1


def test_a_clock_that_is_far_off_is_one_alert_until_it_is_set(connection: Connection) -> None:
    register(connection)
    gateway = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert gateway is not None
    log.save_state(
        connection, gateway["id"], State(v=1, online=True, at=to_ms(datetime.now(UTC)), boot="b1")
    )
    told = []
    for skew in (299_000, -301_000, -400_000, 200_000, 149_000, 0):
        log.save_skew(connection, {gateway["id"]: skew})
        told.append(watch.check_gateways(connection, POLICY, datetime.now(UTC)))
    assert told == [0, 1, 0, 0, 1, 0]
    (row,) = list_all(connection)
    assert (row.detector, row.evidence["seconds"], row.evidence["behind"]) == (
        "clock_skew",
        301,
        True,
    )
    assert "301" in POLICY.sentence(row, "en")


def test_a_silent_gateway_is_one_alert_and_ends_when_it_speaks(connection: Connection) -> None:
    register(connection)
    gateway = connection.execute("SELECT id FROM gateways WHERE code = 'gw'").fetchone()
    assert gateway is not None
    now = to_ms(datetime.now(UTC))

    def say(online: bool, at: int) -> None:
        log.save_state(connection, gateway["id"], State(v=1, online=online, at=at, boot="b1"))

    say(False, now)
    assert (
        watch.check_gateways(connection, POLICY, datetime.now(UTC)) == 1
        and watch.check_gateways(connection, POLICY, datetime.now(UTC)) == 0
    )
    say(True, now - 5000)
    assert watch.check_gateways(connection, POLICY, datetime.now(UTC)) == 0, (
        "an older state that comes late changes nothing"
    )
    say(True, now + 5000)
    assert watch.check_gateways(connection, POLICY, datetime.now(UTC)) == 1
    (row,) = list_all(connection)
    assert (
        row.detector == "gateway_silent"
        and row.ended_at is not None
        and row.evidence["devices"] == 3
    )
    assert "网关" not in POLICY.sentence(row, "en") and "3 devices" in POLICY.sentence(row, "en")


def test_a_bad_policy_is_named_with_its_fix() -> None:
    good = tomllib.loads(files("analytics").joinpath("policy.toml").read_text("utf-8"))
    for change, named in (
        ({"unoccupied": None}, "unoccupied"),
        ({"unoccupied": {**good["unoccupied"], "params": {"warm_days": 3}}}, "warm_days"),
        (
            {"gateway_silent": {**good["gateway_silent"], "class": "panic"}},
            r"\[gateway_silent\] class = 'panic'; use one of life_safety",
        ),
    ):
        table = {k: v for k, v in {**good, **change}.items() if v is not None}
        with pytest.raises(BadPolicy, match=named):
            read_policy(table)
    own = read_policy({**good, "unoccupied": {**good["unoccupied"], "params": {"warn_days": 60}}})
    assert own.params(unoccupied.DETECTOR).warn_days == 60


def store_event(connection: Connection, code: str, state: str, ago: timedelta) -> None:
    """Store an event as ingest does, with its place in the queue."""
    from store.database.partitions import Partitions
    from store.series.readings import write_events

    at = datetime.now(UTC) - ago
    row = EventRow(
        device_id=device(connection, code),
        at_ms=to_ms(at),
        event_id=f"{to_ms(at)}{state}",
        kind="hazard",
        data={"hazard": "smoke", "state": state},
    )
    connection.commit()
    Partitions(connection).cover(connection, at, at)
    with connection.transaction():
        write_events(connection, [row])
        log.queue_for_watch(connection, [row])


def test_an_end_that_comes_before_its_beginning_leaves_nothing_burning(
    any_connection: Connection,
) -> None:
    """A gateway that was cut off sends its newest first: the end is stored when the beginning
    arrives.
    """
    register(any_connection)
    store_event(any_connection, "smoke-1", "off", timedelta(minutes=50))
    assert step(any_connection) == 0
    store_event(any_connection, "smoke-1", "on", timedelta(minutes=60))
    step(any_connection)
    (row,) = list_all(any_connection)
    # It happened, so it stays on screen until somebody has seen it; it burns no longer.
    assert (row.condition, row.acknowledgement, row.ended_at) == (
        "returned",
        "unacknowledged",
        None,
    )
    store_event(any_connection, "smoke-1", "on", timedelta(minutes=5))
    step(any_connection)
    assert [r.condition for r in list_all(any_connection)] == ["active"]
    # What began and ended before it, and comes later still, changes nothing of that.
    store_event(any_connection, "smoke-1", "off", timedelta(minutes=70))
    store_event(any_connection, "smoke-1", "on", timedelta(minutes=80))
    step(any_connection)
    assert [r.condition for r in list_all(any_connection)] == ["active"]
