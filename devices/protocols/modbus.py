"""Modbus RTU and TCP (Modbus Application Protocol 1.1b3), through pymodbus: its messages, its CRC, its register types.

pymodbus decides what a message holds; the framing is ours, since its own gives up a whole buffer where one frame in it
is broken. RTU has no start byte: a frame's length follows from its function code, and differs between what a master
sends and what a device answers, so there is a codec for each direction. TCP has a header with the length (MBAP).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import msgspec
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteSingleRegisterRequest,
)

from devices.protocols.framing import MORE, Codec, FrameBoundary, refused
from domain.rejection import Reason, Rejected

NAME = "modbus"
LONGEST_RTU, LONGEST_TCP = 256, 260

_FAILS = (ModbusException, ValueError, IndexError, struct.error, TypeError, UnicodeDecodeError)
_REQUESTS, _RESPONSES = DecodePDU(is_server=True), DecodePDU(is_server=False)
_CRC = FramerRTU(_RESPONSES)

#: Tables of a device by the name that profiles use; the first two hold bits.
TABLES: dict[str, type[ModbusPDU]] = {
    "coil": ReadCoilsRequest, "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest, "input": ReadInputRegistersRequest,
}  # fmt: skip
_ANSWERS: dict[str, type[ModbusPDU]] = {
    "coil": ReadCoilsResponse, "discrete": ReadDiscreteInputsResponse,
    "holding": ReadHoldingRegistersResponse, "input": ReadInputRegistersResponse,
}  # fmt: skip
TYPES = {kind.name.lower(): kind for kind in ModbusClientMixin.DATATYPE if kind.value[1]}


class ModbusFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame: the device's number, the function code with its data, and for TCP the number of the exchange."""

    device: int
    pdu: bytes
    transaction: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusRegister:
    """Where a value stands: table, address, type; `word_order` of values over several registers."""

    table: str
    address: int
    type: str = "uint16"
    word_order: str = "big"

    @property
    def count(self) -> int:
        """How many registers (or bits) it takes."""
        return 1 if self.table in ("coil", "discrete") else int(TYPES[self.type].value[1])


def _rtu_cut(decoder: DecodePDU, data: bytes) -> FrameBoundary[ModbusFrame]:
    if len(data) < 4:
        return MORE
    try:
        kind = decoder.lookupPduClass(data)
        size = kind.calculateRtuFrameSize(data) if kind is not None else -1
    except _FAILS:
        return FrameBoundary(1) if len(data) >= 16 else MORE
    if size < 0 or size > LONGEST_RTU:
        return FrameBoundary(1)
    if size == 0 or len(data) < size:
        return MORE
    if size < 4:
        return FrameBoundary(1)
    if int.from_bytes(data[size - 2 : size], "big") != _CRC.compute_CRC(data[: size - 2]):
        return FrameBoundary(
            1,
            refused(
                NAME, Reason.BAD_CHECKSUM, f"CRC of {size} bytes from device {data[0]} is wrong"
            ),
        )
    return FrameBoundary(size, ModbusFrame(device=data[0], pdu=data[1 : size - 2]))


def _rtu_encode(frame: ModbusFrame) -> bytes:
    body = bytes((frame.device,)) + frame.pdu
    return body + _CRC.compute_CRC(body).to_bytes(2, "big")


def _tcp_cut(data: bytes) -> FrameBoundary[ModbusFrame]:
    if len(data) < 8:
        return MORE
    length = int.from_bytes(data[4:6], "big")
    if data[2] or data[3] or not 2 <= length <= 254:
        return FrameBoundary(1)
    if len(data) < 6 + length:
        return MORE
    return FrameBoundary(
        6 + length,
        ModbusFrame(
            transaction=int.from_bytes(data[:2], "big"), device=data[6], pdu=data[7 : 6 + length]
        ),
    )


def _tcp_encode(frame: ModbusFrame) -> bytes:
    if not 1 <= len(frame.pdu) <= 253:
        raise ValueError(f"{NAME}: a message has 1 to 253 bytes")
    head = frame.transaction.to_bytes(2, "big") + b"\0\0" + (len(frame.pdu) + 1).to_bytes(2, "big")
    return head + bytes((frame.device,)) + frame.pdu


#: What devices answer on an RTU line, what a master asks there, and either over TCP.
RTU: Codec[ModbusFrame] = Codec(
    name="modbus-rtu",
    cut=lambda data: _rtu_cut(_RESPONSES, data),
    encode=_rtu_encode,
    longest=LONGEST_RTU,
)
RTU_REQUESTS: Codec[ModbusFrame] = Codec(
    name="modbus-rtu-requests",
    cut=lambda data: _rtu_cut(_REQUESTS, data),
    encode=_rtu_encode,
    longest=LONGEST_RTU,
)
TCP: Codec[ModbusFrame] = Codec(
    name="modbus-tcp", cut=_tcp_cut, encode=_tcp_encode, longest=LONGEST_TCP
)

