"""A gateway's uplink: numbered messages go up, and are sent again until the server's own `down/ack` names them.

A PUBACK of the broker proves nothing (a broker killed at the wrong moment forgets), so a message is forgotten here only
when Anju has committed it. A message's bytes are made once and never again, so that a resend is byte for byte the first.
This uplink keeps what is unacknowledged in memory, within a window; the outbox on disk comes with the gateway process.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from domain import wire
from domain.broker import BrokerAddress
from domain.wire import BornDevice, Down, EventItem, ReadingItem, Up

log = structlog.get_logger()

#: Messages that may be on their way at a time; a sender waits beyond it.
WINDOW = 64
#: After this long without an acknowledgement a message is sent again.
RESEND_S = 15.0


class NotAcknowledged(Exception):
    """The server did not acknowledge everything in time; nothing is lost, and sending again is harmless."""


class Uplink:
    """One gateway's connection. Thread-safe; use it as a context manager."""

    def __init__(self, broker: BrokerAddress, estate: str, gateway: str, boot: str, *, window: int = WINDOW) -> None:
        self._estate, self._gateway, self._boot, self._window = estate, gateway, boot, window
        self._changed = threading.Condition()
        self._unacked: dict[tuple[Up, int], tuple[bytes, float]] = {}
        self._seq: dict[Up, int] = {Up.READINGS: 0, Up.EVENTS: 0}
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._born: bytes | None = None
        self._client = self._make_client(broker)
        self._resender = threading.Thread(target=self._resend, name=f"resend-{gateway}", daemon=True)

    def _make_client(self, broker: BrokerAddress) -> mqtt.Client:
        five = broker.protocol == 5
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"gw-{self._estate}-{self._gateway}",
            protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
            clean_session=None if five else False,
        )
        # One setting may name the log-ins of many gateways: "{estate}/{gateway}".
        name = broker.username and broker.username.replace("{estate}", self._estate).replace("{gateway}", self._gateway)
        client.username, client.password = name, broker.password
        if broker.ca_file:
            context = ssl.create_default_context(cafile=broker.ca_file)
            if broker.cert_file:
                context.load_cert_chain(broker.cert_file, broker.key_file)
            client.tls_set_context(context)
        client.max_inflight_messages_set(self._window)
        client.max_queued_messages_set(4 * self._window)
        client.reconnect_delay_set(1, 15)
        client.will_set(wire.up_topic(self._estate, self._gateway, Up.STATE), self._state(online=False), qos=1)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        if five:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            client.connect_async(broker.host, broker.port, keepalive=30, clean_start=False, properties=properties)
        else:
            client.connect_async(broker.host, broker.port, keepalive=30)
        return client

    def __enter__(self) -> Uplink:
        self._client.loop_start()
        self._resender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._client.is_connected():
            info = self._client.publish(
                wire.up_topic(self._estate, self._gateway, Up.STATE), self._state(online=False), qos=1
            )
            info.wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def wait_connected(self, timeout_s: float = 20.0) -> None:
        """Wait until the broker has taken the connection.

        Raises: NotAcknowledged after `timeout_s`.
        """
        if not self._ready.wait(timeout_s):
            raise NotAcknowledged(
                f"no broker took the connection of {self._estate}/{self._gateway} within {timeout_s:g} s"
            )

    def birth(self, devices: Sequence[BornDevice], at_ms: int) -> None:
        """Say what is behind this gateway; said again at every connection."""
        message = wire.Birth(v=wire.VERSION, boot=self._boot, at=at_ms, devices=list(devices))
        self._born = msgspec.json.encode(message)
        self._client.publish(wire.up_topic(self._estate, self._gateway, Up.BIRTH), self._born, qos=1)

    def send_readings(
        self, items: Sequence[ReadingItem], *, sent_at: int | None = None, replayed: bool = False
    ) -> None:
        """Send readings as one message; waits while the window is full."""
        self._send(
            Up.READINGS,
            lambda seq: wire.Readings(
                v=wire.VERSION, boot=self._boot, seq=seq, sent_at=sent_at, replayed=replayed, items=list(items)
            ),
        )

    def send_events(self, items: Sequence[EventItem], *, sent_at: int | None = None, replayed: bool = False) -> None:
        """Send events as one message; waits while the window is full."""
        self._send(
            Up.EVENTS,
            lambda seq: wire.Events(
                v=wire.VERSION, boot=self._boot, seq=seq, sent_at=sent_at, replayed=replayed, items=list(items)
            ),
        )

    def _send(self, up: Up, make: Any) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._unacked) < self._window or self._closing.is_set())
            self._seq[up] += 1
            seq = self._seq[up]
            payload = msgspec.json.encode(make(seq))
            self._unacked[up, seq] = (payload, time.monotonic())
        self._client.publish(wire.up_topic(self._estate, self._gateway, up), payload, qos=1)

    @property
    def unacknowledged(self) -> int:
        """How many messages the server has not acknowledged yet."""
        return len(self._unacked)

    def drain(self, timeout_s: float = 60.0) -> None:
        """Wait until everything sent is acknowledged by the server.

        Raises: NotAcknowledged when nothing was acknowledged for `timeout_s`.
        """
        with self._changed:
            while self._unacked:
                before = len(self._unacked)
                if not self._changed.wait(timeout_s) and len(self._unacked) >= before:
                    raise NotAcknowledged(
                        f"{before} messages are not acknowledged after {timeout_s:g} s; is ingest running, and is "
                        f"gateway {self._gateway!r} registered at estate {self._estate!r}?"
                    )

    def _state(self, *, online: bool) -> bytes:
        return msgspec.json.encode(
            wire.State(v=wire.VERSION, online=online, at=int(time.time() * 1000), boot=self._boot)
        )

    def _on_connect(self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.error("broker_refused", gateway=self._gateway, code=str(code))
            return
        client.subscribe(f"{wire.ROOT}/{self._estate}/{self._gateway}/down/#", qos=1)
        client.publish(wire.up_topic(self._estate, self._gateway, Up.STATE), self._state(online=True), qos=1)
        if self._born is not None:
            client.publish(wire.up_topic(self._estate, self._gateway, Up.BIRTH), self._born, qos=1)
        self._ready.set()

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.rsplit("/", 1)[-1]
        try:
            if kind == Down.ACK:
                self._acknowledged(msgspec.json.decode(message.payload, type=wire.Ack))
            elif kind == Down.BACKFILL:
                self._asked_again(msgspec.json.decode(message.payload, type=wire.Backfill))
        except msgspec.MsgspecError as error:
            log.warning("down_unreadable", topic=message.topic, error=str(error)[:200])

    def _acknowledged(self, ack: wire.Ack) -> None:
        if ack.boot != self._boot:
            return
        also = set(ack.also)
        with self._changed:
            for key in [k for k in self._unacked if k[0] == ack.kind and (k[1] <= ack.upto or k[1] in also)]:
                del self._unacked[key]
            self._changed.notify_all()

    def _asked_again(self, ask: wire.Backfill) -> None:
        if ask.boot != self._boot:
            return
        with self._changed:
            held = [(key, self._unacked[key][0]) for n in ask.missing if (key := (Up(ask.kind), n)) in self._unacked]
        for (up, _), payload in held:
            self._client.publish(wire.up_topic(self._estate, self._gateway, up), payload, qos=1)

    def _resend(self) -> None:
        while not self._closing.wait(1.0):
            now = time.monotonic()
            with self._changed:
                due = [(key, payload) for key, (payload, sent) in self._unacked.items() if now - sent > RESEND_S]
                for key, payload in due:
                    self._unacked[key] = (payload, now)
            for (up, _), payload in due:
                self._client.publish(wire.up_topic(self._estate, self._gateway, up), payload, qos=1)
