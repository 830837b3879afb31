"""A gateway's credential in other hands: what it can still do, for how long, and who is told.

That it can neither publish as another nor read another's is held against a real mosquitto with
certificates in `tests/gateway/test_enrolment.py`. Here: replays change nothing, a forged double is
refused, a back-dated event is marked and never shown as now, two holders are told apart from a
restart, and a revocation shuts the thief out of ingest although its session stays open.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from analytics import watch
from analytics.policy import load_policy
from anju.demo.embedded import Broker
from domain.wire import Birth, State
from ingest.worker import Worker
from store.database.connection import Connection, connect
from store.gateways import identities
from store.ingest import log
from store.live.bus import LiveBus
from tests.ingest.test_worker import running, until

pytestmark = pytest.mark.real


def alerts(dsn: str, detector: str) -> list[dict[str, Any]]:
    with connect(dsn) as connection:
        return connection.execute(
            "SELECT condition, reasons, ended_at, evidence FROM alerts WHERE detector = %s ORDER "
            "BY id",
            [detector],
        ).fetchall()


def count(dsn: str, what: str) -> int:
    with connect(dsn) as connection:
        row = connection.execute(what).fetchone()
    assert row is not None
    return int(row["n"])


class Thief:
    """Whoever speaks on a gateway's topics; here the broker lets everybody in."""

    def __init__(self, broker: Broker, boot: str) -> None:
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"thief-{boot}")
        self.client.connect(broker.address.host, broker.address.port)
        self.client.loop_start()
        self.boot, self.seq = boot, 0

    def event(self, ident: str, at: int, state: str = "on", device: str = "smoke-1") -> None:
        self.seq += 1
        items = [
            {
                "device": device,
                "at": at,
                "id": ident,
                "kind": "hazard",
                "data": {"hazard": "smoke", "state": state},
            }
        ]
        self.raw(
            {
                "v": 1,
                "boot": self.boot,
                "seq": self.seq,
                "sent_at": int(time.time() * 1000),
                "items": items,
            }
        )

    def raw(self, body: Any) -> None:
        self.client.publish("anju/v1/es/gw/up/events", json.dumps(body), qos=1).wait_for_publish(5)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_replayed_forged_and_back_dated(registered: str, broker: Broker) -> None:
    now = int(time.time() * 1000)
    with running(
        Worker(dsn=registered, broker=broker.address, bus=LiveBus(None), name="w-s", group="g-s")
    ):
        thief = Thief(broker, "b001")
        thief.event("1", now)
        until(lambda: count(registered, "SELECT count(*) AS n FROM events") == 1)
        # The very bytes again, in a new message, fifty times: duplicates, counted.
        for _ in range(50):
            thief.event("1", now)
        # The same identity with another content: refused and kept for a person.
        thief.event("1", now, state="off")
        # An event of three days ago, told as if it had waited: kept with when it came, and nobody
        # is called.
        thief.event("2", now - 3 * 86_400_000)
        thief.event("3", now + 3_600_000)
        thief.event("4", now, device="wm-2")
        until(lambda: count(registered, "SELECT count(*) AS n FROM quarantine") >= 3)
        until(lambda: count(registered, "SELECT count(*) AS n FROM events") == 2)
        thief.close()
    with connect(registered) as connection:
        reasons = sorted(r["reason"] for r in connection.execute("SELECT reason FROM quarantine"))
        tallies = log.read_tallies(connection)
        late = connection.execute(
            "SELECT recorded_at - at AS late FROM events WHERE event_id = '2'"
        ).fetchone()
    assert reasons == ["clock_ahead", "conflict", "foreign_device"]
    assert (
        all(tally.balanced for tally in tallies.values())
        and sum(t.duplicates for t in tallies.values()) == 50
    )
    assert late is not None and late["late"] > timedelta(days=2, hours=23)
    with connect(registered, autocommit=True) as connection:
        while watch.step(connection, load_policy(), datetime.now(UTC), urgent=True):
            pass
    told = alerts(registered, "hazard:smoke")
    assert len(told) == 1, "the one of now; the one of three days ago calls nobody"


