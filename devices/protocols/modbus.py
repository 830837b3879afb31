"""Modbus RTU and TCP (Modbus Application Protocol 1.1b3), through pymodbus: its messages, its CRC,
its register types.

pymodbus decides what a message holds; the framing is ours, since its own gives up a whole buffer
where one frame in it is broken. RTU has no start byte: a frame's length follows from its function
code, and differs between what a master sends and what a device answers, so there is a codec for
each direction. TCP has a header with the length (MBAP).
"""

from __future__ import annotations

import math
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

from devices.protocols.framing import NEED_DATA, SKIP_BYTE, Codec, FrameBoundary, reject
from domain.rejection import Reason, Rejected

NAME = "modbus"
LONGEST_RTU = 256
LONGEST_TCP = 260
#: Bit of a function code that makes a reply an exception.
_EXCEPTION = 0x80
#: Bytes before the unit of an MBAP header's length, and the header with the device's number.
_MBAP_PREFIX = 6
_MBAP_SIZE = 7

#: What pymodbus raises for bytes that are no message.
_DECODE_ERRORS = (
    ModbusException,
    ValueError,
    IndexError,
    struct.error,
    TypeError,
    UnicodeDecodeError,
)
_REQUESTS = DecodePDU(is_server=True)
_RESPONSES = DecodePDU(is_server=False)
_CRC = FramerRTU(_RESPONSES)

#: Tables of a device by the name that profiles use, with the message that reads each.
TABLES: dict[str, type[ModbusPDU]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}
_REPLIES: dict[str, type[ModbusPDU]] = {
    "coil": ReadCoilsResponse,
    "discrete": ReadDiscreteInputsResponse,
    "holding": ReadHoldingRegistersResponse,
    "input": ReadInputRegistersResponse,
}
#: Tables that hold bits; the others hold registers.
_BIT_TABLES = ("coil", "discrete")
#: Register types by the name that profiles use: those of a fixed length.
TYPES = {kind.name.lower(): kind for kind in ModbusClientMixin.DATATYPE if kind.value[1]}


class ModbusFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame: the device's number, the function code with its data, and for TCP the number of
    the transaction.
    """

    device: int
    pdu: bytes
    transaction: int = 0

    @property
    def function(self) -> int:
        """The function code, without the bit of an exception."""
        return self.pdu[0] & ~_EXCEPTION

    @property
    def is_exception(self) -> bool:
        """Tell whether a device refuses a request with it."""
        return bool(self.pdu[0] & _EXCEPTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusRegister:
    """Where a value is: table, address, type; `word_order` of values over several registers."""

    table: str
    address: int
    type: str = "uint16"
    word_order: str = "big"

    @property
    def is_bit(self) -> bool:
        """Tell whether it is one bit of a table of bits."""
        return self.table in _BIT_TABLES

    @property
    def count(self) -> int:
        """The number of registers (or bits) that the value takes."""
        return 1 if self.is_bit else int(TYPES[self.type].value[1])


def _next_rtu_frame(decoder: DecodePDU, data: bytes) -> FrameBoundary[ModbusFrame]:
    if len(data) < 4:
        return NEED_DATA
    try:
        message_class = decoder.lookupPduClass(data)
        size = message_class.calculateRtuFrameSize(data) if message_class is not None else -1
    except _DECODE_ERRORS:
        return SKIP_BYTE if len(data) >= 16 else NEED_DATA
    if size < 0 or size > LONGEST_RTU:
        return SKIP_BYTE
    if size == 0 or len(data) < size:
        return NEED_DATA
    if size < 4:
        return SKIP_BYTE
    if int.from_bytes(data[size - 2 : size], "big") != _CRC.compute_CRC(data[: size - 2]):
        detail = f"CRC of {size} bytes from device {data[0]} is wrong"
        return FrameBoundary(1, reject(NAME, Reason.BAD_CHECKSUM, detail))
    return FrameBoundary(size, ModbusFrame(device=data[0], pdu=data[1 : size - 2]))


def _next_reply(data: bytes) -> FrameBoundary[ModbusFrame]:
    return _next_rtu_frame(_RESPONSES, data)


def _next_request(data: bytes) -> FrameBoundary[ModbusFrame]:
    return _next_rtu_frame(_REQUESTS, data)


def _encode_rtu(frame: ModbusFrame) -> bytes:
    body = bytes((frame.device,)) + frame.pdu
    return body + _CRC.compute_CRC(body).to_bytes(2, "big")


def _next_tcp_frame(data: bytes) -> FrameBoundary[ModbusFrame]:
    if len(data) <= _MBAP_SIZE:
        return NEED_DATA
    length = int.from_bytes(data[4:6], "big")
    # Bytes 2 and 3 are the protocol's number, which is 0.
    if data[2] or data[3] or not 2 <= length <= 254:
        return SKIP_BYTE
    size = _MBAP_PREFIX + length
    if len(data) < size:
        return NEED_DATA
    transaction = int.from_bytes(data[:2], "big")
    frame = ModbusFrame(transaction=transaction, device=data[6], pdu=data[_MBAP_SIZE:size])
    return FrameBoundary(size, frame)


def _encode_tcp(frame: ModbusFrame) -> bytes:
    if not 1 <= len(frame.pdu) <= 253:
        raise ValueError(f"{NAME}: a message has 1 to 253 bytes")
    transaction = frame.transaction.to_bytes(2, "big")
    length = (len(frame.pdu) + 1).to_bytes(2, "big")
    return transaction + b"\0\0" + length + bytes((frame.device,)) + frame.pdu


#: What devices reply on an RTU line.
RTU: Codec[ModbusFrame] = Codec(
    name="modbus-rtu", next_frame=_next_reply, encode=_encode_rtu, longest=LONGEST_RTU
)
#: What a master requests there.
RTU_REQUESTS: Codec[ModbusFrame] = Codec(
    name="modbus-rtu-requests", next_frame=_next_request, encode=_encode_rtu, longest=LONGEST_RTU
)
#: Either over TCP.
TCP: Codec[ModbusFrame] = Codec(
    name="modbus-tcp", next_frame=_next_tcp_frame, encode=_encode_tcp, longest=LONGEST_TCP
)

# Messages -----------------------------------------------------------------------------------------


def _frame_of(message: ModbusPDU, device: int, transaction: int) -> ModbusFrame:
    pdu = message.function_code.to_bytes(1, "big") + message.encode()
    return ModbusFrame(device=device, pdu=pdu, transaction=transaction)


def read_request(device: int, register: ModbusRegister, transaction: int = 0) -> ModbusFrame:
    """Request one value."""
    message = TABLES[register.table](address=register.address, count=register.count)
    return _frame_of(message, device, transaction)


def write_request(
    device: int, register: ModbusRegister, value: int, transaction: int = 0
) -> ModbusFrame:
    """Write one coil or one holding register."""
    message: ModbusPDU
    if register.table == "coil":
        message = WriteSingleCoilRequest(address=register.address, bits=[bool(value)])
    else:
        message = WriteSingleRegisterRequest(address=register.address, registers=[value])
    return _frame_of(message, device, transaction)


def read_reply(request: ModbusFrame, register: ModbusRegister, value: float) -> ModbusFrame:
    """Reply to a read request as a device would.

    Raises: ValueError for a value that does not fit the type.
    """
    reply_class = _REPLIES[register.table]
    if register.is_bit:
        message = reply_class(bits=[bool(value)] + [False] * 7)
    else:
        message = reply_class(registers=_encode_registers(register, value))
    return _frame_of(message, request.device, request.transaction)


def _encode_registers(register: ModbusRegister, value: float) -> list[int]:
    kind = TYPES[register.type]
    number = float(value) if kind.name.startswith("FLOAT") else round(value)
    try:
        return ModbusClientMixin.convert_to_registers(
            number,
            kind,
            word_order=register.word_order,  # type: ignore[arg-type]
        )
    except (struct.error, ModbusException, OverflowError) as error:
        raise ValueError(f"{NAME}: {value} does not fit {register.type}: {error}") from None


def exception_reply(request: ModbusFrame, code: int = 2) -> ModbusFrame:
    """Refuse a request; 2 is an address that the device does not have."""
    message = ExceptionResponse(request.function, code)
    return _frame_of(message, request.device, request.transaction)


def decode_request(frame: ModbusFrame) -> Any:
    """Decode a master's request to a message of pymodbus; Rejected where it is none."""
    return _decode(_REQUESTS, frame)


