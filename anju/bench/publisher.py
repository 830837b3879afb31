"""A publisher and a reader for the ingest benchmark, on bare sockets, so that neither is what is measured.

`python -m anju.bench.publisher publish|count …` runs one as a process of its own. The publisher makes every packet before it
says "ready"; then it only sends bytes and counts answers. The reader takes packets of one known length, so that it cuts
thousands with one numpy view. Both speak MQTT 3.1.1 (OASIS, 3.1 to 3.8) with a session of their own.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np

from domain import wire
from domain.calendar import HOUR_MS

#: Devices behind one gateway, and gateways.
DEVICES, GATEWAYS = 500, 20
ESTATE = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send: `messages` of `items` devices with `values` values each, at `rate` a second (0: as fast as it goes).

    `fixed` makes every packet of one length, for the counting reader; nobody decodes those.
    """

    port: int
    messages: int
    items: int = 1
    values: int = 1
    rate: int = 0
    qos: int = 1
    window: int = 5000
    boot: str = "bench-1"
    base_ms: int = 0
    fixed: bool = False

    @property
    def readings(self) -> int:
        """How many readings it holds."""
        return self.messages * self.items * self.values


def gateway_code(n: int) -> str:
    """Name a gateway."""
    return f"gw-{n:03d}"


def device_code(n: int) -> str:
    """Name a device."""
    return f"em-{n:05d}"


