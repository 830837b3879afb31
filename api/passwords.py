"""Passwords and second factors: argon2id, never more than two checked at a time (each takes 64 MiB); TOTP by RFC 6238.

A new password is long, not the log-in's name, and not one of the patterns that are tried first; it need not hold signs of every kind
(NIST SP 800-63B, 5.1.1.2). Generated ones are printed once.
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
#: Steps of thirty seconds that a device's clock may be off.
DRIFT_STEPS = 1
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


def weakness(password: str, name: str) -> str | None:
    """Say why a new password is refused; None where it is good enough."""
    low = password.lower()
    if len(password) < MIN_LENGTH:
        return f"a password has {MIN_LENGTH} characters at least"
    if len(set(password)) < 6:
        return "use more different characters"
    if len(name) > 2 and name.lower() in low:
        return "leave your log-in's name out of it"
    rest = low
    for word in _COMMON:
        rest = rest.replace(word, "")
    if len(rest) < MIN_LENGTH // 2:
        return "it is mostly made of words that are tried first"
    return None


def matching_step(secret: str, code: str, now_s: float | None = None) -> int | None:
    """Return the time step whose TOTP code this is, a step of drift allowed each way; None where it is none."""
    totp, now = pyotp.TOTP(secret), time.time() if now_s is None else now_s
    step = int(now // totp.interval)
    for offset in range(-DRIFT_STEPS, DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.at((step + offset) * totp.interval).encode(), code.encode()):
            return step + offset
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
    by: str = "command line",
) -> str:
    """Make a log-in with a generated password and return that password. Without jurisdiction and estate it reaches everything.

    Raises: ValueError where the jurisdiction or the estate is not known.
    """
    password = secrets.token_urlsafe(12)
    made = users.add_user(
        connection, name, hash_password(password), role, must_change_password=must_change_password
    )
    if not users.grant(connection, made, by=by, jurisdiction=jurisdiction, estate=estate):
        raise ValueError(
            f"there is no {'estate' if estate else 'jurisdiction'} {estate or jurisdiction!r} in the register"
        )
    connection.commit()
    return password
