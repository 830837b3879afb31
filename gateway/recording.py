"""Recordings: an estate's traffic as gzip lines of `{"topic", "payload"}`.

They are taken from the broker and played to it again. A payload stands as it was sent: as JSON
where it is JSON on one line, else as a string, or as `payload_base64` where it is no text.

Played messages go out under their own gateways' names, each until the server has acknowledged it
(`down/ack`). Those without a number are only passed to the broker.
"""

from __future__ import annotations

import base64
import gzip
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from domain import wire
from domain.broker import BrokerAddress
from gateway.replay import BadFile
from gateway.uplink import NotAcknowledged

#: Messages of one gateway that may be unacknowledged at a time, and of all together.
WINDOW = 2_000
ALL = 20_000
#: After this long without an acknowledgement everything on its way is sent again; after so long
#: without any it is given up.
RESEND_S = 20.0
GIVE_UP_S = 90.0
#: A line longer than this is no message of ours.
MAX_LINE = 4 * 1024 * 1024


class _Line(msgspec.Struct, omit_defaults=True):
    topic: str
    payload: msgspec.Raw = msgspec.Raw(b"")
    payload_base64: str | None = None


class _MessageNumber(msgspec.Struct):
    boot: str
    seq: int


class RecordedMessage(NamedTuple):
    """One message of a recording: its topic and its payload, as it was sent."""

    topic: str
    payload: bytes


class _GatewayKey(NamedTuple):
    estate: str
    code: str


class _Sequence(NamedTuple):
    """What the server numbers and acknowledges together: one kind of message of one boot."""

    kind: str
    boot: str


def read_recording(path: Path) -> Iterator[RecordedMessage]:
    """Read a recording, gzip or not, line by line.

    Raises: BadFile, with the line's number.
    """
    decoder = msgspec.json.Decoder(_Line)
    with _open(path) as stream:
        number = 0
        while True:
            try:
                raw = stream.readline(MAX_LINE + 1)
            except (OSError, EOFError) as error:
                raise BadFile(
                    f"{path}:{number + 1}: cannot be read further: {error}; is the file cut off?"
                ) from None
            if not raw:
                return
            number += 1
            if not raw.strip():
                continue
            try:
                line = decoder.decode(raw)
                yield RecordedMessage(line.topic, _payload(line))
            except (msgspec.MsgspecError, ValueError) as error:
                raise BadFile(
                    f"{path}:{number}: {error}; "
                    'a line is {"topic": "anju/v1/…/up/readings", "payload": {…}}'
                ) from None


def _open(path: Path) -> BinaryIO:
    try:
        stream: Any = path.open("rb")
    except OSError as error:
        raise BadFile(f"{path}: cannot be opened: {error.strerror}") from None
    magic = stream.peek(2)[:2]
    return gzip.open(stream) if magic == b"\x1f\x8b" else stream  # type: ignore[return-value]


def _payload(line: _Line) -> bytes:
    if line.payload_base64 is not None:
        return base64.b64decode(line.payload_base64, validate=True)
    raw = bytes(line.payload)
    if not raw:
        raise ValueError("no payload")
    return msgspec.json.decode(raw, type=str).encode() if raw[:1] == b'"' else raw


def encode_line(topic: str, payload: bytes) -> bytes:
    """Make a recording's line of a message."""
    try:
        if b"\n" not in payload and payload[:1] != b'"':
            msgspec.json.decode(payload)
            return (
                b'{"topic":'
                + msgspec.json.encode(topic)
                + b',"payload":'
                + payload.strip()
                + b"}\n"
            )
        return msgspec.json.encode({"topic": topic, "payload": payload.decode()}) + b"\n"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return (
            msgspec.json.encode(
                _Line(topic=topic, payload_base64=base64.b64encode(payload).decode())
            )
            + b"\n"
        )


