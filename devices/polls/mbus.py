"""Polling wired M-Bus meters by primary address: one answer holds every record.

An item names a quantity in its base uom (`volume` in m³, `energy` in Wh, `power` in W, `flow_temperature` in °C, …), then
where it is not the present value: `volume.s1` (storage number), `energy.t2` (tariff), `.u1` (subunit), `.maximum`. `status`
is the header's status byte. With the device's `serial` in the configuration a foreign meter at its address is noticed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from devices.mapping import CLOCK
from devices.polls.asking import Fields, Poll, PollQuery
from devices.profiles import Profile
from devices.protocols import mbus as wire
from domain.rejection import Rejected


def _address(text: str) -> str:
    number = int(text) if text.strip().isdecimal() else -1
    if not 1 <= number <= 250:
        raise ValueError(f"address {text!r}: an M-Bus primary address is a number from 1 to 250")
    return str(number)


def _check(profile: Profile) -> None:
    for item in [p.item for p in profile.points.values() if p.item] + [
        a.item for a in profile.alarms
    ]:
        for part in item.split(".")[1:]:
            if part not in ("maximum", "minimum", "error") and not (
                part[0] in "stu" and part[1:].isdecimal()
            ):
                raise ValueError(
                    f"item {item!r}: {part!r} is neither s, t or u with a number nor maximum, minimum, error"
                )


def item_of(record: wire.Record) -> str | None:
    """Name a record's item; None for a record that measures nothing known."""
    if record.unit is None:
        return None
    name = record.unit.quantity
    for letter, number in (("s", record.storage), ("t", record.tariff), ("u", record.subunit)):
        name += f".{letter}{number}" if number else ""
    return name if record.function == "instantaneous" else f"{name}.{record.function}"


def fields_of(telegram: wire.Telegram) -> dict[str, object]:
    """Return a telegram's fields; of two records with one name the first stands (the more precise comes first)."""
    fields: dict[str, object] = {"status": telegram.status, "serial": telegram.identity}
    for record in telegram.records:
        name = item_of(record)
        if name is None or record.content is None:
            continue
        if name == "datetime" and isinstance(record.content, datetime):
            # It tells whole minutes: the middle of the one that it shows is nearest.
            fields.setdefault(CLOCK, record.content + timedelta(seconds=30))
        else:
            fields.setdefault(name, record.content)
    return fields


def _asks(profile: Profile, address: str, slow: bool) -> list[PollQuery]:  # noqa: ARG001
    number = int(address)

    def read(frame: wire.MbusFrame) -> Fields:
        if frame.information is None or frame.address != number:
            return None
        telegram = wire.read_telegram(frame)
        return telegram if isinstance(telegram, Rejected) else fields_of(telegram)

    return [PollQuery(request=wire.CODEC.encode(wire.ask(number)), read=read, what="user data")]


POLL = Poll(name="mbus", codec=wire.CODEC, address=_address, check=_check, asks=_asks)
