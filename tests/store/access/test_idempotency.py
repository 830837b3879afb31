"""Idempotency keys: one request a key, for a day."""

from __future__ import annotations

import pytest

from domain.access import Role
from store.access import idempotency, users
from store.access.idempotency import StoredAnswer
from store.database.connection import Connection

pytestmark = pytest.mark.real
UNANSWERED = StoredAnswer(status=None, answer=None)


def test_an_answer_is_stored_for_a_day(connection: Connection) -> None:
    user = users.add_user(connection, "wang", "x", Role.COMPLIANCE)
    assert idempotency.claim_key(connection, user, "k", b"d") == UNANSWERED
    idempotency.save_answer(connection, user, "k", 201, {"id": 1})
    answered = StoredAnswer(status=201, answer={"id": 1})
    assert idempotency.claim_key(connection, user, "k", b"d") == answered
    assert idempotency.claim_key(connection, user, "k", b"other") is None
    connection.execute("UPDATE idempotency_keys SET made_at = now() - interval '25 hours'")
    assert idempotency.claim_key(connection, user, "k", b"other") == UNANSWERED


def test_a_key_is_its_users(connection: Connection) -> None:
    for name in ("wang", "li"):
        user = users.add_user(connection, name, "x", Role.COMPLIANCE)
        assert idempotency.claim_key(connection, user, "k", name.encode()) == UNANSWERED
