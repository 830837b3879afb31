"""A message has named fields, and is counted under its gateway or, where it is not ours, under one
word.
"""

from __future__ import annotations

import pytest

from ingest.message import UNKNOWN, ReceivedMessage, tally_key
from store.ingest.log import TallyKey


def test_a_message_is_a_value() -> None:
    message = ReceivedMessage(b"a/b", b"{}", 7)
    assert message == ReceivedMessage(b"a/b", b"{}", 7) != ReceivedMessage(b"a/b", b"{}", 8)
    with pytest.raises(AttributeError):
        message.packet_id = 9  # type: ignore[misc]


def test_items_are_counted_by_gateway_and_kind() -> None:
    assert tally_key("anju/v1/es/gw/up/readings") == TallyKey("es/gw", "readings")
    long = tally_key(f"anju/v1/{'e' * 90}/{'g' * 90}/up/state")
    assert long == TallyKey(f"{'e' * 40}/{'g' * 40}", "state")


@pytest.mark.parametrize(
    "topic", ["", "else/where", "anju/v1/es/gw/down/ack", "anju/v1/es/gw/up/x"]
)
def test_other_topics_are_counted_under_one_word(topic: str) -> None:
    assert tally_key(topic) == TallyKey(UNKNOWN, UNKNOWN)
