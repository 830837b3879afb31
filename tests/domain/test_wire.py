from __future__ import annotations

from domain.access import CLASSES_OF, Role
from domain.broker import BrokerAddress
from domain.measures import MEASURES, REGISTER_OF, Kind
from domain.rejection import Reason
from domain.wire import Up, parse_up_topic, up_topic


def test_topics_come_back() -> None:
    topic = parse_up_topic(up_topic("qingnian", "gw-01", Up.READINGS))
    assert topic is not None and (topic.estate, topic.gateway, topic.up) == (
        "qingnian",
        "gw-01",
        Up.READINGS,
    )


def test_what_is_no_topic_of_ours_is_none() -> None:
    for text in (
        "",
        "anju/v1/a/b/up",
        "anju/v2/a/b/up/readings",
        "anju/v1/a/b/down/ack",
        "anju/v1/a/b/up/readings/x",
        "x" * 9999,
    ):
        assert parse_up_topic(text) is None


def test_every_supply_has_a_register() -> None:
    assert all(MEASURES[point].kind is Kind.REGISTER for point in REGISTER_OF.values())


def test_guards_see_no_leads_and_engineers_no_people() -> None:
    assert "compliance" not in CLASSES_OF[Role.GUARD]
    assert CLASSES_OF[Role.DEVICE_ENGINEER] == {"data"}


def test_reasons_are_fit_for_metric_labels() -> None:
    assert all(reason.value.replace("_", "").isalpha() for reason in Reason)
    assert BrokerAddress().host == "127.0.0.1"
