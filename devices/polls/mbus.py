"""Polling wired M-Bus meters by primary address: one reply holds every record.

An item names a quantity in its base uom: `volume` in m³, `energy` in Wh, `power` in W,
`flow_temperature` in °C. What is not the present value follows: `volume.s1` (storage number),
`energy.t2` (tariff), `.u1` (subunit), `.maximum`. `status` is the header's status byte. With the
device's `serial` in the configuration a foreign meter at its address is noticed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from devices.mapping import CLOCK
from devices.polls.query import (
    PolledProtocol,
    PollQuery,
    ReplyFields,
    numeric_address,
    profile_items,
)
from devices.profiles import Profile
from devices.protocols import mbus as wire
from devices.protocols.mbus_records import MbusRecord
from domain.rejection import Rejected

_SUFFIX = re.compile(r"[stu][0-9]+|maximum|minimum|error")


def _address(text: str) -> str:
    return numeric_address(text, 250, "an M-Bus primary address")


def _check(profile: Profile) -> None:
    for item in profile_items(profile):
        for suffix in item.split(".")[1:]:
            if not _SUFFIX.fullmatch(suffix):
                allowed = "s, t or u with a number nor maximum, minimum, error"
                raise ValueError(f"item {item!r}: {suffix!r} is neither {allowed}")


def record_item(record: MbusRecord) -> str | None:
    """Name a record's item; None for a record that measures nothing known."""
    if record.unit is None:
        return None
    name = record.unit.quantity
    for letter, number in (("s", record.storage), ("t", record.tariff), ("u", record.subunit)):
        if number:
            name += f".{letter}{number}"
    return name if record.function == "instantaneous" else f"{name}.{record.function}"


def telegram_fields(telegram: wire.MbusTelegram) -> dict[str, Any]:
    """Return a telegram's fields by item; of two records with one name the first counts.

    Meters send the more precise one first.
    """
    fields: dict[str, Any] = {"status": telegram.status, "serial": telegram.identity}
    for record in telegram.records:
        name = record_item(record)
        if name is None or record.content is None:
            continue
        if name == "datetime" and isinstance(record.content, datetime):
            # Type F has whole minutes: the middle of the minute is the nearest guess.
            fields.setdefault(CLOCK, record.content + timedelta(seconds=30))
        else:
            fields.setdefault(name, record.content)
    return fields


def _queries(_profile: Profile, address: str, slow: bool) -> list[PollQuery]:  # noqa: ARG001
    number = int(address)

    def read(frame: wire.MbusFrame) -> ReplyFields:
        if frame.information is None or frame.address != number:
            return None
        telegram = wire.decode_telegram(frame)
        return telegram if isinstance(telegram, Rejected) else telegram_fields(telegram)

    request = wire.CODEC.encode(wire.request_user_data(number))
    return [PollQuery(request=request, read=read, what="user data")]


POLL = PolledProtocol(
    name="mbus", codec=wire.CODEC, address=_address, check=_check, queries=_queries
)
