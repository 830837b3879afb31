"""Sessions: tokens that rotate, expire, and are stored as a hash only."""

from __future__ import annotations

import pytest

from domain.access import Role
from store.access import sessions, users
from store.database.connection import Connection

pytestmark = pytest.mark.real


@pytest.fixture
def user(connection: Connection) -> int:
    made = users.add_user(connection, "wang", "hash", Role.GUARD)
    sessions.open_session(connection, made, "first", "csrf")
    return made


def test_a_rotated_token_is_valid_for_a_minute_more(connection: Connection, user: int) -> None:
    assert sessions.rotate_token(connection, "first", "second")
    assert not sessions.rotate_token(connection, "first", "third"), "another request was faster"
    for token in ("first", "second"):
        session = sessions.find_session(connection, token)
        assert session is not None and session.principal.user_id == user
    connection.execute("UPDATE sessions SET rotated_at = now() - interval '61 seconds'")
    assert sessions.find_session(connection, "first") is None
    assert sessions.find_session(connection, "second") is not None


def test_a_token_is_due_to_change_after_an_hour(connection: Connection, user: int) -> None:
    session = sessions.find_session(connection, "first")
    assert session is not None and not session.stale and session.csrf == "csrf"
    connection.execute("UPDATE sessions SET rotated_at = now() - interval '61 minutes'")
    session = sessions.find_session(connection, "first")
    assert session is not None and session.stale


def test_a_second_factor_ends_the_old_token_at_once(connection: Connection, user: int) -> None:
    sessions.confirm_second_factor(connection, "first", "second")
    assert sessions.find_session(connection, "first") is None
    session = sessions.find_session(connection, "second")
    assert session is not None and session.principal.second_factor


@pytest.mark.parametrize(
    "change",
    [
        "expires_at = now()",
        "seen_at = now() - interval '2 hours 1 second'",
    ],
)
def test_a_session_ends_by_itself(connection: Connection, user: int, change: str) -> None:
    connection.execute(f"UPDATE sessions SET {change}")  # type: ignore[call-overload]
    assert sessions.find_session(connection, "first") is None


def test_a_closed_session_is_gone_under_both_tokens(connection: Connection, user: int) -> None:
    sessions.rotate_token(connection, "first", "second")
    sessions.close_session(connection, "first")
    assert sessions.find_session(connection, "second") is None


def test_a_use_is_noted_once_a_minute(connection: Connection, user: int) -> None:
    connection.execute("UPDATE sessions SET seen_at = now() - interval '5 minutes'")
    assert sessions.find_session(connection, "first") is not None
    row = connection.execute("SELECT seen_at = now() AS fresh FROM sessions").fetchone()
    assert row is not None and row["fresh"]
