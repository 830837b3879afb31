"""Reading MQTT in bulk: a paho client that takes many PUBLISH packets from one `recv`.

Every other packet is handed to paho. Stock paho asks the socket four times for every message and
builds an object with a lock for each: 23 to 31 µs, where a broker can deliver in ten. `BulkClient`
overrides the public `loop_read`. Beside it the client needs five private names of paho 2.x
(`_sock`, `_sock_recv`, `_packet_read`, `_packet_queue`, `_last_bytes_received`). So the version is
pinned, and tests compare the client with stock paho packet by packet. `new_client` tries it before
it is used, and falls back to stock paho where it does not work.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from domain.broker import BrokerAddress
from ingest.message import ReceivedMessage

log = structlog.get_logger()

#: Bytes asked of the socket at a time.
CHUNK = 256 * 1024
_PUBLISH = 0x30
_PUBACK = 0x40
_PUBACK_HEADER = _PUBACK << 8 | 2
_TYPE_BITS = 0xF0
_QOS_BITS = 0x06
_QOS_2 = 0x04
_RETAIN_BIT = 0x01


class StockClient(mqtt.Client):
    """Stock paho behind two calls: `messages` fills as packets come, `acknowledge` answers them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, manual_ack=True, reconnect_on_failure=False, **options
        )
        self.messages: list[ReceivedMessage] = []
        self.on_message = _collect

    def take_messages(self) -> list[ReceivedMessage]:
        """Return the messages that have come since the last call."""
        messages = self.messages
        self.messages = []
        return messages

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Answer messages of this connection by their packet ids."""
        for packet_id in packet_ids:
            self.ack(packet_id, 1)


def _collect(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
    assert isinstance(client, StockClient)
    if message.retain:
        # A retained message is an old one, which the broker keeps for whoever subscribes.
        client.ack(message.mid, message.qos)
        return
    try:
        topic = message.topic.encode()
    except UnicodeDecodeError:
        topic = b"unreadable"
    packet_id = message.mid if message.qos else 0
    client.messages.append(ReceivedMessage(topic, bytes(message.payload), packet_id))


class _EndlessLength(Exception):
    """A Remaining Length of more than four bytes: a protocol error (MQTT 5, 1.5.5)."""


class BulkClient(StockClient):
    """A client that cuts PUBLISH packets out of the stream itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._has_properties = options.get("protocol") == mqtt.MQTTv5
        #: Bytes of a packet that has not come whole yet.
        self._incomplete = b""
        #: A whole packet that paho is about to read.
        self._for_paho = b""
        self._retained: list[int] = []
        self.on_pre_connect = _forget_connection

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Answer messages of this connection by their packet ids, in one write."""
        numbers = np.fromiter(packet_ids, dtype=">u2")
        if len(numbers):
            packets = np.empty(len(numbers), dtype=[("header", ">u2"), ("packet_id", ">u2")])
            packets["header"] = _PUBACK_HEADER
            packets["packet_id"] = numbers
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
        if self._incomplete:
            data = self._incomplete + data
        return self._cut_packets(data)

    def _cut_packets(self, data: bytes) -> MQTTErrorCode:
        """Take every whole packet: PUBLISH into `messages`, others to paho; keep what is left."""
        start = 0
        take_publish = self._take_publish
        try:
            while (bounds := _packet_bounds(data, start)) is not None:
                body, end = bounds
                packet_type = data[start]
                if packet_type & _TYPE_BITS == _PUBLISH and packet_type & _QOS_BITS != _QOS_2:
                    take_publish(data, packet_type, body, end)
                else:
                    code = self._hand_to_paho(data[start:end])
                    if code is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                        return code
                start = end
        except _EndlessLength:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
        self._incomplete = data[start:]
        if self._retained:
            self.acknowledge(self._retained)
            self._retained = []
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _take_publish(self, data: bytes, packet_type: int, start: int, end: int) -> None:
        """Read a PUBLISH whose body lies between two offsets (MQTT 5, 3.3; MQTT 3.1.1, 3.3)."""
        topic_start = start + 2
        topic_end = topic_start + (data[start] << 8 | data[start + 1])
        payload_start = topic_end
        packet_id = 0
        if packet_type & _QOS_BITS:
            packet_id = data[topic_end] << 8 | data[topic_end + 1]
            payload_start += 2
        if self._has_properties:
            length = data[payload_start]
            payload_start += 1
            if length & 0x80:
                length, payload_start = _read_varint(data, payload_start - 1)
            payload_start += length
        if packet_type & _RETAIN_BIT:
            if packet_id:
                self._retained.append(packet_id)
            return
        self.messages.append(
            ReceivedMessage(data[topic_start:topic_end], data[payload_start:end], packet_id)
        )

    def _hand_to_paho(self, packet: bytes) -> MQTTErrorCode:
        """Let paho handle a packet of another type; MQTT_ERR_SUCCESS while the connection lives."""
        self._for_paho = packet
        code = self._packet_read()
        if code <= 0 and self._sock is not None:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._incomplete = b""
        self._for_paho = b""
        return self._loop_rc_handle(code) if code > 0 else MQTTErrorCode.MQTT_ERR_NO_CONN

    def _sock_recv(self, bufsize: int) -> bytes:
        """Give paho the packet that was cut for it."""
        part = self._for_paho[:bufsize]
        self._for_paho = self._for_paho[bufsize:]
        if not part:
            raise BlockingIOError
        return part


def _forget_connection(client: mqtt.Client, _userdata: Any) -> None:
    """Begin a connection with nothing of the former one."""
    assert isinstance(client, BulkClient)
    client._incomplete = b""
    client._for_paho = b""
    client._retained = []
    client.messages.clear()


def _packet_bounds(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `start` begins and ends; None while it is incomplete.

    Raises: _EndlessLength.
    """
    available = len(data)
    body = start + 2
    if body > available:
        return None
    length = data[start + 1]
    if length & 0x80:
        # A Variable Byte Integer (MQTT 5, 1.5.5): seven bits a byte, the lowest first.
        length &= 0x7F
        for shift in (7, 14, 21):
            if body >= available:
                return None
            byte = data[body]
            body += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise _EndlessLength
    end = body + length
    return None if end > available else (body, end)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a Variable Byte Integer (MQTT 5, 1.5.5) and the position behind it."""
    value = 0
    shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


class _SelfTestClient(BulkClient):
    """A bulk client that reads given bytes, for the self-test."""

    def __init__(self) -> None:
        super().__init__(protocol=mqtt.MQTTv5)
        # paho handles packets only while it has a socket; nothing is read from this one.
        self._sock = object()  # type: ignore[assignment]
        self.subscribed: list[int] = []
        self.on_subscribe = lambda _c, _u, mid, _codes, _p: self.subscribed.append(mid)

    def feed(self, chunk: bytes) -> None:
        """Read one chunk."""
        code = self._cut_packets(self._incomplete + chunk)
        assert code == MQTTErrorCode.MQTT_ERR_SUCCESS


#: A PUBLISH at QoS 1 without properties, a SUBACK for paho, and a PUBLISH at QoS 0 with a property.
_SELF_TEST_STREAM = (
    b"\x32\x0c\x00\x03a/b\x00\x07\x00hey!"
    b"\x90\x04\x00\x05\x00\x01"
    b"\x30\x0d\x00\x03a/c\x02\x01\x01hello"
)
_SELF_TEST_MESSAGES = [
    ReceivedMessage(b"a/b", b"hey!", 7),
    ReceivedMessage(b"a/c", b"hello", 0),
]


def bulk_works() -> bool:
    """Try the bulk client on known bytes, split within a packet."""
    client: _SelfTestClient | None = None
    try:
        client = _SelfTestClient()
        client.feed(_SELF_TEST_STREAM[:9])
        client.feed(_SELF_TEST_STREAM[9:])
        return client.messages == _SELF_TEST_MESSAGES and client.subscribed == [5]
    except Exception:
        log.warning("bulk_reader_unusable", exc_info=True)
        return False
    finally:
        if client is not None:
            # paho closes what it takes for a socket when the client is collected.
            client._sock = None


def new_client(**options: Any) -> StockClient:
    """Make the bulk client where it works with the installed paho, else the stock one."""
    if bulk_works():
        return BulkClient(**options)
    log.warning(
        "stock_reader",
        hint="ingest runs at a third of its speed; "
        "install the paho-mqtt that locks/runtime.txt names",
    )
    return StockClient(**options)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """What a session asks of the broker."""

    #: Messages that may be on their way at a time (Receive Maximum, MQTT 5).
    window: int
    #: How long the session outlives its connection, seconds.
    expiry_s: int
    keepalive_s: int


def join(
    broker: BrokerAddress,
    session: str,
    limits: SessionLimits,
    *,
    make_client: Callable[..., StockClient],
    prepare: Callable[[StockClient], None],
) -> StockClient:
    """Connect to a session that outlives the connection.

    `prepare` sets the callbacks before any of them can be called.

    Raises: ConnectionError where nobody listens.
    """
    is_version_5 = broker.protocol == 5
    client = make_client(
        client_id=session,
        protocol=mqtt.MQTTv5 if is_version_5 else mqtt.MQTTv311,
        clean_session=None if is_version_5 else False,
    )
    client.username = broker.username
    client.password = broker.password
    if broker.ca_file:
        client.tls_set_context(ssl.create_default_context(cafile=broker.ca_file))
    client.max_inflight_messages_set(1000)
    prepare(client)
    options: dict[str, Any] = {
        "host": broker.host,
        "port": broker.port,
        "keepalive": limits.keepalive_s,
    }
    if is_version_5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = limits.expiry_s
        properties.ReceiveMaximum = limits.window
        # The default would empty the session's queue whenever this process starts.
        options |= {"clean_start": False, "properties": properties}
    try:
        client.connect(**options)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"{broker.host}:{broker.port}: {error}") from error
    return client


def leave(client: StockClient, *, for_good: bool) -> None:
    """Disconnect cleanly; with `for_good` the session ends too (MQTT 5, 3.14.2.2.2)."""
    properties = None
    if for_good and client.protocol == mqtt.MQTTv5:
        properties = Properties(PacketTypes.DISCONNECT)
        properties.SessionExpiryInterval = 0
    client.disconnect(properties=properties)