def test_many_refusals_are_told(registered: str, broker: Broker) -> None:
    now = int(time.time() * 1000)
    with running(
        Worker(dsn=registered, broker=broker.address, bus=LiveBus(None), name="w-r", group="g-r")
    ):
        thief = Thief(broker, "b001")
        with connect(registered) as connection:
            say(connection, "b001", now)
        for n in range(25):
            thief.event(f"x{n}", now, device=f"nobody-{n}")
        until(lambda: count(registered, "SELECT count(*) AS n FROM quarantine") == 25)
        thief.close()
    with connect(registered, autocommit=True) as connection:
        assert watch.check_gateways(connection, load_policy(), datetime.now(UTC)) == 1
        told = alerts(registered, "gateway_suspect")
        assert told[0]["reasons"] == ["many_refused"] and told[0]["evidence"]["refused"] == 25
        # An hour later nothing of it is new, and it returns.
        watch.check_gateways(connection, load_policy(), datetime.now(UTC) + timedelta(hours=1))
        assert alerts(registered, "gateway_suspect")[0]["condition"] == "returned"


def say(
    connection: Connection, boot: str, at: int, *, birth: bool = True, online: bool = True
) -> None:
    row = connection.execute(
        "SELECT g.id FROM gateways g JOIN estates e ON e.id = g.estate_id WHERE g.code = 'gw' "
        "AND e.code = 'es'"
    ).fetchone()
    assert row is not None
    if birth:
        log.save_birth(connection, row["id"], Birth(v=1, boot=boot, at=at, devices=[]))
    log.save_state(connection, row["id"], State(v=1, boot=boot, online=online, at=at))
    connection.commit()


def test_two_holders_are_told_apart_from_a_restart(registered: str) -> None:
    now = int(time.time() * 1000)
    check = lambda c: watch.check_gateways(c, load_policy(), datetime.now(UTC))  # noqa: E731
    with connect(registered) as connection:
        # Restarts, a last will that comes late, and the same start speaking again: all honest.
        say(connection, "b001", now - 60_000)
        say(connection, "b002", now - 50_000)
        say(connection, "b001", now - 55_000, birth=False, online=False)
        say(connection, "b002", now - 40_000, birth=False)
        say(connection, "b003", now - 30_000)
        connection.autocommit = True
        check(connection)
        assert alerts(registered, "gateway_suspect") == []
        # Somebody else began after the gateway did, and the gateway speaks again.
        connection.autocommit = False
        say(connection, "t666", now - 20_000)
        say(connection, "b003", now - 10_000, birth=False)
        connection.autocommit = True
        check(connection)
        assert alerts(registered, "gateway_suspect")[0]["reasons"] == ["two_holders"]


def test_a_revoked_credential_is_shut_out_within_seconds_and_told(
    registered: str, broker: Broker
) -> None:
    now = int(time.time() * 1000)
    with connect(registered) as connection:
        found = identities.find_gateway(connection, "es", "gw")
        assert found is not None
        identities.add_certificate(
            connection, found.id, "aa01", valid_to=datetime.now(UTC) + timedelta(days=300)
        )
        say(connection, "b001", now)
    with running(
        Worker(dsn=registered, broker=broker.address, bus=LiveBus(None), name="w-v", group="g-v")
    ):
        thief = Thief(broker, "b001")
        thief.event("before", now)
        until(lambda: count(registered, "SELECT count(*) AS n FROM events") == 1)
        with connect(registered) as connection:
            assert identities.revoke(connection, found.id, "stolen") == 1
        revoked = time.monotonic()
        n = 0
        while (
            count(
                registered, "SELECT count(*) AS n FROM quarantine WHERE reason = 'unknown_gateway'"
            )
            == 0
        ):
            n += 1
            thief.event(f"after-{n}", now)
            time.sleep(0.1)
            assert time.monotonic() - revoked < 60
        took = time.monotonic() - revoked
        stored = count(registered, "SELECT count(*) AS n FROM events")
        for i in range(10):
            thief.event(f"later-{i}", now)
        until(
            lambda: (
                count(
                    registered,
                    "SELECT count(*) AS n FROM quarantine WHERE reason = 'unknown_gateway'",
                )
                >= 11
            )
        )
        assert count(registered, "SELECT count(*) AS n FROM events") == stored
        thief.close()
    print(f"shut out {took:.1f} s after the revocation")
    with connect(registered, autocommit=True) as connection:
        watch.check_gateways(connection, load_policy(), datetime.now(UTC))
        assert alerts(registered, "gateway_suspect")[0]["reasons"] == ["revoked_in_use"]
        # A new certificate lets the gateway in again, without anybody's restart.
        identities.add_certificate(
            connection, found.id, "aa02", valid_to=datetime.now(UTC) + timedelta(days=300)
        )
