"""Log-ins at the bureau's directory that are under way: state, nonce and PKCE verifier, for ten
minutes and one use.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from store.access.sessions import hash_token
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInAttempt:
    """What the directory's answer is checked with: the nonce of its ID token, and the PKCE
    verifier.
    """

    nonce: str
    verifier: str


def begin_sign_in(
    connection: Connection, attempt: SignInAttempt, *, state: str, browser: str
) -> None:
    """Store an attempt under its state, bound to the browser that began it; delete those that have
    expired.
    """
    connection.execute("DELETE FROM sign_in_attempts WHERE expires_at < now()")
    connection.execute(
        """
        INSERT INTO sign_in_attempts (state, nonce, verifier, browser, expires_at)
        VALUES (%s, %s, %s, %s, now() + interval '10 minutes')
        """,
        [state, attempt.nonce, attempt.verifier, hash_token(browser)],
    )


def take_sign_in(connection: Connection, *, state: str, browser: str) -> SignInAttempt | None:
    """Remove and return an attempt;

    None where it is unknown, has expired, or another browser began it.
    """
    with connection.cursor(row_factory=class_row(SignInAttempt)) as cursor:
        return cursor.execute(
            """
            DELETE FROM sign_in_attempts
            WHERE state = %s
              AND browser = %s
              AND expires_at > now()
            RETURNING nonce, verifier
            """,
            [state, hash_token(browser)],
        ).fetchone()