def packet(topic: str, payload: bytes, mid: int, qos: int = 1) -> bytes:
    """Make a PUBLISH (3.3)."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + (struct.pack(">H", mid) if qos else b"") + payload
    length, head = len(body), bytearray([0x30 | qos << 1])
    while True:
        byte, length = length % 128, length // 128
        head.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


def prepare(load: Load) -> list[bytes]:
    """Make every packet."""
    made, base, seqs = [], load.base_ms or int(time.time() * 1000) - HOUR_MS, [0] * GATEWAYS
    topics = [wire.up_topic(ESTATE, gateway_code(g), wire.Up.READINGS) for g in range(GATEWAYS)]
    turn = [0] * GATEWAYS
    for n in range(load.messages):
        gateway = n % GATEWAYS
        seqs[gateway] += 1
        items = []
        for _ in range(load.items):
            device = turn[gateway] % DEVICES
            # A device's instants differ by a second and more from round to round, and are spread like those of a live estate.
            at = base + turn[gateway] // DEVICES * 1000 + device
            turn[gateway] += 1
            values = f'"energy_kwh":{1000 + n % 9000}.5' + (
                f',"voltage_v":2{n % 100:02d}.5' if load.values > 1 else ""
            )
            items.append(
                f'{{"device":"{device_code(gateway * DEVICES + device)}","at":{at},"values":{{{values}}}}}'
            )
        seq = 1_000_000 + seqs[gateway] if load.fixed else seqs[gateway]
        body = f'{{"v":1,"boot":"{load.boot}","seq":{seq},"sent_at":{base},"replayed":false,"items":[{",".join(items)}]}}'
        made.append(packet(topics[gateway], body.encode(), n % 65535 + 1, load.qos))
    return made


def join(port: int, name: str, receive_maximum: int | None = None) -> socket.socket:
    """Connect with a clean session, and wait for the CONNACK (3.2); by MQTT 5 where a Receive Maximum is asked for (3.1.2.11.3)."""
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    five = receive_maximum is not None
    properties = struct.pack(">BBH", 3, 0x21, receive_maximum) if five else b""
    variable = (
        b"\x00\x04MQTT"
        + bytes([5 if five else 4, 2, 0, 0])
        + properties
        + struct.pack(">H", len(name))
        + name.encode()
    )
    line.sendall(bytes([0x10, len(variable)]) + variable)
    answer = line.recv(4096)
    if answer[:1] != b"\x20" or answer[3] != 0:
        raise ConnectionError("the broker refused the connection")
    return line


def publish(load: Load) -> float:
    """Send everything; returns the seconds until the broker had answered the last."""
    packets = prepare(load)
    number, step = len(packets), 250 if not load.rate else max(1, load.rate // 500)
    chunks = [b"".join(packets[at : at + step]) for at in range(0, number, step)]
    del packets
    line = join(load.port, f"publisher-{load.boot}")
    line.setblocking(False)
    _tell({"ready": number})
    began = time.perf_counter()
    sent, answered, waiting = 0, 0, memoryview(b"")
    while (answered < number) if load.qos else (sent < number or waiting):
        due = int((time.perf_counter() - began) * load.rate) + 1 if load.rate else number
        if (
            not waiting
            and sent < min(due, number)
            and (not load.qos or sent - answered < load.window)
        ):
            waiting, sent = memoryview(chunks[sent // step]), min(number, sent + step)
        # Wait for room, for an answer, or for the next message's turn.
        patience = 0.05 if waiting or not load.rate else 0.0005
        readable, writable, _ = select.select([line], [line] if waiting else [], [], patience)
        if writable:
            with suppress(BlockingIOError):
                waiting = waiting[line.send(waiting) :]
        if readable:
            answered += len(line.recv(65536)) // 4 if load.qos else 0
    return time.perf_counter() - began


def count(port: int, messages: int, size: int, qos: int, pause_s: float = 0.002) -> float:
    """Read packets of one length until there are so many, answering each; returns the seconds from the first to the last."""
    line = join(port, "counter", 20_000)
    topic = f"{wire.ROOT}/+/+/up/{wire.Up.READINGS}".encode()
    line.sendall(
        bytes([0x82, 6 + len(topic), 0, 1, 0])
        + struct.pack(">H", len(topic))
        + topic
        + bytes([qos])
    )
    if line.recv(4096)[:1] != b"\x90":
        raise ConnectionError("the broker refused the subscription")
    _tell({"ready": True})
    began, rest, seen = 0.0, b"", 0
    # To a reader of MQTT 5 every packet carries one byte more, the length of its (no) properties.
    size += 1
    mid_at = packet_mid_offset(size)
    while seen < messages:
        data = rest + line.recv(262_144)
        began = began or time.perf_counter()
        if pause_s and len(data) < 100_000:
            # A reader that takes every few packets at once costs the broker a call for each; ingest gathers too.
            time.sleep(pause_s)
        whole = len(data) // size
        rest = data[whole * size :]
        if whole and qos:
            rows = np.frombuffer(data, dtype=np.uint8, count=whole * size).reshape(whole, size)
            answers = np.empty((whole, 4), dtype=np.uint8)
            answers[:, 0], answers[:, 1], answers[:, 2:] = 0x40, 2, rows[:, mid_at : mid_at + 2]
            line.sendall(answers.tobytes())
        seen += whole
    return time.perf_counter() - began


def packet_mid_offset(size: int) -> int:
    """Say where the packet id stands in a packet of that length."""
    topic = wire.up_topic(ESTATE, gateway_code(0), wire.Up.READINGS)
    return (2 if size < 130 else 3 if size < 16_387 else 4) + 2 + len(topic)


def _tell(what: dict[str, object]) -> None:
    """Say where we are, and wait for the word to go on."""
    print(json.dumps(what), flush=True)
    sys.stdin.readline()


def command(what: str, options: dict[str, object]) -> list[str]:
    """Return the command line that runs one of them."""
    return [sys.executable, "-m", "anju.bench.publisher", what, json.dumps(options)]


def publish_command(load: Load) -> list[str]:
    """Return the command line of a publisher."""
    return command("publish", asdict(load))


def main() -> None:
    """Run one, and print how long it took."""
    options = json.loads(sys.argv[2])
    seconds = publish(Load(**options)) if sys.argv[1] == "publish" else count(**options)
    print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
