"""Claims, certificates and revocations.

The way through the API and the broker is tests/gateway/test_enrolment.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from store.database.connection import Connection
from store.gateways import identities
from tests.ingest.conftest import register


def test_a_claim_is_stored_as_a_hash_and_a_retired_gateway_has_none(connection: Connection) -> None:
    register(connection)
    found = identities.find_gateway(connection, "es", "gw")
    assert found is not None and identities.find_gateway(connection, "es", "nobody") is None
    later = datetime.now(UTC) + timedelta(hours=1)
    identities.add_claim(
        connection, found.id, "es.gw.secret-of-all", expires_at=later, made_by="test"
    )
    assert (
        b"secret"
        not in connection.execute("SELECT code_hash FROM gateway_claims").fetchone()["code_hash"]
    )  # type: ignore[index]
    connection.execute("UPDATE gateways SET retired_on = '2026-01-01' WHERE code = 'gw'")
    assert identities.use_claim(connection, "es.gw.secret-of-all") is None
    connection.execute("UPDATE gateways SET retired_on = NULL WHERE code = 'gw'")
    assert identities.use_claim(connection, "es.gw.secret-of-all") is not None
    assert identities.use_claim(connection, "es.gw.secret-of-all") is None


def test_revocation_takes_every_certificate_that_holds(connection: Connection) -> None:
    register(connection)
    found = identities.find_gateway(connection, "es", "gw")
    assert found is not None
    now = datetime.now(UTC)
    identities.add_certificate(connection, found.id, "aa", valid_to=now + timedelta(days=1))
    identities.add_certificate(
        connection, found.id, "bb", valid_to=now + timedelta(days=300), renewed="aa"
    )
    identities.add_certificate(connection, found.id, "cc", valid_to=now - timedelta(days=1))
    assert identities.revoke(connection, found.id, "stolen") == 2
    assert [row.serial for row in identities.list_revoked(connection)] == ["aa", "bb"]
    held = identities.find_certificate(connection, "bb")
    assert held is not None and held.revoked_why == "stolen" and held.gateway == "gw"
