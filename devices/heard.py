"""What a device said, before anybody knows where it stands: the one form that every codec's messages end in.

A `ReceivedMessage` names the device as it names itself (a meter's address, a terminal's MAC, an IMEI); the gateway's configuration
turns that into the device's code. Times are milliseconds UTC where the device told its offset, a naive datetime where it told
its local time, None where it told none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: Turns what identifies a person (kind, value) into an opaque token of the estate.
Tokens = Callable[[str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """Something that happened, in the words of the wire contract. `id` is the device's own number of it."""

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
    """A sign of life and nothing else."""

    native: str


ReceivedMessage = ReceivedEvent | ReceivedFields | ReceivedHeartbeat
