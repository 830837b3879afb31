"""Alerts.

One row per open key however many raise it at once, changes on record, two people never overwrite
each other.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from psycopg import sql
from psycopg.rows import class_row

from domain.alerting import (
    Acknowledgement,
    AlertClass,
    AlertKey,
    Severity,
    SubjectKind,
    acknowledged,
    returned,
)
from store.access import sessions, users
from store.alerts import alerts, changes, lists
from store.alerts.changes import AlertStep, StaleVersion
from store.alerts.lists import AlertFilter
from store.alerts.raising import NewAlert, raise_alert
from store.analytics import findings, watch
from store.database.connection import Connection, connect
from store.live.bus import LiveBus
from store.register import places

pytestmark = pytest.mark.real
ALL = frozenset(str(c) for c in AlertClass)


def estate(connection: Connection) -> int:
    row = connection.execute(
        "INSERT INTO estates (code, name) VALUES ('es', 'es') RETURNING id"
    ).fetchone()
    connection.commit()
    assert row is not None
    return int(row["id"])


def wanted(estate_id: int, **different: object) -> NewAlert:
    key = AlertKey(
        detector=str(different.pop("detector", "hazard:smoke")),
        subject_kind=SubjectKind.DEVICE,
        subject_id=int(str(different.pop("subject_id", 7))),
    )
    values = {
        "key": key,
        "estate_id": estate_id,
        "subject": "smoke-1",
        "alert_class": AlertClass.LIFE_SAFETY,
        "severity": Severity.CRITICAL,
        "score": 1.0,
        "reasons": ("smoke",),
        "evidence": {},
        "policy_version": "1",
        "since_at": datetime(2026, 1, 1, tzinfo=UTC),
        **different,
    }
    return NewAlert(**values)  # type: ignore[arg-type]


def list_all(connection: Connection) -> list[alerts.Alert]:
    """List every alert there is, oldest first."""
    query = alerts.SELECT_ALERTS + sql.SQL("ORDER BY a.id")
    with connection.cursor(row_factory=class_row(alerts.Alert)) as cursor:
        return cursor.execute(query).fetchall()


@pytest.mark.parametrize(
    ("threads", "times"), [(8, 200), pytest.param(64, 10_000, marks=pytest.mark.long)]
)
def test_however_many_raise_it_at_once_it_is_one_alert_and_a_count(
    dsn: str, connection: Connection, threads: int, times: int
) -> None:
    estate_id = estate(connection)
    begin = threading.Barrier(threads)

    def raise_many(number: int) -> set[int]:
        share = times // threads + (number < times % threads)
        with connect(dsn, autocommit=True) as own:
            begin.wait()
            return {
                raise_alert(own, wanted(estate_id), actor="test", source={"n": n}).id
                for n in range(share)
            }

    with ThreadPoolExecutor(threads) as pool:
        ids = set().union(*pool.map(raise_many, range(threads)))
    assert len(ids) == 1
    (row,) = connection.execute("SELECT occurrences, version, ended_at FROM alerts").fetchall()
    assert row == {"occurrences": times, "version": 1, "ended_at": None}
    assert connection.execute("SELECT count(*) AS n FROM alert_occurrences").fetchone() == {
        "n": times
    }
    assert [change.step for change in changes.list_changes(connection, ids.pop())] == ["raised"]


def test_of_two_people_one_is_told(connection: Connection) -> None:
    estate_id = estate(connection)
    raised = raise_alert(connection, wanted(estate_id), actor="watch")
    alert_id = raised.id
    assert raised.is_new
    row = alerts.find_alert(connection, alert_id, (estate_id,), ALL)
    assert row is not None
    state = acknowledged(row.state)
    first = AlertStep(actor="a", name="acknowledged")
    second = AlertStep(actor="b", name="acknowledged")
    changes.set_state(connection, alert_id, state, first, expected_version=row.version)
    with pytest.raises(StaleVersion):
        changes.set_state(connection, alert_id, state, second, expected_version=row.version)


def test_a_recurrence_after_its_return_wants_to_be_seen_again(connection: Connection) -> None:
    estate_id = estate(connection)
    alert_id = raise_alert(connection, wanted(estate_id), actor="watch").id
    row = alerts.lock_open_alert(connection, wanted(estate_id).key)
    assert row is not None
    changes.set_state(
        connection, alert_id, returned(row.state), AlertStep(actor="watch", name="returned")
    )
    again = raise_alert(connection, wanted(estate_id), actor="watch")
    assert again.id == alert_id and not again.is_new
    row = alerts.find_alert(connection, alert_id, (estate_id,), ALL)
    assert (
        row is not None
        and row.acknowledgement == Acknowledgement.UNACKNOWLEDGED
        and row.condition == "active"
    )


def test_scope_and_class_cut_every_list(connection: Connection) -> None:
    estate_id = estate(connection)
    raise_alert(connection, wanted(estate_id), actor="watch")
    assert len(lists.list_alerts(connection, AlertFilter(estates=(estate_id,), classes=ALL))) == 1
    assert lists.list_alerts(connection, AlertFilter(estates=(estate_id + 1,), classes=ALL)) == []
    assert (
        lists.list_alerts(
            connection, AlertFilter(estates=(estate_id,), classes=frozenset({"compliance"}))
        )
        == []
    )
    assert changes.list_updates(connection, 0, (), ALL) == []
    assert len(changes.list_updates(connection, 0, (estate_id,), ALL)) == 1
    assert changes.last_sequence_number(connection) > 0


def test_evidence_is_never_cascaded_away(connection: Connection) -> None:
    estate_id = estate(connection)
    raise_alert(connection, wanted(estate_id), actor="watch")
    with pytest.raises(Exception, match="violates"):
        connection.execute("DELETE FROM estates")


def test_a_wrong_password_locks_for_a_while(connection: Connection) -> None:
    from domain.access import Role

    estate(connection)
    assert users.add_grant(
        connection, users.add_user(connection, "wang", "hash", Role.GUARD), by="test"
    )
    row = users.find_credentials(connection, "wang")
    assert row is not None and not row.locked and users.count_users(connection) == 1
    for _ in range(users.MAX_FAILURES):
        users.record_login(connection, row.id, success=False)
    row = users.find_credentials(connection, "wang")
    assert row is not None and row.locked
    sessions.open_session(connection, row.id, "token", "csrf")
    found = sessions.find_session(connection, "token")
    assert found is not None and found.principal.estate_ids == places.estate_ids(connection)
    users.set_password(connection, row.id, "other")
    assert sessions.find_session(connection, "token") is None


def test_a_bus_without_redis_still_wakes(dsn: str) -> None:
    bus = LiveBus("redis://127.0.0.1:1/0")
    bus.publish("x", "y")
    assert not bus.up and not LiveBus(None).up
    wakes = bus.wakes("x", every_s=0.05)
    assert next(wakes) is None and next(wakes) is None
    wakes.close()
    with connect(dsn) as connection:
        assert watch.take_events(connection, urgent=True) == []
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
