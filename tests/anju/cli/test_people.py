"""`anju keys`, `anju people` and `anju audit` as an operator types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anju.cli import people
from privacy.keyring import load_keyring
from store.access import audit
from store.access.audit import AuditEntry
from store.database.connection import connect
from tests.ingest.conftest import register
from tests.privacy.test_people import number_for

pytestmark = pytest.mark.real


@pytest.fixture
def site(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with connect(dsn) as connection:
        register(connection)
        connection.execute(
            "INSERT INTO residents (code, household_id, valid_from) SELECT 'r-' || i, id, "
            "'2020-01-01' FROM households, generate_series(1, 3) i"
        )
    monkeypatch.setenv("ANJU_DSN", dsn)
    monkeypatch.setenv("ANJU_KEYS_FILE", str(tmp_path / "keys.toml"))
    return tmp_path


def anju(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "anju", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_from_a_key_to_an_erasure(site: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, people = site / "keys.toml", site / "people.csv"
    monkeypatch.delenv("ANJU_KEYS_FILE")
    assert (
        anju("keys", "make", str(keys)).returncode == 0
        and anju("keys", "make", str(keys)).returncode == 2
    )
    assert "ANJU_KEYS_FILE" in anju("keys", "show").stderr
    monkeypatch.setenv("ANJU_KEYS_FILE", str(keys))
    people.write_text(
        f"code,name,id_number,phone\nr-1,王小明,{number_for(1)},13900000000\nr-9,李四,,\nr-2,赵六,999999199001011230x,\n",
        "utf-8",
    )
    refused = anju("people", "import", str(people), "--collected-for", "tenancy", "--apply")
    assert (
        refused.returncode == 2
        and "line 3: code" in refused.stderr
        and "nothing was written" in refused.stderr
    )
    assert "李四" not in refused.stderr + refused.stdout and "赵六" not in refused.stderr
    people.write_text(
        f"\ufeffcode,name,id_number,phone\nr-1,王小明,{number_for(1)},139 0000 0000\nr-2,赵六,,\n",
        "utf-8",
    )
    assert (
        "nothing was written"
        in anju("people", "import", str(people), "--collected-for", "tenancy").stdout
    )
    assert (
        "2 people taken in"
        in anju("people", "import", str(people), "--collected-for", "tenancy", "--apply").stdout
    )
    first = load_keyring(keys).current
    assert "1 old keys taken out" in anju("keys", "rotate").stdout
    assert load_keyring(keys).current != first and first not in load_keyring(keys).keys
    assert "0 keys wrapped anew" in anju("keys", "rewrap").stdout
    shown = anju("keys", "show").stdout
    assert "aes-256-gcm" in shown and load_keyring(keys).current in shown
    assert "is erased" in anju("people", "erase", "r-1", "--reason", "asked").stdout
    assert anju("people", "erase", "nobody", "--reason", "asked").returncode == 2
    assert "1 erasures" in anju("people", "export-erasures", str(site / "erased.jsonl")).stdout
    assert "0 people" in anju("people", "erase-again", "--list", str(site / "erased.jsonl")).stdout
    assert anju("keys", "rotate", "--scheme", "rot13").returncode == 2


def test_the_chain_is_checked_here_and_elsewhere(
    site: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANJU_KEYS_FILE")
    with connect(dsn) as connection:
        for n in range(5):
            audit.append(connection, AuditEntry(actor="w", action="a", object=str(n)))
    assert "5 entries, every link whole" in anju("audit", "verify").stdout
    file = site / "audit.jsonl"
    assert "5 entries" in anju("audit", "export", str(file)).stdout and people.verify_lines(
        file
    ) == (5, None)
    file.write_text(
        file.read_text("utf-8").replace('\\"actor\\": \\"w\\"', '\\"actor\\": \\"x\\"', 1), "utf-8"
    )
    told = anju("audit", "verify", str(file))
    assert told.returncode == 1 and "entry 1" in told.stderr
    with connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM audit_log WHERE seq = 5")
    told = anju("audit", "verify")
    assert told.returncode == 1 and "entry 5" in told.stderr


def test_the_first_start_makes_an_administrator(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANJU_KEYS_FILE")
    told = anju("migrate").stdout
    assert (
        "first start: log in as admin with" in told and "first start" not in anju("migrate").stdout
    )
