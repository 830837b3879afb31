"""Hostile HTTP: bent requests over real sockets to a real server.

Run `python -m tests.api.hostile --inputs 200000`. There must be no crash, no 5xx of ours, and flat
memory. Half of the requests are bytes that only look like HTTP. Half are requests for every route
of the document with what attackers put into paths, queries, headers and bodies, with and without a
session. Whatever comes, the next honest request is answered.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn

from analytics.policy import load_policy
from anju.demo import embedded
from anju.processes import answers, free_port
from api.app import SiteSettings, create_app
from api.schema import api_routes
from crypto.sealed_values import Scheme
from domain.access import Role
from privacy.keyring import KeyFile, save_keyring, with_new_key
from store.database.connection import connect, open_pool
from store.database.migration import Level, migrate
from store.live.bus import LiveBus
from tests.api.world import build, token

STRINGS = [
    "",
    "\x00",
    "' OR 1=1--",
    "'; SELECT pg_sleep(10);--",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "<script>window.__pwned=1</script>",
    "../../../etc/passwd",
    "%00",
    "\u202e\u0000",
    "＝cmd|calc",
    "9" * 400,
    "-1",
    "NaN",
    "1e309",
    "null",
    "true",
    "[]",
    "{}",
    "a" * 5000,
    "\ud7ff",
    "💥",
    "é\u0301" * 50,
    "canary-aa",
    "canary-aa-u0",
    "1120000",
    "0x10",
    "１２３",
    "\r\nX-Injected: 1",
    "2026-02-30",
    "2026-13-01T99:99:99Z",
    "0000-00-00",
    "acknowledge",
]
METHODS = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "BREW",
    "get",
]


def body(rng: random.Random) -> bytes:
    """A body: JSON of the wrong shape, JSON that is none, or anything."""
    kind = rng.randrange(7)
    if kind == 0:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
    if kind == 1:
        return b"[" * rng.choice([10, 1000, 50_000])
    if kind == 2:
        return json.dumps(
            {rng.choice(STRINGS[:20]): rng.choice(STRINGS) for _ in range(rng.randrange(6))}
        ).encode("utf-8", "surrogatepass")
    if kind == 3:
        return (
            b'{"estate": "canary-aa", "estate": NaN, "ids": [1e999, -0, 99999999999999999999999]}'
        )
    if kind == 4:
        return b'{"a":' * 300 + b"1" + b"}" * 300
    if kind == 5:
        return b"\xff\xfe" + "{}".encode("utf-16-le")
    names = [
        "note",
        "hours",
        "ids",
        "step",
        "where",
        "estate",
        "kind",
        "text",
        "fields",
        "purpose",
        "reference",
        "reason",
        "name",
        "role",
        "grant",
        "code",
        "password",
    ]
    values: list[Any] = [None, -1, 10**30, True, [], {}, [[]], "x", *STRINGS[:8]]
    return json.dumps(
        {name: rng.choice(values) for name in rng.sample(names, rng.randrange(1, 8))}
    ).encode()


def request(
    rng: random.Random, paths: list[tuple[str, list[str]]], tokens: list[str]
) -> tuple[bytes, bool]:
    """One request, bent somewhere, and whether it is one at all."""
    if rng.random() < 0.3:
        parts = [
            b"GET / HTTP/1.1\r\n",
            b"\r\n",
            b"\x16\x03\x01",
            b"Host: x\r\n",
            b"Content-Length: -5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"zz\r\n",
            bytes(rng.randrange(256) for _ in range(20)),
            b"A" * 70_000,
            b": \r\n",
        ]
        return b"".join(rng.choice(parts) for _ in range(rng.randrange(1, 6))), False
    path, methods = rng.choice(paths)
    while "{" in path:
        begin, _, rest = path.partition("{")
        path = (
            begin + quote(rng.choice(STRINGS), safe=rng.choice(["", "/"])) + rest.partition("}")[2]
        )
    if rng.random() < 0.5:
        names = [
            "estate",
            "after",
            "before",
            "limit",
            "lang",
            "point",
            "since",
            "until",
            "as_of",
            "fold",
            "x",
            "alert_class",
            "severity",
            "visits",
        ]
        path += "?" + "&".join(
            f"{rng.choice(names)}={quote(rng.choice(STRINGS))}" for _ in range(rng.randrange(1, 5))
        )
    method, data = rng.choice(METHODS if rng.random() < 0.15 else methods), body(rng)
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        f"Content-Length: {len(data)}",
    ]
    content_types = [
        "application/json",
        "text/plain",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "x",
    ]
    lines.append(f"Content-Type: {rng.choice(content_types)}")
    if rng.random() < 0.8:
        lines.append(f"Authorization: Bearer {rng.choice(tokens)}")
    for name in (
        "If-Match",
        "Idempotency-Key",
        "Last-Event-ID",
        "X-CSRF-Token",
        "Cookie",
        "Origin",
        "Range",
        "Expect",
    ):
        if rng.random() < 0.08:
            lines.append(
                f"{name}: "
                + rng.choice(STRINGS).replace("\r", "").replace("\n", "").replace("\x00", "")
            )
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + data, True


def send(port: int, data: bytes, *, whole: bool = True) -> int:
    """Send bytes and read the status of the answer; 0 where the server closed without one."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(data)
            if not whole:
                # What is no request would keep both sides waiting.
                line.shutdown(socket.SHUT_WR)
            head = line.recv(64)
    except OSError:
        return 0
    parts = head.split(b" ", 2)
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def main(inputs: int, seed: int) -> int:
    """Run; returns 1 where something was not as promised."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = embedded.start_postgres(home / "pg", options={"fsync": "off"})
        try:
            dsn = embedded.make_database(server, "hostile")
            migrate(dsn, level=Level.PLAIN)
            ring = with_new_key(None, Scheme.AES_256_GCM)
            save_keyring(home / "keys.toml", ring)
            with connect(dsn) as connection:
                build(connection, ring)
            pool, port = open_pool(dsn, size=8), free_port()
            app = create_app(
                pool,
                LiveBus(None),
                load_policy(),
                SiteSettings(keys=KeyFile(home / "keys.toml"), slack=10**9),
            )
            web = uvicorn.Server(
                uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical")
            )
            threading.Thread(target=web.run, daemon=True).start()
            while not answers(port):
                time.sleep(0.05)
            # Ends the session that asks, and never ends itself: both have tests of their own.
            paths = [
                (r.path_format, sorted(r.methods or ()))
                for r in api_routes(app)
                if r.operation_id not in ("streamAlerts", "logOut")
            ]
            tokens = [token(role, reach) for role in Role for reach in ("aa", "all")] + [
                "anju_nonsense",
                "x",
                "\u00e9",
            ]
            statuses: Counter[int] = Counter()
            early = 0
            for n in range(inputs):
                data, whole = request(rng, paths, tokens)
                status = send(port, data, whole=whole)
                statuses[status] += 1
                if status >= 500 and status not in (501, 503):
                    print(f"input {n}, seed {seed}: {status}")
                    return 1
                if n == inputs // 4:
                    early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            good = send(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early
            web.should_exit = True
            pool.close()
        finally:
            server.child.stop()
            embedded.remove_root_place(home / "pg")
    print(
        f"{inputs} hostile requests, seed {seed}: {dict(sorted(statuses.items()))}; "
        f"memory rose by {grown / 1024:.1f} MiB after the first quarter"
    )
    return 0 if good == 200 and grown < 64 * 1024 else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=20261121)
    asked = parser.parse_args()
    sys.exit(main(asked.inputs, asked.seed))
