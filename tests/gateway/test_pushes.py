"""The push server: an answer means that it is on disk.

Strangers, wrong secrets and nonsense are told apart.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from anju.processes import free_port
from devices.messages import ReceivedEvent
from devices.pushes import hikvision
from devices.pushes.body import MAX_BODY
from gateway.group_commit import WriteRefused
from gateway.pushes import PushReceiver, PushServer
from simulators.field.senders import DeviceSender
from tests.gateway.conftest import Bench, until

TOKEN = "a-token-of-sixteen-characters"


def sources(port: int) -> str:
    return f"""
[push]
port = {port}
[[push.sources]]
name = "doors"
kind = "hikvision"
token_file = "secret"
[[push.sources.devices]]
device = "door-1"
profile = "door-terminal"
address = "02:00:00:00:00:0A"
readers = {{ 1 = "in", 2 = "out" }}
[[push.sources]]
name = "nb"
kind = "ctwing"
token_file = "secret"
platform = true
devices = [
  {{ device = "nb-1", profile = "nb-smoke", address = "860000000000001" }},
  {{ device = "nb-2", profile = "nb-water", address = "860000000000002" }},
]
[[push.sources]]
name = "viid"
kind = "gat1400"
token_file = "secret"
devices = [{{ device = "cam-1", profile = "camera", address = "*" }}]
"""


def serve(
    make: Callable[[str], Bench], script: Callable[[Bench, str, httpx2.AsyncClient], Any]
) -> Bench:
    port = free_port()
    bench = make(sources(port))

    async def go() -> None:
        receivers = {
            s.name: PushReceiver(s, bench.outbox_writer, bench.intake, bench.unknown_devices)
            for s in bench.config.sources()
        }
        server = PushServer(bench.config, receivers)
        tasks = [
            asyncio.ensure_future(bench.outbox_writer.run()),
            asyncio.ensure_future(server.run()),
        ]
        url = f"http://127.0.0.1:{port}"
        try:
            async with httpx2.AsyncClient(timeout=10) as client:
                for _ in range(200):
                    try:
                        await client.get(f"{url}/healthz")
                        break
                    except httpx2.HTTPError:
                        await asyncio.sleep(0.02)
                await asyncio.wait_for(script(bench, url, client), 20)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(go())
    return bench


def passage(
    number: int, *, reader: int = 1, mac: str = "02:00:00:00:00:0a", time_of_it: str | None = None
) -> bytes:
    at = time_of_it or time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    event = {
        "majorEventType": 5,
        "subEventType": 75,
        "serialNo": number,
        "employeeNoString": "E-7",
        "name": "张三",
        "cardReaderNo": reader,
    }
    return json.dumps(
        {
            "macAddress": mac,
            "dateTime": at,
            "eventType": "AccessControllerEvent",
            "AccessControllerEvent": event,
        }
    ).encode()


def test_a_passage_is_kept_before_it_is_answered(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        answer = await client.post(f"{url}/push/doors/{TOKEN}", content=passage(1, reader=2))
        assert answer.status_code == 200
        (item,) = made.items()
        assert (item["device"], item["kind"], item["data"]["direction"]) == (
            "door-1",
            "passage",
            "out",
        )
        assert (
            item["data"]["person"].startswith("p-")
            and "张三" not in repr(item)
            and "E-7" not in repr(item)
        )
        again = await client.post(
            f"{url}/push/doors/{TOKEN}", content=passage(1, reader=2, time_of_it=None)
        )
        assert again.status_code == 200

    serve(bench, script)


def test_who_has_no_secret_is_nobody(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        for path in (
            "/push/doors/wrong",
            "/push/nobody/" + TOKEN,
            "/push/doors/",
            "/push/doors/" + TOKEN + "x",
        ):
            assert (await client.post(url + path, content=passage(1))).status_code in (404, 405)
        assert made.items() == []

    serve(bench, script)


def test_a_terminal_that_is_not_configured_keeps_its_event(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        answer = await client.post(
            f"{url}/push/doors/{TOKEN}", content=passage(1, mac="02:00:00:00:00:ff")
        )
        assert answer.status_code == 503 and "02:00:00:00:00:ff" in answer.text

    made = serve(bench, script)
    assert "is not configured" in next(iter(made.unknown_devices._notes))


def test_a_platform_is_not_refused_for_one_device_of_many(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        body = {
            "messageType": "dataReport",
            "IMEI": "869999999999999",
            "timestamp": int(time.time() * 1000),
            "payload": {"serviceData": {"Alarm_Status": 1}},
        }
        assert (await client.post(f"{url}/push/nb/{TOKEN}", json=body)).status_code == 200

    made = serve(bench, script)
    assert made.items() == [] and len(made.unknown_devices._notes) == 1


def test_an_alarm_map_tells_beginning_and_end_once(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        for n, status in enumerate([0, 1, 1, 0, 6]):
            body = {
                "messageType": "dataReport",
                "IMEI": "860000000000001",
                "timestamp": int(time.time() * 1000) + n,
                "payload": {
                    "serviceData": {"Alarm_Status": status, "Battery_Level": 80, "RSRP": -96}
                },
            }
            assert (await client.post(f"{url}/push/nb/{TOKEN}", json=body)).status_code == 200

    made = serve(bench, script)
    events = [
        (i["data"].get("hazard") or i["data"]["condition"], i["data"]["state"])
        for i in made.items()
        if "kind" in i
    ]
    assert events == [("smoke", "on"), ("smoke", "off"), ("tamper", "on")]
    assert [i["values"] for i in made.items() if "values" in i] == [
        {"battery_pct": 80.0, "rssi_dbm": -96.0}
    ] * 5


def test_nonsense_is_refused_and_what_is_not_understood_is_not_sent_for_ever(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        address = f"{url}/push/doors/{TOKEN}"
        assert (await client.post(address, content=b"\x00\xff nonsense")).status_code == 400
        other = json.loads(passage(2))
        other["AccessControllerEvent"]["subEventType"] = 4711
        assert (await client.post(address, json=other)).status_code == 200
        assert (await client.post(address, content=b"x" * (MAX_BODY + 1))).status_code == 413
        assert (await client.post(address, content=passage(3))).status_code == 200

    made = serve(bench, script)
    assert len(made.items()) == 1 and len(made.unknown_devices._notes) == 2


def test_a_full_disk_is_not_answered_as_taken(
    bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        async def full(*_: Any) -> None:
            raise WriteRefused("database or disk is full")

        monkeypatch.setattr(made.outbox_writer, "put", full)
        assert (
            await client.post(f"{url}/push/doors/{TOKEN}", content=passage(1))
        ).status_code == 503

    serve(bench, script)


def test_clocks_of_terminals(bench: Callable[[str], Bench]) -> None:
    """What a terminal kept while it was cut off keeps its time.

    A time that cannot be true is set beside the gateway's.
    """

    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        address = f"{url}/push/doors/{TOKEN}"
        for n, told in enumerate(
            ("2026-11-01T08:00:00+08:00", "2037-01-01T08:00:00+08:00", "1970-01-01T08:00:00+08:00"),
            1,
        ):
            assert (
                await client.post(address, content=passage(n, time_of_it=told))
            ).status_code == 200

    old, ahead, never = serve(bench, script).items()
    now = time.time() * 1000
    assert old["at"] == 1793491200000 and "device_at" not in old["data"]
    assert abs(ahead["at"] - now) < 10_000 and ahead["data"]["device_at"] == 2114380800000
    assert abs(never["at"] - now) < 10_000


def test_a_sender_that_did_not_hear_the_answer_sends_again_and_is_known(
    bench: Callable[[str], Bench],
) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        sender = DeviceSender(kind="hikvision", url=f"{url}/push/doors/{TOKEN}", doubles=2)
        for n in range(5):
            moment = f"2026-11-20T08:00:0{n}+08:00"
            sender.queue(
                ReceivedEvent(
                    native="02:00:00:00:00:0a",
                    at=None,
                    id=f"s-{n}-5-75-{moment}",
                    kind="passage",
                    data={"person": "p-00001"},
                )
            )
        task = asyncio.ensure_future(sender.run())
        await until(lambda: sender.taken == 5)
        task.cancel()

    assert len(serve(bench, script).items()) == 5
    assert hikvision.event_codes({"method": "face", "outcome": "granted"}) == (5, 75)
    with pytest.raises(ValueError):
        hikvision.event_codes({"method": "gait", "outcome": "granted"})


def test_video_image_library_logs_in_by_digest(bench: Callable[[str], Bench]) -> None:
    async def script(made: Bench, url: str, client: httpx2.AsyncClient) -> None:
        face = {
            "FaceListObject": {
                "FaceObject": [
                    {
                        "FaceID": "f1",
                        "DeviceID": "43010000001190000001",
                        "ShotTime": "20261120083015",
                    }
                ]
            }
        }
        assert (await client.post(f"{url}/VIID/Faces", json=face)).status_code == 401
        wrong = httpx2.DigestAuth("viid", "not the token")
        assert (await client.post(f"{url}/VIID/Faces", json=face, auth=wrong)).status_code == 401
        right = httpx2.DigestAuth("viid", TOKEN)
        registered = await client.post(
            f"{url}/VIID/System/Register", json={"RegisterObject": {"DeviceID": "4301"}}, auth=right
        )
        assert registered.status_code == 200 and "ResponseStatusListObject" in registered.text
        assert (await client.post(f"{url}/VIID/Faces", json=face, auth=right)).status_code == 200
        # Another source's secret opens nothing here.
        assert (
            await client.post(
                f"{url}/VIID/Faces", json=face, auth=httpx2.DigestAuth("doors", TOKEN)
            )
        ).status_code == 401

    (item,) = serve(bench, script).items()
    assert item["device"] == "cam-1" and item["data"]["outcome"] == "unknown"
