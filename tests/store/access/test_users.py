"""Users: grants that begin and end, locks, credentials, lists within an administrator's grants."""

from __future__ import annotations

import pytest

from domain.access import Principal, Role
from store.access import sessions, users
from store.access.users import OidcIdentity
from store.database.connection import Connection, DuplicateKey
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def find_principal(connection: Connection, name: str) -> Principal:
    principal = users.find_principal(connection, name)
    assert principal is not None
    return principal


def test_grants_begin_and_end(connection: Connection) -> None:
    register(connection)
    user = users.add_user(connection, "wang", "x", Role.COMPLIANCE)
    assert find_principal(connection, "wang").estate_ids == ()
    assert users.add_grant(connection, user, by="t", estate="es")
    assert not users.add_grant(connection, user, by="t", estate="nowhere")
    principal = find_principal(connection, "wang")
    assert len(principal.estate_ids) == 1 and not principal.everywhere
    connection.commit()
    row = connection.execute("SELECT id FROM grants").fetchone()
    assert row is not None
    assert users.withdraw_grant(connection, row["id"], user)
    assert not users.withdraw_grant(connection, row["id"], user)
    assert find_principal(connection, "wang").estate_ids == ()
    assert users.add_grant(connection, user, by="t")
    assert find_principal(connection, "wang").everywhere


def test_a_user_is_listed_with_all_grants_to_whom_they_are_within(connection: Connection) -> None:
    register(connection)
    chief = users.add_user(connection, "chief", "x", Role.ADMINISTRATOR)
    users.add_grant(connection, chief, by="t")
    local = users.add_user(connection, "local", "x", Role.ADMINISTRATOR)
    users.add_grant(connection, local, by="t", estate="es")
    guard = users.add_user(connection, "guard", "x", Role.GUARD)
    users.add_grant(connection, guard, by="t", estate="es")
    users.add_user(connection, "new", "x", Role.GUARD)
    everything = find_principal(connection, "chief")
    one_estate = find_principal(connection, "local")
    listed = {user.name: user for user in users.list_users(connection, everything, limit=10)}
    assert set(listed) == {"chief", "local", "guard", "new"}
    assert [grant.estate for grant in listed["guard"].grants] == ["es"]
    assert listed["new"].grants == () and listed["guard"].role == Role.GUARD
    names = [user.name for user in users.list_users(connection, one_estate, limit=10)]
    assert names == ["guard", "local"]
    page = users.list_users(connection, one_estate, after="guard", limit=1)
    assert [user.name for user in page] == ["local"]
    assert users.find_user(connection, one_estate, "chief") is None
    assert users.find_user(connection, one_estate, "guard") == listed["guard"]


def test_five_wrong_passwords_lock_for_a_while(connection: Connection) -> None:
    user = users.add_user(connection, "wang", "hash", Role.GUARD)
    for count in range(users.MAX_FAILURES):
        credentials = users.find_credentials(connection, "wang")
        assert credentials is not None and not credentials.locked, count
        users.record_login(connection, user, success=False)
    credentials = users.find_credentials(connection, "wang")
    assert credentials is not None and credentials.locked
    users.record_login(connection, user, success=True)
    credentials = users.find_credentials(connection, "wang")
    assert credentials is not None and not credentials.locked


def test_a_user_of_the_directory_is_found_by_issuer_and_subject(connection: Connection) -> None:
    identity = OidcIdentity(issuer="https://directory.example", subject="u-77")
    user = users.add_user(connection, "wang", None, Role.GUARD, identity=identity)
    found = users.find_credentials_by_identity(connection, identity)
    assert found is not None and found.id == user and found.password_hash is None
    assert not found.must_change_password
    stranger = OidcIdentity(issuer="https://directory.example", subject="u-78")
    assert users.find_credentials_by_identity(connection, stranger) is None
    with pytest.raises(DuplicateKey), connection.transaction():
        users.add_user(connection, "li", None, Role.GUARD, identity=identity)
    users.set_disabled(connection, user, disabled=True)
    assert users.find_credentials_by_identity(connection, identity) is None


@pytest.mark.parametrize("change", ["password", "role", "disabled"])
def test_a_change_of_a_user_ends_the_sessions(connection: Connection, change: str) -> None:
    user = users.add_user(connection, "wang", "hash", Role.GUARD)
    sessions.open_session(connection, user, "token", "csrf")
    assert sessions.find_session(connection, "token") is not None
    if change == "password":
        users.set_password(connection, user, "other")
    elif change == "role":
        users.set_role(connection, user, Role.AUDITOR)
    else:
        users.set_disabled(connection, user, disabled=True)
    assert sessions.find_session(connection, "token") is None


def test_a_time_step_is_used_once_and_never_an_earlier_one(connection: Connection) -> None:
    user = users.add_user(connection, "wang", "hash", Role.GUARD)
    users.save_totp_secret(connection, user, b"sealed")
    assert users.use_totp_step(connection, user, 100)
    assert not users.use_totp_step(connection, user, 100)
    assert not users.use_totp_step(connection, user, 99)
    assert users.use_totp_step(connection, user, 101)
    users.clear_totp_secret(connection, user)
    credentials = users.find_credentials(connection, "wang")
    assert credentials is not None and credentials.totp_sealed is None
    assert not credentials.totp_confirmed
