"""A gateway's identity from a code to a broker that knows it by its certificate, renewed in time
and revoked for good.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from analytics.policy import load_policy
from anju.demo.embedded import find_program
from anju.processes import answers, free_port, start, wait_for
from api import pki
from api.app import SiteSettings, create_app
from gateway import enrolment
from gateway.config import Config, parse_config
from gateway.enrolment import CertificateRenewal, EnrolmentFailed, claim, renew_after
from gateway.outbox import Outbox
from gateway.uplink import NotAcknowledged, Uplink
from store.database.connection import connect, open_pool
from store.gateways import identities
from store.live.bus import LiveBus
from tests.conftest import ROOT
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    folder = tmp_path / "authority"
    pki.make_authority(folder, "ca", datetime.now(UTC))
    pki.write_revocations(folder, folder / "revoked.pem", [], datetime.now(UTC))
    return folder


@pytest.fixture
def api(dsn: str, authorities: Path) -> Iterator[str]:
    with connect(dsn) as connection:
        register(connection)
    pool = open_pool(dsn)
    port = free_port()
    app = create_app(
        pool, LiveBus(None), load_policy(), SiteSettings(authority_dir=authorities, slack=1000)
    )
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 15
    while not answers(port) and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    pool.close()


def invite(dsn: str, code: str, gateway: str = "gw", minutes: int = 5) -> str:
    with connect(dsn) as connection:
        found = identities.find_gateway(connection, "es", gateway)
        assert found is not None
        identities.add_claim(
            connection,
            found.id,
            code,
            expires_at=datetime.now(UTC) + timedelta(minutes=minutes),
            made_by="test",
        )
    return code


def test_a_code_works_once_and_gives_the_name_it_was_made_for(
    dsn: str, api: str, tmp_path: Path
) -> None:
    code = invite(dsn, "es.gw.a-long-secret-of-the-test")
    answer = claim(api, code, tmp_path / "edge")
    held = x509.load_pem_x509_certificate((tmp_path / "edge" / enrolment.CERT_FILE).read_bytes())
    assert pki.common_name(held) == "es/gw" and answer["gateway"] == "gw"
    assert (tmp_path / "edge" / enrolment.KEY_FILE).stat().st_mode & 0o077 == 0
    with pytest.raises(EnrolmentFailed, match="unknown, used or expired"):
        claim(api, code, tmp_path / "edge2")
    assert not (tmp_path / "edge2" / enrolment.KEY_FILE).exists()


@pytest.mark.parametrize(
    "code", ["es.gw.wrong-secret-of-the-test", "es.gw", "../../x.y.z", "es.gw.expired-secret"]
)
def test_codes_that_are_none(dsn: str, api: str, tmp_path: Path, code: str) -> None:
    invite(dsn, "es.gw.expired-secret", minutes=-1)
    with pytest.raises(EnrolmentFailed):
        claim(api, code, tmp_path)


def test_a_new_code_voids_the_one_before(dsn: str, api: str, tmp_path: Path) -> None:
    first, second = (
        invite(dsn, "es.gw.first-secret-of-all"),
        invite(dsn, "es.gw.second-secret-of-all"),
    )
    with pytest.raises(EnrolmentFailed):
        claim(api, first, tmp_path)
    claim(api, second, tmp_path)


def test_of_two_who_use_a_code_at_once_one_gets_it(dsn: str, api: str, tmp_path: Path) -> None:
    code = invite(dsn, "es.gw.wanted-by-two-of-them")
    outcomes: list[str] = []

    def one(n: int) -> None:
        try:
            claim(api, code, tmp_path / str(n))
            outcomes.append("got")
        except EnrolmentFailed:
            outcomes.append("refused")

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["got"] + ["refused"] * 5


def config(folder: Path, url: str) -> Config:
    return parse_config(
        'estate = "es"\ngateway = "gw"\n[broker]\ncert_file = "gateway.crt"\nkey_file = '
        f'"gateway.key"\nca_file = "ca.crt"\n[server]\nurl = "{url}"\n',
        folder,
        "gateway.toml",
    )


def test_renewal_is_proven_by_the_old_key_and_refused_after_revocation(
    dsn: str, api: str, tmp_path: Path
) -> None:
    edge = tmp_path / "edge"
    claim(api, invite(dsn, "es.gw.a-long-secret-of-the-test"), edge)
    renewal = CertificateRenewal(config(edge, api), lambda: None)
    first = x509.load_pem_x509_certificate((edge / enrolment.CERT_FILE).read_bytes())
    assert not renewal.step(datetime.now(UTC))
    assert renewal.step(renew_after(first) + timedelta(seconds=1))
    second = x509.load_pem_x509_certificate((edge / enrolment.CERT_FILE).read_bytes())
    assert second.serial_number != first.serial_number
    key = serialization.load_pem_private_key((edge / enrolment.KEY_FILE).read_bytes(), None)
    assert key.public_key() == second.public_key()
    # A thief of the certificate without its key.
    stolen = ec.generate_private_key(ec.SECP256R1())
    own = (edge / enrolment.KEY_FILE).read_bytes()
    (edge / enrolment.KEY_FILE).write_bytes(
        stolen.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(EnrolmentFailed, match="cannot be renewed"):
        renewal.step(renew_after(second) + timedelta(seconds=1))
    (edge / enrolment.KEY_FILE).write_bytes(own)
    with connect(dsn) as connection:
        gateway = identities.find_gateway(connection, "es", "gw")
        assert gateway is not None and identities.revoke(connection, gateway.id, "stolen") == 2
    with pytest.raises(EnrolmentFailed, match="cannot be renewed"):
        renewal.step(renew_after(second) + timedelta(seconds=1))


def test_a_renewal_that_was_killed_half_way_is_ended_or_undone(
    dsn: str, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = tmp_path / "edge"
    claim(api, invite(dsn, "es.gw.a-long-secret-of-the-test"), edge)
    made = config(edge, api)
    key_path, cert_path = edge / enrolment.KEY_FILE, edge / enrolment.CERT_FILE
    first = x509.load_pem_x509_certificate(cert_path.read_bytes())

    def fits() -> bool:
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        return (
            key.public_key() == x509.load_pem_x509_certificate(cert_path.read_bytes()).public_key()
        )

    # Killed after the certificate was written and before its key was put in place.
    with monkeypatch.context() as killed:
        killed.setattr(enrolment, "finish_renewal", lambda _config: None)
        assert CertificateRenewal(made, lambda: None).step(
            renew_after(first) + timedelta(seconds=1)
        )
    assert not fits()
    enrolment.finish_renewal(made)
    assert fits()
    # Killed before the certificate was written.
    enrolment.write_private(
        key_path.with_name(key_path.name + ".next"), enrolment.make_request("es/gw")[0]
    )
    enrolment.finish_renewal(made)
    assert fits() and not key_path.with_name(key_path.name + ".next").exists()


# The broker
# --------------------------------------------------------------------------------------------------


class Mosquitto:
    """A real mosquitto that knows gateways by their certificates, with the ACL that ships."""

    def __init__(self, folder: Path, authorities: Path) -> None:
        self.port = free_port()
        program = find_program("mosquitto")
        if program is None:
            pytest.skip("mosquitto is not on this machine")
        shutil.copy(ROOT / "deploy" / "mosquitto" / "acl", folder / "acl")
        now = datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        ours = pki.load_authority(authorities, "any")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(ours.certificate.subject)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ours.key.public_key()),
                critical=False,
            )
            .sign(ours.key, hashes.SHA256())
        )
        (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        settings = (ROOT / "deploy" / "mosquitto" / "mosquitto.conf").read_text("utf-8")
        block = settings[
            settings.index("# Gateways with a certificate") : settings.index(
                "# For our own services"
            )
        ]
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        text = "\n".join(lines).replace("8884", f"{self.port} 127.0.0.1")
        for of, path in (
            ("/mosquitto/trust/ca.crt", authorities / "ca.crt"),
            ("/mosquitto/trust/revoked.pem", authorities / "revoked.pem"),
            ("/run/secrets/broker_cert", folder / "server.crt"),
            ("/run/secrets/broker_key", folder / "server.key"),
        ):
            text = text.replace(of, str(path))
        (folder / "m.conf").write_text(
            "per_listener_settings false\nallow_anonymous false\nacl_file "
            f"{folder}/acl\n{text}\nuser root\n"
        )
        self.child = start("mosquitto", [program, "-c", folder / "m.conf"], folder / "m.log")
        wait_for(lambda: answers(self.port), self.child)

    def hup(self) -> None:
        os.kill(self.child.process.pid, signal.SIGHUP)
        time.sleep(0.5)

    def attempt(self, edge: Path, topic: str) -> str:
        """Connect with a gateway's certificate and publish; says what came of it."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        context = ssl.create_default_context(cafile=str(edge / enrolment.CA_FILE))
        context.load_cert_chain(edge / enrolment.CERT_FILE, edge / enrolment.KEY_FILE)
        client.tls_set_context(context)
        answer: list[Any] = []
        client.on_publish = lambda _c, _u, _m, code, _p: answer.append(code)
        try:
            client.connect("localhost", self.port)
        except (OSError, ssl.SSLError) as error:
            return f"no connection: {error}"
        client.loop_start()
        deadline = time.monotonic() + 5
        while not client.is_connected() and time.monotonic() < deadline:
            time.sleep(0.02)
        if not client.is_connected():
            client.loop_stop()
            return "no connection"
        client.publish(topic, b"{}", qos=1)
        while not answer and time.monotonic() < deadline:
            time.sleep(0.02)
        client.disconnect()
        client.loop_stop()
        return str(answer[0]) if answer else "no answer"


