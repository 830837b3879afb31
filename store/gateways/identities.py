"""The identities of gateways: claim codes that work once, their certificates, and revocation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayIdentity:
    """A gateway in use, by its id and by the codes of its estate and itself."""

    id: int
    estate: str
    gateway: str

    @property
    def common_name(self) -> str:
        """The name in its certificates, as in topics: estate/gateway."""
        return f"{self.estate}/{self.gateway}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCertificate:
    """A certificate that was issued to a gateway; `revoked_at` is None while it is not revoked."""

    serial: str
    gateway_id: int
    estate: str
    gateway: str
    revoked_at: datetime | None
    revoked_why: str | None

    @property
    def holder(self) -> GatewayIdentity:
        """The gateway that it was issued to."""
        return GatewayIdentity(id=self.gateway_id, estate=self.estate, gateway=self.gateway)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedCertificate:
    """A revoked certificate that has not run out, with its gateway's estate."""

    serial: str
    revoked_at: datetime
    estate: str


def find_gateway(connection: Connection, estate: str, gateway: str) -> GatewayIdentity | None:
    """Find a gateway in use by its codes."""
    with connection.cursor(row_factory=class_row(GatewayIdentity)) as cursor:
        return cursor.execute(_FIND_GATEWAY, [estate, gateway]).fetchone()


_FIND_GATEWAY = """
    SELECT g.id, e.code AS estate, g.code AS gateway
    FROM gateways g
    JOIN estates e ON e.id = g.estate_id
    WHERE e.code = %s
      AND g.code = %s
      AND g.retired_on IS NULL
"""


def add_claim(
    connection: Connection, gateway_id: int, code: str, *, expires_at: datetime, made_by: str
) -> None:
    """Add a claim code. Earlier codes of the gateway that nobody used are void from now on."""
    connection.execute(_END_CLAIMS, [gateway_id])
    connection.execute(_ADD_CLAIM, [gateway_id, _hash(code), expires_at, made_by])


_END_CLAIMS = """
    UPDATE gateway_claims
    SET expires_at = least(expires_at, now())
    WHERE gateway_id = %s
      AND used_at IS NULL
"""
_ADD_CLAIM = """
    INSERT INTO gateway_claims (gateway_id, code_hash, expires_at, made_by)
    VALUES (%s, %s, %s, %s)
"""


def use_claim(connection: Connection, code: str) -> GatewayIdentity | None:
    """Use a claim code up and return its gateway; None for an unknown, used or expired code.

    Of two requests with one code, one gets the gateway.
    """
    with connection.cursor(row_factory=class_row(GatewayIdentity)) as cursor:
        return cursor.execute(_USE_CLAIM, [_hash(code)]).fetchone()


_USE_CLAIM = """
    UPDATE gateway_claims c
    SET used_at = now()
    FROM gateways g
    JOIN estates e ON e.id = g.estate_id
    WHERE c.code_hash = %s
      AND c.used_at IS NULL
      AND c.expires_at > now()
      AND g.id = c.gateway_id
      AND g.retired_on IS NULL
    RETURNING g.id, e.code AS estate, g.code AS gateway
"""


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()


def add_certificate(
    connection: Connection,
    gateway_id: int,
    serial: str,
    *,
    valid_to: datetime,
    renewed: str | None = None,
) -> None:
    """Add a certificate that was issued; `renewed` is the serial of the one before it."""
    connection.execute(_ADD_CERTIFICATE, [serial, gateway_id, valid_to, renewed])


_ADD_CERTIFICATE = """
    INSERT INTO gateway_certificates (serial, gateway_id, valid_to, renewed)
    VALUES (%s, %s, %s, %s)
"""


def find_certificate(connection: Connection, serial: str) -> GatewayCertificate | None:
    """Find a certificate of a gateway in use by its serial, in hex."""
    with connection.cursor(row_factory=class_row(GatewayCertificate)) as cursor:
        return cursor.execute(_FIND_CERTIFICATE, [serial]).fetchone()


_FIND_CERTIFICATE = """
    SELECT c.serial, c.gateway_id, e.code AS estate, g.code AS gateway, c.revoked_at,
           c.revoked_why
    FROM gateway_certificates c
    JOIN gateways g ON g.id = c.gateway_id
    JOIN estates e ON e.id = g.estate_id
    WHERE c.serial = %s
      AND g.retired_on IS NULL
"""


def revoke(connection: Connection, gateway_id: int, reason: str) -> int:
    """Revoke a gateway's certificates that have not run out; returns how many."""
    return connection.execute(_REVOKE, [reason, gateway_id]).rowcount


_REVOKE = """
    UPDATE gateway_certificates
    SET revoked_at = now(), revoked_why = %s
    WHERE gateway_id = %s
      AND revoked_at IS NULL
      AND valid_to > now()
"""


def list_revoked(connection: Connection) -> list[RevokedCertificate]:
    """List the revoked certificates that have not run out, by serial."""
    with connection.cursor(row_factory=class_row(RevokedCertificate)) as cursor:
        return cursor.execute(_LIST_REVOKED).fetchall()


_LIST_REVOKED = """
    SELECT c.serial, c.revoked_at, e.code AS estate
    FROM gateway_certificates c
    JOIN gateways g ON g.id = c.gateway_id
    JOIN estates e ON e.id = g.estate_id
    WHERE c.revoked_at IS NOT NULL
      AND c.valid_to > now()
    ORDER BY c.serial
"""
