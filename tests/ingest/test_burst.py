"""The broker as we ship it, with TLS, log-ins and its ACL: ingest holds all its leases there, and a
burst of 60,000 loses nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anju.bench.publisher import GATEWAYS, Load, device_code, gateway_code, publish
from anju.doctor import CheckVerdict, examine
from anju.processes import free_port
from anju.register_files import import_rows
from anju.settings import Settings
from domain.broker import BrokerAddress
from ingest.worker import Worker
from store.database.connection import connect
from store.live.bus import LiveBus
from tests.ingest.test_worker import running, until
from tests.shipped import Shipped

pytestmark = pytest.mark.real
BURST = 60_000


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[tuple[BrokerAddress, int]]:
    """The shipped broker: ingest's own address, and a plain port for a burst without TLS."""
    plain = free_port()
    broker = Shipped(
        tmp_path,
        more=f"\nlistener {plain} 127.0.0.1\n",
        more_acl="topic write anju/v1/bench/+/up/readings\n",
        anonymous=True,
    )
    address = BrokerAddress(
        host="localhost",
        port=broker.ports[8885],
        username="ingest",
        password=broker.password("ingest_password"),
        ca_file=str(broker.secrets / "ca.crt"),
    )
    yield address, plain
    broker.child.stop()


def register(dsn: str) -> None:
    with connect(dsn) as connection:
        import_rows(
            connection,
            {
                "estates": [{"code": "bench", "name": "bench", "timezone": "Asia/Shanghai"}],
                "gateways": [{"estate": "bench", "code": gateway_code(n)} for n in range(GATEWAYS)],
                "devices": [
                    {
                        "estate": "bench",
                        "gateway": gateway_code(n // 500),
                        "code": device_code(n),
                        "kind": "electricity_meter",
                        "profile": "electricity-1p-100a",
                    }
                    for n in range(GATEWAYS * 500)
                ],
            },
        )


@pytest.mark.timeout(240)
def test_a_burst_of_sixty_thousand_loses_nothing(
    dsn: str,
    shipped: tuple[BrokerAddress, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without an outbox behind it: every message is sent once, by a device that would not send it
    again.
    """
    address, plain = shipped
    register(dsn)
    monkeypatch.setattr("anju.bench.publisher._report_progress", lambda _what: None)
    worker = Worker(dsn=dsn, broker=address, bus=LiveBus(None), name="w-burst", readings=2)
    with running(worker):
        took = publish(Load(port=plain, messages=BURST, window=BURST))
        with connect(dsn, autocommit=True) as connection:
            row = """
                SELECT
                    coalesce(sum(received), 0)::bigint AS n,
                    coalesce(sum(stored), 0)::bigint AS s
                FROM ingest_tallies
            """
            until(lambda: connection.execute(row).fetchone() == {"n": BURST, "s": BURST}, 90)
            assert connection.execute("SELECT count(*) AS n FROM readings").fetchone() == {
                "n": BURST
            }
            assert connection.execute("SELECT count(*) AS n FROM gaps").fetchone() == {"n": 0}
    with capsys.disabled():
        print(f"\n{BURST} messages sent in {took:.1f} s, every one stored")


@pytest.mark.timeout(120)
def test_the_same_while_nobody_reads(
    dsn: str, shipped: tuple[BrokerAddress, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The burst comes while ingest is away: the broker's queue holds it."""
    address, plain = shipped
    register(dsn)
    monkeypatch.setattr("anju.bench.publisher._report_progress", lambda _what: None)
    with running(Worker(dsn=dsn, broker=address, bus=LiveBus(None), name="w-first")):
        pass
    publish(Load(port=plain, messages=BURST, window=5000))
    with (
        running(Worker(dsn=dsn, broker=address, bus=LiveBus(None), name="w-second")),
        connect(dsn, autocommit=True) as connection,
    ):
        until(
            lambda: (
                connection.execute("SELECT count(*) AS n FROM readings").fetchone() == {"n": BURST}
            ),
            60,
        )


def test_the_doctor_finds_the_shipped_broker_fit(
    dsn: str, shipped: tuple[BrokerAddress, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = shipped
    monkeypatch.setattr(Settings, "broker", lambda _self: address)
    settings = Settings(dsn=dsn, ingest_readings=2)
    found = {check.what: check for check in examine(settings, 20_000)}
    assert found["broker"].verdict is CheckVerdict.FIT, found["broker"].message


def test_threads_end(shipped: tuple[BrokerAddress, int], dsn: str) -> None:
    """A worker that stopped leaves no lane behind."""
    address, _ = shipped
    with running(Worker(dsn=dsn, broker=address, bus=LiveBus(None), name="w-end")):
        assert any(thread.name.startswith("lane-") for thread in threading.enumerate())
    deadline = time.monotonic() + 5
    while (
        any(thread.name.startswith("lane-") for thread in threading.enumerate())
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert not any(thread.name.startswith("lane-") for thread in threading.enumerate())
