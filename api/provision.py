"""How a gateway comes by its certificate: a claim code once, the old certificate's key from then on.

Neither route has a log-in: the secret of the code, or the proof by the key, is it. Failures are alike, so that nothing can be
learned by trying, and a code has 160 bits.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.context import Db, client_address, limit_rate
from api.pki import (
    BadCertificateRequest,
    CertificateAuthorityMissing,
    common_name,
    load_authority,
    proven,
    utc_now,
)
from api.problems import Problem
from api.session import TRIES_PER_MINUTE, write_entry
from store.access import scope
from store.gateways import identities

router = APIRouter(prefix="/api/v1/provision", tags=["provision"])


class Claim(BaseModel):
    """A claim code and the gateway's certificate request."""

    code: str = Field(min_length=8, max_length=200)
    request: str = Field(min_length=100, max_length=8000)


class Renew(BaseModel):
    """The old certificate, a request with a new key, and the old key's signature over the request."""

    certificate: str = Field(min_length=100, max_length=8000)
    request: str = Field(min_length=100, max_length=8000)
    proof: str = Field(min_length=8, max_length=1000)


def _folder(request: Request) -> Path | None:
    return getattr(request.app.state, "authority_dir", None)


@router.post("/claim", operation_id="claimGateway")
def claim(body: Claim, request: Request, connection: Db) -> dict[str, Any]:
    """Turn a claim code into a certificate; the code is used up only if that works."""
    limit_rate(request, f"claim:{client_address(request)}", TRIES_PER_MINUTE)
    with scope.signing_in(connection):
        found = identities.use_claim(connection, body.code)
    if found is None:
        raise Problem(
            403,
            "claim",
            "this code is unknown, used or expired; make a new one with `anju gateway invite`",
        )
    return _issue(
        request, connection, found["id"], found["estate"], found["gateway"], body.request, None
    )


@router.post("/renew", operation_id="renewGateway")
def renew(body: Renew, request: Request, connection: Db) -> dict[str, Any]:
    """Give a new certificate for one that still holds and was not revoked."""
    limit_rate(request, f"claim:{client_address(request)}", TRIES_PER_MINUTE)
    refused = Problem(
        403,
        "renewal",
        "this certificate cannot be renewed; make a claim code with `anju gateway invite`",
    )
    try:
        estate = common_name_of(body.certificate).partition("/")[0]
        authority = load_authority(_folder(request), estate)
        old = proven(
            body.certificate,
            body.request,
            base64.b64decode(body.proof, validate=True),
            authority,
            utc_now(),
        )
    except CertificateAuthorityMissing as error:
        raise Problem(503, "authority", str(error)) from None
    except (BadCertificateRequest, binascii.Error, ValueError):
        raise refused from None
    serial = f"{old.serial_number:x}"
    with scope.signing_in(connection):
        held = identities.find_certificate(connection, serial)
    if (
        held is None
        or held["revoked_at"] is not None
        or common_name(old) != f"{held['estate']}/{held['gateway']}"
    ):
        raise refused
    return _issue(
        request,
        connection,
        held["gateway_id"],
        held["estate"],
        held["gateway"],
        body.request,
        serial,
    )


def common_name_of(pem: str) -> str:
    """Read the name in a certificate without trusting it.

    Raises: ValueError.
    """
    from cryptography import x509

    try:
        return common_name(x509.load_pem_x509_certificate(pem.encode("ascii")))
    except (UnicodeEncodeError, IndexError) as error:
        raise ValueError(str(error)) from None


def _issue(
    request: Request,
    connection: Db,
    gateway_id: int,
    estate: str,
    gateway: str,
    csr: str,
    renewed: str | None,
) -> dict[str, Any]:
    try:
        issued = load_authority(_folder(request), estate).sign(
            csr, f"{estate}/{gateway}", utc_now()
        )
    except CertificateAuthorityMissing as error:
        raise Problem(503, "authority", str(error)) from None
    except BadCertificateRequest as error:
        raise Problem(422, "request", str(error)) from None
    with scope.signing_in(connection):
        identities.add_certificate(connection, gateway_id, issued.serial, issued.valid_to, renewed)
    write_entry(
        request,
        connection,
        f"gateway:{estate}/{gateway}",
        "renewGateway" if renewed else "claimGateway",
        "done",
    )
    return {
        "estate": estate,
        "gateway": gateway,
        "certificate": issued.certificate,
        "authority": issued.authority,
        "serial": issued.serial,
        "valid_to": issued.valid_to.isoformat(),
    }
