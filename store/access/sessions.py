"""Sessions and machines' keys. Both are kept as hashes only; a session's token is changed as it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import sql

from domain.access import Action, Principal
from store.access.users import PRINCIPAL, principal_of
from store.database.connection import Connection

SESSION_HOURS = 12
IDLE_HOURS = 2
#: After this a browser is given another token; the one before holds for a minute more, for what is under way.
ROTATE_MINUTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is logged in, the token that changes need, and whether the session's own token is due to change."""

    principal: Principal
    csrf: str
    stale: bool


def hash_of(token: str) -> bytes:
    """Return what is kept of a token: its SHA-256. Tokens are 256 random bits, so there is nothing to guess."""
    return hashlib.sha256(token.encode()).digest()


def open_session(
    connection: Connection, user_id: int, token: str, csrf: str, *, second_factor: bool = False
) -> None:
    """Begin a session and sweep those that ended."""
    connection.execute("DELETE FROM sessions WHERE expires_at < now()")
    connection.execute(
        "INSERT INTO sessions (token_hash, user_id, csrf, second_factor, expires_at) "
        "VALUES (%s, %s, %s, %s, now() + make_interval(hours => %s))",
        [hash_of(token), user_id, csrf, second_factor, SESSION_HOURS],
    )


def close_session(connection: Connection, token: str) -> None:
    """End a session."""
    connection.execute(
        "DELETE FROM sessions WHERE token_hash = %(hash)s OR old_hash = %(hash)s",
        {"hash": hash_of(token)},
    )


def rotate(
    connection: Connection, token: str, new: str, *, second_factor: bool | None = None
) -> bool:
    """Give a session another token, and with `second_factor` more rights; False where it was given one meanwhile."""
    done = connection.execute(
        "UPDATE sessions SET token_hash = %s, old_hash = CASE WHEN %s::boolean IS NULL THEN token_hash END, rotated_at = now(), "
        "second_factor = coalesce(%s, second_factor) WHERE token_hash = %s",
        [hash_of(new), second_factor, second_factor, hash_of(token)],
    )
    return done.rowcount == 1


_FIND = sql.SQL(
    "SELECT {}, s.csrf, s.second_factor, s.token_hash, s.seen_at < now() - interval '1 minute' AS unseen, "
    "s.token_hash = %(hash)s AND s.rotated_at < now() - make_interval(mins => %(rotate)s) AS stale "
    "FROM sessions s JOIN users u ON u.id = s.user_id "
    "WHERE (s.token_hash = %(hash)s OR (s.old_hash = %(hash)s AND s.rotated_at > now() - interval '1 minute')) "
    "AND s.expires_at > now() AND s.seen_at > now() - make_interval(hours => %(idle)s) AND u.disabled_at IS NULL"
).format(PRINCIPAL)


def find_session(connection: Connection, token: str) -> Session | None:
    """Resolve a session's token to who it is; None where it is unknown, has ended, or nobody used it for hours."""
    values = {"hash": hash_of(token), "rotate": ROTATE_MINUTES, "idle": IDLE_HOURS}
    row = connection.execute(_FIND, values).fetchone()
    if row is None:
        return None
    if row["unseen"]:
        connection.execute(
            "UPDATE sessions SET seen_at = now() WHERE token_hash = %s", [row["token_hash"]]
        )
    who = replace(principal_of(row), second_factor=row["second_factor"])
    return Session(principal=who, csrf=row["csrf"], stale=row["stale"])


# Keys -----------------------------------------------------------------------------------------------------------------


def add_key(
    connection: Connection,
    user_id: int,
    name: str,
    token: str,
    actions: Sequence[Action],
    expires_at: datetime,
    *,
    by: str,
) -> int:
    """Make a machine's key for a log-in; returns its id."""
    row = connection.execute(
        "INSERT INTO api_keys (user_id, name, token_hash, hint, actions, expires_at, made_by) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [user_id, name, hash_of(token), token[:9], sorted(actions), expires_at, by],
    ).fetchone()
    assert row is not None
    return int(row["id"])


_KEY = sql.SQL(
    "SELECT {}, k.id AS key_id, k.actions, coalesce(k.last_used_at < now() - interval '1 minute', true) AS unseen "
    "FROM api_keys k JOIN users u ON u.id = k.user_id "
    "WHERE k.token_hash = %s AND k.revoked_at IS NULL AND k.expires_at > now() AND u.disabled_at IS NULL"
).format(PRINCIPAL)


def find_key(connection: Connection, token: str) -> Principal | None:
    """Resolve a key to who it acts for and what it may; None where it is unknown, revoked or expired."""
    row = connection.execute(_KEY, [hash_of(token)]).fetchone()
    if row is None:
        return None
    if row["unseen"]:
        connection.execute(
            "UPDATE api_keys SET last_used_at = now() WHERE id = %s", [row["key_id"]]
        )
    actions = frozenset(Action(name) for name in row["actions"] if name in list(Action))
    return replace(
        principal_of(row), key_actions=actions, key_id=row["key_id"], must_change_password=False
    )


#: Keys of log-ins whose whole reach lies within a principal's, as `users.list_users` has it.
_WITHIN = sql.SQL(
    "granted_estates(k.user_id) <@ %(estates)s::integer[] AND (%(everywhere)s OR (granted_estates(k.user_id) <> '{}' "
    "AND NOT granted_all_estates(k.user_id)))"
)
_LIST_KEYS = sql.SQL(
    "SELECT k.id, u.name AS user, k.name, k.hint, k.actions, k.made_at, k.made_by, k.expires_at, k.last_used_at, k.revoked_at "
    "FROM api_keys k JOIN users u ON u.id = k.user_id WHERE (%(before)s::integer IS NULL OR k.id < %(before)s) AND {} "
    "ORDER BY k.id DESC LIMIT %(limit)s"
).format(_WITHIN)
_REVOKE_KEY = sql.SQL(
    "UPDATE api_keys k SET revoked_at = coalesce(revoked_at, now()) WHERE k.id = %(key)s AND {}"
).format(_WITHIN)


def list_keys(
    connection: Connection, who: Principal, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """List keys of log-ins within a principal's reach, newest first; never their text."""
    return connection.execute(
        _LIST_KEYS, {**_reach(who), "before": before, "limit": limit}
    ).fetchall()


def revoke_key(connection: Connection, key_id: int, who: Principal) -> bool:
    """End a key; False where there is none within a principal's reach."""
    return connection.execute(_REVOKE_KEY, {**_reach(who), "key": key_id}).rowcount == 1


def _reach(who: Principal) -> dict[str, Any]:
    return {"estates": list(who.estate_ids), "everywhere": who.everywhere}


# Log-ins at the bureau's directory ------------------------------------------------------------------------------------


def begin_sign_in(
    connection: Connection, state: str, nonce: str, verifier: str, browser: str
) -> None:
    """Note a log-in at the directory that was begun, bound to the browser that began it."""
    connection.execute("DELETE FROM sign_in_attempts WHERE expires_at < now()")
    connection.execute(
        "INSERT INTO sign_in_attempts (state, nonce, verifier, browser, expires_at) VALUES (%s, %s, %s, %s, now() + interval '10 minutes')",
        [state, nonce, verifier, hash_of(browser)],
    )


def take_sign_in(connection: Connection, state: str, browser: str) -> dict[str, Any] | None:
    """Use up a log-in that was begun: once, in time, and by the browser that began it."""
    return connection.execute(
        "DELETE FROM sign_in_attempts WHERE state = %s AND browser = %s AND expires_at > now() RETURNING nonce, verifier",
        [state, hash_of(browser)],
    ).fetchone()
