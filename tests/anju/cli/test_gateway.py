"""The commands of the edge as a person types them, and the tools beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from anju import field
from anju.bench import codecs as bench
from anju.demo import field as field_demo
from anju.field import Pace, configuration, make_field, register_rows
from domain.broker import BrokerAddress
from gateway.config import parse_config
from simulators.field.estate import Field
from store.database.connection import connect
from tests.ingest.conftest import register


def anju(*arguments: str, code: int = 0, **environment: str) -> str:
    kept = (
        {k: v for k, v in os.environ.items() if not k.startswith("ANJU_")}
        | {"COLUMNS": "200"}
        | environment
    )
    done = subprocess.run(
        [sys.executable, "-m", "anju", *arguments],
        capture_output=True,
        text=True,
        env=kept,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_decode_says_what_bytes_mean_or_why_they_are_none() -> None:
    assert "asks meter AAAAAAAAAAAA for 00010000" in anju(
        "decode", "dlt645", "68 AA AA AA AA AA AA 68 11 04 33 33 34 33 AE 16"
    )
    assert "refused, bad_checksum" in anju(
        "decode", "dlt645", "68AAAAAAAAAAAA68110433333433AF16", code=1
    )
    assert "not hex" in anju("decode", "dlt645", "6G", code=2)
    assert "use one of dlt645" in anju("decode", "dlt", "68", code=2)


def test_bench_reads_the_same_values_as_the_peers() -> None:
    import random

    for name in ("dlt645", "mbus", "modbus-rtu"):
        peer = bench._peer(name)
        assert peer is not None, f"{name}: the peer is not installed"
        ours = bench._ours(name)
        for data in bench.samples(name, random.Random(1))[:50]:
            mine, theirs = ours(data), peer[1](data)
            if name == "dlt645":
                assert mine == [theirs]
            elif name == "modbus-rtu":
                assert mine == theirs
            else:
                assert mine["volume"] == pytest.approx(float(theirs[0]["value"]))
    rows = bench.bench_codecs(rounds=3)
    assert {row.name for row in rows} >= {"dlt645", "cjt188", "gb26875", "mbus", "modbus-rtu"}


def test_the_configuration_of_the_simulated_field_is_one_that_a_gateway_takes(
    tmp_path: Path,
) -> None:
    now = int(time.time() * 1000)
    pace = Pace(speed=1.0, start_ms=now, real_ms=now)
    made, ports = make_field(tmp_path, pace, meters=48, doors=3, lines=4, seed=1)
    for n, line in enumerate(made.lines):
        line.port = 4000 + n
    config = parse_config(
        configuration(made, ports, pace, BrokerAddress()), tmp_path, "gateway.toml"
    )
    assert len(config.devices()) == 48 + 3 + 1 + 12 + 8
    assert {row["code"] for row in register_rows(made)["devices"]} == set(config.devices())
    spread = made.spread_faults()
    assert set(spread.values()) >= {
        "silent",
        "garbage",
        "bad_checksum",
        "clock_jump",
        "reversed",
        "swapped",
        "duplicate",
    }
    assert config.table.estate == field.ESTATE and isinstance(made, Field)


@pytest.mark.real
def test_the_field_as_a_newcomer_sees_it(tmp_path: Path) -> None:
    said = anju(
        "simulate", "field", "--home", str(tmp_path / "field"), "--seconds", "8", "--meters", "48"
    )
    assert "69 devices" in said and "0 in quarantine" in said and field_demo.__doc__
    for fault in ("no answer to", "another meter answers", "same address", "its clock is"):
        assert fault in said, fault


@pytest.mark.real
def test_invite_claim_and_revoke_on_the_command_line(dsn: str, tmp_path: Path) -> None:
    with connect(dsn) as connection:
        register(connection)
    folder = tmp_path / "authority"
    assert "ca.crt" in anju("gateway", "make-authority", str(folder))
    environment: dict[str, Any] = {
        "ANJU_DSN": dsn,
        "ANJU_AUTHORITY_DIR": str(folder),
        "ANJU_CRL_FILE": str(folder / "revoked.pem"),
    }
    code = anju("gateway", "invite", "--estate", "es", "--gateway", "gw", **environment).strip()
    assert code.startswith("es.gw.") and len(code) > 30
    assert "is not registered" in anju(
        "gateway", "invite", "--estate", "es", "--gateway", "nobody", code=2, **environment
    )
    assert "0 certificates revoked" in anju(
        "gateway", "revoke", "--estate", "es", "--gateway", "gw", "--why", "test", **environment
    )
    assert "ANJU_CRL_FILE" in anju(
        "gateway",
        "revoke",
        "--estate",
        "es",
        "--gateway",
        "gw",
        "--why",
        "test",
        code=2,
        ANJU_DSN=dsn,
    )
    assert "api/v1/provision/claim" in anju(
        "gateway",
        "claim",
        code,
        "--server",
        "http://127.0.0.1:9",
        "--folder",
        str(tmp_path),
        code=2,
    )
    assert len(anju("gateway", "token-key").strip()) == 32
    (tmp_path / "gateway.toml").write_text('estate = "es"\ngateway = "gw"\ntoken_key_file = "k"\n')
    (tmp_path / "k").write_text("a key of sixteen bytes")
    token = anju(
        "gateway", "token", "person", "E-7", "--config", str(tmp_path / "gateway.toml")
    ).strip()
    assert (
        token.startswith("p-")
        and token
        == anju(
            "gateway", "token", "person", "E-7", "--config", str(tmp_path / "gateway.toml")
        ).strip()
    )
