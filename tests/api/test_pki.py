"""The authority signs the name that it is given, for keys that it was shown.

Where it is missing, the answer says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from api import pki
from gateway.enrolment import make_request
from store.gateways.identities import RevokedCertificate

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pki.make_authority(tmp_path, "ca", NOW)
    return tmp_path


def test_whatever_name_is_asked_for_the_one_that_is_told_is_signed(folder: Path) -> None:
    ours = pki.load_authority(folder, "es")
    _, request = make_request("other/gw")
    issued = ours.sign(request.decode(), "es/gw", NOW)
    certificate = x509.load_pem_x509_certificate(issued.certificate.encode())
    assert (
        pki.common_name(certificate) == "es/gw"
        and certificate.not_valid_after_utc == NOW + pki.LIFE
    )
    certificate.verify_directly_issued_by(ours.certificate)
    for bad in ("nonsense", request.decode().replace("M", "N", 3), request.decode() + "ü"):
        with pytest.raises(pki.BadCertificateRequest):
            ours.sign(bad, "es/gw", NOW)


def test_an_estate_may_have_its_own(folder: Path) -> None:
    site = pki.load_authority(folder, "es")
    pki.make_authority(folder, "es", NOW)
    own = pki.load_authority(folder, "es")
    assert (
        own.certificate != site.certificate
        and pki.load_authority(folder, "other").certificate == site.certificate
    )
    assert (folder / "es.key").stat().st_mode & 0o077 == 0
    path = folder / "revoked.pem"
    rows = [
        RevokedCertificate(serial="a1", revoked_at=NOW, estate="es"),
        RevokedCertificate(serial="b2", revoked_at=NOW, estate="other"),
    ]
    pki.write_revocations(folder, path, rows, NOW)
    lists = [
        x509.load_pem_x509_crl(f"{part}-----END X509 CRL-----\n".encode())
        for part in path.read_text().split("-----END X509 CRL-----\n")[:-1]
    ]
    assert [[f"{entry.serial_number:x}" for entry in one] for one in lists] == [["b2"], ["a1"]]


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(pki.CertificateAuthorityMissing, match="cannot be read"):
        pki.load_authority(folder / "nowhere", "es")
    with pytest.raises(pki.CertificateAuthorityMissing, match="ANJU_AUTHORITY_DIR"):
        pki.load_authority(None, "es")


def test_a_renewal_needs_a_certificate_of_ours_that_holds_and_its_key(folder: Path) -> None:
    ours = pki.load_authority(folder, "es")
    _, request = make_request("es/gw")
    issued = ours.sign(request.decode(), "es/gw", NOW)
    with pytest.raises(pki.BadCertificateRequest, match="not proven"):
        pki.verify_renewal(
            issued.certificate, request.decode(), b"no signature", authority=ours, now=NOW
        )
    pki.make_authority(folder, "es", NOW)
    with pytest.raises(pki.BadCertificateRequest, match="not proven"):
        pki.verify_renewal(
            issued.certificate,
            request.decode(),
            b"",
            authority=pki.load_authority(folder, "es"),
            now=NOW + timedelta(days=1),
        )
