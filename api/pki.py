"""The authorities that sign gateways' certificates: an estate's own, or else the site's.

A folder holds `<estate>.crt` and `<estate>.key`, or `ca.crt` and `ca.key` for every other estate.
The broker trusts them all.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
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
from store.gateways.identities import RevokedCertificate

#: The authority of the site, for estates without one of their own.
SITE_AUTHORITY = "ca"
#: How long a certificate holds; its gateway renews it after two thirds.
LIFE = timedelta(days=365)
#: A list is made anew at every revocation, and the broker reads it at a signal. One that ran out
#: would shut every gateway out.
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
        key = _verified_key(request_pem)
        serial = secrets.randbits(127) | 1
        valid_to = now + LIFE
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

    def revocation_list(self, revoked: Sequence[RevokedCertificate], now: datetime) -> str:
        """Make the list of revoked certificates (RFC 5280 section 5), PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.add_extension(_signed_by(self.certificate), critical=False)
        builder = builder.last_update(now - timedelta(minutes=5)).next_update(now + LIST_LIFE)
        for certificate in revoked:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(int(certificate.serial, 16))
                .revocation_date(certificate.revoked_at)
                .build()
            )
            builder = builder.add_revoked_certificate(entry)
        return (
            builder.sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode("ascii")
        )


def _verified_key(request_pem: str) -> ec.EllipticCurvePublicKey:
    """Return the key of a certificate request that is signed by that key.

    Raises: BadCertificateRequest.
    """
    try:
        request = x509.load_pem_x509_csr(request_pem.encode("ascii"))
        is_signed = request.is_signature_valid
    except (ValueError, UnicodeEncodeError) as error:
        raise BadCertificateRequest(f"the certificate request cannot be read: {error}") from None
    key = request.public_key()
    is_p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not is_signed or not is_p256:
        raise BadCertificateRequest(
            "the certificate request must be signed by a P-256 key of its own"
        )
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


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
    name = estate if (folder / f"{estate}.key").is_file() else SITE_AUTHORITY
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
    """Make an authority for a site or an estate, and return its certificate's file.

    An authority that exists is left as it is.
    """
    cert_path = folder / f"{name}.crt"
    key_path = folder / f"{name}.key"
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


def verify_renewal(
    certificate_pem: str,
    request_pem: str,
    proof: bytes,
    *,
    authority: CertificateAuthority,
    now: datetime,
) -> x509.Certificate:
    """Verify that a renewal comes from the holder of a certificate, and return the certificate.

    The authority has signed it, it has not run out, and `proof` is its key's signature (ECDSA with
    SHA-256) of the new request.

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
    """Return the name that a certificate was issued to."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def read_common_name(certificate_pem: str) -> str:
    """Read the name in a certificate, which is not verified.

    Raises: ValueError for what is no certificate with a name.
    """
    try:
        return common_name(x509.load_pem_x509_certificate(certificate_pem.encode("ascii")))
    except (UnicodeEncodeError, IndexError) as error:
        raise ValueError(str(error)) from None


def write_revocations(
    folder: Path, path: Path, revoked: Sequence[RevokedCertificate], now: datetime
) -> None:
    """Write the revocation lists of all authorities of a folder into one file, for the broker.

    Raises: CertificateAuthorityMissing.
    """
    estates_with_own = {key.stem for key in folder.glob("*.key")} - {SITE_AUTHORITY}
    names = set(estates_with_own)
    if (folder / f"{SITE_AUTHORITY}.key").is_file():
        names.add(SITE_AUTHORITY)
    revoked_by = defaultdict(list)
    for certificate in revoked:
        has_own = certificate.estate in estates_with_own
        revoked_by[certificate.estate if has_own else SITE_AUTHORITY].append(certificate)
    lists = [
        load_authority(folder, name).revocation_list(revoked_by[name], now)
        for name in sorted(names)
    ]
    part = path.with_name(path.name + ".new")
    part.write_text("".join(lists), "ascii")
    part.replace(path)


def utc_now() -> datetime:
    """Return the time that certificates are made by."""
    return datetime.now(UTC)