# Messages ------------------------------------------------------------------------------------------------------------


def _frame(message: ModbusPDU, device: int, transaction: int) -> ModbusFrame:
    pdu = message.function_code.to_bytes(1, "big") + message.encode()
    return ModbusFrame(device=device, pdu=pdu, transaction=transaction)


def read_request(device: int, where: ModbusRegister, transaction: int = 0) -> ModbusFrame:
    """Ask for one value."""
    return _frame(
        TABLES[where.table](address=where.address, count=where.count), device, transaction
    )


def write_request(
    device: int, where: ModbusRegister, value: int, transaction: int = 0
) -> ModbusFrame:
    """Write one coil or one holding register."""
    if where.table == "coil":
        return _frame(
            WriteSingleCoilRequest(address=where.address, bits=[bool(value)]), device, transaction
        )
    return _frame(
        WriteSingleRegisterRequest(address=where.address, registers=[value]), device, transaction
    )


def read_reply(request: ModbusFrame, where: ModbusRegister, value: float) -> ModbusFrame:
    """Answer a request as a device would.

    Raises: ValueError for a value that does not fit the type.
    """
    if where.table in ("coil", "discrete"):
        return _frame(
            _ANSWERS[where.table](bits=[bool(value)] + [False] * 7),
            request.device,
            request.transaction,
        )
    kind = TYPES[where.type]
    number = float(value) if kind.name.startswith("FLOAT") else round(value)
    try:
        registers = ModbusClientMixin.convert_to_registers(
            number,
            kind,
            word_order=where.word_order,  # type: ignore[arg-type]
        )
    except (struct.error, ModbusException, OverflowError) as error:
        raise ValueError(f"{NAME}: {value} does not fit {where.type}: {error}") from None
    return _frame(_ANSWERS[where.table](registers=registers), request.device, request.transaction)


def exception_reply(request: ModbusFrame, code: int = 2) -> ModbusFrame:
    """Refuse a request; 2 is an address that the device does not have."""
    return _frame(
        ExceptionResponse(request.pdu[0] & 0x7F, code), request.device, request.transaction
    )


def request_of(frame: ModbusFrame) -> Any:
    """Read what a master asks, as a message of pymodbus; a Rejected where it is none."""
    return _decode(_REQUESTS, frame)


def value_of(frame: ModbusFrame, where: ModbusRegister) -> float | Rejected | None:
    """Read a value from an answer; None where it is no finite number.

    An exception and an answer to something else are Rejected.
    """
    message: Any = _decode(_RESPONSES, frame)
    if isinstance(message, Rejected):
        return message
    if isinstance(message, ExceptionResponse):
        return refused(
            NAME,
            Reason.DEVICE_REFUSED,
            f"device {frame.device} answers exception {message.exception_code}",
        )
    if not isinstance(message, _ANSWERS[where.table]):
        return refused(
            NAME, Reason.NOT_UNDERSTOOD, f"device {frame.device} answers function {frame.pdu[0]}"
        )
    if where.table in ("coil", "discrete"):
        return float(message.bits[0]) if message.bits else None
    if len(message.registers) != where.count:
        return refused(
            NAME,
            Reason.BAD_FRAME,
            f"device {frame.device}: {len(message.registers)} registers, not {where.count}",
        )
    try:
        number = ModbusClientMixin.convert_from_registers(
            list(message.registers),
            TYPES[where.type],
            word_order=where.word_order,  # type: ignore[arg-type]
        )
    except _FAILS as error:
        return refused(NAME, Reason.BAD_FRAME, f"device {frame.device}: {error}")
    number = float(number)  # type: ignore[arg-type]
    return number if number == number and abs(number) != float("inf") else None


def _decode(decoder: DecodePDU, frame: ModbusFrame) -> Any:
    """Read a message with pymodbus's classes; its own `decode` would write a log line for every frame that is none."""
    try:
        if frame.pdu[0] & 0x80:
            message: ModbusPDU = ExceptionResponse(frame.pdu[0] & 0x7F)
        else:
            kind = decoder.lookupPduClass(b"\0" + frame.pdu)
            if kind is None:
                return refused(
                    NAME,
                    Reason.NOT_UNDERSTOOD,
                    f"device {frame.device}: function {frame.pdu[0]} is not read",
                )
            message = kind()
        message.decode(frame.pdu[1:])
    except _FAILS as error:
        return refused(NAME, Reason.NOT_UNDERSTOOD, f"device {frame.device}: {error}")
    return message
