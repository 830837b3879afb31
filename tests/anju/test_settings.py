"""A bad setting stops the start with one line that names it, the value and the fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anju.settings import BadSettings, load_settings


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("ANJU_API_PORT", "eighty", "ANJU_API_PORT='eighty'"),
        ("ANJU_API_PORT", "99999", "less than or equal to 65535"),
        ("ANJU_DSN", "mysql;;", "must be like postgresql://"),
        ("ANJU_REDIS_URL", "localhost:6379", "must be like redis://"),
        ("ANJU_LEVEL", "oracle", "'auto', 'plain' or 'timescale'"),
        ("ANJU_BROKER_PROTOCOL", "4", "must be 5 or 311"),
        ("ANJU_DB_PASSWORD_FILE", "/nowhere/secret", "must name a file that exists"),
        ("ANJU_INGEST_NAME", "In Gest", "ANJU_INGEST_NAME"),
        ("ANJU_FACTS_EVERY_S", "0", "greater than 0"),
        ("ANJU_REDIS_ULR", "redis://x", "did you mean ANJU_REDIS_URL?"),
    ],
)
def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        load_settings()
    line = str(caught.value)
    assert line.startswith(name) and named in line and "\n" not in line


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pa ss'word\n", "utf-8")
    monkeypatch.setenv("ANJU_DB_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("ANJU_BROKER_PASSWORD_FILE", str(secret))
    settings = load_settings()
    assert "password" in settings.conninfo() and settings.broker().password == "pa ss'word"
    assert settings.forced_level() is None


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["ingest"], {"ANJU_BROKER_PORT": "x"}, "ANJU_BROKER_PORT='x'"),
        (
            ["migrate"],
            {"ANJU_DSN": "postgresql://127.0.0.1:1/none"},
            "ANJU_DSN: the database does not answer",
        ),
        (["leads", "--lang", "fr"], {}, "--lang 'fr'"),
        (
            [
                "replay",
                "x.csv",
                "--kind",
                "water",
                "--estate",
                "A B",
                "--device-column",
                "a",
                "--time-column",
                "b",
                "--value-column",
                "c",
                "--uom",
                "l",
            ],
            {},
            "--estate 'A B'",
        ),
        (
            [
                "replay",
                "x.csv",
                "--kind",
                "water",
                "--estate",
                "ab",
                "--device-column",
                "a",
                "--time-column",
                "b",
                "--value-column",
                "c",
                "--uom",
                "kwh",
            ],
            {},
            "--uom 'kwh'",
        ),
        (
            [
                "replay",
                "x.csv",
                "--kind",
                "water",
                "--estate",
                "ab",
                "--time-column",
                "b",
                "--value-column",
                "c",
                "--uom",
                "l",
            ],
            {},
            "--device-column: name the column",
        ),
        (["register", "import", "/nowhere"], {}, "no such directory"),
        (["users", "add", "x", "--role", "king"], {}, "--role 'king'"),
    ],
)
def test_the_command_says_it_in_one_line(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    import os

    clean = {k: v for k, v in os.environ.items() if not k.startswith("ANJU_")}
    done = subprocess.run(
        [sys.executable, "-m", "anju", *arguments],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=60,
    )
    assert done.returncode == 2 and done.stderr.startswith("anju: ") and named in done.stderr, (
        done.stderr
    )
    assert len(done.stderr.strip().splitlines()) == 1
