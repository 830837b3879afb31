"""The embedded servers and what wires them.

They start, they end with us, and the fallbacks carry the product too.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from anju import register_files, services, simulate
from anju.demo import amqtt_broker, embedded, fake_redis
from anju.demo.embedded import Postgres
from anju.processes import Child, ChildFailed, answers, free_port, port_free, start, wait_for
from anju.register_files import BadRegister, as_input, read_directory
from anju.replay import run_replay
from domain.wire import ReadingItem
from gateway.outbox import Outbox
from gateway.uplink import Uplink
from ingest.worker import Worker
from store.database.connection import connect
from store.ingest import log
from store.live.bus import LiveBus
from tests.ingest.conftest import register
from tests.ingest.test_worker import running

pytestmark = pytest.mark.real


def test_amqtt_and_fakeredis_carry_the_product_where_nothing_is_installed(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "find_program", lambda _name: None)
    broker, redis = embedded.start_broker(tmp_path), embedded.start_redis(tmp_path)
    try:
        assert (broker.kind, redis.kind, broker.address.protocol) == ("amqtt", "fakeredis", 311)
        with connect(dsn) as connection:
            register(connection)
        bus = LiveBus(redis.url)
        assert bus.up
        with (
            running(Worker(dsn=dsn, broker=broker.address, bus=bus, name="w-e")),
            Uplink(broker.address, "es", "gw", Outbox(None, "boot-a")) as uplink,
        ):
            uplink.wait_connected()
            time.sleep(1)
            now = int(time.time() * 1000)
            for i in range(30):
                uplink.send_readings(
                    [ReadingItem(device="wm-1", at=now - i, values={"water_m3": 1.0})]
                )
            uplink.drain(60)
        with connect(dsn) as connection:
            assert log.read_tallies(connection)["es/gw", "readings"].stored == 30
    finally:
        broker.child.stop()
        redis.child.stop()
    assert amqtt_broker.__doc__ and fake_redis.__doc__


def test_a_child_that_fails_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = start("loud", ["sh", "-c", "echo broken pipe dream; exit 3"], tmp_path / "log")
    with pytest.raises(ChildFailed, match=r"loud ended with code 3(.|\n)*broken pipe dream"):
        wait_for(lambda: False, child)
    sleeper = start("sleeper", ["sleep", "60"], tmp_path / "log2")
    with pytest.raises(ChildFailed, match="did not answer"):
        wait_for(lambda: False, sleeper, timeout_s=0.2)
    sleeper.stop()
    assert sleeper.process.returncode is not None and isinstance(sleeper, Child)
    port = free_port()
    assert port_free(port) and not answers(port)


def test_a_second_start_finds_its_data(tmp_path: Path) -> None:
    first = embedded.start_postgres(tmp_path)
    dsn = embedded.make_database(first, "kept")
    with connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
        connection.commit()
    first.child.kill()
    again = embedded.start_postgres(tmp_path)
    with connect(again.dsn("kept")) as connection:
        assert connection.execute("SELECT x FROM kept").fetchone() == {"x": 1}
    again.child.stop()
    embedded.remove_root_place(tmp_path)


def test_an_ordinary_user_starts_it_too_and_with_a_relative_path(tmp_path: Path) -> None:
    """Most newcomers are not root. Run as one, where the tests themselves run as root."""
    import os
    import shutil
    import subprocess
    import sys
    import tempfile

    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    script = (
        "from pathlib import Path\n"
        "from anju.demo import embedded\n"
        "from store.database.connection import accepts\n"
        "server = embedded.start_postgres(Path('demo'))\n"
        "assert accepts(server.dsn('postgres'))\n"
        "server.child.stop()\n"
        "print('fine')"
    )
    user = 65534 if os.geteuid() == 0 else None
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    def run(python: str, code: str) -> subprocess.CompletedProcess[str] | None:
        try:
            return subprocess.run(
                [python, "-c", code],
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                cwd=place,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                env=environment,
            )
        except OSError:
            return None

    try:
        if user is not None:
            os.chown(place, user, user)
        # Root's own interpreter may be out of reach. Debian's serves where it is of the same
        # version.
        pythons = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"]
        able = [
            p
            for p in pythons
            if (done := run(p, "import anju, psycopg")) is not None and done.returncode == 0
        ]
        if not able:
            pytest.skip("another user reaches neither this checkout nor a Python for it")
        done = run(able[0], script)
        assert done is not None and done.stdout.strip() == "fine", done and done.stderr
    finally:
        shutil.rmtree(place)


def test_register_files_in_either_encoding_and_with_other_headings(tmp_path: Path) -> None:
    (tmp_path / "units.csv").write_bytes("房号,楼层\nb1-101,1\n".encode("gb18030"))
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        '[units.columns]\n"房号" = "code"\n"楼层" = "floor"\n[units.constants]\nestate = "es"\n',
        "utf-8",
    )
    sheet = read_directory(tmp_path, mapping)["units"]
    assert sheet.headings == ["estate", "code", "floor"] and list(sheet.rows) == [
        (2, {"estate": "es", "code": "b1-101", "floor": "1"})
    ]
    (tmp_path / "unit.csv").write_text("code\n", "utf-8")
    with pytest.raises(BadRegister, match="unknown file"):
        read_directory(tmp_path, None)
    (tmp_path / "unit.csv").unlink()
    mapping.write_text("[rooms]\n", "utf-8")
    with pytest.raises(BadRegister, match="is no sheet"):
        read_directory(tmp_path, mapping)
    assert register_files.MAX_BYTES and as_input("units", []).headings == []


def test_wiring(postgres: Postgres) -> None:
    bounds = services.meter_bounds()
    assert bounds["water-dn15", "water_m3"].max_rate == 3.125
    assert callable(run_replay) and simulate.MESSAGE_ITEMS > 0 and postgres.port