def record_traffic(
    broker: BrokerAddress,
    estate: str,
    path: Path,
    stopping: threading.Event,
    count: Callable[[int], None],
) -> int:
    """Write what an estate's gateways send until told to stop; returns how many messages."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=f"anju-record-{estate}-{int(time.time())}"
    )
    client.username = broker.username
    client.password = broker.password
    written = 0
    refused: list[str] = []
    lock = threading.Lock()
    with gzip.open(path, "ab", compresslevel=6) as out:

        def on_message(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
            nonlocal written
            with lock:
                out.write(encode_line(message.topic, bytes(message.payload)))
                written += 1

        def on_connect(
            _client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any
        ) -> None:
            if code.is_failure:
                refused.append(str(code))
                stopping.set()
            client.subscribe(f"{wire.ROOT}/{estate}/+/up/+", qos=1)

        client.on_message = on_message
        client.on_connect = on_connect
        client.connect_async(broker.host, broker.port, keepalive=30)
        client.loop_start()
        while not stopping.wait(0.5):
            count(written)
        client.disconnect()
        client.loop_stop()
    if refused:
        raise NotAcknowledged(
            f"the broker refused the connection: {refused[0]}; "
            "set ANJU_BROKER_USERNAME and ANJU_BROKER_PASSWORD_FILE"
        )
    return written


# Playing ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Gateway:
    """One gateway's connection, and its messages that are not acknowledged.

    `unacked` maps (kind, boot) to messages by number.
    """

    client: mqtt.Client
    unacked: dict[_Sequence, dict[int, RecordedMessage]] = field(default_factory=dict)
    #: What has no number is done when the broker has it.
    handed: deque[mqtt.MQTTMessageInfo] = field(default_factory=deque)
    ready: threading.Event = field(default_factory=threading.Event)
    refused: str = ""

    @property
    def waiting(self) -> int:
        """How many messages are not acknowledged."""
        return sum(map(len, self.unacked.values()))


@dataclass(slots=True)
class Player:
    """Plays messages under their gateways' names.

    Use it as a context manager; `play`, then `drain`.
    """

    broker: BrokerAddress
    acknowledged: int = 0
    unnumbered: int = 0
    _gateways: dict[_GatewayKey, _Gateway] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _received_at: float = 0.0

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        for gateway in self._gateways.values():
            gateway.client.disconnect()
        for gateway in self._gateways.values():
            gateway.client.loop_stop()

    def play(self, topic: str, payload: bytes) -> None:
        """Send a message; waits while too much is unacknowledged.

        Raises: BadFile for a topic that is no gateway's, NotAcknowledged where the server does not
        answer.
        """
        parsed = wire.parse_up_topic(topic)
        if parsed is None:
            raise BadFile(f"topic {topic[:120]!r} is not anju/v1/<estate>/<gateway>/up/<kind>")
        gateway = self._gateway(_GatewayKey(parsed.estate, parsed.gateway))
        number = _read_number(payload)
        if number is None:
            self.unnumbered += 1
            gateway.handed.append(gateway.client.publish(topic, payload, qos=1))
            while len(gateway.handed) > WINDOW:
                gateway.handed.popleft().wait_for_publish(GIVE_UP_S)
            return
        sequence = _Sequence(str(parsed.up), number.boot)
        with self._changed:
            self._wait(
                lambda: (
                    gateway.waiting < WINDOW
                    and sum(g.waiting for g in self._gateways.values()) < ALL
                )
            )
            messages = gateway.unacked.setdefault(sequence, {})
            messages[number.seq] = RecordedMessage(topic, payload)
        gateway.client.publish(topic, payload, qos=1)

    def drain(self) -> None:
        """Wait until everything is acknowledged.

        Raises: NotAcknowledged.
        """
        for gateway in self._gateways.values():
            while gateway.handed:
                gateway.handed.popleft().wait_for_publish(GIVE_UP_S)
        with self._changed:
            self._wait(lambda: not any(g.waiting for g in self._gateways.values()))

    def _wait(self, done: Callable[[], bool]) -> None:
        began = time.monotonic()
        self._received_at = began
        while not done():
            self._changed.wait(0.5)
            now = time.monotonic()
            if now - max(began, self._received_at) > RESEND_S:
                began = now
                for gateway in self._gateways.values():
                    for messages in gateway.unacked.values():
                        for message in list(messages.values()):
                            gateway.client.publish(message.topic, message.payload, qos=1)
            if now - self._received_at > GIVE_UP_S:
                raise self._give_up()

    def _give_up(self) -> NotAcknowledged:
        """Make the error that names how much is not acknowledged, and of which gateways."""
        waiting = {name: gateway.waiting for name, gateway in self._gateways.items()}
        stuck = sorted("/".join(name) for name, count in waiting.items() if count)
        messages = f"{sum(waiting.values())} messages of {', '.join(stuck[:5])}"
        hint = "is ingest running, and are these gateways registered?"
        return NotAcknowledged(f"{messages} are not acknowledged after {GIVE_UP_S:g} s; {hint}")

    def _gateway(self, key: _GatewayKey) -> _Gateway:
        """Return a gateway's connection, made the first time.

        Raises: NotAcknowledged, where no broker takes the connection.
        """
        found = self._gateways.get(key)
        if found is not None:
            return found
        estate = key.estate
        code = key.code
        address = replace(
            self.broker,
            username=self.broker.username
            and self.broker.username.replace("{estate}", estate).replace("{gateway}", code),
        )
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"play-{estate}-{code}")
        client.username = address.username
        client.password = address.password
        client.max_inflight_messages_set(WINDOW)
        client.max_queued_messages_set(0)
        gateway = _Gateway(client=client)
        self._gateways[key] = gateway

        def on_connect(
            _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
        ) -> None:
            gateway.refused = str(reason) if reason.is_failure else ""
            client.subscribe(f"{wire.ROOT}/{estate}/{code}/down/ack", qos=1)
            gateway.ready.set()

        def on_message(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
            self._acknowledge(gateway, bytes(message.payload))

        client.on_connect = on_connect
        client.on_message = on_message
        client.connect_async(address.host, address.port, keepalive=60)
        client.loop_start()
        if not gateway.ready.wait(20) or gateway.refused:
            raise NotAcknowledged(
                f"no broker took the connection of {estate}/{code}: "
                f"{gateway.refused or 'no answer in 20 s'}"
            )
        return gateway

    def _acknowledge(self, gateway: _Gateway, payload: bytes) -> None:
        try:
            ack = msgspec.json.decode(payload, type=wire.Ack)
        except msgspec.MsgspecError:
            return
        with self._changed:
            messages = gateway.unacked.get(_Sequence(ack.kind, ack.boot), {})
            also = set(ack.also)
            for seq in [seq for seq in messages if seq <= ack.upto or seq in also]:
                del messages[seq]
                self.acknowledged += 1
            self._received_at = time.monotonic()
            self._changed.notify_all()


def _read_number(payload: bytes) -> _MessageNumber | None:
    try:
        return msgspec.json.decode(payload, type=_MessageNumber)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def list_recordings(paths: Sequence[Path]) -> list[Path]:
    """List the files of a play: a directory gives its files in the order of their names.

    Raises: BadFile.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        elif path.is_file():
            found.append(path)
        else:
            raise BadFile(f"{path}: no such file")
    if not found:
        raise BadFile("no recording: name files, or a directory that holds some")
    return found
