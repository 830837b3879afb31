"""Polling Modbus devices, RTU on a line or TCP: one question per value.

An item is `table:address[:type[:word order]]`: `holding:0:float32`, `input:12:int16`, `holding:4:uint32:little`, `coil:1`. Addresses
count from zero, as on the wire. A command names its coil or register and what each word writes there.
"""

from __future__ import annotations

from devices.polls.asking import Fields, Poll, PollQuery, no_command, slow_items
from devices.profiles import Profile
from devices.protocols import modbus as wire
from devices.protocols.framing import Codec
from domain.rejection import Rejected


def register(item: str) -> wire.ModbusRegister:
    """Read an item.

    Raises: ValueError.
    """
    parts = item.split(":")
    table, kind = parts[0], parts[2] if len(parts) > 2 else "uint16"
    order = parts[3] if len(parts) > 3 else "big"
    if (
        table not in wire.TABLES
        or kind not in wire.TYPES
        or order not in ("big", "little")
        or not 2 <= len(parts) <= 4
    ):
        raise ValueError(
            f"item {item!r}: write table:address:type:word order, with a table of {', '.join(wire.TABLES)}, "
            f"a type of {', '.join(wire.TYPES)}, the order big or little"
        )
    address = int(parts[1]) if parts[1].isdecimal() else -1
    if not 0 <= address <= 65_535:
        raise ValueError(f"item {item!r}: the address lies between 0 and 65535")
    return wire.ModbusRegister(table=table, address=address, type=kind, word_order=order)


def _address(text: str) -> str:
    number = int(text) if text.strip().isdecimal() else -1
    if not 1 <= number <= 247:
        raise ValueError(f"address {text!r}: a Modbus device number lies between 1 and 247")
    return str(number)


def _check(profile: Profile) -> None:
    for item in [p.item for p in profile.points.values() if p.item] + [
        a.item for a in profile.alarms
    ]:
        register(item)
    for words in profile.commands.values():
        if register(str(words["item"])).table not in ("coil", "holding"):
            raise ValueError(
                f"a command writes a coil or a holding register, not {words['item']!r}"
            )


def _poll(name: str, codec: Codec[wire.ModbusFrame]) -> Poll:
    def ask(address: str, item: str) -> PollQuery:
        where = register(item)
        request = wire.read_request(int(address), where, transaction=where.address)

        def read(frame: wire.ModbusFrame) -> Fields:
            if frame.device != request.device or (
                name == "modbus-tcp" and frame.transaction != request.transaction
            ):
                return None
            if frame.pdu[0] & 0x7F != request.pdu[0]:
                return None
            value = wire.value_of(frame, where)
            return value if isinstance(value, Rejected) else {} if value is None else {item: value}

        return PollQuery(request=codec.encode(request), read=read, what=item)

    def asks(profile: Profile, address: str, slow: bool) -> list[PollQuery]:
        items = list(dict.fromkeys(p.item for p in profile.points.values() if p.item))
        return [ask(address, item) for item in items + (slow_items(profile) if slow else [])]

    def command(profile: Profile, address: str, word: str, argument: str) -> PollQuery:
        words = profile.commands.get(word, {})
        if argument not in words or argument == "item":
            raise no_command(profile, word, argument)
        where = register(str(words["item"]))
        request = wire.write_request(
            int(address), where, int(words[argument]), transaction=where.address
        )

        def read(frame: wire.ModbusFrame) -> Fields:
            if frame.device != request.device or frame.pdu[0] & 0x7F != request.pdu[0]:
                return None
            if frame.pdu[0] & 0x80:
                refusal = wire.value_of(frame, where)
                return refusal if isinstance(refusal, Rejected) else {}
            return {} if frame.pdu == request.pdu else None

        return PollQuery(request=codec.encode(request), read=read, what=f"{word} {argument}")

    return Poll(name=name, codec=codec, address=_address, check=_check, asks=asks, command=command)


RTU = _poll("modbus-rtu", wire.RTU)
TCP = _poll("modbus-tcp", wire.TCP)
