"""A million payloads that no honest gateway sends: `python -m tests.ingest.hostile --inputs
1000000`, part of `make fuzz`.

They come through a real broker to a real worker process, mixed with good ones, and at the end: the
worker is alive and no larger, every one is stored or in quarantine with its reason, and every good
one is stored.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from anju.bench.ingest import start_workers
from anju.bench.publisher import join, packet
from anju.demo import embedded
from anju.processes import Child
from store.database.connection import connect
from store.database.migration import Level, migrate
from store.ingest import log
from tests.conftest import SEED
from tests.ingest.conftest import register


@cache
def now_ms() -> int:
    """Return the instant at which the run began, ms UTC."""
    return int(time.time() * 1000)


def good(n: int) -> tuple[str, bytes]:
    body = {
        "v": 1,
        "items": [
            {
                "device": "wm-2",
                "at": now_ms() - 60_000_000 + n,
                "values": {"water_m3": float(n % 1000)},
            }
        ],
    }
    return "anju/v1/es/gw-2/up/readings", json.dumps(body).encode()


def bad(dice: random.Random, n: int) -> tuple[str, bytes]:
    """Make one hostile message; `n` makes it differ from every other."""
    topic = f"anju/v1/es/gw/up/{dice.choice(('readings', 'readings', 'events', 'state', 'birth'))}"
    item = {"device": "wm-1", "at": now_ms() - n, "values": {"water_m3": 1.0}}
    text = json.dumps({"v": 1, "boot": "b1", "seq": n + 1, "items": [item]})
    kinds = (
        lambda: text[: dice.randrange(1, len(text))].encode(),
        lambda: b'{"v":1,"n":%d,"items":' % n + b"[" * dice.choice((50, 2000, 50_000)),
        lambda: (
            b'{"v":1,"items":[{"device":"wm-1","at":%d,"values":{"water_m3":%s}}]}'
            % (now_ms() - n, b"9" * dice.choice((20, 400, 5000)))
        ),
        lambda: (
            b'{"v":1,"items":[{"device":"wm-1","at":%d,"values":{"water_m3":%s}}]}'
            % (
                now_ms() - n,
                dice.choice(
                    (
                        b"NaN",
                        b"Infinity",
                        b"-1e999",
                        b"1e999",
                        b"null",
                        b'"x"',
                        b"true",
                        b"[]",
                        b"{}",
                    )
                ),
            )
        ),
        lambda: (
            b'{"v":1,"items":[{"device":"wm-1","at":%s,"values":{"water_m3":%d}}]}'
            % (
                dice.choice(
                    (b"1", b"-5", b"9e99", b'"now"', b"99999999999999999999", b"1.5", b"null")
                ),
                n,
            )
        ),
        lambda: json.dumps(
            {"v": dice.choice((0, 2, "1", None, 1.5, [])), "n": n, "items": []}
        ).encode(),
        lambda: b'{"v":1,"boot":"' + dice.randbytes(8) + b'","seq":%d,"items":[]}' % n,
        lambda: json.dumps(
            {"v": 1, "boot": "b1", "seq": dice.choice((0, -n - 1, 2**60 + n)), "items": []}
        ).encode(),
        lambda: dice.randbytes(dice.randrange(0, 200)) + b"%d" % n,
        lambda: json.dumps(
            {"v": 1, "items": [{"device": "wm-1\u0000", "at": now_ms(), "values": {"n": n}}]}
        ).encode(),
        lambda: (
            json.dumps({"v": 1, "items": [item] * 5001, "n": n}).encode()
            if dice.random() < 0.002
            else b"\xff\xfe%d" % n
        ),
        lambda: (
            b'{"v":1,"x":"' + b"a" * (2_000_000 if dice.random() < 0.002 else 300) + b'%d"}' % n
        ),
        lambda: json.dumps(
            {
                "v": 1,
                "items": [
                    {
                        "device": "smoke-1",
                        "at": now_ms(),
                        "id": f"x{n}",
                        "kind": "hazard",
                        "data": {"hazard": "smoke", "state": "\u0000"},
                    }
                ],
            }
        ).encode(),
        lambda: json.dumps(
            {
                "v": 1,
                "items": [
                    {"device": f"ghost-{n % 5000}", "at": now_ms() - n, "values": {"water_m3": 1}}
                ],
            }
        ).encode(),
        lambda: json.dumps(
            {"v": 1, "n": n, "sent_at": dice.choice((0, -1, 2**62)), "items": [item]}
        ).encode(),
        lambda: json.dumps(
            {
                "v": 1,
                "n": n,
                "online": True,
                "at": now_ms(),
                "boot": "b1",
                "clock_offset_ms": 2**40,
                "outbox": -(2**50),
                "lost": 2**60,
            }
        ).encode(),
        lambda: json.dumps(
            {
                "v": 1,
                "n": n,
                "at": now_ms(),
                "boot": f"b{n}",
                "devices": [{"device": "wm-1", "profile": "\u0000"}],
            }
        ).encode(),
        lambda: (
            b'{"v":1,"items":[{"device":"smoke-1","at":%d,"id":"y%d","kind":"hazard","data":{"hazard":"smoke","state":"on","n":%s}}]}'
            % (now_ms(), n, b"9" * dice.choice((30, 4000, 6000)))
        ),
    )
    if dice.random() < 0.05:
        gateway = dice.choice(("gw", "x" * 60, "GW", "far", f"gw-{n % 300}"))
        kind = dice.choice(("readings", "events"))
        return f"anju/v1/other/{gateway}/up/{kind}", b'{"v":1,"n":%d,"items":[]}' % n
    return topic, dice.choice(kinds)()


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


class Sender:
    """Sends QoS 1 packets, and comes back where the broker throws us out for a large one."""

    def __init__(self, port: int) -> None:
        self.port, self.mid, self.thrown_out = port, 0, 0
        self.line = join(port, "hostile")
        self.open = 0

    def send(self, topic: str, payload: bytes) -> bool:
        """Send and, now and then, wait for answers; False where the broker refused it by closing
        the connection.
        """
        self.mid = self.mid % 65535 + 1
        try:
            self.line.sendall(packet(topic, payload, self.mid))
            self.open += 1
            if len(payload) > 900_000 or self.open >= 2000:
                while self.open > 0:
                    answer = self.line.recv(65536)
                    if not answer:
                        raise ConnectionResetError
                    self.open -= len(answer) // 4
        except OSError:
            self.thrown_out += 1
            self.line.close()
            self.line, self.open = join(self.port, "hostile"), 0
            return False
        return True


def play(inputs: int, seed: int) -> dict[str, object]:
    """Send everything, wait until it is accounted for, and compare the tables with it."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        postgres, broker = (
            embedded.start_postgres(home / "pg", options={"fsync": "off"}),
            embedded.start_broker(home / "mq"),
        )
        children: list[Child] = []
        try:
            dsn = embedded.make_database(postgres, "hostile")
            migrate(dsn, level=Level.PLAIN)
            with connect(dsn) as connection:
                register(connection)
            children, _ = start_workers(dsn, broker, home, 1, "auto")
            (child,) = children
            sender, sizes, fair, distinct = (
                Sender(broker.address.port),
                [],
                0,
                set[tuple[str, bytes]](),
            )
            for n in range(inputs):
                honest = n % 20 == 0
                topic, payload = good(n) if honest else bad(dice, n)
                if sender.send(topic, payload):
                    fair += honest
                    if not honest:
                        distinct.add((topic, payload[:64] + payload[-64:]))
                if n % (inputs // 10) == inputs // 10 - 1:
                    child.check()
                    sizes.append(round(rss_mb(child.process.pid)))
            deadline, last = time.monotonic() + 600, (-1, time.monotonic())
            with connect(dsn, autocommit=True) as connection:
                while True:
                    child.check()
                    tallies = log.read_tallies(connection)
                    received = sum(tally.received for tally in tallies.values())
                    if received != last[0]:
                        last = (received, time.monotonic())
                    if time.monotonic() - last[1] > 5 or time.monotonic() > deadline:
                        break
                    time.sleep(0.3)
                stored = connection.execute(
                    "SELECT count(*) AS n FROM readings r JOIN points p ON p.id = r.point_id "
                    "JOIN devices d ON d.id = p.device_id WHERE d.code = 'wm-2'"
                ).fetchone()
                reasons = {
                    row["reason"]: row["n"]
                    for row in connection.execute(
                        "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason"
                    )
                }
                kept = sum(reasons.values())
            sizes.append(round(rss_mb(child.process.pid)))
            child.check()
            assert stored == {"n": fair}, f"{stored} of {fair} good ones are stored"
            assert all(tally.balanced for tally in tallies.values())
            assert kept == sum(tally.quarantined for tally in tallies.values())
            assert max(sizes[1:]) < sizes[0] + 120, f"memory grew: {sizes} MB"
            assert len(reasons) >= 8, reasons
            said = dict(sorted(reasons.items()))
            return {
                "inputs": inputs,
                "good": fair,
                "received": received,
                "quarantined": kept,
                "refused by the broker": sender.thrown_out,
                "MB": sizes,
                "reasons": said,
            }
        finally:
            for one in (*children, broker.child, postgres.child):
                one.stop()
            embedded.remove_root_place(home / "pg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    began = time.monotonic()
    print(
        json.dumps(play(given.inputs, given.seed)),
        f"seed {given.seed}, {time.monotonic() - began:.0f} s",
    )


if __name__ == "__main__":
    main()
    sys.exit(0)
