"""A broker on the estate as a source: an uplink is acknowledged there when it is on disk here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from anju.demo.embedded import Broker
from gateway.pushes import PushReceiver
from gateway.sources import MqttSource
from tests.gateway.conftest import Bench, until

pytestmark = pytest.mark.real


def uplink(n: int) -> str:
    return json.dumps(
        {
            "deduplicationId": f"d{n}",
            "time": int(time.time() * 1000),
            "deviceInfo": {"devEui": "0101010101010101"},
            "object": {"volume_l": 1000 + n, "leak": n == 3},
            "rxInfo": [{"rssi": -80}],
        }
    )


def test_lorawan_uplinks(bench: Callable[[str], Bench], broker: Broker) -> None:
    made = bench(
        '[[mqtt]]\nname = "lora"\nkind = "chirpstack"\nhost = "127.0.0.1"\nport = '
        f"{broker.address.port}\n"
        'topic = "application/+/device/+/event/up"\ndevices = [{ device = "wm-9", profile '
        '= "lora-water", address = "0101010101010101" }]\n'
    )
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="chirpstack")
    publisher.connect("127.0.0.1", broker.address.port)
    publisher.loop_start()

    async def work() -> None:
        table = made.config.table.mqtt[0]
        source = MqttSource(
            table,
            made.config,
            PushReceiver(table, made.outbox_writer, made.intake, made.unknown_devices),
        )
        task = asyncio.ensure_future(source.run())
        await until(lambda: source.fault is None)
        await asyncio.sleep(0.3)
        for n in range(1, 5):
            publisher.publish("application/a/device/0101010101010101/event/up", uplink(n), qos=1)
        publisher.publish("application/a/device/0101010101010101/event/up", b"\x00 nonsense", qos=1)
        await until(lambda: len(made.items()) == 6)
        await until(lambda: len(made.unknown_devices._notes) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    made.run(work)
    publisher.loop_stop()
    publisher.disconnect()
    readings = [i["values"] for i in made.items() if "values" in i]
    assert readings == [
        {"water_m3": round((1000 + n) / 1000, 3), "rssi_dbm": -80.0} for n in range(1, 5)
    ]
    assert [(i["data"]["hazard"], i["data"]["state"]) for i in made.items() if "kind" in i] == [
        ("flood", "on"),
        ("flood", "off"),
    ]
