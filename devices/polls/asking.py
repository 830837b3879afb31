"""The shape of a conversation: a question, what may be taken for its answer, and what the answer says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.profiles import Profile
from devices.protocols.framing import Codec
from domain.rejection import Rejected

#: Fields of an answer by item; None where the frame answers something else (an echo, a late reply, another device).
Fields = dict[str, Any] | None | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class PollQuery:
    """One question. `read` says what a frame that came after it means; without one nothing answers (a broadcast)."""

    request: bytes
    read: Callable[[Any], Fields] | None
    what: str


def no_command(profile: Profile, name: str, argument: str) -> ValueError:
    """Make the error of a command that a profile does not have."""
    known = [
        f"{n} {word}" for n, words in profile.commands.items() for word in words if word != "item"
    ]
    return ValueError(
        f"profile {profile.key!r} has no command {name} {argument}; it has {', '.join(known) or 'none'}"
    )


def _no_command(profile: Profile, _address: str, name: str, argument: str) -> PollQuery:
    raise no_command(profile, name, argument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """A polled protocol.

    `address` checks and normalises how a device's address is written (ValueError where it cannot be one); `asks` are
    the questions of a profile, with the slow ones or without; `set_clock` is the question that sets a clock, None where
    the protocol has none; `command` makes a command's question (ValueError where the profile does not have it);
    `combine` puts fields of several answers together.
    """

    name: str
    codec: Codec[Any]
    address: Callable[[str], str]
    check: Callable[[Profile], None]
    asks: Callable[[Profile, str, bool], list[PollQuery]]
    set_clock: Callable[[Profile, str, datetime], PollQuery | None] = (
        lambda _profile, _address, _now: None
    )
    command: Callable[[Profile, str, str, str], PollQuery] = _no_command
    combine: Callable[[Profile, dict[str, Any]], dict[str, Any]] = lambda _profile, fields: fields


def slow_items(profile: Profile) -> list[str]:
    """Name the items that only alarms need, in the profile's order."""
    fast = {point.item for point in profile.points.values()}
    return [
        item for item in dict.fromkeys(alarm.item for alarm in profile.alarms) if item not in fast
    ]
