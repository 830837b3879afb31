"""What the broker says of itself is no gateway's message; what it has dropped is counted and
logged.
"""

from __future__ import annotations

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from ingest.broker_statistics import DROPPED_TOPIC, BrokerStatistics
from ingest.message import ReceivedMessage

MESSAGE = ReceivedMessage(b"anju/v1/es/gw/up/state", b"{}", 1)


def dropped(count: bytes) -> ReceivedMessage:
    return ReceivedMessage(DROPPED_TOPIC.encode(), count, 0)


def test_messages_of_gateways_pass() -> None:
    statistics = BrokerStatistics()
    assert statistics.take_out([MESSAGE]) == [MESSAGE]
    assert statistics.take_out([dropped(b"5"), MESSAGE, dropped(b"7")]) == [MESSAGE]
    assert statistics.dropped == 7
    assert REGISTRY.get_sample_value("ingest_broker_dropped_messages") == 7


def test_only_a_rise_is_logged() -> None:
    statistics = BrokerStatistics()
    with capture_logs() as lines:
        for count in (b"0", b"3", b"3", b"1", b"4", b"not a number"):
            statistics.take_out([dropped(count)])
    assert [line["messages"] for line in lines] == [3, 3]


def test_other_statistics_are_left_out() -> None:
    other = ReceivedMessage(b"$SYS/broker/uptime", b"9", 0)
    assert BrokerStatistics().take_out([other, MESSAGE]) == [MESSAGE]
