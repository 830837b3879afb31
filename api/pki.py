"""The authority that signs gateways' certificates: an estate's own, or the site's where an estate has none.

A folder holds `<estate>.crt` and `<estate>.key`, or `ca.crt` and `ca.key` for every other; the broker trusts them all.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from domain.errors import UserError

#: How long a certificate holds; its gateway renews it after two thirds.
LIFE = timedelta(days=365)
#: A list is made anew at every revocation and read by the broker at a signal; one that ran out would shut every gateway out.
LIST_LIFE = timedelta(days=3650)


class CertificateAuthorityMissing(UserError):
    """There is no key to sign with; the message says which files are missing."""


class BadCertificateRequest(Exception):
    """A certificate request cannot be signed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A signed certificate, PEM, with its serial in hex."""

    certificate: str
    authority: str
    serial: str
    valid_to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateAuthority:
    """One authority: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def pem(self) -> str:
        """The authority's own certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def sign(self, request_pem: str, common_name: str, now: datetime) -> IssuedCertificate:
        """Sign a gateway's request; whatever name it asks for, it gets `common_name`.

        Raises: BadCertificateRequest.
        """
        try:
            request = x509.load_pem_x509_csr(request_pem.encode("ascii"))
            sound = request.is_signature_valid
        except (ValueError, UnicodeEncodeError) as error:
            raise BadCertificateRequest(
                f"the certificate request cannot be read: {error}"
            ) from None
        key = request.public_key()
        if (
            not sound
            or not isinstance(key, ec.EllipticCurvePublicKey)
            or not isinstance(key.curve, ec.SECP256R1)
        ):
            raise BadCertificateRequest(
                "the certificate request must be signed by a P-256 key of its own"
            )
        serial, valid_to = secrets.randbits(127) | 1, now + LIFE
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(valid_to)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(_signed_by(self.certificate), critical=False)
        )
        pem = (
            builder.sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode("ascii")
        )
        return IssuedCertificate(
            certificate=pem, authority=self.pem, serial=f"{serial:x}", valid_to=valid_to
        )

    def revocations(self, serials: Sequence[tuple[str, datetime]], now: datetime) -> str:
        """Make the list of revoked certificates, PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.add_extension(_signed_by(self.certificate), critical=False)
        builder = builder.last_update(now - timedelta(minutes=5)).next_update(now + LIST_LIFE)
        for serial, at in serials:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(int(serial, 16))
                .revocation_date(at)
                .build()
            )
            builder = builder.add_revoked_certificate(entry)
        return (
            builder.sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode("ascii")
        )


def _signed_by(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Name the authority's key, as RFC 5280 4.2.1.1 has it."""
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def load_authority(folder: Path | None, estate: str) -> CertificateAuthority:
    """Read an estate's authority.

    Raises: CertificateAuthorityMissing.
    """
    if folder is None:
        raise CertificateAuthorityMissing(
            "ANJU_AUTHORITY_DIR is not set: it names the folder with ca.crt and ca.key"
        )
    name = estate if (folder / f"{estate}.key").is_file() else "ca"
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        raise CertificateAuthorityMissing(
            f"the authority of {estate!r} cannot be read: {error}"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateAuthorityMissing(
            f"the authority's key of {estate!r} is neither RSA nor on a curve"
        )
    return CertificateAuthority(certificate=certificate, key=key)


def make_authority(folder: Path, name: str, now: datetime) -> Path:
    """Make an authority for a site or an estate; returns its certificate's file. What exists is left as it is."""
    cert_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    if key_path.exists():
        return cert_path
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Anju gateway authority {name}")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_path.touch(mode=0o600)
    key_path.write_bytes(private)
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return cert_path


def proven(
    certificate_pem: str,
    request_pem: str,
    proof: bytes,
    authority: CertificateAuthority,
    now: datetime,
) -> x509.Certificate:
    """Check that a renewal comes from the holder of a certificate that this authority signed and that still holds.

    Raises: BadCertificateRequest.
    """
    try:
        old = x509.load_pem_x509_certificate(certificate_pem.encode("ascii"))
        old.verify_directly_issued_by(authority.certificate)
        key = old.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BadCertificateRequest("the old certificate's key is not on a curve")
        key.verify(proof, request_pem.encode("ascii"), ec.ECDSA(hashes.SHA256()))
    except (ValueError, TypeError, UnicodeEncodeError, InvalidSignature):
        raise BadCertificateRequest(
            "the request is not proven by the key of a certificate of this authority"
        ) from None
    if not old.not_valid_before_utc <= now <= old.not_valid_after_utc:
        raise BadCertificateRequest("the old certificate is out of date; ask for a new claim code")
    return old


def common_name(certificate: x509.Certificate) -> str:
    """Return the name a certificate was issued to."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def write_revocations(
    folder: Path, path: Path, rows: Sequence[dict[str, object]], now: datetime
) -> None:
    """Write the revocation lists of every authority of a folder, one after the other, for the broker.

    Raises: CertificateAuthorityMissing.
    """
    out = []
    own = {key.stem for key in folder.glob("*.key")} - {"ca"}
    for name in sorted({*own, "ca"} if (folder / "ca.key").is_file() else own):
        serials = [
            (str(row["serial"]), row["revoked_at"])
            for row in rows
            if row["estate"] == name or (name == "ca" and row["estate"] not in own)
        ]
        out.append(load_authority(folder, name).revocations(serials, now))  # type: ignore[arg-type]
    part = path.with_name(path.name + ".new")
    part.write_text("".join(out), "ascii")
    part.replace(path)


def utc_now() -> datetime:
    """Return the time that certificates are made by."""
    return datetime.now(UTC)
