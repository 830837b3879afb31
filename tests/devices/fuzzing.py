"""Inputs for the codec laws, from one seed: noise, frames that a real device could send, and those
frames bent.

`python -m tests.devices.fuzzing --inputs 1000000` feeds that many to every codec and every push
parser and fails on the first exception; `make fuzz` runs it. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from devices.messages import ReceivedEvent, ReceivedFields, ReceivedHeartbeat, ReceivedMessage
from devices.polls.mbus import telegram_fields
from devices.protocols import cjt188, dlt645, gb26875, mbus, mbus_records, modbus
from devices.protocols.framing import Codec, FrameStream
from devices.pushes import PUSHES
from domain.rejection import Rejected

T0 = datetime(2026, 3, 1, 8, 0, 0)


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def some_bytes(rng: random.Random, most: int) -> bytes:
    return rng.randbytes(rng.randint(0, most))


# Frames that a device or a master could send
# -------------------------------------------------------------------------


def dlt645_frame(rng: random.Random) -> dlt645.Dlt645Frame:
    address, number = digits(rng, 12), rng.randrange(10**6) / 100
    return rng.choice(
        [
            lambda: dlt645.read_request(
                address, rng.choice(["00010000", "02010100", "0201FF00", "9010"])
            ),
            lambda: dlt645.read_reply(
                address, "00010000", dlt645.encode_values("00010000", number)
            ),
            lambda: dlt645.read_reply(
                address, "02020100", dlt645.encode_values("02020100", -number / 100)
            ),
            lambda: dlt645.error_reply(
                dlt645.read_request(address, "00010000"), rng.randrange(256)
            ),
            lambda: dlt645.address_reply(address),
            lambda: dlt645.set_time(T0 + timedelta(seconds=rng.randrange(10**8))),
            lambda: dlt645.Dlt645Frame(
                address=address, control=rng.randrange(256), data=some_bytes(rng, 255)
            ),
        ]
    )()


def cjt188_frame(rng: random.Random) -> cjt188.Cjt188Frame:
    address, kind = digits(rng, 14), rng.choice([cjt188.COLD_WATER, cjt188.HEAT, cjt188.GAS])
    edition = rng.choice([2004, 2018])
    request = cjt188.read_request(kind, address, serial=rng.randrange(256), edition=edition)
    names = (
        "total_m3",
        "month_m3",
        "month_kwh",
        "total_kwh",
        "power_kw",
        "flow_m3_h",
        "supply_c",
        "return_c",
        "working_h",
    )
    what = cjt188.Cjt188Measured(
        quantities={name: float(rng.randrange(9000)) for name in names},
        clock=T0 + timedelta(seconds=rng.randrange(10**8)),
        status=rng.randrange(65536),
    )
    return rng.choice(
        [
            lambda: request,
            lambda: cjt188.reply(request, kind, address, cjt188.encode_measured(kind, what)),
            lambda: cjt188.error_reply(request, kind, address, rng.randrange(65536)),
            lambda: cjt188.write_request(
                kind, address, cjt188.VALVE, cjt188.VALVE_CLOSE, edition=edition
            ),
            lambda: cjt188.Cjt188Frame(
                meter_type=rng.randrange(256),
                address=address,
                control=rng.randrange(256),
                data=some_bytes(rng, 255),
            ),
        ]
    )()


def gb26875_unit(rng: random.Random) -> gb26875.Gb26875Unit:
    stamp = gb26875.encode_time(T0 + timedelta(seconds=rng.randrange(10**8)))
    byte = lambda: rng.randrange(256)  # noqa: E731
    part = rng.randbytes(4).hex()
    text = "".join(rng.choice("一号楼二层走廊烟感ABC123") for _ in range(rng.randint(0, 14)))
    makers: list[tuple[int, Callable[[], Any]]] = [
        (
            gb26875.SYSTEM_STATE,
            lambda: gb26875.SystemState(
                system_type=byte(), system=byte(), state=rng.randrange(65536), stamp=stamp
            ),
        ),
        (
            gb26875.PART_STATE,
            lambda: gb26875.PartState(
                system_type=1,
                system=byte(),
                part_type=byte(),
                part=part,
                state=byte(),
                text=text,
                stamp=stamp,
            ),
        ),
        (
            gb26875.ANALOG,
            lambda: gb26875.AnalogValue(
                system_type=1,
                system=byte(),
                part_type=byte(),
                part=part,
                quantity=rng.randrange(12),
                value=rng.randrange(-32768, 32768),
                stamp=stamp,
            ),
        ),
        (
            gb26875.OPERATION,
            lambda: gb26875.OperatorAction(
                system_type=1, system=byte(), flags=byte(), operator=byte(), stamp=stamp
            ),
        ),
        (
            gb26875.TRANSMITTER_STATE,
            lambda: gb26875.TransmitterState(state=byte(), stamp=stamp),
        ),
        (
            gb26875.TRANSMITTER_OPERATION,
            lambda: gb26875.OperatorAction(flags=byte(), operator=byte(), stamp=stamp),
        ),
        (gb26875.SET_CLOCK, lambda: gb26875.Gb26875Clock(stamp=stamp)),
        (gb26875.INSPECT_POST, lambda: gb26875.RawObject(data=bytes((byte(),)))),
    ]
    kind, make = rng.choice(makers)
    count = 1 if kind == gb26875.INSPECT_POST else rng.randint(1, 4)
    objects: Any = tuple(make() for _ in range(count))
    return gb26875.Gb26875Unit(kind=kind, objects=objects)


def gb26875_frame(rng: random.Random) -> gb26875.Gb26875Frame:
    unit = gb26875.encode_unit(gb26875_unit(rng)) if rng.random() < 0.8 else some_bytes(rng, 400)
    return gb26875.Gb26875Frame(
        serial=rng.randrange(65536),
        command=rng.randrange(1, 7),
        source=rng.randbytes(6).hex(),
        destination=rng.randbytes(6).hex(),
        stamp=rng.randbytes(6),
        version=rng.randbytes(2),
        unit=unit,
    )


def mbus_frame(rng: random.Random) -> mbus.MbusFrame:
    address = rng.randint(1, 250)
    telegram = mbus.MbusTelegram(
        identity=digits(rng, 8),
        maker="KAM",
        version=1,
        medium=7,
        access=rng.randrange(256),
        status=0,
        records=tuple(
            mbus_records.bcd_record(bytes((vif,)), rng.randrange(10**6))
            for vif in rng.sample([0x13, 0x14, 0x06, 0x2B, 0x3B], 3)
        ),
    )
    return rng.choice(
        [
            lambda: mbus.ACK,
            lambda: mbus.request_user_data(address),
            lambda: mbus.select_meter(digits(rng, 8)),
            lambda: mbus.user_data_reply(address, telegram),
            lambda: mbus.MbusFrame(
                control=8,
                address=address,
                information=rng.choice([0x72, 0x73, 0x76, 0x77]),
                data=some_bytes(rng, 252),
            ),
        ]
    )()


def modbus_frame(rng: random.Random, *, requests: bool, tcp: bool = False) -> modbus.ModbusFrame:
    device, tid = rng.randint(1, 247), rng.randrange(65536) if tcp else 0
    kind = rng.choice(sorted(modbus.TYPES))
    table = rng.choice(["holding", "input", "coil", "discrete"])
    where = modbus.ModbusRegister(table=table, address=rng.randrange(60000), type=kind)
    request = modbus.read_request(device, where, tid)
    if requests:
        return request
    if rng.random() < 0.2:
        return modbus.exception_reply(request, rng.randrange(1, 12))
    return modbus.read_reply(request, where, float(rng.randrange(30000)))


CODECS: dict[str, tuple[Codec[Any], Callable[[random.Random], Any]]] = {
    "dlt645": (dlt645.CODEC, dlt645_frame),
    "cjt188": (cjt188.CODEC, cjt188_frame),
    "gb26875": (gb26875.CODEC, gb26875_frame),
    "mbus": (mbus.CODEC, mbus_frame),
    "modbus-rtu": (modbus.RTU, lambda rng: modbus_frame(rng, requests=False)),
    "modbus-rtu-requests": (modbus.RTU_REQUESTS, lambda rng: modbus_frame(rng, requests=True)),
    "modbus-tcp": (
        modbus.TCP,
        lambda rng: modbus_frame(rng, requests=rng.random() < 0.5, tcp=True),
    ),
}


def understand(name: str, frame: Any) -> None:
    """Ask a frame everything that can be asked of it; nothing of it may raise."""
    if isinstance(frame, Rejected):
        return
    if name == "dlt645":
        data = dlt645.reply_data(frame)
        if not isinstance(data, Rejected):
            dlt645.decode_values(frame.identifier or "", data)
            dlt645.decode_clock(data[:4], data[4:])
            dlt645.decode_freeze_time(data)
        dlt645.broadcast_time(frame)
    elif name == "cjt188":
        cjt188.decode_measured(frame)
        assert frame.edition in (2004, 2018)
        assert frame.serial is None or 0 <= frame.serial < 256
    elif name == "gb26875":
        gb26875.decode_unit(frame.unit)
        assert frame.at is None or frame.at.year >= 2000
    elif name == "mbus":
        telegram = mbus.decode_telegram(frame)
        if not isinstance(telegram, Rejected):
            telegram_fields(telegram)
    elif name.startswith("modbus"):
        for table in modbus.TABLES:
            modbus.decode_value(
                frame, modbus.ModbusRegister(table=table, address=0, type="float32")
            )
        modbus.decode_request(frame)


# What is pushed
# ------------------------------------------------------------


def heard(rng: random.Random, name: str) -> ReceivedMessage:
    """Make something that a sender of this kind could say, already with tokens."""
    at = 1_790_000_000_000 + rng.randrange(10**6) * 1000
    native, number = f"{rng.choice('abcdef')}{digits(rng, 11)}", digits(rng, 6)
    person, direction = f"p-{digits(rng, 5)}", rng.choice(["in", "out", "unknown"])
    if rng.random() < 0.1:
        return ReceivedHeartbeat(native=native)
    if name == "hikvision":
        method, outcome, minor = rng.choice(
            [
                ("face", "granted", 75),
                ("face", "denied", 76),
                ("fingerprint", "granted", 38),
                ("id_card", "granted", 105),
            ]
        )
        time = "2026-09-08T07:42:18+08:00"
        data: dict[str, Any] = {
            "method": method,
            "outcome": outcome,
            "direction": "unknown",
            "door": "1",
            "reader": "2",
            "person": person,
        }
        return ReceivedEvent(
            native=native,
            at=1788824538000,
            id=f"s-{int(number)}-5-{minor}-{time}",
            kind="passage",
            data=data,
        )
    if name == "dahua":
        data = {
            "method": rng.choice(["card", "remote", "fingerprint", "face"]),
            "outcome": rng.choice(["granted", "denied", "unknown"]),
            "direction": direction,
            "person": person,
        }
        return ReceivedEvent(
            native=native, at=at, id=f"r-{int(number)}-{at}", kind="passage", data=data
        )
    if name == "plates":
        return ReceivedEvent(
            native=native,
            at=at,
            id=f"p-{int(number) + 1}-{at}",
            kind="plate",
            data={"direction": "unknown", "plate": f"n-{number}", "confidence": 97.0},
        )
    if name == "ctwing":
        return ReceivedFields(
            native=native,
            at=at,
            id=f"{native}-{at}-{int(number)}",
            fields={"total_m3": rng.random() * 100, "Battery_Level": rng.randrange(100)},
        )
    if name == "chirpstack":
        return ReceivedFields(
            native=native,
            at=at,
            id=f"d{number}",
            fields={"volume_l": rng.randrange(10**6), "rssi": -70.0},
        )
    if name == "edge":
        data = {
            "hazard": rng.choice(["ebike_in_lift", "fire_lane_blocked", "exit_blocked"]),
            "state": rng.choice(["on", "off"]),
            "confidence": 0.9,
        }
        return ReceivedEvent(native=native, at=at, id=f"a{number}-{at}", kind="hazard", data=data)
    if name == "access":
        data = {
            "method": rng.choice(["id_card", "gait", "qr", "fingerprint"]),
            "outcome": "granted",
            "direction": direction,
            "person": person,
        }
        return ReceivedEvent(native=native, at=at, id=f"{number}-{at}", kind="passage", data=data)
    if name == "gat1400":
        if rng.random() < 0.5:
            data = {"method": "face", "outcome": "unknown", "direction": "unknown"}
            return ReceivedEvent(
                native=native, at=T0, id=f"f-{number}-{T0:%Y%m%d%H%M%S}", kind="passage", data=data
            )
        return ReceivedEvent(
            native=native,
            at=T0,
            id=f"v-{number}-{T0:%Y%m%d%H%M%S}",
            kind="plate",
            data={"direction": "unknown", "plate": f"n-{number}"},
        )
    data = {"condition": "tamper", "state": "on", "priority": 4, "method": 2, "type": 2}
    return ReceivedEvent(
        native=native, at=T0, id=f"n-{int(number)}-{T0.isoformat()}", kind="device", data=data
    )


def token(kind: str, value: str) -> str:
    """Leave what is a token already, as a gateway does."""
    return value if len(value) < 40 else f"{kind}-long"


# Bending
# ------------------------------------------------------------


def bend(rng: random.Random, data: bytes) -> bytes:
    """Change, drop, double, insert or cut off some bytes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        at = rng.randrange(len(out))
        how = rng.randrange(6)
        if how == 0:
            out[at] = rng.randrange(256)
        elif how == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            del out[at : at + rng.randint(1, 4)]
        elif how == 3:
            out[at:at] = rng.randbytes(rng.randint(1, 4))
        elif how == 4:
            del out[at:]
        else:
            out += out[at : at + rng.randint(1, 30)]
    return bytes(out)


