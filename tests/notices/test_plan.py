"""Planning.

Who is told of which change, when, once; quiet hours and digests for what can wait and never for a
life.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notices.plan import AlertWording, find_due_time, plan, plan_all, repeat_message
from notices.rules import NoticeRule, NoticeRules
from store.alerts.alerts import Alert
from store.database.connection import Connection
from store.notices.deliveries import NewDelivery, QueuedChange
from tests.notices.conftest import NOON, estate, raise_one
from tests.store.alerts.rows import make_alert


def say(alert: Alert, language: str) -> AlertWording:
    title = "Smoke" if language == "en" else "烟雾"
    return AlertWording(title=title, sentence=f"{alert.subject} burns", advice="go")


def change(*, step: str = "raised", changed_at: datetime = NOON, **values: Any) -> QueuedChange:
    """Make a change of an alert; `values` are columns of the alert."""
    return QueuedChange(seq=7, step=step, changed_at=changed_at, alert=make_alert(**values))


def notices(*rules: dict[str, Any]) -> NoticeRules:
    channels = {
        "guards": {"kind": "wecom", "role": "guard", "key": "k"},
        "night": {
            "kind": "sms",
            "role": "guard",
            "url": "https://example.org",
            "body": {"to": "{phone}"},
            "to": ["1", "2"],
        },
        "bureau": {
            "kind": "webhook",
            "role": "compliance",
            "url": "https://example.org",
            "secret": "whsec_x",
            "language": "en",
        },
        "browsers": {
            "kind": "push",
            "role": "guard",
            "private_key": "k",
            "contact": "mailto:a@b.c",
        },
    }
    return NoticeRules.model_validate(
        {
            "channels": channels,
            "rules": [{"name": "rule", "channel": "guards", **rule} for rule in rules],
        }
    )


def planned(config: NoticeRules, now: datetime = NOON, **values: Any) -> list[NewDelivery]:
    return plan(change(**values), config, say, now, lambda role, at: [f"{role}@{at}"])


def test_a_person_is_told_of_what_calls_and_a_machine_of_everything() -> None:
    person, machine = notices({}), notices({"channel": "bureau"})
    (told,) = planned(person)
    assert (
        told.urgent
        and told.subject == "烟雾 · es · smoke-1"
        and told.unless == "never"
        and told.due_at == NOON
    )
    for values in (
        {"step": "acknowledged"},
        {"suppression": "shelved"},
        {"drill": True},
        {"alert_class": "compliance"},
    ):
        assert planned(person, **values) == []
    assert [
        d.unless
        for d in planned(
            machine, step="acknowledged", suppression="shelved", alert_class="compliance"
        )
    ] == ["never"]
    assert (
        planned(machine, drill=True) == []
        and len(planned(notices({"drills": True}), drill=True)) == 1
    )
    assert (
        planned(
            notices({"min_severity": "high", "classes": ["hazard"]}),
            alert_class="hazard",
            severity="medium",
        )
        == []
    )
    assert planned(notices({"estates": ["other"]})) == []


def test_what_is_old_is_news_to_nobody_but_a_machine() -> None:
    late = NOON + timedelta(hours=25)
    assert (
        planned(notices({}), late) == [] and len(planned(notices({"channel": "bureau"}), late)) == 1
    )


def test_each_number_and_each_browser_is_a_message_of_its_own() -> None:
    assert [d.recipient for d in planned(notices({"channel": "night"}))] == ["1", "2"]
    assert [d.recipient for d in planned(notices({"channel": "browsers"}))] == ["guard@1"]
    assert (
        len(
            {
                d.message_id
                for d in planned(
                    notices({"channel": "night"}, {"name": "second", "channel": "night"})
                )
            }
        )
        == 4
    )


def test_a_cloud_event_says_what_happened() -> None:
    (made,) = planned(notices({"channel": "bureau"}))
    event = json.loads(made.body)
    assert {
        "specversion": "1.0",
        "type": "anju.alert.raised",
        "source": "/anju/es",
        "subject": "alerts/3",
    }.items() <= event.items()
    assert (
        event["id"] == made.message_id
        and event["data"]["title"] == "Smoke"
        and "evidence" not in event["data"]
    )


def test_escalation_waits_and_repeats_until_somebody_has_seen_it() -> None:
    config = notices({"after_s": 120, "repeat_s": 300})
    (made,) = planned(config)
    assert made.due_at == NOON + timedelta(minutes=2) and made.unless == "acknowledged"
    second = repeat_message(made, config.rules[0], NOON)
    third = repeat_message(second, config.rules[0], NOON)
    assert [d.message_id[-2:] for d in (made, second, third)] == ["-0", "-1", "-2"]
    assert second.due_at == NOON + timedelta(minutes=5)


QUIET = NoticeRule(name="rule", channel="guards", quiet=(time(22), time(7)))


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2026-03-04 23:30", "2026-03-05 07:00"),
        ("2026-03-05 03:00", "2026-03-05 07:00"),
        ("2026-03-05 07:00", "2026-03-05 07:00"),
        ("2026-03-05 21:59", "2026-03-05 21:59"),
    ],
)
def test_quiet_hours_hold_what_can_wait(at: str, due: str) -> None:
    said, wanted = (datetime.fromisoformat(f"{text}+08:00") for text in (at, due))
    assert find_due_time(QUIET, change(alert_class="data", changed_at=said), said) == wanted
    assert find_due_time(QUIET, change(changed_at=said), said) == said, "a life is not kept waiting"


def test_a_digest_comes_at_its_time_and_a_rule_keeps_its_hours() -> None:
    digest = NoticeRule(name="rule", channel="guards", digest_min=60)
    at = NOON + timedelta(minutes=13)
    assert find_due_time(digest, change(alert_class="data", changed_at=at), at) == NOON + timedelta(
        hours=1
    )
    office = NoticeRule(name="rule", channel="guards", hours=(time(8), time(18)))
    assert find_due_time(office, change(), NOON) == NOON
    night = NOON + timedelta(hours=12)
    assert find_due_time(office, change(changed_at=night), night) is None


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.integers(0, 1440),
    st.times(),
    st.times(),
    st.integers(0, 86_400),
)
def test_nothing_is_due_before_it_happened_or_in_quiet_hours(
    at: datetime, digest: int, begin: time, end: time, after: int
) -> None:
    begin, end = begin.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
    if begin == end:
        return
    rule = NoticeRule(
        name="rule", channel="guards", digest_min=digest, quiet=(begin, end), after_s=after
    )
    said = at.replace(tzinfo=UTC)
    due = find_due_time(rule, change(alert_class="hazard", changed_at=said, timezone="UTC"), said)
    assert due is not None and due >= said
    local = due.time()
    assert not (begin <= local < end if begin < end else local >= begin or local < end)


@pytest.mark.real
def test_each_change_is_planned_once_also_when_planning_dies(connection: Connection) -> None:
    estate_id = estate(connection)
    for subject in range(5):
        raise_one(connection, estate_id, subject)

    class Died(Exception):
        pass

    def dies(alert: Alert, language: str) -> AlertWording:
        if alert.subject == "smoke-3":
            raise Died
        return say(alert, language)

    config = notices({}, {"name": "second", "channel": "bureau"})
    with pytest.raises(Died):
        plan_all(connection, config, dies, NOON)
    connection.rollback()
    assert (
        plan_all(connection, config, say, NOON) == 10
        and plan_all(connection, config, say, NOON) == 0
    )
    assert connection.execute("SELECT count(*) AS n FROM notice_deliveries").fetchone() == {"n": 10}
