"""Log-ins at the directory: taken once, in time, and by the browser that began them."""

from __future__ import annotations

import pytest

from store.access.sign_in_attempts import SignInAttempt, begin_sign_in, take_sign_in
from store.database.connection import Connection

pytestmark = pytest.mark.real
ATTEMPT = SignInAttempt(nonce="n", verifier="v")


def test_an_attempt_is_taken_once_by_its_browser(connection: Connection) -> None:
    begin_sign_in(connection, ATTEMPT, state="s", browser="b")
    assert take_sign_in(connection, state="s", browser="another") is None
    assert take_sign_in(connection, state="other", browser="b") is None
    assert take_sign_in(connection, state="s", browser="b") == ATTEMPT
    assert take_sign_in(connection, state="s", browser="b") is None


def test_an_attempt_expires(connection: Connection) -> None:
    begin_sign_in(connection, ATTEMPT, state="s", browser="b")
    connection.execute("UPDATE sign_in_attempts SET expires_at = now()")
    assert take_sign_in(connection, state="s", browser="b") is None
    connection.execute("UPDATE sign_in_attempts SET expires_at = now() - interval '1 second'")
    begin_sign_in(connection, ATTEMPT, state="t", browser="b")
    row = connection.execute("SELECT count(*) AS n FROM sign_in_attempts").fetchone()
    assert row is not None and row["n"] == 1, "what has expired is deleted"
