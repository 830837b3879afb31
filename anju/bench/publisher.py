"""A publisher and a reader for the ingest benchmark, on bare sockets.

So neither of them is what is measured. `python -m anju.bench.publisher publish|count …` runs one as
a process of its own. The publisher makes every packet before it says "ready"; then it only sends
bytes and counts answers. The reader takes packets of one known length, so that it cuts thousands
with one numpy view. Both speak MQTT 3.1.1 (OASIS, 3.1 to 3.8) with a session of their own.
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

#: Devices behind one gateway.
DEVICES = 500
GATEWAYS = 20
ESTATE = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send."""

    port: int
    messages: int
    #: Devices in a message, and values of each.
    items: int = 1
    values: int = 1
    #: Messages a second; 0: as fast as it goes.
    rate: int = 0
    qos: int = 1
    #: Messages that may be unanswered.
    window: int = 5000
    boot: str = "bench-1"
    #: The first instant, ms UTC; 0: an hour ago.
    base_ms: int = 0
    #: Makes every packet of one length, for the counting reader. Nobody decodes those.
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
    head = bytearray([0x30 | qos << 1])
    remaining = len(body)
    # Seven bits a byte, the lowest first; the eighth says that another byte follows (2.2.3).
    while remaining >= 128:
        head.append(0x80 | remaining % 128)
        remaining //= 128
    head.append(remaining)
    return bytes(head) + body


def prepare(load: Load) -> list[bytes]:
    """Make every packet."""
    base_ms = load.base_ms or int(time.time() * 1000) - 3_600_000
    topics = [wire.up_topic(ESTATE, gateway_code(n), wire.Up.READINGS) for n in range(GATEWAYS)]
    #: Of each gateway, how many messages and items it has sent.
    messages_sent = [0] * GATEWAYS
    items_sent = [0] * GATEWAYS
    packets: list[bytes] = []
    for number in range(load.messages):
        gateway = number % GATEWAYS
        messages_sent[gateway] += 1
        items: list[str] = []
        for _ in range(load.items):
            items.append(_make_item(load, base_ms, number, gateway, items_sent[gateway]))
            items_sent[gateway] += 1
        seq = messages_sent[gateway] + (1_000_000 if load.fixed else 0)
        body = (
            f'{{"v":1,"boot":"{load.boot}","seq":{seq},"sent_at":{base_ms},"replayed":false,'
            f'"items":[{",".join(items)}]}}'
        )
        packet_id = number % 65535 + 1
        packets.append(packet(topics[gateway], body.encode(), packet_id, load.qos))
    return packets


def _make_item(load: Load, base_ms: int, number: int, gateway: int, count_before: int) -> str:
    """Make a reading of the next device of a gateway.

    A device's instants differ by a second and more from round to round, and are spread like those
    of a live estate.
    """
    device = count_before % DEVICES
    code = device_code(gateway * DEVICES + device)
    at = base_ms + count_before // DEVICES * 1000 + device
    values = f'"energy_kwh":{1000 + number % 9000}.5'
    if load.values > 1:
        values += f',"voltage_v":2{number % 100:02d}.5'
    return f'{{"device":"{code}","at":{at},"values":{{{values}}}}}'


def join(port: int, name: str, receive_maximum: int | None = None) -> socket.socket:
    """Connect with a clean session, and wait for the CONNACK (3.2).

    Where a Receive Maximum is asked for (3.1.2.11.3), by MQTT 5.

    Raises: ConnectionError.
    """
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    version = 4
    properties = b""
    if receive_maximum is not None:
        version = 5
        properties = struct.pack(">BBH", 3, 0x21, receive_maximum)
    clean_session = 2
    variable = (
        b"\x00\x04MQTT"
        + bytes([version, clean_session, 0, 0])
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
    """Send everything; return the seconds until the broker had answered the last."""
    packets = prepare(load)
    total = len(packets)
    step = max(1, load.rate // 500) if load.rate else 250
    chunks = [b"".join(packets[start : start + step]) for start in range(0, total, step)]
    del packets
    line = join(load.port, f"publisher-{load.boot}")
    line.setblocking(False)
    _report_progress({"ready": total})
    began = time.perf_counter()
    sent = 0
    answered = 0
    unsent = memoryview(b"")
    while sent < total or unsent or (load.qos and answered < total):
        due = total
        if load.rate:
            due = min(total, int((time.perf_counter() - began) * load.rate) + 1)
        has_room = not load.qos or sent - answered < load.window
        if not unsent and sent < due and has_room:
            unsent = memoryview(chunks[sent // step])
            sent = min(total, sent + step)
        # Wait for room, for an answer, or for the next message's turn.
        patience = 0.05 if unsent or not load.rate else 0.0005
        readable, writable, _ = select.select([line], [line] if unsent else [], [], patience)
        if writable:
            with suppress(BlockingIOError):
                unsent = unsent[line.send(unsent) :]
        if readable:
            answered += len(line.recv(65536)) // 4
    return time.perf_counter() - began


def count(port: int, messages: int, size: int, qos: int, pause_s: float = 0.002) -> float:
    """Read packets of one length until there are so many, answering each.

    Returns the seconds from the first to the last.
    """
    line = _subscribe(port, qos)
    _report_progress({"ready": True})
    # To a reader of MQTT 5 every packet carries one byte more, the length of its (no) properties.
    size += 1
    packet_id_at = packet_id_offset(size)
    began = 0.0
    incomplete = b""
    counted = 0
    while counted < messages:
        data = incomplete + line.recv(262_144)
        began = began or time.perf_counter()
        if pause_s and len(data) < 100_000:
            # A reader that takes every few packets at once costs the broker a call for each.
            # Ingest gathers too.
            time.sleep(pause_s)
        whole = len(data) // size
        incomplete = data[whole * size :]
        if whole and qos:
            rows = np.frombuffer(data, dtype=np.uint8, count=whole * size).reshape(whole, size)
            answers = np.empty((whole, 4), dtype=np.uint8)
            answers[:, 0] = 0x40
            answers[:, 1] = 2
            answers[:, 2:] = rows[:, packet_id_at : packet_id_at + 2]
            line.sendall(answers.tobytes())
        counted += whole
    return time.perf_counter() - began


def _subscribe(port: int, qos: int) -> socket.socket:
    """Connect, and subscribe to all readings.

    Raises: ConnectionError.
    """
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
    return line


def packet_id_offset(size: int) -> int:
    """Return where the packet id stands in a packet of that length."""
    topic = wire.up_topic(ESTATE, gateway_code(0), wire.Up.READINGS)
    header = 4
    if size < 130:
        header = 2
    elif size < 16_387:
        header = 3
    return header + 2 + len(topic)


def _report_progress(progress: dict[str, object]) -> None:
    """Print where we are, and wait for a line that lets us go on."""
    print(json.dumps(progress), flush=True)
    sys.stdin.readline()


def command(role: str, options: dict[str, object]) -> list[str]:
    """Return the command line of a publisher ("publish") or a reader ("count")."""
    return [sys.executable, "-m", "anju.bench.publisher", role, json.dumps(options)]


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
