"""A gateway's identity: a key that never leaves it, and a certificate, claimed and renewed.

The estate's authority issues the certificate. Its common name is `estate/gateway`; the broker takes
it for the log-in, so the ACL holds for it. A renewal is due after two thirds of a certificate's
life, and is proven with the old key.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.errors import UserError
from domain.ids import valid_id
from gateway.config import Config

log = structlog.get_logger()

#: Looked at this often; a renewal that fails is tried again at the next look.
CHECK_INTERVAL_S = 3600.0
KEY_FILE = "gateway.key"
CERT_FILE = "gateway.crt"
CA_FILE = "ca.crt"


class EnrolmentFailed(UserError):
    """The server did not give a certificate; the message says why and what to do."""


def make_request(common_name: str) -> tuple[bytes, bytes]:
    """Make a new key (P-256) and a certificate request for it; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = (
        x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, request.public_bytes(serialization.Encoding.PEM)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    part = path.with_name(path.name + ".new")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def claim(url: str, code: str, folder: Path, *, ca_file: Path | None = None) -> dict[str, Any]:
    """Turn a claim code into a certificate.

    Writes key, certificate and authority into `folder`, returns the server's answer.

    Raises: EnrolmentFailed.
    """
    parts = code.strip().split(".")
    if len(parts) != 3 or not valid_id(parts[0]) or not valid_id(parts[1]):
        raise EnrolmentFailed(
            "the code has the form estate.gateway.secret, as `anju gateway invite` printed it"
        )
    key, request = make_request(f"{parts[0]}/{parts[1]}")
    answer = _post(
        f"{url.rstrip('/')}/api/v1/provision/claim",
        {"code": code.strip(), "request": request.decode()},
        ca_file,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / KEY_FILE, key)
    write_private(folder / CERT_FILE, str(answer["certificate"]).encode())
    write_private(folder / CA_FILE, str(answer["authority"]).encode())
    return answer


def _post(url: str, body: dict[str, str], ca_file: Path | None) -> dict[str, Any]:
    try:
        answer = httpx2.post(url, json=body, timeout=20, verify=str(ca_file) if ca_file else True)
        found = answer.json()
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise EnrolmentFailed(f"{url}: {str(error) or type(error).__name__}") from None
    if answer.status_code != 200:
        problem = found
        if isinstance(found, dict):
            problem = found.get("detail", answer.status_code)
        raise EnrolmentFailed(f"{url}: {problem}")
    return dict(found)


def _next(key_path: Path) -> Path:
    return key_path.with_name(key_path.name + ".next")


def finish_renewal(config: Config) -> None:
    """Put the key of the certificate in place, where a renewal was cut off in between."""
    table = config.table.broker
    if table.cert_file is None or table.key_file is None:
        return
    key_path = config.folder / table.key_file
    waiting = _next(key_path)
    if not waiting.exists():
        return
    certificate = x509.load_pem_x509_certificate((config.folder / table.cert_file).read_bytes())
    key = serialization.load_pem_private_key(waiting.read_bytes(), None)
    if key.public_key() == certificate.public_key():
        waiting.replace(key_path)
    else:
        # The certificate that it was made for never arrived; the old pair still holds.
        waiting.unlink()


def renew_after(certificate: x509.Certificate) -> datetime:
    """Return when two thirds of a certificate's life are over."""
    begin = certificate.not_valid_before_utc
    end = certificate.not_valid_after_utc
    return begin + (end - begin) * 2 / 3


class CertificateRenewal:
    """The task that renews the certificate in time."""

    def __init__(self, config: Config, renewed: Callable[[], None]) -> None:
        self._config = config
        self._renewed = renewed
        self.fault: str | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                if await asyncio.to_thread(self.step, datetime.now(UTC)):
                    self._renewed()
                self.fault = None
            except (EnrolmentFailed, OSError, ValueError) as error:
                self.fault = f"certificate not renewed: {error}"
                log.error("certificate_not_renewed", error=str(error))
            await asyncio.sleep(CHECK_INTERVAL_S)

    def step(self, now: datetime) -> bool:
        """Renew where it is time; True where a new certificate is in place.

        Raises: EnrolmentFailed.
        """
        table = self._config.table
        assert (
            table.server is not None
            and table.broker.cert_file is not None
            and table.broker.key_file is not None
        )
        cert_path = self._config.folder / table.broker.cert_file
        key_path = self._config.folder / table.broker.key_file
        old = x509.load_pem_x509_certificate(cert_path.read_bytes())
        if now < renew_after(old):
            return False
        old_key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        assert isinstance(old_key, ec.EllipticCurvePrivateKey)
        key, request = make_request(f"{table.estate}/{table.gateway}")
        proof = old_key.sign(request, ec.ECDSA(hashes.SHA256()))
        body = {
            "certificate": cert_path.read_text("ascii"),
            "request": request.decode(),
            "proof": base64.b64encode(proof).decode(),
        }
        ca = self._config.folder / table.server.ca_file if table.server.ca_file else None
        answer = _post(f"{table.server.url.rstrip('/')}/api/v1/provision/renew", body, ca)
        # Two files cannot change at once: the key waits under another name, and `finish_renewal`
        # ends what a kill left half done.
        write_private(_next(key_path), key)
        write_private(cert_path, str(answer["certificate"]).encode())
        finish_renewal(self._config)
        renewed = x509.load_pem_x509_certificate(cert_path.read_bytes())
        log.info("certificate_renewed", until=renewed.not_valid_after_utc.isoformat())
        return True
