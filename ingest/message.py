"""One message as the broker delivers it, and what its topic says about its origin."""

from __future__ import annotations

import msgspec

from domain import wire
from store.ingest.log import TallyKey

#: Source and kind under which messages are counted whose topic is not one of ours.
UNKNOWN = "unknown"


class ReceivedMessage(msgspec.Struct, frozen=True, gc=False):
    """What a PUBLISH packet holds. It is as cheap to make as a tuple, and cheaper to read."""

    topic: bytes
    payload: bytes
    #: The Packet Identifier that an acknowledgement names (MQTT 5, 2.2.1); 0 where none is due.
    packet_id: int


def tally_key(topic: str) -> TallyKey:
    """Return under which source and kind the items of a topic are counted."""
    parsed = wire.parse_up_topic(topic)
    if parsed is None:
        return TallyKey(UNKNOWN, UNKNOWN)
    return TallyKey(f"{parsed.estate[:40]}/{parsed.gateway[:40]}", str(parsed.up))
