"""Passwords and second factors: argon2id, and TOTP by RFC 6238.

At most two passwords are checked at a time, since each takes 64 MiB.

A new password is long, does not hold the user's name, and is not mostly made of words that are
tried first. It need not hold characters of every kind (NIST SP 800-63B, 5.1.1.2). A generated
password is shown once.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.access import Role
from store.access import users
from store.database.connection import Connection

MIN_LENGTH = 12
MAX_LENGTH = 200
#: Different characters that a password has at least.
MIN_DISTINCT = 6
#: Steps of thirty seconds that a device's clock may be off.
DRIFT_STEPS = 1
#: Who has granted what a command grants.
GRANTED_BY = "command line"
_COMMON = (
    "password",
    "123456",
    "qwerty",
    "abc123",
    "admin",
    "iloveyou",
    "5201314",
    "woaini",
    "anju",
    "安居",
)
_TWO_AT_A_TIME = threading.BoundedSemaphore(2)
_HASHER = PasswordHasher()
#: The hash that is checked for an unknown user, so that the answer takes as long.
_UNKNOWN_USER_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA"
    "$C1mO6Jw9Gm3YXQ9iDk5m1bGkQGcUuEybcQH4p9bEwXc"
)


def hash_password(password: str) -> str:
    """Hash a password."""
    with _TWO_AT_A_TIME:
        return _HASHER.hash(password)


def verify(password_hash: str | None, password: str) -> bool:
    """Check a password against a hash. None, for an unknown user, takes as long and is False."""
    with _TWO_AT_A_TIME:
        try:
            is_right = _HASHER.verify(password_hash or _UNKNOWN_USER_HASH, password)
        except (VerificationError, InvalidHashError):
            return False
    return bool(is_right and password_hash is not None)


def find_weakness(password: str, name: str) -> str | None:
    """Return why a new password is refused; None where it is good enough."""
    lower = password.lower()
    if len(password) < MIN_LENGTH:
        return f"a password has {MIN_LENGTH} characters at least"
    if len(set(password)) < MIN_DISTINCT:
        return "use more different characters"
    if len(name) > 2 and name.lower() in lower:
        return "leave your log-in's name out of it"
    remainder = lower
    for word in _COMMON:
        remainder = remainder.replace(word, "")
    if len(remainder) < MIN_LENGTH // 2:
        return "it is mostly made of words that are tried first"
    return None


def matching_step(secret: str, code: str, now_s: float | None = None) -> int | None:
    """Return the time step whose TOTP code this is, one step earlier or later allowed;

    None where there is none.
    """
    totp = pyotp.TOTP(secret)
    if now_s is None:
        now_s = time.time()
    current_step = int(now_s // totp.interval)
    for step in range(current_step - DRIFT_STEPS, current_step + DRIFT_STEPS + 1):
        expected = totp.at(step * totp.interval)
        if hmac.compare_digest(expected.encode(), code.encode()):
            return step
    return None


def new_totp(name: str) -> tuple[str, str]:
    """Make a TOTP secret; returns it and the address that an authenticator app reads."""
    secret = pyotp.random_base32()
    return secret, pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="Anju 安居")


def make_user(
    connection: Connection,
    name: str,
    role: Role,
    *,
    jurisdiction: str | None = None,
    estate: str | None = None,
    must_change_password: bool = True,
) -> str:
    """Add a user with a generated password, and return that password.

    Without jurisdiction and estate every estate is granted.

    Raises: ValueError where the jurisdiction or the estate is unknown.
    """
    password = secrets.token_urlsafe(12)
    user_id = users.add_user(
        connection, name, hash_password(password), role, must_change_password=must_change_password
    )
    if not users.add_grant(
        connection, user_id, by=GRANTED_BY, jurisdiction=jurisdiction, estate=estate
    ):
        place = "estate" if estate else "jurisdiction"
        raise ValueError(f"there is no {place} {estate or jurisdiction!r} in the register")
    connection.commit()
    return password
