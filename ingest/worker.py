"""The ingest process: one MQTT client that only queues, one loop that writes, acknowledgements after the commit.

The network thread does nothing but put messages into a bounded queue. The loop takes a batch, commits it, and only
then sends the PUBACKs and `down/ack`. When the queue is full or the database is away, it lets go of the broker
cleanly: the session is kept there, what was not acknowledged comes again, and nothing piles up in memory. An
acknowledgement is sent only on the connection that brought its message, since a broker that was restarted uses the
same packet ids for other messages.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from prometheus_client import Counter, Gauge

from domain import wire
from domain.broker import BrokerAddress
from domain.calendar import to_ms
from domain.rejection import Reason, Rejected
from domain.wire import Down
from ingest.commands import Dispatcher
from ingest.write import Message, Outcome, Writer
from store import ingest_log
from store.connect import Connection, Unavailable, Unstorable, connect
from store.live import EVENTS_CHANNEL, LiveBus
from store.partitions import Partitions
from store.placement import Placement

log = structlog.get_logger()

ITEMS = Counter("ingest_items_total", "Values and events by what became of them", ["outcome"])
REFUSED = Counter("ingest_refused_total", "What was quarantined, by reason", ["reason"])
QUEUE = Gauge("ingest_queue_messages", "Messages received and not yet written")
BATCHES = Counter("ingest_batches_total", "Batches committed")


class Poisoned(Exception):
    """Too many messages in a row could not be stored: something is wrong with us, not with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound of the process."""

    batch_messages: int = 500
    batch_seconds: float = 0.05
    queue_messages: int = 5000
    queue_bytes: int = 64 * 1024 * 1024
    poison_in_a_row: int = 50
    gap_after_s: float = 10.0
    ask_again_s: float = 60.0


class Worker:
    """One ingest process. `run` returns after `stop`, or raises what it cannot recover from."""

    def __init__(
        self,
        *,
        dsn: str,
        broker: BrokerAddress,
        bus: LiveBus,
        name: str = "ingest-0",
        share: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._dsn, self._broker, self._bus, self._name = dsn, broker, bus, name
        self._limits = limits or Limits()
        self._filter = f"{wire.ROOT}/+/+/up/+"
        if share:
            self._filter = f"$share/{share}/{self._filter}"
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._arrived = threading.Condition()
        self._generation = 0
        self._stopping = threading.Event()
        self._full = threading.Event()
        self._poison = 0
        self._missing_since: dict[tuple[int, str, str], tuple[float, float]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._client = self._make_client()
        self._dispatcher = Dispatcher(lambda topic, payload: self._client.publish(topic, payload, qos=1))

    # MQTT ------------------------------------------------------------------------------------------------------------

    def _make_client(self) -> mqtt.Client:
        five = self._broker.protocol == 5
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._name,
            manual_ack=True,
            protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
            clean_session=None if five else False,
            reconnect_on_failure=True,
        )
        client.username = self._broker.username
        client.password = self._broker.password
        if self._broker.ca_file:
            client.tls_set_context(ssl.create_default_context(cafile=self._broker.ca_file))
        client.reconnect_delay_set(1, 15)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def _connect_broker(self) -> None:
        if self._broker.protocol == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 24 * 3600
            properties.ReceiveMaximum = 2000
            self._client.connect_async(
                self._broker.host, self._broker.port, keepalive=30, clean_start=False, properties=properties
            )
        else:
            self._client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        self._client.loop_start()

    def _on_pre_connect(self, _client: mqtt.Client, _userdata: Any) -> None:
        with self._arrived:
            self._generation += 1

    def _on_connect(self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.error("broker_refused", code=str(code), hint="check ANJU_BROKER_USERNAME and the broker's ACL")
            return
        client.subscribe(self._filter, qos=1)
        log.info("broker_connected", filter=self._filter)

    def _on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "unreadable"
        if message.retain:
            # A retained message is what was said at some time before, not something new.
            client.ack(message.mid, message.qos)
            return
        item = Message(
            topic=topic, payload=bytes(message.payload), generation=self._generation, mid=message.mid, qos=message.qos
        )
        with self._arrived:
            self._queue.append(item)
            self._queued_bytes += len(item.payload)
            full = len(self._queue) > self._limits.queue_messages or self._queued_bytes > self._limits.queue_bytes
            self._arrived.notify()
        if full and not self._full.is_set():
            self._full.set()
            log.warning("queue_full", messages=len(self._queue), hint="letting go of the broker until it is written")
            client.disconnect()

    # The loop --------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask `run` to return after the batch at hand."""
        self._stopping.set()
        with self._arrived:
            self._arrived.notify()

    def run(self) -> None:
        """Receive and write until `stop`.

        Raises: Poisoned.
        """
        self._connect_broker()
        try:
            while not self._stopping.is_set():
                try:
                    with connect(self._dsn, statement_s=60) as connection:
                        self._serve(connection)
                except Unavailable as error:
                    log.warning("database_away", error=str(error).strip()[:200])
                    self._stopping.wait(random.uniform(0.5, 2.0))  # noqa: S311 (jitter)
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def _serve(self, connection: Connection) -> None:
        placement = Placement(clock=time.monotonic)
        placement.refresh(connection)
        writer = Writer(placement, Partitions(connection))
        connection.commit()
        pending: list[Message] = []
        try:
            while not self._stopping.is_set():
                placement.refresh(connection)
                connection.commit()
                pending = self._take()
                if pending:
                    self._write(connection, writer, pending)
                    pending = []
                self._look_for_gaps(connection, writer)
                self._dispatcher.step(connection, time.monotonic())
        except Unavailable:
            with self._arrived:
                self._queue.extendleft(reversed(pending))
                self._queued_bytes = sum(len(m.payload) for m in self._queue)
            raise

    def _take(self) -> list[Message]:
        limits = self._limits
        with self._arrived:
            if not self._queue:
                self._arrived.wait(0.5)
            deadline = time.monotonic() + limits.batch_seconds
            while 0 < len(self._queue) < limits.batch_messages and not self._stopping.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._arrived.wait(left)
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), limits.batch_messages))]
            self._queued_bytes -= sum(len(m.payload) for m in taken)
            QUEUE.set(len(self._queue))
            emptied = not self._queue
        if emptied and self._full.is_set() and not taken:
            self._full.clear()
            self._client.loop_stop()
            self._connect_broker()
        return taken

    def _write(self, connection: Connection, writer: Writer, messages: list[Message], *, retried: bool = False) -> None:
        now_ms = to_ms(datetime.now(UTC))
        outcome: Outcome | None
        try:
            outcome = writer.write(connection, messages, now_ms)
            self._poison = 0
        except Unstorable:
            if not retried:
                # Another worker may have stored the same rows meanwhile, or retention dropped their month.
                self._write(connection, writer, messages, retried=True)
                return
            outcome = self._split(connection, writer, messages, now_ms)
        if outcome is not None:
            self._after_commit(outcome, messages)

    def _split(self, connection: Connection, writer: Writer, messages: list[Message], now_ms: int) -> Outcome | None:
        """Write halves, so that the one message that cannot be stored is found and set aside."""
        if len(messages) > 1:
            half = len(messages) // 2
            self._write(connection, writer, messages[:half])
            self._write(connection, writer, messages[half:])
            return None
        self._poison += 1
        log.error("unstorable", topic=messages[0].topic, in_a_row=self._poison)
        if self._poison >= self._limits.poison_in_a_row:
            raise Poisoned(f"{self._poison} messages in a row could not be stored; see `anju quarantine list`")
        why = Rejected(
            reason=Reason.UNSTORABLE, detail="the database refused it; its bytes are kept for replay after a fix"
        )
        return writer.write(connection, messages, now_ms, whole=why)

    def _after_commit(self, outcome: Outcome, messages: list[Message]) -> None:
        generation = self._generation
        for message in messages:
            if message.generation == generation and message.qos:
                self._client.ack(message.mid, message.qos)
        for estate, gateway, ack in outcome.acks:
            self._client.publish(wire.down_topic(estate, gateway, Down.ACK), msgspec.json.encode(ack), qos=1)
        for estate, gateway, at in outcome.states:
            told = wire.Time(v=wire.VERSION, at=to_ms(datetime.now(UTC)), echo=at)
            self._client.publish(wire.down_topic(estate, gateway, Down.TIME), msgspec.json.encode(told), qos=0)
        if outcome.to_watch:
            self._bus.publish(EVENTS_CHANNEL, str(outcome.to_watch))
        BATCHES.inc()
        for tally in outcome.tallies.values():
            ITEMS.labels("received").inc(tally.received)
            ITEMS.labels("stored").inc(tally.stored)
            ITEMS.labels("duplicate").inc(tally.duplicates)
            ITEMS.labels("quarantined").inc(tally.quarantined)
        for reason in outcome.reasons:
            REFUSED.labels(reason).inc()

    # Gaps ------------------------------------------------------------------------------------------------------------

    def _look_for_gaps(self, connection: Connection, writer: Writer) -> None:
        """Ask for numbers that have been missing for a while, and put them on record."""
        now = time.monotonic()
        for key, progress in writer.progress.items():
            if not progress.also:
                self._missing_since.pop(key, None)
                continue
            since, asked = self._missing_since.setdefault(key, (now, float("-inf")))
            if now - since < self._limits.gap_after_s or now - asked < self._limits.ask_again_s:
                continue
            missing = progress.missing()
            with connection.transaction():
                ingest_log.note_gaps(connection, key, missing)
            where = self._gateway_name(writer, key[0])
            if where is not None:
                ask = wire.Backfill(v=wire.VERSION, kind=key[1], boot=key[2], missing=missing)
                self._client.publish(wire.down_topic(*where, Down.BACKFILL), msgspec.json.encode(ask), qos=1)
                log.info("backfill_asked", gateway="/".join(where), kind=key[1], missing=len(missing))
            self._missing_since[key] = (since, now)

    def _gateway_name(self, writer: Writer, gateway_id: int) -> tuple[str, str] | None:
        if gateway_id not in self._names:
            self._names = {placed.id: key for key, placed in writer.placement.gateways.items()}
        return self._names.get(gateway_id)
