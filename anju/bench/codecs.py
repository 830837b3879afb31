"""`anju bench codecs`: frames a second on one core, each codec beside a peer library.

Ours and the peer's take the same bytes in turn, several times in one run, and the figure is the
ratio of the medians: these machines are shared and noisy, so a speed by itself says little. Both
read the frame, check its sum and read the values.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.explain import CODECS
from devices.polls.mbus import telegram_fields
from devices.protocols import cjt188, dlt645, gb26875, mbus, mbus_records, modbus
from domain.rejection import Rejected

FRAMES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One codec's median frames a second, the peer's, and the ratio's range over the rounds."""

    name: str
    frames_s: float
    peer: str | None = None
    peer_frames_s: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None


def samples(name: str, rng: random.Random) -> list[bytes]:
    """Make frames as meters and hosts send them, from a seed."""
    encode = CODECS[name].encode
    at = datetime(2026, 11, 21, 8, 30, 15)  # noqa: DTZ001
    made: list[Any] = []
    for n in range(FRAMES):
        number = rng.randrange(10**6) / 100
        if name == "dlt645":
            made.append(
                dlt645.read_reply(f"{n:012d}", "00010000", dlt645.encode_values("00010000", number))
            )
        elif name == "cjt188":
            what = cjt188.Cjt188Measured(
                quantities={"total_m3": number, "month_m3": number}, clock=at, status=0
            )
            made.append(
                cjt188.reply(
                    cjt188.read_request(0x10, f"{n:014d}"),
                    0x10,
                    f"{n:014d}",
                    cjt188.encode_measured(0x10, what),
                )
            )
        elif name == "gb26875":
            part = gb26875.PartState(
                system_type=1,
                system=1,
                part_type=40,
                part=f"{n:08x}",
                state=3,
                text="三号楼二层走廊烟感",
                stamp=gb26875.encode_time(at),
            )
            unit = gb26875.encode_unit(
                gb26875.Gb26875Unit(kind=gb26875.PART_STATE, objects=(part,))
            )
            made.append(
                gb26875.Gb26875Frame(
                    serial=n,
                    command=gb26875.SEND,
                    source="0000000000a1",
                    destination="000000000001",
                    stamp=gb26875.encode_time(at),
                    unit=unit,
                )
            )
        elif name == "mbus":
            records = (
                mbus_records.bcd_record(b"\x13", round(number * 100)),
                mbus_records.time_record(at),
                mbus_records.bcd_record(b"\x3b", 12, size=3),
            )
            made.append(
                mbus.user_data_reply(
                    n % 250 + 1,
                    mbus.MbusTelegram(
                        identity=f"{n:08d}",
                        maker="ANJ",
                        version=1,
                        medium=7,
                        access=1,
                        status=0,
                        records=records,
                    ),
                )
            )
        else:
            where = modbus.ModbusRegister(table="holding", address=0, type="float32")
            made.append(modbus.read_reply(modbus.read_request(n % 247 + 1, where), where, number))
    return [encode(frame) for frame in made]


def _ours(name: str) -> Callable[[bytes], Any]:
    decode = CODECS[name].decode
    where = modbus.ModbusRegister(table="holding", address=0, type="float32")

    def read(data: bytes) -> Any:
        frame = decode(data)
        assert not isinstance(frame, Rejected)
        if name == "dlt645":
            body = dlt645.reply_data(frame)
            assert isinstance(body, bytes)
            return dlt645.decode_values(frame.identifier, body)
        if name == "cjt188":
            return cjt188.decode_measured(frame)
        if name == "gb26875":
            return gb26875.decode_unit(frame.unit)
        if name == "mbus":
            telegram = mbus.decode_telegram(frame)
            assert isinstance(telegram, mbus.MbusTelegram)
            return telegram_fields(telegram)
        return modbus.decode_value(frame, where)

    return read


def _peer(name: str) -> tuple[str, Callable[[bytes], Any]] | None:
    """Return the peer library's way to the same value.

    None where there is no such library, or it is not installed.
    """
    try:
        if name == "dlt645":
            from dlt645.protocol.protocol import DLT645Protocol
            from loguru import logger

            logger.disable("dlt645")

            def read_dlt645(data: bytes) -> Any:
                frame = DLT645Protocol.deserialize(data)
                return int(bytes(frame.data[:3:-1]).hex()) / 100

            return "dlt645", read_dlt645
        if name == "mbus":
            import meterbus

            def read_mbus(data: bytes) -> Any:
                return [record.interpreted for record in meterbus.load(data).records]

            return "pyMeterBus", read_mbus
        if name == "modbus-rtu":
            from pymodbus.client.mixin import ModbusClientMixin
            from pymodbus.framer import FramerRTU
            from pymodbus.pdu import DecodePDU

            framer = FramerRTU(DecodePDU(is_server=False))

            def read_modbus(data: bytes) -> Any:
                _, message = framer.handleFrame(data, 0, 0)
                assert message is not None
                return ModbusClientMixin.convert_from_registers(
                    list(message.registers), ModbusClientMixin.DATATYPE.FLOAT32
                )

            return "pymodbus", read_modbus
    except ImportError:
        return None
    return None


def _seconds(read: Callable[[bytes], Any], frames: list[bytes]) -> float:
    began = time.perf_counter()
    for data in frames:
        read(data)
    return time.perf_counter() - began


def bench_codecs(*, rounds: int = 7, seed: int = 1) -> list[Result]:
    """Measure every codec, ours and the peer's in turn."""
    results = []
    for name in ("dlt645", "cjt188", "gb26875", "mbus", "modbus-rtu", "modbus-tcp"):
        frames = samples(name, random.Random(seed))  # noqa: S311
        ours = _ours(name)
        peer = _peer(name)
        _seconds(ours, frames[:200])
        took: list[float] = []
        theirs: list[float] = []
        for _ in range(rounds):
            took.append(_seconds(ours, frames))
            if peer is not None:
                theirs.append(_seconds(peer[1], frames))
        speed = FRAMES / statistics.median(took)
        if peer is None:
            results.append(Result(name=name, frames_s=speed))
            continue
        ratios = [b / a for a, b in zip(took, theirs, strict=True)]
        peer_speed = FRAMES / statistics.median(theirs)
        results.append(
            Result(
                name=name,
                frames_s=speed,
                peer=peer[0],
                peer_frames_s=peer_speed,
                ratio=speed / peer_speed,
                ratio_low=min(ratios),
                ratio_high=max(ratios),
            )
        )
    return results
