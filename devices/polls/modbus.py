"""Polling Modbus devices, RTU on a line or TCP: one query per value.

An item is `table:address[:type[:word order]]`: `holding:0:float32`, `input:12:int16`,
`holding:4:uint32:little`, `coil:1`. Addresses count from zero, as on the wire. A command names its
coil or register and what each word writes there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from devices.polls.query import (
    PolledProtocol,
    PollQuery,
    ReplyFields,
    alarm_only_items,
    numeric_address,
    point_items,
    profile_items,
    unknown_command,
)
from devices.profiles import Profile
from devices.protocols import modbus as wire
from devices.protocols.framing import Codec
from domain.rejection import Rejected

HIGHEST_ADDRESS = 65_535

_ITEM = re.compile(
    r"(?P<table>[a-z]+):(?P<address>[0-9]{1,9})(:(?P<type>[a-z0-9]+)(:(?P<order>big|little))?)?"
)
_DEFAULT_TYPE = "uint16"
_DEFAULT_ORDER = "big"


def parse_item(item: str) -> wire.ModbusRegister:
    """Read an item.

    Raises: ValueError, with the form that an item has.
    """
    match = _ITEM.fullmatch(item)
    value_type = _DEFAULT_TYPE
    if match is not None and match["type"]:
        value_type = match["type"]
    if match is None or match["table"] not in wire.TABLES or value_type not in wire.TYPES:
        raise ValueError(
            f"item {item!r}: write table:address:type:word order, with a table of "
            f"{', '.join(wire.TABLES)}, a type of {', '.join(wire.TYPES)}, the order big or little"
        )
    address = int(match["address"])
    if address > HIGHEST_ADDRESS:
        raise ValueError(f"item {item!r}: the address lies between 0 and {HIGHEST_ADDRESS}")
    return wire.ModbusRegister(
        table=match["table"],
        address=address,
        type=value_type,
        word_order=match["order"] or _DEFAULT_ORDER,
    )


def _address(text: str) -> str:
    return numeric_address(text, 247, "a Modbus device number")


def _check(profile: Profile) -> None:
    for item in profile_items(profile):
        parse_item(item)
    for words in profile.commands.values():
        if parse_item(str(words["item"])).table not in ("coil", "holding"):
            raise ValueError(
                f"a command writes a coil or a holding register, not {words['item']!r}"
            )


@dataclass(frozen=True, slots=True)
class _Queries:
    """Makes the queries of one transport.

    Over TCP a reply repeats the request's transaction number.
    """

    codec: Codec[wire.ModbusFrame]
    has_transactions: bool

    def all(self, profile: Profile, address: str, slow: bool) -> list[PollQuery]:
        items = point_items(profile)
        if slow:
            items += alarm_only_items(profile)
        return [self._read_item(address, item) for item in items]

    def _read_item(self, address: str, item: str) -> PollQuery:
        register = parse_item(item)
        request = wire.read_request(int(address), register, transaction=register.address)

        def read(frame: wire.ModbusFrame) -> ReplyFields:
            if not self._answers(frame, request):
                return None
            value = wire.decode_value(frame, register)
            if isinstance(value, Rejected):
                return value
            return {} if value is None else {item: value}

        return PollQuery(request=self.codec.encode(request), read=read, what=item)

    def _answers(self, frame: wire.ModbusFrame, request: wire.ModbusFrame) -> bool:
        """Tell whether a frame is the reply to a request, be it an exception."""
        if frame.device != request.device:
            return False
        if self.has_transactions and frame.transaction != request.transaction:
            return False
        return frame.function == request.function

    def command(self, profile: Profile, address: str, name: str, argument: str) -> PollQuery:
        words: dict[str, Any] = profile.commands.get(name, {})
        if argument not in words or argument == "item":
            raise unknown_command(profile, name, argument)
        register = parse_item(str(words["item"]))
        request = wire.write_request(
            int(address), register, int(words[argument]), transaction=register.address
        )

        def read(frame: wire.ModbusFrame) -> ReplyFields:
            if frame.device != request.device or frame.function != request.function:
                return None
            if frame.is_exception:
                refusal = wire.decode_value(frame, register)
                return refusal if isinstance(refusal, Rejected) else {}
            # A device confirms a write by sending the request back.
            return {} if frame.pdu == request.pdu else None

        encoded = self.codec.encode(request)
        return PollQuery(request=encoded, read=read, what=f"{name} {argument}")


def _protocol(
    name: str, codec: Codec[wire.ModbusFrame], *, has_transactions: bool
) -> PolledProtocol:
    queries = _Queries(codec, has_transactions)
    return PolledProtocol(
        name=name,
        codec=codec,
        address=_address,
        check=_check,
        queries=queries.all,
        command=queries.command,
    )


RTU = _protocol("modbus-rtu", wire.RTU, has_transactions=False)
TCP = _protocol("modbus-tcp", wire.TCP, has_transactions=True)
