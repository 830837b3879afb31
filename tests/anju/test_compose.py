"""docker-compose.yml without an engine.

Commands exist, variables are read, secrets have makers, nothing is open.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from anju.cli.app import app
from anju.settings import FOREIGN, PREFIX, Settings
from api.pki import load_authority, utc_now, write_revocations
from privacy.keyring import load_keyring
from tests.conftest import ROOT
from tests.shipped import Shipped

TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("anju:")}


def test_every_service_of_ours_is_a_command_that_exists() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, service in OURS.items():
        first, *rest = service["command"]
        assert first in commands, name
        if rest and not rest[0].startswith("-"):
            assert rest[0] in commands[first].commands, name
        known = (
            commands[first].commands[rest[0]]
            if rest and not rest[0].startswith("-")
            else commands[first]
        )
        options = {o for p in known.params for o in p.opts}
        assert {part for part in rest if part.startswith("--")} <= options, name
    assert {"ingest", "analytics", "casework", "api", "migrate", "simulator"} == set(OURS)


def test_the_api_is_not_given_the_owners_password() -> None:
    """The API's log-in is bound by row-level security.

    The owner's is not, so it must not be at hand there.
    """
    assert (
        "db_password" not in SERVICES["api"]["secrets"]
        and "ANJU_DB_PASSWORD_FILE" not in SERVICES["api"]["environment"]
    )
    assert "api_db_password" in SERVICES["api"]["secrets"]


def test_every_variable_is_read_by_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    for name, service in OURS.items():
        assert set(service["environment"]) <= known, name
        values = {}
        for key, value in service["environment"].items():
            if value == "/run/authority":
                value = str(tmp_path)
            if str(value).startswith("/run/notices/"):
                value = ROOT / "deploy" / "notices" / str(value).rsplit("/", 1)[1]
            if str(value).startswith("/run/keys/"):
                value = ROOT / "docker-compose.yml"
            if str(value).startswith("/run/secrets/"):
                secret = str(value).rsplit("/", 1)[1]
                assert secret in service["secrets"], f"{name}: {secret} is used but not given"
                (tmp_path / secret).write_text("x", "utf-8")
                value = tmp_path / secret
            values[key.removeprefix(PREFIX).lower()] = value
        Settings(**values)
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    assert used <= FOREIGN, f"unknown to the settings: {used - FOREIGN}"


def test_ports_volumes_secrets_and_dependencies_are_consistent() -> None:
    published = [str(p) for s in SERVICES.values() for p in s.get("ports", [])]
    assert len(published) == len({p.split(":")[-2] for p in published})
    for port in published:
        assert port.startswith("127.0.0.1:") or port.endswith((":8883", ":8884")), (
            f"{port}: only the TLS broker is open to the estates"
        )
    mounts = [v for s in SERVICES.values() for v in s.get("volumes", [])]
    named = {v.split(":")[0] for v in mounts if not v.startswith("./")}
    assert named == set(COMPOSE["volumes"])
    for bind in (v.split(":")[0] for v in mounts if v.startswith("./")):
        assert (ROOT / bind).exists() or bind.startswith("./deploy/secrets/"), bind
    given = {s for service in SERVICES.values() for s in service.get("secrets", [])}
    assert given == set(COMPOSE["secrets"])
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (
                    f"{name} waits for the health of {other}, which has no check"
                )
    assert (
        SERVICES["api"]["environment"]["ANJU_API_PORT"]
        == SERVICES["api"]["ports"][0].rsplit(":", 1)[1]
    )
    assert SERVICES["ingest"]["environment"]["ANJU_BROKER_HOST"] in SERVICES


def test_every_service_is_pinned_checked_and_closed() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":(\$\{ANJU_IMAGE_TAG:-)?v?\d+\.\d+", service["image"]), (
            f"{name}: pin {service['image']}"
        )
        assert "latest" not in service["image"]
        assert "healthcheck" in service or service["command"][0] in ("migrate", "simulate"), name
        assert "network_mode" not in service and not service.get("privileged")
    for name, service in OURS.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
    assert not re.search(r"(?i)password:\s*[\"']?\w", TEXT), "a password stands in the file"
    assert {"simulator"} == set(SERVICES["simulator"]["profiles"]) and SERVICES["grafana"][
        "profiles"
    ] == ["observability"]


def test_every_secret_is_made_by_the_script(tmp_path: Path) -> None:
    if shutil.which("openssl") is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("openssl or mosquitto_passwd is not on this machine")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    for _ in range(2):
        subprocess.run(
            ["sh", str(tmp_path / "deploy" / "make-secrets.sh")], check=True, capture_output=True
        )
    wanted = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    made = {p.name for p in (tmp_path / "deploy" / "secrets").iterdir() if p.stat().st_size}
    assert wanted <= made
    binds = [
        v.split(":")[0]
        for s in SERVICES.values()
        for v in s.get("volumes", [])
        if v.startswith("./deploy/secrets/")
    ]
    assert all(any((tmp_path / bind).iterdir()) for bind in binds)
    loaded = load_authority(tmp_path / "deploy" / "secrets" / "authority", "es")
    write_revocations(
        tmp_path / "deploy" / "secrets" / "authority",
        tmp_path / "deploy" / "secrets" / "trust" / "revoked.pem",
        [],
        utc_now(),
    )
    assert loaded.pem == (tmp_path / "deploy" / "secrets" / "trust" / "ca.crt").read_text("ascii")
    passwords = {
        (tmp_path / "deploy" / "secrets" / n).read_text("utf-8")
        for n in wanted
        if n.endswith("password")
    }
    assert (
        len(passwords) == 5
        and load_keyring(tmp_path / "deploy" / "secrets" / "keys" / "keys.toml").current == "k1"
        and all(len(p) >= 30 for p in passwords)
    )
    subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", "broker.crt"],
        cwd=tmp_path / "deploy" / "secrets",
        check=True,
        capture_output=True,
    )


@pytest.mark.real
def test_the_shipped_broker_keeps_estates_apart(tmp_path: Path) -> None:
    """The shipped configuration and ACL on a real mosquitto.

    Nobody anonymous, nobody under another's topic.
    """
    import time

    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    broker = Shipped(tmp_path, more_users={"es/gw": "secret", "other/gw": "secret"})
    try:
        heard: list[str] = []
        refused: list[bool] = []

        def client(user: str | None, password: str = "secret") -> mqtt.Client:
            made = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
            if user:
                made.username_pw_set(user, password)
            made.tls_set(str(broker.secrets / "ca.crt"))
            made.on_message = lambda _c, _u, m: heard.append(m.topic)
            made.on_connect = lambda _c, _u, _f, code, _p: refused.append(code.is_failure)
            made.connect("127.0.0.1", broker.ports[8883])
            made.loop_start()
            deadline = time.monotonic() + 5
            count = len(refused)
            while len(refused) == count and time.monotonic() < deadline and not refused:
                time.sleep(0.02)
            time.sleep(0.2)
            return made

        ingest = client("ingest", broker.password("ingest_password"))
        ingest.subscribe("anju/v1/+/+/up/+", qos=1)
        gateway, stranger, nobody = client("es/gw"), client("other/gw"), client(None)
        stranger.subscribe("anju/v1/es/gw/down/ack", qos=1)
        time.sleep(0.3)
        gateway.publish("anju/v1/es/gw/up/readings", b"{}", qos=1)
        stranger.publish("anju/v1/es/gw/up/events", b"{}", qos=1)
        gateway.publish("anju/v1/es/gw-2/up/events", b"{}", qos=1)
        ingest.publish("anju/v1/es/gw/down/ack", b"{}", qos=1)
        time.sleep(0.7)
        assert heard == ["anju/v1/es/gw/up/readings"]
        assert refused.count(True) >= 1, "an anonymous client was let in"
        for made in (ingest, gateway, stranger, nobody):
            made.disconnect()
            made.loop_stop()
    finally:
        broker.child.stop()
