"""Sending.

In order, within limits, again until it was taken; nothing lost, nothing twice, on a simulated
clock and a real database.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import pytest
import standardwebhooks

from casework.alert_steps import StepTarget, acknowledge
from domain.access import Principal, Role
from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind, returned
from notices.channels.contract import AWAY, DeliveryFailed, NoticeMessage
from notices.plan import plan_all
from notices.rules import NoticeRules
from notices.send import NoticeSender
from store.access import users
from store.alerts import alerts
from store.alerts.changes import AlertStep, set_state
from store.database.connection import Connection, connect
from store.notices import channel_states, deliveries
from tests.notices.conftest import NOON, Receiver, estate, raise_one, set_clock
from tests.notices.test_plan import notices, say

pytestmark = pytest.mark.real
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="


class Recorder:
    """A carrier that keeps what it was given."""

    def __init__(self, fail: DeliveryFailed | None = None) -> None:
        self.got: list[NoticeMessage] = []
        self.fail = fail

    def send(self, message: NoticeMessage) -> None:
        if self.fail is not None:
            raise self.fail
        self.got.append(message)


def webhook(url: str, **values: Any) -> NoticeRules:
    table = {
        "kind": "webhook",
        "role": "compliance",
        "url": url,
        "secret": SECRET,
        "allow_private": True,
        **values,
    }
    return NoticeRules.model_validate(
        {"channels": {"bureau": table}, "rules": [{"name": "all", "channel": "bureau"}]}
    )


def test_a_receiver_that_is_down_for_an_hour_gets_everything_in_order_signed_and_once(
    connection: Connection, receiver: Receiver, rng: random.Random
) -> None:
    estate_id, config = estate(connection), webhook(receiver.url)
    sender, now = NoticeSender(config, rng=rng), NOON
    guard = Principal(user_id=1, name="wang", role=Role.GUARD, estate_ids=(estate_id,))
    down = True
    receiver.answer = lambda _n: (503, b"") if down else (204, b"")
    told: list[tuple[int, str]] = []
    for minute in range(150):
        if minute < 60:
            subject = minute % 20
            alert_id = raise_one(connection, estate_id, subject, at=now)
            if minute % 20 == minute and minute < 20:
                told.append((alert_id, "raised"))
            if 20 <= minute < 40:
                acknowledge(connection, guard, StepTarget(alert_id=alert_id))
                set_clock(connection, now)
                told.append((alert_id, "acknowledged"))
            if minute >= 40:
                key = AlertKey(
                    detector="hazard:smoke",
                    subject_kind=SubjectKind.DEVICE,
                    subject_id=subject,
                )
                alert = alerts.lock_open_alert(connection, key)
                assert alert is not None
                step = AlertStep(actor="watch", name="returned")
                set_state(connection, alert_id, returned(alert.state), step)
                set_clock(connection, now)
                told.append((alert_id, "returned"))
        plan_all(connection, config, say, now)
        down = minute < 60
        sender.run(connection, now)
        now += timedelta(minutes=1)
    assert len(told) == 60
    verifier = standardwebhooks.Webhook(SECRET)
    taken: dict[int, list[str]] = defaultdict(list)
    ids: Counter[str] = Counter()
    tries = sum(1 for _ in receiver.got)
    for _, headers, body in receiver.got[tries - 60 :]:
        # The library checks the clock too, and ours is simulated: it is told what time it is.
        headers = {**headers, "webhook-timestamp": headers["webhook-timestamp"]}
        assert (
            verifier.sign(
                headers["webhook-id"],
                datetime.fromtimestamp(int(headers["webhook-timestamp"]), NOON.tzinfo),
                body.decode(),
            )
            == headers["webhook-signature"]
        )
        event = json.loads(body)
        assert event["id"] == headers["webhook-id"] and headers["content-type"].startswith(
            "application/cloudevents+json"
        )
        ids[event["id"]] += 1
        taken[event["data"]["id"]].append(event["data"]["step"])
    assert len(ids) == 60 and set(ids.values()) == {1}
    assert taken == {a: [s for b, s in told if b == a] for a in {a for a, _ in told}}
    assert tries - 60 <= 30, "a receiver that is down is not hammered"
    assert asdict(channel_states.count_by_channel(connection, now)[0]) | {"late_s": None} == {
        "channel": "bureau",
        "waiting": 0,
        "sent": 60,
        "dropped": 0,
        "failed": 0,
        "late_s": None,
        "failing_since": None,
        "disabled_at": None,
        "disabled_why": None,
    }


def _send_for_ever(dsn: str, url: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        sender = NoticeSender(webhook(url))
        while True:
            sender.run(connection, NOON)


@pytest.mark.long
def test_a_sender_that_is_killed_loses_nothing_and_repeats_under_the_same_id(
    dsn: str, connection: Connection, receiver: Receiver
) -> None:
    estate_id, config = estate(connection), webhook(receiver.url, per_minute=6000)
    for subject in range(300):
        raise_one(connection, estate_id, subject)
    plan_all(connection, config, say, NOON)
    connection.commit()
    kills = 0
    context = multiprocessing.get_context("spawn")
    while len(receiver.got) < 240:
        children = [
            context.Process(target=_send_for_ever, args=(dsn, receiver.url), daemon=True)
            for _ in range(2)
        ]
        for child in children:
            child.start()
        before, deadline = len(receiver.got), time.monotonic() + 60
        while len(receiver.got) < before + 60:
            assert time.monotonic() < deadline, "nothing is sent"
            time.sleep(0.002)
        for child in children:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            kills += 1
    assert kills >= 4
    with connect(dsn, autocommit=True) as last:
        while NoticeSender(config).run(last, NOON):
            pass
    ids = Counter(headers["webhook-id"] for _, headers, _ in receiver.got)
    assert len(ids) == 300
    assert sum(ids.values()) - 300 <= kills, (
        "at most what was under way at a kill comes twice, under one id"
    )


def planned(
    connection: Connection, config: NoticeRules, count: int, now: datetime = NOON, **values: Any
) -> None:
    estate_id = estate(connection)
    for subject in range(count):
        raise_one(connection, estate_id, subject, at=now, **values)
    plan_all(connection, config, say, now)
    connection.commit()


def test_what_can_wait_is_bundled_and_a_life_goes_by_itself_while_there_is_room(
    connection: Connection,
) -> None:
    config, recorder = notices({}), Recorder()
    sender = NoticeSender(config, carriers=dict.fromkeys(config.channels, recorder))
    planned(connection, config, 30, alert_class=AlertClass.HAZARD, severity=Severity.MEDIUM)
    estate_id = connection.execute("SELECT id FROM estates").fetchone()["id"]  # type: ignore[index]
    for subject in range(100, 103):
        raise_one(connection, estate_id, subject)
    plan_all(connection, config, say, NOON)
    assert sender.run(connection, NOON) == 33
    assert [m.urgent for m in recorder.got] == [True, True, True, False]
    assert recorder.got[3].subject.endswith("(+29)") and recorder.got[3].body.count("·") > 20
    recorder.got.clear()
    for subject in range(200, 260):
        raise_one(connection, estate_id, subject)
    plan_all(connection, config, say, NOON)
    sender.run(connection, NOON)
    limit = config.channels["guards"].per_minute
    assert len(recorder.got) <= limit - 4 and recorder.got[-1].subject.endswith("+46)"), (
        "more than fit go as one, and none is kept back"
    )
    assert connection.execute(
        "SELECT count(*) AS n FROM notice_deliveries WHERE result IS NULL"
    ).fetchone() == {"n": 0}


def test_who_has_seen_it_is_not_called_again(connection: Connection) -> None:
    config, recorder = notices({"after_s": 120, "repeat_s": 300}), Recorder()
    sender = NoticeSender(config, carriers=dict.fromkeys(config.channels, recorder))
    planned(connection, config, 2)
    estate_id = connection.execute("SELECT id FROM estates").fetchone()["id"]  # type: ignore[index]
    assert sender.run(connection, NOON + timedelta(seconds=60)) == 0
    first = connection.execute("SELECT min(id) AS id FROM alerts").fetchone()["id"]  # type: ignore[index]
    guard = Principal(user_id=1, name="w", role=Role.GUARD, estate_ids=(estate_id,))
    acknowledge(connection, guard, StepTarget(alert_id=first))
    for minute in range(2, 15):
        sender.run(connection, NOON + timedelta(minutes=minute, seconds=1))
    assert [m.subject[-7:] for m in recorder.got] == ["smoke-1"] * 3
    kept = connection.execute(
        "SELECT result, detail FROM notice_deliveries WHERE alert_id = %s", [first]
    ).fetchall()
    assert kept == [{"result": "dropped", "detail": "acknowledged"}]


def test_one_refused_message_does_not_hold_up_the_rest_and_a_closed_way_is_not_used(
    connection: Connection,
) -> None:
    config = notices({})
    recorder = Recorder(DeliveryFailed("no such template"))
    sender = NoticeSender(
        config, carriers=dict.fromkeys(config.channels, recorder), rng=random.Random(1)
    )
    planned(connection, config, 3)
    assert sender.run(connection, NOON) == 0
    assert connection.execute(
        "SELECT count(*) AS n FROM notice_deliveries WHERE attempts = 1"
    ).fetchone() == {"n": 3}
    recorder.fail = DeliveryFailed("away", hold=AWAY)
    for hour in range(1, 30):
        sender.run(connection, NOON + timedelta(hours=hour))
    assert connection.execute(
        "SELECT count(*) AS n FROM notice_deliveries WHERE result = 'failed'"
    ).fetchone() == {"n": 3}
    later = NOON + timedelta(hours=30)
    assert deliveries.replay(connection, "guards", NOON, later, failed_only=True) == 3
    recorder.fail = None
    assert sender.run(connection, later) == 3
    recorder.fail = DeliveryFailed("410", gone=True)
    assert deliveries.replay(connection, "guards", NOON, later, failed_only=False) == 3
    sender.run(connection, later)
    (state,) = channel_states.count_by_channel(connection, later)
    assert state.disabled_why == "410" and state.waiting == 3
    recorder.fail = None
    assert sender.run(connection, later + timedelta(hours=1)) == 0, "a person enables it"
    channel_states.enable(connection, "guards")
    assert sender.run(connection, later + timedelta(hours=1)) == 3


def test_a_way_that_fails_for_days_is_disabled(connection: Connection) -> None:
    config, recorder = webhook("https://example.org"), Recorder(DeliveryFailed("away", hold=AWAY))
    sender = NoticeSender(config, carriers={"bureau": recorder}, rng=random.Random(1))
    estate_id = estate(connection)
    for hour in range(80):
        now = NOON + timedelta(hours=hour)
        raise_one(connection, estate_id, hour, at=now)
        plan_all(connection, config, say, now)
        sender.run(connection, now)
    assert channel_states.read_state(connection, "bureau").disabled_at is not None


def test_a_browser_that_is_gone_is_forgotten_and_a_bug_holds_up_nobody(
    connection: Connection,
) -> None:
    config = notices({"channel": "browsers"})
    estate_id = estate(connection)
    users.add_grant(connection, users.add_user(connection, "guard", "x", Role.GUARD), by="test")
    connection.execute(
        "INSERT INTO push_subscriptions (endpoint, user_id, keys) "
        "SELECT 'https://p.example/1', id, '{}' FROM users"
    )
    recorder = Recorder(DeliveryFailed("410", recipient_gone=True))
    sender = NoticeSender(
        config, carriers=dict.fromkeys(config.channels, recorder), rng=random.Random(1)
    )
    for subject in range(2):
        raise_one(connection, estate_id, subject)
    plan_all(connection, config, say, NOON)
    assert sender.run(connection, NOON) == 0
    assert connection.execute("SELECT count(*) AS n FROM push_subscriptions").fetchone() == {"n": 0}
    assert connection.execute(
        "SELECT count(*) AS n FROM notice_deliveries WHERE result = 'failed'"
    ).fetchone() == {"n": 2}
    connection.execute("UPDATE notice_deliveries SET result = NULL")
    recorder.fail = ZeroDivisionError("planted")  # type: ignore[assignment]
    assert sender.run(connection, NOON) == 0
    assert connection.execute(
        "SELECT count(*) AS n FROM notice_deliveries WHERE detail LIKE 'a bug%'"
    ).fetchone() == {"n": 2}
