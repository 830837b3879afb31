"""A query to a polled device: the request, the frames that answer it, and what an answer says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.profiles import Profile
from devices.protocols.framing import Codec
from domain.rejection import Rejected

#: Fields of a reply by item. None where the frame answers something else: an echo, a late reply,
#: another device.
ReplyFields = dict[str, Any] | None | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class PollQuery:
    """One query. `read` says what a frame received after it means.

    Without one no reply comes (a broadcast).
    """

    request: bytes
    read: Callable[[Any], ReplyFields] | None
    what: str


def unknown_command(profile: Profile, name: str, argument: str) -> ValueError:
    """Make the error of a command that a profile does not have."""
    known = [
        f"{command} {word}"
        for command, words in profile.commands.items()
        for word in words
        if word != "item"
    ]
    problem = f"profile {profile.key!r} has no command {name} {argument}"
    return ValueError(f"{problem}; it has {', '.join(known) or 'none'}")


def _refuse_command(profile: Profile, _address: str, name: str, argument: str) -> PollQuery:
    raise unknown_command(profile, name, argument)


def _no_clock_query(_profile: Profile, _address: str, _local_time: datetime) -> None:
    return None


def _keep_fields(_profile: Profile, fields: dict[str, Any]) -> dict[str, Any]:
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledProtocol:
    """A polled protocol.

    - `address` checks and normalises a device's address; ValueError where it cannot be one.
    - `check` compares a profile with the protocol; ValueError where the protocol cannot serve it.
    - `queries` lists a profile's queries to an address, with the slow ones or without.
    - `set_clock` makes the query that sets a clock to a local time; None where the protocol has
      none.
    - `command` makes a command's query; ValueError where the profile does not have the command.
    - `combine` puts fields of several replies together.
    """

    name: str
    codec: Codec[Any]
    address: Callable[[str], str]
    check: Callable[[Profile], None]
    queries: Callable[[Profile, str, bool], list[PollQuery]]
    set_clock: Callable[[Profile, str, datetime], PollQuery | None] = _no_clock_query
    command: Callable[[Profile, str, str, str], PollQuery] = _refuse_command
    combine: Callable[[Profile, dict[str, Any]], dict[str, Any]] = _keep_fields


def decimal_address(text: str, digits: int, rule: str) -> str:
    """Return an address of decimal digits with its leading zeros; `rule` says what one is.

    Raises: ValueError for an address that has other characters or too many digits.
    """
    padded = text.strip().zfill(digits)
    if not padded.isdecimal() or len(padded) != digits:
        raise ValueError(f"address {text!r}: {rule}")
    return padded


def numeric_address(text: str, highest: int, name: str) -> str:
    """Return an address that is a number from 1 to `highest`.

    Raises: ValueError for any other text.
    """
    number = int(text) if text.strip().isdecimal() else -1
    if not 1 <= number <= highest:
        raise ValueError(f"address {text!r}: {name} is a number from 1 to {highest}")
    return str(number)


def point_items(profile: Profile) -> list[str]:
    """List the items of a profile's points, each once, in the profile's order."""
    items = (point.item for point in profile.points.values() if point.item)
    return list(dict.fromkeys(items))


def profile_items(profile: Profile) -> Iterator[str]:
    """Yield the item of every point and every alarm of a profile."""
    yield from point_items(profile)
    for alarm in profile.alarms:
        yield alarm.item


def alarm_only_items(profile: Profile) -> list[str]:
    """List the items that only alarms need, in the profile's order; they are queried slowly."""
    items_of_points = set(point_items(profile))
    items = dict.fromkeys(alarm.item for alarm in profile.alarms)
    return [item for item in items if item not in items_of_points]
