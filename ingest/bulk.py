"""Reading MQTT in bulk: a paho client that takes many PUBLISH packets from one `recv`, and hands every other packet to paho.

Stock paho asks the socket four times for every message and builds an object with a lock for each: 23 to 31 µs, where a broker can
deliver in ten. This one overrides the public `loop_read`; what it needs beside it are five private names of paho 2.x
(`_sock`, `_sock_recv`, `_packet_read`, `_packet_queue`, `_last_bytes_received`), so the version is pinned, tests hold it to stock paho frame by
frame, and `new_client` tries it before it is used and falls back to stock paho where it does not behave.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from domain.broker import BrokerAddress

log = structlog.get_logger()

#: A message as it came: topic, payload, and the packet id that an acknowledgement needs (0 where none is due).
Frame = tuple[bytes, bytes, int]

#: Bytes asked of the socket at a time.
CHUNK = 256 * 1024
_PUBLISH, _PUBACK, _RETAIN = 0x30, 0x40, 0x01


class StockClient(mqtt.Client):
    """Stock paho behind the same two calls: `frames` fills as packets come, `acknowledge` answers them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, manual_ack=True, reconnect_on_failure=False, **options
        )
        self.frames: list[Frame] = []
        self.on_message = _collect

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Answer messages of this connection by their packet ids."""
        for mid in mids:
            self.ack(mid, 1)


def _collect(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    assert isinstance(client, StockClient)
    if message.retain:
        # A retained message is what was said at some time before, not something new.
        client.ack(message.mid, message.qos)
        return
    try:
        topic = message.topic.encode()
    except UnicodeDecodeError:
        topic = b"unreadable"
    client.frames.append((topic, bytes(message.payload), message.mid if message.qos else 0))


class BulkClient(StockClient):
    """The fast one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._five = options.get("protocol") == mqtt.MQTTv5
        self._rest = b""
        self._handed = b""
        self.on_pre_connect = _forget_rest

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Answer messages of this connection by their packet ids, in one write."""
        numbers = np.fromiter(mids, dtype=">u2")
        if len(numbers):
            packets = np.empty(len(numbers), dtype=[("head", ">u2"), ("mid", ">u2")])
            packets["head"], packets["mid"] = _PUBACK << 8 | 2, numbers
            self._packet_queue(_PUBACK, packets.tobytes(), 0, 1)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002
        """Read once from the socket, and take every packet that is whole."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        try:
            data = super()._sock_recv(CHUNK)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._last_bytes_received = time.monotonic()
        if self._rest:
            data = self._rest + data
        return self._cut(data)

    def _cut(self, data: bytes) -> MQTTErrorCode:
        """Cut packets: PUBLISH (MQTT 5, 3.3; MQTT 3.1.1, 3.3) into `frames`, the others to paho, what is left into `_rest`."""
        frames, at, end, five, retained = self.frames, 0, len(data), self._five, []
        while at + 2 <= end:
            command, length = data[at], data[at + 1]
            start = at + 2
            if length & 0x80:
                # Variable Byte Integer (1.5.5): seven bits a byte, at most four bytes.
                length, shift = length & 0x7F, 7
                while start < end and shift <= 21:
                    byte = data[start]
                    start += 1
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if not byte & 0x80:
                        break
                else:
                    if shift > 21:
                        return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
                    break
            stop = start + length
            if stop > end:
                break
            if command & 0xF0 == _PUBLISH and command & 0x06 != 0x04:
                name_end = start + 2 + (data[start] << 8 | data[start + 1])
                body, mid = name_end, 0
                if command & 0x06:
                    mid = data[body] << 8 | data[body + 1]
                    body += 2
                if five:
                    size = data[body]
                    if size & 0x80:
                        size, body = _varint(data, body)
                        body += size
                    else:
                        body += 1 + size
                if command & _RETAIN:
                    retained.append(mid)
                else:
                    frames.append((data[start + 2 : name_end], data[body:stop], mid))
            else:
                self._handed = data[at:stop]
                code = self._packet_read()
                if code > 0 or self._sock is None:
                    self._rest = self._handed = b""
                    return (
                        self._loop_rc_handle(code) if code > 0 else MQTTErrorCode.MQTT_ERR_NO_CONN
                    )
            at = stop
        self._rest = data[at:]
        self.acknowledge(mid for mid in retained if mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_recv(self, bufsize: int) -> bytes:
        """Give paho the packet that was cut for it."""
        part, self._handed = self._handed[:bufsize], self._handed[bufsize:]
        if not part:
            raise BlockingIOError
        return part


def _forget_rest(client: mqtt.Client, _userdata: Any) -> None:
    """Begin a connection with nothing of the former one."""
    assert isinstance(client, BulkClient)
    client._rest = client._handed = b""
    client.frames.clear()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


class _Tried(BulkClient):
    """A bulk client that reads given bytes, for the test at the start."""

    def __init__(self, chunks: list[bytes]) -> None:
        super().__init__(protocol=mqtt.MQTTv5)
        self._chunks, self._sock = chunks, object()  # type: ignore[assignment]
        self.answered: list[int] = []
        self.on_subscribe = lambda _c, _u, mid, _codes, _p: self.answered.append(mid)

    def feed(self) -> None:
        """Read all chunks."""
        for chunk in self._chunks:
            assert self._cut(self._rest + chunk) == MQTTErrorCode.MQTT_ERR_SUCCESS


def bulk_works() -> bool:
    """Try the bulk client on known bytes, split at an awkward place: a PUBLISH of each kind, and a SUBACK for paho between them."""
    first = b"\x32\x0c\x00\x03a/b\x00\x07\x00hey!"
    second = (
        b"\x30\x0d\x00\x03a/c\x03\x26\x00\x00hello"[:1]
        + bytes([13])
        + b"\x00\x03a/c\x02\x01\x01hello"
    )
    suback = b"\x90\x04\x00\x05\x00\x01"
    whole = first + suback + second
    try:
        client = _Tried([whole[:9], whole[9:]])
        client.feed()
        return client.frames == [
            (b"a/b", b"hey!", 7),
            (b"a/c", b"hello", 0),
        ] and client.answered == [5]
    except Exception:
        log.warning("bulk_reader_unusable", exc_info=True)
        return False
    finally:
        # paho closes what it thinks is a socket when it is collected.
        if "client" in locals():
            client._sock = None


def new_client(**options: Any) -> StockClient:
    """Make the fast client where it works with the paho that is installed, else the stock one."""
    if bulk_works():
        return BulkClient(**options)
    log.warning(
        "stock_reader",
        hint="ingest runs at a third of its speed; install the paho-mqtt that locks/runtime.txt names",
    )
    return StockClient(**options)


def join(
    broker: BrokerAddress,
    session: str,
    *,
    window: int,
    session_s: int,
    keepalive_s: int,
    make_client: Callable[..., StockClient],
    prepare: Callable[[StockClient], None],
) -> StockClient:
    """Begin a connection to a session that outlives it; `prepare` sets the callbacks before anything can call them.

    Raises: ConnectionError where nobody listens.
    """
    five = broker.protocol == 5
    client = make_client(
        client_id=session,
        protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
        clean_session=None if five else False,
    )
    client.username, client.password = broker.username, broker.password
    if broker.ca_file:
        client.tls_set_context(ssl.create_default_context(cafile=broker.ca_file))
    client.max_inflight_messages_set(1000)
    prepare(client)
    options: dict[str, Any] = {"host": broker.host, "port": broker.port, "keepalive": keepalive_s}
    if five:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval, properties.ReceiveMaximum = session_s, window
        # The default would wipe the session's queue whenever this process starts.
        options |= {"clean_start": False, "properties": properties}
    try:
        client.connect(**options)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"{broker.host}:{broker.port}: {error}") from error
    return client


def leave(client: StockClient, *, for_good: bool) -> None:
    """Disconnect cleanly; with `for_good` the session ends too (MQTT 5, 3.14.2.2.2)."""
    last = (
        Properties(PacketTypes.DISCONNECT) if for_good and client.protocol == mqtt.MQTTv5 else None
    )
    if last is not None:
        last.SessionExpiryInterval = 0
    client.disconnect(properties=last)
