"""A gateway's uplink: it sends the outbox until the server's own `down/ack` names everything.

A PUBACK of the broker is no proof, since a broker killed at the wrong moment forgets. So a message
leaves the outbox only when Anju has committed it. Events go before readings.

The replay of a file and the demo use the same uplink over an outbox in memory. They wait while too
much is unacknowledged.
"""

from __future__ import annotations

import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from domain import wire
from domain.broker import BrokerAddress
from domain.errors import UserError
from domain.wire import BornDevice, Down, EventItem, ReadingItem, Up
from gateway.clock import SAMPLES, ClockOffset, GatewayClock
from gateway.outbox import Outbox
from gateway.sender import WINDOW, OutboxSender

log = structlog.get_logger()

#: How often the gateway sends its state.
STATE_S = 30.0
#: How often it does so until the server has answered one.
FIRST_STATE_S = 5.0


class NotAcknowledged(UserError):
    """The server did not acknowledge everything in time.

    Nothing is lost, and sending again is harmless.
    """


class Uplink:
    """One gateway's connection. Thread-safe; use it as a context manager."""

    def __init__(
        self,
        broker: BrokerAddress,
        estate: str,
        gateway: str,
        outbox: Outbox,
        *,
        window: int = WINDOW,
        clock: GatewayClock | None = None,
    ) -> None:
        self._estate = estate
        self._gateway = gateway
        self._window = window
        self.outbox = outbox
        self._clock = clock or GatewayClock()
        self.offset = ClockOffset()
        self.on_command: Callable[[wire.Command], None] = lambda _command: None
        self._changed = threading.Condition()
        self.outbox.changed = self._wake
        self._sender = OutboxSender(self.outbox, self._clock.now_ms, window=window)
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._born: bytes | None = None
        self._state_sent_at = 0.0
        self._state_times: dict[int, int] = {}
        self.broker = broker
        self._client = self._make_client(broker)
        self._thread = threading.Thread(target=self._pump, name=f"uplink-{gateway}", daemon=True)

    def _make_client(self, broker: BrokerAddress) -> mqtt.Client:
        is_mqtt5 = broker.protocol == 5
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"gw-{self._estate}-{self._gateway}",
            protocol=mqtt.MQTTv5 if is_mqtt5 else mqtt.MQTTv311,
            clean_session=None if is_mqtt5 else False,
        )
        # One setting may name the log-ins of many gateways: "{estate}/{gateway}".
        name = broker.username and broker.username.replace("{estate}", self._estate).replace(
            "{gateway}", self._gateway
        )
        client.username = name
        client.password = broker.password
        if broker.ca_file:
            context = ssl.create_default_context(cafile=broker.ca_file)
            if broker.cert_file:
                context.load_cert_chain(broker.cert_file, broker.key_file)
            client.tls_set_context(context)
        client.max_inflight_messages_set(self._window)
        client.max_queued_messages_set(4 * self._window)
        client.reconnect_delay_set(1, 15)
        client.will_set(
            wire.up_topic(self._estate, self._gateway, Up.STATE), self._state(online=False), qos=1
        )
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        if is_mqtt5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            client.connect_async(
                broker.host, broker.port, keepalive=30, clean_start=False, properties=properties
            )
        else:
            client.connect_async(broker.host, broker.port, keepalive=30)
        return client

    def __enter__(self) -> Uplink:
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._wake()
        self._thread.join(5)
        if self._client.is_connected():
            info = self._publish(Up.STATE, self._state(online=False))
            info.wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        """Tell whether the broker has us now."""
        return bool(self._client.is_connected())

    def wait_connected(self, timeout_s: float = 20.0) -> None:
        """Wait until the broker has taken the connection.

        Raises: NotAcknowledged after `timeout_s`.
        """
        if not self._ready.wait(timeout_s):
            raise NotAcknowledged(
                f"no broker took the connection of {self._estate}/{self._gateway} "
                f"within {timeout_s:g} s"
            )

    def birth(self, devices: Sequence[BornDevice], at_ms: int) -> None:
        """Announce the devices behind this gateway, now and at every connection."""
        message = wire.Birth(v=wire.VERSION, boot=self.outbox.boot, at=at_ms, devices=list(devices))
        self._born = msgspec.json.encode(message)
        if self.connected:
            self._publish(Up.BIRTH, self._born)

    def send_readings(
        self, items: Sequence[ReadingItem], *, sent_at: int | None = None, replayed: bool = False
    ) -> None:
        """Send readings as one message; waits while the window is full."""
        self._send(Up.READINGS, items, sent_at, replayed)

    def send_events(
        self, items: Sequence[EventItem], *, sent_at: int | None = None, replayed: bool = False
    ) -> None:
        """Send events as one message; waits while the window is full."""
        self._send(Up.EVENTS, items, sent_at, replayed)

    def _send(
        self,
        kind: Up,
        items: Sequence[ReadingItem | EventItem],
        sent_at: int | None,
        replayed: bool,
    ) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self.outbox.messages < self._window or self._closing.is_set()
            )
        self.outbox.seal(kind, items, sent_at=sent_at, replayed=replayed)
        self._wake()

    @property
    def unacknowledged(self) -> int:
        """How many messages the server has not acknowledged yet."""
        return self.outbox.messages

    def drain(self, timeout_s: float = 60.0) -> None:
        """Wait until everything put down is acknowledged by the server.

        Raises: NotAcknowledged when nothing was acknowledged for `timeout_s`.
        """
        with self._changed:
            while self.outbox.items:
                before = self.outbox.items
                if not self._changed.wait(timeout_s) and self.outbox.items >= before:
                    raise NotAcknowledged(
                        f"{self.outbox.messages} messages are not acknowledged after "
                        f"{timeout_s:g} s; is ingest running, "
                        f"and is gateway {self._gateway!r} registered at estate {self._estate!r}?"
                    )

    # Sending --------------------------------------------------------------------------------------

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _pump(self) -> None:
        while not self._closing.is_set():
            busy = False
            try:
                if self.connected:
                    busy = self._publish_due()
            except sqlite3.Error as error:
                # The disk under the outbox may fail; the thread must go on.
                log.error("outbox_unreadable", error=str(error)[:200])
            with self._changed:
                if not busy and not self._closing.is_set():
                    self._changed.wait(0.1 if self.outbox.items else 0.5)

    def _publish_due(self) -> bool:
        """Publish what is due; True where more may be."""
        now = time.monotonic()
        # A server that was away when the state was told did not answer it; the first ones are asked
        # sooner.
        if now - self._state_sent_at > (STATE_S if self.offset.ms is not None else FIRST_STATE_S):
            self._send_state()
        with self._changed:
            due = self._sender.due(now)
        for message in due:
            self._publish(message.kind, message.payload)
        return bool(due)

    def _publish(self, kind: Up, payload: bytes) -> mqtt.MQTTMessageInfo:
        return self._client.publish(
            wire.up_topic(self._estate, self._gateway, kind), payload, qos=1
        )

    def _send_state(self) -> None:
        self._state_sent_at = time.monotonic()
        self._publish(Up.STATE, self._state(online=True))

    def _state(self, *, online: bool) -> bytes:
        at = self._clock.now_ms()
        self._state_times[at] = int(time.time() * 1000)
        while len(self._state_times) > SAMPLES:
            self._state_times.pop(next(iter(self._state_times)))
        lost = sum(self.outbox.losses().values()) or None
        return msgspec.json.encode(
            wire.State(
                v=wire.VERSION,
                online=online,
                at=at,
                boot=self.outbox.boot,
                clock_offset_ms=self.offset.ms,
                outbox=self.outbox.items,
                lost=lost,
            )
        )

    # What comes down ------------------------------------------------------------------------------

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            log.error("broker_refused", gateway=self._gateway, code=str(code))
            return
        client.subscribe(f"{wire.ROOT}/{self._estate}/{self._gateway}/down/#", qos=1)
        self._send_state()
        if self._born is not None:
            self._publish(Up.BIRTH, self._born)
        self._ready.set()
        self._wake()

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.rsplit("/", 1)[-1]
        try:
            if kind == Down.ACK:
                self._acknowledged(msgspec.json.decode(message.payload, type=wire.Ack))
            elif kind == Down.BACKFILL:
                self._backfill(msgspec.json.decode(message.payload, type=wire.Backfill))
            elif kind == Down.TIME:
                self._note_server_time(msgspec.json.decode(message.payload, type=wire.Time))
            elif kind == Down.COMMAND:
                self.on_command(msgspec.json.decode(message.payload, type=wire.Command))
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("down_unreadable", topic=message.topic, error=str(error)[:200])

    def _acknowledged(self, ack: wire.Ack) -> None:
        with self._changed:
            self._sender.acknowledged(ack)
            self._changed.notify_all()

    def _backfill(self, request: wire.Backfill) -> None:
        with self._changed:
            due = self._sender.find_missing(request, time.monotonic())
        for message in due:
            self._publish(message.kind, message.payload)

    def _note_server_time(self, server_time: wire.Time) -> None:
        # Both instants are the machine's own clock, also where the gateway's is told to run faster.
        sent_at_ms = self._state_times.get(server_time.echo)
        if sent_at_ms is not None:
            self.offset.answered(sent_at_ms, server_time.at, int(time.time() * 1000))
