"""How a gateway gets its certificate: with a claim code once, with the old certificate's key after.

Neither route has a log-in: the secret of the code, or the proof by the key, is it. All failures
look alike, so that nothing can be learned by trying, and a code has 160 bits.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.answers import Answer
from api.context import Db, client_address, limit_rate
from api.pki import (
    BadCertificateRequest,
    CertificateAuthorityMissing,
    common_name,
    load_authority,
    read_common_name,
    utc_now,
    verify_renewal,
)
from api.problems import Problem
from api.session import TRIES_PER_MINUTE, write_entry
from store.access import scope
from store.database.connection import Connection
from store.gateways import identities
from store.gateways.identities import GatewayCertificate, GatewayIdentity

router = APIRouter(prefix="/api/v1/provision", tags=["provision"])


class Claim(BaseModel):
    """A claim code and the gateway's certificate request."""

    code: str = Field(
        min_length=8,
        max_length=200,
        description="from `anju gateway invite`",
        examples=["qingnian.gw-3.6tXv…"],
    )
    request: str = Field(
        min_length=100,
        max_length=8000,
        description="PKCS #10 request with a P-256 key, PEM",
        examples=["-----BEGIN CERTIFICATE REQUEST-----…"],
    )


class Renew(BaseModel):
    """The old certificate, a request with a new key, and the old key's signature of the request."""

    certificate: str = Field(
        min_length=100,
        max_length=8000,
        description="the certificate that is to be replaced, PEM",
        examples=["-----BEGIN CERTIFICATE-----…"],
    )
    request: str = Field(
        min_length=100,
        max_length=8000,
        description="PKCS #10 request with a new P-256 key, PEM",
        examples=["-----BEGIN CERTIFICATE REQUEST-----…"],
    )
    proof: str = Field(
        min_length=8,
        max_length=1000,
        description="ECDSA signature of `request` by the old key, base64",
        examples=["MEUCIQD…"],
    )


class CertificateAnswer(Answer):
    """A certificate for a gateway."""

    estate: str = Field(description="the estate's code", examples=["qingnian"])
    gateway: str = Field(description="the gateway's code", examples=["gw-3"])
    certificate: str = Field(
        description="the certificate, PEM", examples=["-----BEGIN CERTIFICATE-----…"]
    )
    authority: str = Field(
        description="its authority's certificate, PEM", examples=["-----BEGIN CERTIFICATE-----…"]
    )
    serial: str = Field(description="its serial number, hex", examples=["5f0c2a9be1d47c03"])
    valid_to: str = Field(
        description="when it runs out, ISO 8601", examples=["2027-11-18T08:12:00+00:00"]
    )


@router.post("/claim", operation_id="claimGateway")
def claim(body: Claim, request: Request, connection: Db) -> CertificateAnswer:
    """Turn a claim code into a certificate. The code is used up only if that works."""
    limit_rate(request, f"claim:{client_address(request)}", TRIES_PER_MINUTE)
    with scope.signing_in(connection):
        gateway = identities.use_claim(connection, body.code)
    if gateway is None:
        raise Problem(
            403,
            "claim",
            "this code is unknown, used or expired; make a new one with `anju gateway invite`",
        )
    return _issue(request, connection, gateway, body.request, renewed=None)


@router.post("/renew", operation_id="renewGateway")
def renew(body: Renew, request: Request, connection: Db) -> CertificateAnswer:
    """Give a new certificate for one that has not run out and was not revoked."""
    limit_rate(request, f"claim:{client_address(request)}", TRIES_PER_MINUTE)
    old = _find_renewable(body, request, connection)
    if old is None:
        raise Problem(
            403,
            "renewal",
            "this certificate cannot be renewed; make a claim code with `anju gateway invite`",
        )
    return _issue(request, connection, old.holder, body.request, renewed=old.serial)


def _find_renewable(
    body: Renew, request: Request, connection: Connection
) -> GatewayCertificate | None:
    """Return the old certificate where its own key asks for the renewal and it is good; else None.

    Raises: Problem 503 without an authority.
    """
    try:
        estate = read_common_name(body.certificate).partition("/")[0]
        authority = load_authority(_authority_folder(request), estate)
        proof = base64.b64decode(body.proof, validate=True)
        old = verify_renewal(
            body.certificate, body.request, proof, authority=authority, now=utc_now()
        )
    except CertificateAuthorityMissing as error:
        raise Problem(503, "authority", str(error)) from None
    except (BadCertificateRequest, binascii.Error, ValueError):
        return None
    with scope.signing_in(connection):
        issued = identities.find_certificate(connection, f"{old.serial_number:x}")
    if issued is None or issued.revoked_at is not None:
        return None
    return issued if common_name(old) == issued.holder.common_name else None


def _issue(
    request: Request,
    connection: Connection,
    gateway: GatewayIdentity,
    certificate_request: str,
    *,
    renewed: str | None,
) -> CertificateAnswer:
    """Sign a gateway's request and enter that in the audit record.

    Raises: Problem 503 without an authority, 422 for a request that cannot be signed.
    """
    try:
        authority = load_authority(_authority_folder(request), gateway.estate)
        issued = authority.sign(certificate_request, gateway.common_name, utc_now())
    except CertificateAuthorityMissing as error:
        raise Problem(503, "authority", str(error)) from None
    except BadCertificateRequest as error:
        raise Problem(422, "request", str(error)) from None
    with scope.signing_in(connection):
        identities.add_certificate(
            connection, gateway.id, issued.serial, valid_to=issued.valid_to, renewed=renewed
        )
    operation = "renewGateway" if renewed else "claimGateway"
    write_entry(request, connection, f"gateway:{gateway.common_name}", operation, "done")
    return CertificateAnswer(
        estate=gateway.estate,
        gateway=gateway.gateway,
        certificate=issued.certificate,
        authority=issued.authority,
        serial=issued.serial,
        valid_to=issued.valid_to.isoformat(),
    )


def _authority_folder(request: Request) -> Path | None:
    folder: Path | None = getattr(request.app.state, "authority_dir", None)
    return folder
