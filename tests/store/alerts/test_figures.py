"""What stands around alerts in the store.

Holds and windows, the outbox of notices, browsers, and what nothing deletes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.access import Role
from store.access import users
from store.alerts import alerts, changes, figures, lists, suppressions, welfare
from store.alerts.lists import AlertFilter
from store.alerts.raising import raise_alert
from store.database.connection import Connection, DatabaseError, DuplicateKey
from store.notices import deliveries, push_subscriptions
from store.notices.deliveries import DropCondition
from tests.ingest.conftest import register
from tests.store.alerts.test_alerts import ALL, estate, wanted

pytestmark = pytest.mark.real
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_nothing_that_is_deleted_takes_an_alert_with_it(connection: Connection) -> None:
    register(connection)
    row = connection.execute("SELECT id, estate_id FROM devices WHERE code = 'smoke-1'").fetchone()
    assert row is not None
    users.add_grant(connection, users.add_user(connection, "wang", "x", Role.GUARD), by="test")
    alert_id = raise_alert(
        connection, wanted(row["estate_id"], subject_id=row["id"]), actor="watch", source={}
    ).id
    changes.assign_alert(connection, alert_id, "wang", actor="wang", expected_version=1)
    connection.commit()
    connection.execute("DELETE FROM users WHERE name = 'wang'")
    connection.execute("DELETE FROM devices WHERE code = 'smoke-1'")
    kept = alerts.find_alert(connection, alert_id, (row["estate_id"],), ALL)
    assert (
        kept is not None
        and kept.assignee == "wang"
        and [h.actor for h in changes.list_changes(connection, alert_id)] == ["watch", "wang"]
    )
    connection.commit()
    for statement in ("DELETE FROM estates", "DELETE FROM alerts", "DELETE FROM alert_changes"):
        with pytest.raises(DatabaseError):
            connection.execute(statement)
        connection.rollback()


def test_of_an_alerts_key_one_hold_is_in_force_and_all_are_on_record(
    connection: Connection,
) -> None:
    estate_id = estate(connection)
    alert_id = raise_alert(connection, wanted(estate_id), actor="watch").id
    row = alerts.find_alert(connection, alert_id, (estate_id,), ALL)
    assert row is not None
    for reason in ("first", "second"):
        until = datetime.now(UTC) + timedelta(hours=1)
        suppressions.suppress_key(connection, row.key, "shelved", reason, until, actor="wang")
    (held,) = suppressions.list_suppressions(connection, (estate_id,), ALL)
    assert held.reason == "second" and suppressions.list_suppressions(connection, (), ALL) == []
    suppressions.release_key(connection, row.key, actor="li")
    kept = connection.execute("SELECT reason, ended_by FROM suppressions ORDER BY id").fetchall()
    assert [(k["reason"], k["ended_by"]) for k in kept] == [("first", "wang"), ("second", "li")]


def test_lists_cut_to_what_is_asked(connection: Connection) -> None:
    estate_id = estate(connection)
    for subject in range(6):
        raise_alert(
            connection,
            wanted(
                estate_id,
                subject_id=subject,
                detector="device:x",
                alert_class="data",
                severity="low",
            ),
            actor="w",
        )
    raise_alert(connection, wanted(estate_id), actor="w")
    everything = AlertFilter(estates=(estate_id,), classes=ALL)
    assert len(lists.list_alerts(connection, everything)) == 7
    assert [a.detector for a in lists.list_alerts(connection, everything, fold_from=6)] == [
        "hazard:smoke"
    ]
    assert len(lists.list_alerts(connection, everything, fold_from=7)) == 7
    (fold,) = lists.list_folds(connection, everything, 6)
    assert (fold.alerts, fold.severity, len(fold.examples)) == (6, "low", 3)
    assert lists.list_folds(connection, AlertFilter(estates=(), classes=ALL), 1) == []
    assert (
        len(
            lists.list_alerts(
                connection,
                AlertFilter(estates=(estate_id,), classes=ALL, severity="low", detector="device:x"),
            )
        )
        == 6
    )
    found = figures.read_figures(
        connection,
        figures.FigureScope(
            estates=(estate_id,),
            classes=ALL,
            since=datetime.now(UTC) - timedelta(hours=1),
            now=datetime.now(UTC) + timedelta(minutes=1),
        ),
        figures.FigureLimits(flood_per_10_min=5, chatter_count=3, chatter_s=60, stale_h=24),
    )
    assert (
        found.counts.raised == 7
        and found.floods[0].raised == 7
        and found.severities == {"low": 6, "critical": 1}
    )


def test_a_message_is_kept_once_and_sent_by_one(dsn: str, connection: Connection) -> None:
    from store.database.connection import connect

    estate_id = estate(connection)
    alert_id = raise_alert(connection, wanted(estate_id), actor="watch").id
    (change,) = deliveries.take_changes(connection)
    message = deliveries.NewDelivery(
        message_id="m1",
        channel="c",
        rule="r",
        recipient="",
        alert_id=alert_id,
        seq=change.seq,
        urgent=True,
        unless=DropCondition.NEVER,
        subject="s",
        body="b",
        made_at=NOW,
        due_at=NOW,
    )
    deliveries.add_deliveries(connection, [message, message])
    connection.commit()
    assert deliveries.take_changes(connection) == []
    with connect(dsn) as second:
        assert (
            len(deliveries.take_due(connection, "c", NOW, 10)) == 1
            and deliveries.take_due(second, "c", NOW, 10) == []
        )
    connection.commit()
    assert (
        push_subscriptions.MAX_BROWSERS
        and welfare.list_watches(connection, (estate_id,)) == []
        and DuplicateKey
    )