def test_the_uplink_connects_with_its_certificate(
    dsn: str, api: str, authorities: Path, tmp_path: Path
) -> None:
    edge = tmp_path / "edge"
    claim(api, invite(dsn, "es.gw.a-long-secret-of-the-test"), edge)
    broker = Mosquitto(tmp_path, authorities)
    try:
        text = (
            'estate = "es"\ngateway = "gw"\n[broker]\nhost = "localhost"\nport = '
            f'{broker.port}\nca_file = "ca.crt"\n'
        )
        text += 'cert_file = "gateway.crt"\nkey_file = "gateway.key"\n'
        with Uplink(
            parse_config(text, edge, "gateway.toml").broker(), "es", "gw", Outbox(None, "b1")
        ) as uplink:
            uplink.wait_connected(10)
            assert uplink.connected
        plain = parse_config(
            text.replace('cert_file = "gateway.crt"\nkey_file = "gateway.key"\n', ""),
            edge,
            "gateway.toml",
        ).broker()
        with (
            Uplink(plain, "es", "gw", Outbox(None, "b2")) as uplink,
            pytest.raises(NotAcknowledged),
        ):
            uplink.wait_connected(2)
    finally:
        broker.child.stop()


def test_a_broker_lets_a_certificate_speak_for_its_own_gateway_only_and_not_after_revocation(
    dsn: str, api: str, authorities: Path, tmp_path: Path
) -> None:
    edge, other = tmp_path / "edge", tmp_path / "other"
    claim(api, invite(dsn, "es.gw.a-long-secret-of-the-test"), edge)
    claim(api, invite(dsn, "es.gw-2.a-long-secret-of-the-test", "gw-2"), other)
    broker = Mosquitto(tmp_path, authorities)
    try:
        assert broker.attempt(edge, "anju/v1/es/gw/up/state") in (
            "Success",
            "No matching subscribers",
        )
        assert broker.attempt(edge, "anju/v1/es/gw-2/up/state") == "Not authorized"
        assert broker.attempt(edge, "anju/v1/es/gw/down/command") == "Not authorized"
        with connect(dsn) as connection:
            gateway = identities.find_gateway(connection, "es", "gw")
            assert gateway is not None
            identities.revoke(connection, gateway.id, "stolen")
            pki.write_revocations(
                authorities,
                authorities / "revoked.pem",
                identities.list_revoked(connection),
                datetime.now(UTC),
            )
        broker.hup()
        assert broker.attempt(edge, "anju/v1/es/gw/up/state").startswith("no connection")
        assert broker.attempt(other, "anju/v1/es/gw-2/up/state") in (
            "Success",
            "No matching subscribers",
        )
    finally:
        broker.child.stop()
