"""Passwords: argon2id, never more than two checked at a time (each takes 64 MiB), generated ones are printed once."""

from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.access import Role
from store import users
from store.connect import Connection

MIN_LENGTH = 12
MAX_LENGTH = 200
_AT_ONCE = threading.BoundedSemaphore(2)
_HASHER = PasswordHasher()
#: Checked for a log-in that does not exist, so that its answer takes as long.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$C1mO6Jw9Gm3YXQ9iDk5m1bGkQGcUuEybcQH4p9bEwXc"


def hash_password(password: str) -> str:
    """Hash a password."""
    with _AT_ONCE:
        return _HASHER.hash(password)


def verify(password_hash: str | None, password: str) -> bool:
    """Check a password against a hash; None (no such log-in) takes as long and is False."""
    with _AT_ONCE:
        try:
            right = _HASHER.verify(password_hash or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            return False
    return bool(right and password_hash is not None)


def make_user(
    connection: Connection,
    name: str,
    role: Role,
    *,
    jurisdiction: str | None = None,
    estate: str | None = None,
    must_change_password: bool = True,
) -> str:
    """Make a log-in with a generated password and return that password."""
    password = secrets.token_urlsafe(12)
    users.add_user(
        connection,
        name,
        hash_password(password),
        role,
        jurisdiction=jurisdiction,
        estate=estate,
        must_change_password=must_change_password,
    )
    connection.commit()
    return password
