"""Withdraw consent: no template, no key and no match anywhere within a minute of the gateway being
on line, and no backup brings it back.

A real broker, database, ingest worker and gateway process. The gateway is off line when the consent
is withdrawn; then its disk is restored from a backup of before; then the database is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from anju.demo.embedded import Broker, Redis
from anju.processes import Child, start_anju
from crypto.sealed_values import Scheme
from gateway.faces.tables import FOLDER
from gateway.faces.template_store import Vault
from privacy import faces as law
from privacy.keyring import with_new_key
from store.database.connection import Connection, connect
from store.people import face_consents
from tests.store.people.test_face_consents import estate, prepare, record

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
MINUTE = 60.0


def soon(check: Callable[[], bool], seconds: float = MINUTE) -> float:
    begun = time.monotonic()
    while not check():
        assert time.monotonic() - begun < seconds, "not within its time"
        time.sleep(0.1)
    return time.monotonic() - begun


def state(connection: Connection, code: str) -> str:
    connection.commit()
    consent = face_consents.find_consent(connection, [estate(connection)], code)
    assert consent is not None
    return law.state_of(
        consent, face_consents.list_proofs(connection, consent.id), datetime.now(UTC).date()
    )


def test_withdrawn_is_gone_everywhere(
    dsn: str, broker: Broker, redis: Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring, key = with_new_key(None, Scheme.AES_256_GCM), bytes(range(32))
    home = tmp_path / "gateway"
    home.mkdir()
    (home / "face.key").write_text(key.hex())
    (home / "token").write_text("a-token-of-sixteen-characters")
    (home / "gateway.toml").write_text(
        'estate = "es"\ngateway = "gw"\n[broker]\nport = '
        f'{broker.address.port}\n[faces]\nkey_file = "face.key"\nassessment = '
        '"PIA-2026-001"\n'
        'other_ways = ["card"]\nport = 8977\n[[faces.doors]]\ndevice = '
        '"door-1"\ntoken_file = "token"\n'
    )
    children: list[Child] = []

    def start(name: str, arguments: list[str], env: dict[str, str]) -> Child:
        children.append(start_anju(name, arguments, tmp_path / f"{name}-{len(children)}.log", env))
        return children[-1]

    run = ["gateway", "run", str(home / "gateway.toml")]
    connection = connect(dsn)
    try:
        prepare(connection)
        code, other = record(connection), record(connection, person="r-2")
        connection.commit()
        start(
            "ingest",
            ["ingest"],
            {
                "ANJU_DSN": dsn,
                "ANJU_BROKER_PORT": str(broker.address.port),
                "ANJU_REDIS_URL": redis.url,
            },
        )
        gateway = start("gateway", run, {})
        vault, today = Vault(home / FOLDER, key), datetime.now(UTC).date().isoformat()
        soon(
            lambda: set(vault.consents("door-1", round(time.time() * 1000), today)) == {code, other}
        )
        for one in (code, other):
            template = np.random.default_rng(7).normal(0, 1, 128).astype(np.float32)
            vault.enrol(
                one,
                [template],
                engine="e",
                now_ms=round(time.time() * 1000),
                doors=["door-1"],
                today=today,
            )
        secrets = [(home / FOLDER / part / code).read_bytes() for part in ("keys", "templates")]
        shutil.copytree(home / FOLDER, tmp_path / "backup")

        gateway.stop()
        law.withdraw_consent(connection, ring, code, actor="desk", why="the person asks")
        connection.commit()
        assert vault.stored() == sorted([code, other]) and state(connection, code) == "withdrawn", (
            "off line nothing can be proven"
        )
        begun = time.monotonic()
        gateway = start("gateway", run, {})
        took = soon(lambda: vault.stored() == [other])
        proven = soon(
            lambda: state(connection, code) == "deleted", MINUTE - (time.monotonic() - begun)
        )
        assert not [
            path
            for path in home.rglob("*")
            if path.is_file() and any(one in path.read_bytes() for one in secrets)
        ], "no trace"
        assert vault.templates(code, "e") is None and vault.templates(other, "e") is not None
        assert set(vault.consents("door-1", round(time.time() * 1000), today)) == {other}, (
            "no match"
        )

        gateway.stop()
        shutil.rmtree(home / FOLDER)
        shutil.copytree(tmp_path / "backup", home / FOLDER)
        assert vault.stored() == sorted([code, other]), "the gateway's backup has it"
        gateway = start("gateway", run, {})
        restored = soon(lambda: vault.stored() == [other])

        connection.execute(
            "UPDATE people.face_consents SET withdrawn_at = NULL, withdrawn_by = NULL, "
            "withdrawn_why = NULL WHERE code = %s",
            [code],
        )
        connection.execute("DELETE FROM people.face_proofs")
        connection.commit()
        again = soon(lambda: state(connection, code) == "deleted")
        assert vault.stored() == [other]
        with capsys.disabled():
            print(
                f"\ndestroyed {took:.1f} s after the start, proven {took + proven:.1f} s; "
                f"gateway's backup {restored:.1f} s; database's {again:.1f} s"
            )
    finally:
        connection.close()
        for child in children:
            child.stop()
