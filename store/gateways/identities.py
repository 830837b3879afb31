"""The identities of gateways: claim codes that work once, the certificates that were issued for them, and revocation."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from store.database.connection import Connection


def find_gateway(connection: Connection, estate: str, gateway: str) -> dict[str, Any] | None:
    """Read a gateway that is in service."""
    return connection.execute(
        "SELECT g.id, e.code AS estate, g.code AS gateway FROM gateways g JOIN estates e ON e.id = g.estate_id "
        "WHERE e.code = %s AND g.code = %s AND g.retired_on IS NULL",
        [estate, gateway],
    ).fetchone()


def add_claim(
    connection: Connection, gateway_id: int, code: str, expires_at: datetime, made_by: str
) -> None:
    """Put a claim code down; codes of the same gateway that nobody used are void from now on."""
    connection.execute(
        "UPDATE gateway_claims SET expires_at = least(expires_at, now()) WHERE gateway_id = %s AND used_at IS NULL",
        [gateway_id],
    )
    connection.execute(
        "INSERT INTO gateway_claims (gateway_id, code_hash, expires_at, made_by) VALUES (%s, %s, %s, %s)",
        [gateway_id, _hash(code), expires_at, made_by],
    )


def use_claim(connection: Connection, code: str) -> dict[str, Any] | None:
    """Use a claim code up; None where it is unknown, used or expired. Two at once: one gets it."""
    return connection.execute(
        "UPDATE gateway_claims c SET used_at = now() FROM gateways g JOIN estates e ON e.id = g.estate_id WHERE c.code_hash = %s "
        "AND c.used_at IS NULL AND c.expires_at > now() AND g.id = c.gateway_id AND g.retired_on IS NULL "
        "RETURNING g.id, e.code AS estate, g.code AS gateway",
        [_hash(code)],
    ).fetchone()


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()


def add_certificate(
    connection: Connection,
    gateway_id: int,
    serial: str,
    valid_to: datetime,
    renewed: str | None = None,
) -> None:
    """Put an issued certificate down; `renewed` is the one before it."""
    connection.execute(
        "INSERT INTO gateway_certificates (serial, gateway_id, valid_to, renewed) VALUES (%s, %s, %s, %s)",
        [serial, gateway_id, valid_to, renewed],
    )


def find_certificate(connection: Connection, serial: str) -> dict[str, Any] | None:
    """Read a certificate with its gateway; a retired gateway has none."""
    return connection.execute(
        "SELECT c.*, e.code AS estate, g.code AS gateway FROM gateway_certificates c JOIN gateways g ON g.id = c.gateway_id "
        "JOIN estates e ON e.id = g.estate_id WHERE c.serial = %s AND g.retired_on IS NULL",
        [serial],
    ).fetchone()


def revoke(connection: Connection, gateway_id: int, why: str) -> int:
    """Revoke every certificate of a gateway that still holds; returns how many."""
    return connection.execute(
        "UPDATE gateway_certificates SET revoked_at = now(), revoked_why = %s WHERE gateway_id = %s AND revoked_at IS NULL "
        "AND valid_to > now()",
        [why, gateway_id],
    ).rowcount


def list_revoked(connection: Connection) -> list[dict[str, Any]]:
    """List revoked certificates that would otherwise still hold, by estate."""
    return connection.execute(
        "SELECT c.serial, c.revoked_at, e.code AS estate FROM gateway_certificates c JOIN gateways g ON g.id = c.gateway_id "
        "JOIN estates e ON e.id = g.estate_id WHERE c.revoked_at IS NOT NULL AND c.valid_to > now() ORDER BY c.serial"
    ).fetchall()
