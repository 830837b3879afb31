"""Alerts: one row per open key however many raise it at once, changes on record, two people never overwrite each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from domain.alerting import Acknowledgement, AlertClass, Severity, acknowledged, returned
from store import alerts, findings, places, users, watch
from store.alerts import Raise, Stale
from store.connect import Connection, connect, open_pool
from store.live import LiveBus

pytestmark = pytest.mark.real
ALL = frozenset(str(c) for c in AlertClass)


def estate(connection: Connection) -> int:
    row = connection.execute("INSERT INTO estates (code, name) VALUES ('es', 'es') RETURNING id").fetchone()
    connection.commit()
    assert row is not None
    return int(row["id"])


def wanted(estate_id: int, **changes: object) -> Raise:
    values = {
        "estate_id": estate_id, "detector": "hazard:smoke", "subject_kind": "device", "subject_id": 7, "subject": "smoke-1",
        "alert_class": AlertClass.LIFE_SAFETY, "severity": Severity.CRITICAL, "score": 1.0, "reasons": ("smoke",),
        "evidence": {}, "policy_version": "1", "since_at": datetime(2026, 1, 1, tzinfo=UTC), **changes,
    }  # fmt: skip
    return Raise(**values)  # type: ignore[arg-type]


def test_forty_at_once_are_one_alert_and_forty_occurrences(dsn: str, connection: Connection) -> None:
    estate_id = estate(connection)

    def raise_one(_: int) -> int:
        with connect(dsn) as own, own.transaction():
            return alerts.raise_alert(own, wanted(estate_id), actor="test")[0]

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(raise_one, range(40)))
    assert len(ids) == 1
    row = connection.execute("SELECT occurrences, version FROM alerts").fetchall()
    assert len(row) == 1 and row[0]["occurrences"] == 40
    assert len(alerts.history(connection, ids.pop())) == 40


def test_of_two_people_one_is_told(connection: Connection) -> None:
    estate_id = estate(connection)
    alert_id, new = alerts.raise_alert(connection, wanted(estate_id), actor="watch")
    assert new
    row = alerts.get_alert(connection, alert_id, (estate_id,), ALL)
    assert row is not None
    state = acknowledged(alerts.state_of(row))
    alerts.set_state(connection, alert_id, state, actor="a", step="acknowledged", expected_version=row["version"])
    with pytest.raises(Stale):
        alerts.set_state(connection, alert_id, state, actor="b", step="acknowledged", expected_version=row["version"])


def test_a_recurrence_after_its_return_wants_to_be_seen_again(connection: Connection) -> None:
    estate_id = estate(connection)
    alert_id, _ = alerts.raise_alert(connection, wanted(estate_id), actor="watch")
    row = alerts.find_open(connection, "hazard:smoke", "device", 7)
    assert row is not None
    alerts.set_state(connection, alert_id, returned(alerts.state_of(row)), actor="watch", step="returned")
    again, new = alerts.raise_alert(connection, wanted(estate_id), actor="watch")
    assert again == alert_id and not new
    row = alerts.get_alert(connection, alert_id, (estate_id,), ALL)
    assert row is not None and row["acknowledgement"] == Acknowledgement.UNACKNOWLEDGED and row["condition"] == "active"


def test_scope_and_class_cut_every_list(connection: Connection) -> None:
    estate_id = estate(connection)
    alerts.raise_alert(connection, wanted(estate_id), actor="watch")
    assert len(alerts.list_alerts(connection, (estate_id,), ALL)) == 1
    assert alerts.list_alerts(connection, (estate_id + 1,), ALL) == []
    assert alerts.list_alerts(connection, (estate_id,), frozenset({"compliance"})) == []
    assert alerts.changes_after(connection, 0, (), ALL) == []
    assert len(alerts.changes_after(connection, 0, (estate_id,), ALL)) == 1
    assert alerts.last_change(connection) > 0


def test_evidence_is_never_cascaded_away(connection: Connection) -> None:
    estate_id = estate(connection)
    alerts.raise_alert(connection, wanted(estate_id), actor="watch")
    with pytest.raises(Exception, match="violates"):
        connection.execute("DELETE FROM estates")


def test_a_wrong_password_locks_for_a_while(connection: Connection) -> None:
    from domain.access import Role

    estate(connection)
    users.add_user(connection, "wang", "hash", Role.GUARD)
    row = users.find_user(connection, "wang")
    assert row is not None and not row["locked"] and users.count_users(connection) == 1
    for _ in range(users.MAX_FAILURES):
        users.note_login(connection, row["id"], success=False)
    row = users.find_user(connection, "wang")
    assert row is not None and row["locked"]
    users.open_session(connection, row["id"], "token", "csrf")
    found = users.find_session(connection, "token")
    assert found is not None and found[0].estate_ids == places.estate_ids(connection)
    users.set_password(connection, row["id"], "other")
    assert users.find_session(connection, "token") is None


def test_a_bus_without_redis_still_wakes(dsn: str) -> None:
    bus = LiveBus("redis://127.0.0.1:1/0")
    bus.publish("x", "y")
    assert not bus.up and not LiveBus(None).up
    wakes = bus.wakes("x", every_s=0.05)
    assert next(wakes) is None and next(wakes) is None
    wakes.close()
    with open_pool(dsn, size=1) as pool, pool.connection() as connection:
        assert watch.take(connection) == []
        assert findings.list_abstentions(connection, 1) == []


def test_a_listener_wakes_when_something_is_published(redis: object) -> None:
    bus = LiveBus(redis.url)  # type: ignore[attr-defined]
    assert bus.up
    wakes = bus.wakes("anju:test", every_s=20.0)
    next(wakes)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, wakes)
        bus.publish("anju:test", "1")
        waiting.result(5)
    wakes.close()
