"""Identifiers as the wire contract has them (docs/design.md).

They are 2 to 40 lower-case letters, digits and hyphens. One grammar serves estates, gateways and
devices, so that an id can stand in a topic, a file name and a URL without escaping. Anything else
is refused at the edge and never reaches a query.
"""

from __future__ import annotations

import re
from typing import NewType

EstateCode = NewType("EstateCode", str)
GatewayCode = NewType("GatewayCode", str)
DeviceCode = NewType("DeviceCode", str)

ID_PATTERN = r"^[a-z0-9][a-z0-9-]{1,39}$"
_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")

#: A value's name in a reading: the quantity, then its unit of measure (`energy_kwh`).
POINT_PATTERN = r"^[a-z][a-z0-9_]{1,39}$"
_POINT = re.compile(r"[a-z][a-z0-9_]{1,39}")

#: An event's id within its device: printable ASCII, chosen by the device or its gateway.
EVENT_ID_PATTERN = r"^[!-~]{1,80}$"
_EVENT_ID = re.compile(r"[!-~]{1,80}")


def valid_id(text: str) -> bool:
    """Whether `text` may stand in a topic or a register."""
    return _ID.fullmatch(text) is not None


def valid_point(text: str) -> bool:
    """Whether `text` may name a value of a reading."""
    return _POINT.fullmatch(text) is not None


def valid_event_id(text: str) -> bool:
    """Whether `text` may identify an event of a device."""
    return _EVENT_ID.fullmatch(text) is not None


def slug(text: str) -> str:
    """Make a valid id out of any text, for files whose own keys do not fit the grammar.

    Two different texts may give one id; a caller that cannot bear this checks for it.
    """
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return kept if len(kept) >= 2 else f"id-{kept or '0'}"
