"""`anju quarantine`.

What waits is shown, mended, tried again and set aside, and nothing happens twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anju.cli.app import app
from ingest.message import ReceivedMessage
from store.database.connection import Connection, connect
from store.ingest import quarantine
from tests.ingest.conftest import register
from tests.ingest.test_write import NOW, Book, count, message, reading

pytestmark = pytest.mark.real
Anju = Callable[..., str]


@pytest.fixture
def anju(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Anju:
    monkeypatch.setenv("ANJU_DSN", dsn)

    def run(*arguments: str, code: int = 0, given: bytes | None = None) -> str:
        done = CliRunner().invoke(app, ["quarantine", *arguments], input=given)
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    return run


@pytest.fixture
def look(dsn: str) -> Connection:
    """A site with three refusals.

    Two devices that nobody registered, and bytes that nobody can read.
    """
    with connect(dsn) as connection:
        register(connection)
    book = Book(dsn)
    book.write(
        [
            message([reading(0, 1.0, "wm-9"), reading(0, 1.0, "wm-10")]),
            ReceivedMessage(b"anju/v1/es/gw/up/readings", b"\xff{", 0),
        ]
    )
    book.ledger.close()
    return connect(dsn, autocommit=True)


def ids(look: Connection) -> dict[str, int]:
    return {row.payload.decode("latin1"): row.id for row in quarantine.list_open(look)}


def test_a_device_registered_later_is_served(anju: Anju, look: Connection) -> None:
    look.execute(
        "INSERT INTO devices (estate_id, code, kind, profile) "
        "SELECT id, 'wm-9', 'water_meter', 'x' FROM estates WHERE code = 'es'"
    )
    assert "2 tried again, 1 came back" in anju("replay", "--reason", "unknown_device")
    assert (
        quarantine.count_open(look) == {"unknown_device": 1, "unreadable": 1}
        and count(look, "readings") == 1
    )
    assert "1 tried again, 1 came back" in anju("replay", "--reason", "unknown_device")
    assert count(look, "readings") == 1


def test_what_was_called_by_another_name_is_mended(anju: Anju, look: Connection) -> None:
    assert "2 mended and tried again, 1 came back" in anju(
        "repair", "--reason", "unknown_device", "--device", "wm-10=wm-1"
    )
    row = look.execute(
        "SELECT d.code FROM readings r JOIN points p ON p.id = r.point_id "
        "JOIN devices d ON d.id = p.device_id"
    ).fetchone()
    assert row == {"code": "wm-1"}
    resolved = look.execute(
        "SELECT resolution, payload FROM quarantine WHERE resolution IS NOT NULL"
    ).fetchall()
    assert [r["resolution"] for r in resolved] == ["repaired"] and b"wm-10" in bytes(
        resolved[0]["payload"]
    ), "the original is gone"


def test_bytes_are_replaced_by_a_person(anju: Anju, look: Connection, tmp_path: Path) -> None:
    number = str(ids(look)["\xff{"])
    assert "unreadable" in anju("show", number) and "\\xff{" in anju("show", number)
    still = tmp_path / "still.json"
    still.write_text(
        '{"v": 1, "items": [{"device": "wm-1", "at": 5, "values": {"water_m3": 1}}]}', "utf-8"
    )
    assert "still does not fit" in anju("repair", number, "--payload", str(still), code=2)
    mended = json.dumps(
        {"v": 1, "items": [{"device": "wm-1", "at": NOW, "values": {"water_m3": 3}}]}
    ).encode()
    assert "1 mended and tried again, 0 came back" in anju(
        "repair", number, "--payload", "-", given=mended
    )
    assert count(look, "readings") == 1 and "repaired" in anju("show", number)


def test_what_came_by_another_gateway_is_moved(anju: Anju, look: Connection, dsn: str) -> None:
    book = Book(dsn)
    book.write([message([reading(3, 1.0)], gateway="nobody")])
    book.ledger.close()
    assert "1 mended and tried again, 0 came back" in anju(
        "repair", "--reason", "unknown_gateway", "--gateway", "es/gw"
    )
    assert count(look, "readings") == 1


def test_what_is_not_wanted_is_set_aside_and_known(anju: Anju, look: Connection, dsn: str) -> None:
    assert "not discarded by accident" in anju("discard", code=2)
    assert "1 set aside" in anju("discard", str(ids(look)["\xff{"]))
    book = Book(dsn)
    assert book.write([ReceivedMessage(b"anju/v1/es/gw/up/readings", b"\xff{", 0)]).reasons == []
    book.ledger.close()
    assert "2 unknown_device" in anju("list")


def test_a_wrong_call_says_what_is_wrong(anju: Anju, look: Connection) -> None:
    for arguments, said in (
        (("show", "999"), "999: no such refusal"),
        (("replay", "--reason", "nope"), "--reason 'nope': use one of"),
        (("repair",), "give one of --device"),
        (("repair", "--device", "a"), "write OLD=NEW"),
        (("repair", "--gateway", "es"), "write ESTATE/GATEWAY"),
        (("repair", "--payload", "x"), "name its number"),
    ):
        assert said in anju(*arguments, code=2)