def one_input(rng: random.Random, good: Callable[[random.Random], bytes]) -> bytes:
    how = rng.random()
    if how < 0.2:
        return some_bytes(rng, 60)
    frame = good(rng)
    return frame if how < 0.3 else bend(rng, frame)


def fuzz_codec(name: str, seed: int, inputs: int) -> None:
    codec, make = CODECS[name]
    rng = random.Random(f"{seed}-{name}")
    stream = FrameStream(codec)
    for _ in range(inputs):
        data = one_input(rng, lambda r: codec.encode(make(r)))
        try:
            understand(name, codec.decode(data))
            for frame in stream.feed(data):
                understand(name, frame)
        except Exception as error:
            raise AssertionError(f"{name}: {data.hex()}: {error!r}") from error


def fuzz_push(name: str, seed: int, inputs: int) -> None:
    push = PUSHES[name]
    rng = random.Random(f"{seed}-{name}")
    for _ in range(inputs):
        kind = rng.choice(
            [
                "application/json",
                "application/xml",
                "multipart/form-data; boundary=MIME_boundary",
                "",
                "text/plain",
            ]
        )

        def good(r: random.Random) -> bytes:
            try:
                return push.render(heard(r, name))[1]
            except ValueError:
                return b"{}"

        data = one_input(rng, good)
        if kind.startswith("multipart"):
            data = (
                b"--MIME_boundary\r\nContent-Type: application/json\r\n\r\n"
                + data
                + b"\r\n--MIME_boundary--\r\n"
            )
        try:
            push.parse(kind, data, token)
        except Exception as error:
            raise AssertionError(f"{name}: {kind} {data.hex()}: {error!r}") from error


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("names", nargs="*", help="only these codecs; all if left out")
    asked = parser.parse_args()
    for name in asked.names or [*CODECS, *PUSHES]:
        began = time.monotonic()
        (fuzz_codec if name in CODECS else fuzz_push)(name, asked.seed, asked.inputs)
        print(
            f"{name}: {asked.inputs} inputs, 0 exceptions, {time.monotonic() - began:.0f} "
            f"s, seed {asked.seed}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
