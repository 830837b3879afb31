"""Messages received from devices: the form in which every codec and every push parser ends.

A `ReceivedMessage` names the device as the device names itself: a meter's address, a terminal's
MAC, an IMEI. The gateway's configuration turns that name into the device's code. A time is
milliseconds UTC where the device gave its offset, a naive datetime where it gave its local time,
and None where it gave none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: Turns what identifies a person (kind, value) into an opaque token of the estate.
Tokenizer = Callable[[str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """Something that happened, in the words of the wire contract.

    `id` is the device's own number of it.
    """

    native: str
    at: int | datetime | None
    id: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFields:
    """Fields by the maker's own names, which the device's profile maps to points and alarms."""

    native: str
    at: int | datetime | None
    id: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedHeartbeat:
    """A sign of life without content."""

    native: str


ReceivedMessage = ReceivedEvent | ReceivedFields | ReceivedHeartbeat
