"""A broker on the estate as a source: a LoRaWAN server's uplinks, cameras that publish their
plates.

A message is acknowledged to that broker when what it said is on disk.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from gateway.config import Config
from gateway.config_tables import MqttTable
from gateway.pushes import PushOutcome, PushReceiver

log = structlog.get_logger()


class MqttSource:
    """One subscription. `run` serves until cancelled."""

    def __init__(self, table: MqttTable, config: Config, receiver: PushReceiver) -> None:
        self._table = table
        self._receiver = receiver
        self.fault: str | None = "not connected yet"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = threading.Event()
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"anju-{config.table.gateway}-{table.name}",
            manual_ack=True,
            clean_session=False,
        )
        if table.username:
            client.username_pw_set(table.username, config.secret(table.password_file))
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client

    async def run(self) -> None:
        """Serve until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(self._table.host, self._table.port, keepalive=30)
        self._client.loop_start()
        try:
            await asyncio.Event().wait()
        finally:
            self._closing.set()
            self._client.disconnect()
            await asyncio.to_thread(self._client.loop_stop)

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            self.fault = f"{self._table.host}:{self._table.port} refuses: {code}"
            return
        self.fault = None
        client.subscribe(self._table.topic, qos=1)

    def _on_disconnect(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        self.fault = f"{self._table.host}:{self._table.port} is away: {code}"

    def _on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        if self._loop is None or self._closing.is_set() or message.retain:
            client.ack(message.mid, message.qos)
            return
        future = asyncio.run_coroutine_threadsafe(
            self._receiver.receive("application/json", bytes(message.payload)), self._loop
        )
        mid = message.mid
        qos = message.qos

        def acknowledge(done: Future[PushOutcome]) -> None:
            if done.cancelled() or done.exception() is not None:
                return
            outcome = done.result()
            # A rejected message is counted and acknowledged: otherwise it would be sent for ever.
            if outcome.stored or outcome.rejected is not None:
                client.ack(mid, qos)

        future.add_done_callback(acknowledge)
