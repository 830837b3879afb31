"""The record of deeds: one writer at a time, no holes, and no change of it that a check does not
find.
"""

from __future__ import annotations

import json
import random
import threading
from dataclasses import asdict
from pathlib import Path

import psycopg
import pytest

from anju.cli.people import verify_lines
from domain.access import Principal, Role
from store.access import audit
from store.access.audit import AuditEntry
from store.database.connection import Connection, connect, open_pool
from tests.conftest import SEED

pytestmark = pytest.mark.real


def fill(connection: Connection, count: int = 12) -> None:
    for i in range(count):
        audit.append(
            connection,
            AuditEntry(
                actor=f"w{i % 3}",
                action="look",
                object=f"o{i}",
                subject="person:r-1",
                purpose="visit",
                detail={"n": i, "字": "安居"},
            ),
        )
    connection.commit()


def test_sixteen_writers_make_one_chain(dsn: str) -> None:
    with open_pool(dsn, size=16) as pool:

        def write(name: int) -> None:
            for i in range(20):
                with pool.connection() as connection:
                    audit.append(
                        connection, AuditEntry(actor=f"w{name}", action="a", object=str(i))
                    )
                    if i % 5 == 4:
                        connection.rollback()

        threads = [threading.Thread(target=write, args=[n]) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with connect(dsn) as connection:
        verdict = audit.check_chain(connection)
    assert verdict.broken_at is None and verdict.seq == 16 * 16, "what was rolled back left no hole"


def test_nobody_changes_it_by_sql(connection: Connection) -> None:
    fill(connection)
    for query in (
        "UPDATE audit_log SET at = now()",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DELETE FROM audit_checks",
    ):
        audit.save_check(connection, audit.check_chain(connection))
        connection.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(query)


#: What somebody with the whole database in hand might do, and the entry that the check names at the
#: latest.
FORGERIES = {
    "a word": "UPDATE audit_log SET entry = jsonb_set(entry, '{actor}', '\"other\"') WHERE seq = 5",
    "the time": "UPDATE audit_log SET at = at - interval '1 day' WHERE seq = 5",
    "the estate": "UPDATE audit_log SET estate_id = 9 WHERE seq = 5",
    "a hash": "UPDATE audit_log SET hash = sha256('x') WHERE seq = 5",
    "a link": "UPDATE audit_log SET prev = sha256('x') WHERE seq = 5",
    "gone": "DELETE FROM audit_log WHERE seq = 5",
    "the first gone": "DELETE FROM audit_log WHERE seq = 1",
    "two swapped": "UPDATE audit_log a SET entry = b.entry FROM audit_log b WHERE (a.seq, b.seq) "
    "IN ((5, 6), (6, 5))",
    "one made up": "INSERT INTO audit_log (seq, at, entry, prev, hash) VALUES (13, now(), "
    "'{\"actor\": \"x\"}', sha256('a'), sha256('b'))",
    "the tail cut off": "DELETE FROM audit_log WHERE seq > 9",
    "rewritten from there on": """
        DO $$ DECLARE r record; p bytea; BEGIN
            SELECT hash INTO p FROM audit_log WHERE seq = 4;
            UPDATE audit_log SET entry = jsonb_set(entry, '{actor}', '"other"') WHERE seq = 5;
            FOR r IN SELECT * FROM audit_log WHERE seq >= 5 ORDER BY seq LOOP
                UPDATE audit_log
                SET prev = p, hash = audit_hash(p, r.seq, r.estate_id, r.entry)
                WHERE seq = r.seq
                RETURNING hash INTO p;
            END LOOP; END $$""",
}


@pytest.mark.parametrize("what", list(FORGERIES))
def test_every_forgery_is_found(connection: Connection, what: str) -> None:
    """By whoever may switch the triggers off: an owner, a superuser.

    What was whole is found whole first.
    """
    fill(connection)
    verdict = audit.check_chain(connection)
    assert verdict.broken_at is None
    audit.save_check(connection, verdict)
    connection.execute("SET session_replication_role = replica")
    connection.execute(FORGERIES[what])  # type: ignore[call-overload]
    found = audit.check_chain(connection)
    assert found.broken_at is not None and found.why, what
    audit.save_check(connection, found)
    last = audit.last_check(connection)
    assert last is not None and last.broken_at == found.broken_at


def test_an_export_is_checked_without_us(connection: Connection, tmp_path: Path) -> None:
    """Any one bit of any line, any line left out, doubled or moved: found, with nothing but
    SHA-256.
    """
    fill(connection)
    lines = [
        json.dumps(asdict(entry), ensure_ascii=False) for entry in audit.read_chain(connection)
    ]
    file = tmp_path / "audit.jsonl"
    write = lambda out: file.write_text("\n".join(out) + "\n", "utf-8")  # noqa: E731
    write(lines)
    assert verify_lines(file) == (12, None)
    rng = random.Random(SEED)
    for _ in range(300):
        n = rng.randrange(12)
        row = json.loads(lines[n])
        field = rng.choice(["seq", "estate", "entry", "prev", "hash"])
        text = str(row[field])
        if not text:
            continue
        at = rng.randrange(len(text))
        changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        row[field] = changed if field != "seq" else int(row["seq"]) + 1
        write([*lines[:n], json.dumps(row, ensure_ascii=False), *lines[n + 1 :]])
        assert verify_lines(file)[1], (n, field, at)
    for wrong in (
        lines[:4] + lines[5:],
        lines[1:],
        [*lines[:3], lines[3], *lines[3:]],
        [*lines[:2], lines[3], lines[2], *lines[4:]],
        ["{}"],
    ):
        write(wrong)
        assert verify_lines(file)[1]


def test_a_search_pages_by_key(connection: Connection) -> None:
    fill(connection)
    who = Principal(user_id=1, name="x", role=Role.AUDITOR, estate_ids=(), everywhere=True)
    first = audit.list_entries(connection, who, audit.AuditFilter(actor="w1", limit=2))
    rest = audit.list_entries(
        connection, who, audit.AuditFilter(actor="w1", limit=9, before=first[-1].seq)
    )
    assert [entry.seq for entry in [*first, *rest]] == [11, 8, 5, 2]
    assert audit.list_entries(connection, who, audit.AuditFilter(subject="person:r-2")) == []
    assert (
        audit.list_entries(
            connection,
            Principal(user_id=1, name="x", role=Role.AUDITOR, estate_ids=(1,)),
            audit.AuditFilter(),
        )
        == []
    )
