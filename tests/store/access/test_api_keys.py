"""API keys: with the actions that they were given, until they expire or are revoked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.access import Action, Principal, Role
from store.access import api_keys, users
from store.access.api_keys import NewApiKey
from store.database.connection import Connection
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def principal(connection: Connection, name: str, role: Role, **place: str) -> Principal:
    user = users.add_user(connection, name, "x", role)
    users.add_grant(connection, user, by="t", **place)  # type: ignore[arg-type]
    found = users.find_principal(connection, name)
    assert found is not None
    return found


def add_key(connection: Connection, user_id: int, token: str) -> int:
    key = NewApiKey(
        user_id=user_id,
        name="dashboard",
        token=token,
        actions=[Action.SEE_PLACES, Action.SEE_ALERTS],
        expires_at=FAR,
        made_by="li",
    )
    return api_keys.add_api_key(connection, key)


def test_a_key_acts_for_its_user_with_its_actions(connection: Connection) -> None:
    register(connection)
    guard = principal(connection, "guard", Role.GUARD, estate="es")
    key = add_key(connection, guard.user_id, "anju_0123456789")
    found = api_keys.find_api_key(connection, "anju_0123456789")
    assert found is not None and found.key_id == key and found.estate_ids == guard.estate_ids
    assert found.key_actions == {Action.SEE_PLACES, Action.SEE_ALERTS}
    assert not found.must_change_password and not found.second_factor
    assert api_keys.find_api_key(connection, "anju_other") is None
    connection.execute("UPDATE api_keys SET actions = '{see_places,no_such_action}'")
    found = api_keys.find_api_key(connection, "anju_0123456789")
    assert found is not None and found.key_actions == {Action.SEE_PLACES}


@pytest.mark.parametrize("end", ["expired", "revoked", "user disabled"])
def test_a_key_ends(connection: Connection, end: str) -> None:
    guard = principal(connection, "guard", Role.GUARD)
    key = add_key(connection, guard.user_id, "anju_0123456789")
    if end == "expired":
        connection.execute("UPDATE api_keys SET expires_at = now()")
    elif end == "revoked":
        assert api_keys.revoke_api_key(connection, key, guard)
    else:
        users.set_disabled(connection, guard.user_id, disabled=True)
    assert api_keys.find_api_key(connection, "anju_0123456789") is None


def test_keys_are_listed_to_whom_their_users_grants_are_within(connection: Connection) -> None:
    register(connection)
    chief = principal(connection, "chief", Role.ADMINISTRATOR)
    local = principal(connection, "local", Role.ADMINISTRATOR, estate="es")
    older = add_key(connection, local.user_id, "anju_aaaaaaaa")
    newer = add_key(connection, chief.user_id, "anju_bbbbbbbb")
    listed = api_keys.list_api_keys(connection, chief, before=None, limit=10)
    assert [(key.id, key.user, key.hint) for key in listed] == [
        (newer, "chief", "anju_bbbb"),
        (older, "local", "anju_aaaa"),
    ]
    before = api_keys.list_api_keys(connection, chief, before=newer, limit=10)
    assert [key.id for key in before] == [older]
    assert [key.id for key in api_keys.list_api_keys(connection, local, before=None, limit=9)] == [
        older
    ]
    assert not api_keys.revoke_api_key(connection, newer, local)