def decode_value(frame: ModbusFrame, register: ModbusRegister) -> float | Rejected | None:
    """Decode the value of a register from a reply; None where it is no finite number.

    An exception and a reply to something else are Rejected.
    """
    message: Any = _decode(_RESPONSES, frame)
    if isinstance(message, Rejected):
        return message
    if isinstance(message, ExceptionResponse):
        detail = f"device {frame.device} answers exception {message.exception_code}"
        return reject(NAME, Reason.DEVICE_REFUSED, detail)
    if not isinstance(message, _REPLIES[register.table]):
        return reject(
            NAME, Reason.NOT_UNDERSTOOD, f"device {frame.device} answers function {frame.pdu[0]}"
        )
    if register.is_bit:
        return float(message.bits[0]) if message.bits else None
    if len(message.registers) != register.count:
        detail = f"device {frame.device}: {len(message.registers)} registers, not {register.count}"
        return reject(NAME, Reason.BAD_FRAME, detail)
    try:
        number = ModbusClientMixin.convert_from_registers(
            list(message.registers),
            TYPES[register.type],
            word_order=register.word_order,  # type: ignore[arg-type]
        )
    except _DECODE_ERRORS as error:
        return reject(NAME, Reason.BAD_FRAME, f"device {frame.device}: {error}")
    value = float(number)  # type: ignore[arg-type]
    return value if math.isfinite(value) else None


def _decode(decoder: DecodePDU, frame: ModbusFrame) -> Any:
    """Decode a message with pymodbus's classes.

    Its own `decode` would write a log line for every frame that is no message.
    """
    message: ModbusPDU
    try:
        if frame.pdu[0] & _EXCEPTION:
            message = ExceptionResponse(frame.function)
        else:
            message_class = decoder.lookupPduClass(b"\0" + frame.pdu)
            if message_class is None:
                detail = f"device {frame.device}: function {frame.pdu[0]} is not read"
                return reject(NAME, Reason.NOT_UNDERSTOOD, detail)
            message = message_class()
        message.decode(frame.pdu[1:])
    except _DECODE_ERRORS as error:
        return reject(NAME, Reason.NOT_UNDERSTOOD, f"device {frame.device}: {error}")
    return message
