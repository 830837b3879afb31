from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind
from store.alerts.raising import NewAlert, raise_alert
from store.database.connection import Connection

#: Noon at the estate.
NOON = datetime(2026, 3, 4, 4, 0, tzinfo=UTC)


@dataclass
class Receiver:
    """A server on loopback that keeps what it was sent; `answer` says what it answers."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[int], tuple[int, bytes]] = lambda _n: (
        200,
        b'{"errcode": 0, "code": 0, "Code": "OK"}',
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, said = kept.answer(len(kept.got))
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}/in"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


def estate(connection: Connection) -> int:
    row = connection.execute(
        "INSERT INTO estates (code, name, timezone) "
        "VALUES ('es', 'es', 'Asia/Shanghai') RETURNING id"
    ).fetchone()
    connection.commit()
    assert row is not None
    return int(row["id"])


def raise_one(
    connection: Connection,
    estate_id: int,
    subject: int,
    alert_class: AlertClass = AlertClass.LIFE_SAFETY,
    severity: Severity = Severity.CRITICAL,
    at: datetime = NOON,
) -> int:
    """Raise an alert and set the time of its change to the simulated clock."""
    wanted = NewAlert(
        key=AlertKey(detector="hazard:smoke", subject_kind=SubjectKind.DEVICE, subject_id=subject),
        estate_id=estate_id,
        subject=f"smoke-{subject}",
        alert_class=alert_class,
        severity=severity,
        score=1.0,
        reasons=("smoke",),
        evidence={},
        policy_version="1",
        since_at=at,
    )
    alert_id = raise_alert(connection, wanted, actor="watch").id
    set_clock(connection, at)
    return alert_id


def set_clock(connection: Connection, at: datetime) -> None:
    connection.execute(
        "UPDATE alert_changes SET at = %s WHERE seq IN (SELECT seq FROM notice_queue)", [at]
    )
    connection.commit()
