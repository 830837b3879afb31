"""Users: their grants, passwords and second factors.

What a user's grants cover is resolved at each request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from domain.access import Principal, Role
from store.database.connection import Connection

#: Wrong passwords or codes in a row before a user is locked, and for how many minutes.
MAX_FAILURES = 5
LOCK_MINUTES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcIdentity:
    """What the bureau's own directory calls a user: its issuer URL, and its subject claim."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCredentials:
    """What a user is authenticated with. `password_hash` is None for a user of the directory."""

    id: int
    name: str
    password_hash: str | None
    must_change_password: bool
    totp_sealed: bytes | None
    totp_confirmed: bool
    locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserGrant:
    """A grant: the jurisdiction with all below it, the one estate, or (both None) every estate, and
    from when to when.
    """

    id: int
    user_id: int
    jurisdiction: str | None
    estate: str | None
    valid_from: datetime
    valid_to: datetime | None
    granted_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user as administrators see one."""

    id: int
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    issuer: str | None
    second_factor: bool
    must_change_password: bool
    locked: bool
    grants: tuple[UserGrant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalRow:
    """The columns of `PRINCIPAL_COLUMNS`."""

    user_id: int
    name: str
    role: str
    must_change_password: bool
    estate_ids: Sequence[int]
    everywhere: bool

    def to_principal(self) -> Principal:
        """Return the principal that these columns describe."""
        return Principal(
            user_id=self.user_id,
            name=self.name,
            role=Role(self.role),
            estate_ids=tuple(self.estate_ids),
            everywhere=self.everywhere,
            must_change_password=self.must_change_password,
        )


#: Columns of `users u` that make a principal.
PRINCIPAL_COLUMNS = sql.SQL("""
    u.id AS user_id,
    u.name,
    u.role,
    u.must_change_password,
    granted_estates(u.id) AS estate_ids,
    granted_all_estates(u.id) AS everywhere
""")

#: The condition that everything granted to the user `u` is granted to the principal as well. A user
#: without any grant belongs to the whole site.
WITHIN_GRANTS = sql.SQL("""
    granted_estates(u.id) <@ %(estates)s::integer[]
    AND (
        %(everywhere)s
        OR (granted_estates(u.id) <> '{}' AND NOT granted_all_estates(u.id))
    )
""")


def count_users(connection: Connection) -> int:
    """Count users; a site without any has to make one at its first start."""
    row = connection.execute("SELECT count(*) AS n FROM users").fetchone()
    return int(row["n"]) if row else 0


def add_user(
    connection: Connection,
    name: str,
    password_hash: str | None,
    role: Role,
    *,
    must_change_password: bool = True,
    identity: OidcIdentity | None = None,
) -> int:
    """Add a user without any grant; returns the user's id.

    Raises: DuplicateKey where the name or the identity is taken.
    """
    row = connection.execute(
        """
        INSERT INTO users (name, password_hash, role, must_change_password, issuer, subject)
        VALUES (%s, %s, %s, %s, %s, %s)
        RETURNING id
        """,
        [
            name,
            password_hash,
            role,
            must_change_password and password_hash is not None,
            identity.issuer if identity else None,
            identity.subject if identity else None,
        ],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def find_credentials(connection: Connection, name: str) -> UserCredentials | None:
    """Read what a user is authenticated with; None where the name is unknown or disabled."""
    with connection.cursor(row_factory=class_row(UserCredentials)) as cursor:
        return cursor.execute(
            _SELECT_CREDENTIALS + "WHERE name = %s AND disabled_at IS NULL", [name]
        ).fetchone()


def find_credentials_by_identity(
    connection: Connection, identity: OidcIdentity
) -> UserCredentials | None:
    """Read a user by what the bureau's own directory calls the user;

    None where unknown or disabled.
    """
    with connection.cursor(row_factory=class_row(UserCredentials)) as cursor:
        return cursor.execute(
            _SELECT_CREDENTIALS + "WHERE issuer = %s AND subject = %s AND disabled_at IS NULL",
            [identity.issuer, identity.subject],
        ).fetchone()


_SELECT_CREDENTIALS = """
    SELECT
        id,
        name,
        password_hash,
        must_change_password,
        totp_sealed,
        totp_confirmed,
        coalesce(locked_until > now(), false) AS locked
    FROM users
"""


def find_principal(connection: Connection, name: str) -> Principal | None:
    """Return the principal of a user's name; None where the user is unknown or disabled."""
    with connection.cursor(row_factory=class_row(PrincipalRow)) as cursor:
        row = cursor.execute(_SELECT_PRINCIPAL, [name]).fetchone()
    return row.to_principal() if row else None


_SELECT_PRINCIPAL = sql.SQL("""
    SELECT {}
    FROM users u
    WHERE u.name = %s
      AND u.disabled_at IS NULL
""").format(PRINCIPAL_COLUMNS)


def list_users(
    connection: Connection, principal: Principal, *, after: str | None = None, limit: int
) -> list[User]:
    """List users with their grants, by name, all of whose grants lie within the principal's."""
    return _list_users(connection, principal, {"after": after, "name": None, "limit": limit})


def find_user(connection: Connection, principal: Principal, name: str) -> User | None:
    """Read a user with grants;

    None where the user is unknown, or has a grant that is not within the principal's.
    """
    users = _list_users(connection, principal, {"after": None, "name": name, "limit": 1})
    return users[0] if users else None


def _list_users(
    connection: Connection, principal: Principal, criteria: dict[str, Any]
) -> list[User]:
    parameters = {**grant_parameters(principal), **criteria}
    with connection.cursor(row_factory=class_row(User)) as cursor:
        users = cursor.execute(_LIST_USERS, parameters).fetchall()
    grants_of: dict[int, list[UserGrant]] = defaultdict(list)
    with connection.cursor(row_factory=class_row(UserGrant)) as cursor:
        for user_grant in cursor.execute(_LIST_GRANTS, [[user.id for user in users]]):
            grants_of[user_grant.user_id].append(user_grant)
    return [replace(user, grants=tuple(grants_of[user.id])) for user in users]


def grant_parameters(principal: Principal) -> dict[str, Any]:
    """Return the parameters of `WITHIN_GRANTS`."""
    return {"estates": list(principal.estate_ids), "everywhere": principal.everywhere}


_LIST_USERS = sql.SQL("""
    SELECT
        u.id,
        u.name,
        u.role,
        u.created_at,
        u.disabled_at,
        u.issuer,
        u.totp_confirmed AS second_factor,
        u.must_change_password,
        coalesce(u.locked_until > now(), false) AS locked
    FROM users u
    WHERE {}
      AND (%(after)s::text IS NULL OR u.name > %(after)s)
      AND (%(name)s::text IS NULL OR u.name = %(name)s)
    ORDER BY u.name
    LIMIT %(limit)s
""").format(WITHIN_GRANTS)

_LIST_GRANTS = """
    SELECT
        g.id,
        g.user_id,
        j.code AS jurisdiction,
        e.code AS estate,
        g.valid_from,
        g.valid_to,
        g.granted_by
    FROM grants g
    LEFT JOIN jurisdictions j ON j.id = g.jurisdiction_id
    LEFT JOIN estates e ON e.id = g.estate_id
    WHERE g.user_id = ANY(%s)
    ORDER BY g.id
"""


# Grants -------------------------------------------------------------------------------------------


def add_grant(
    connection: Connection,
    user_id: int,
    *,
    by: str,
    jurisdiction: str | None = None,
    estate: str | None = None,
    valid_to: datetime | None = None,
) -> bool:
    """Grant a user a jurisdiction with all below it, one estate, or (neither named) every estate;

    False where that is unknown.
    """
    result = connection.execute(
        """
        INSERT INTO grants (user_id, jurisdiction_id, estate_id, valid_to, granted_by)
        SELECT %(user)s, j.id, e.id, %(valid_to)s, %(by)s
        FROM (SELECT) AS one_row
        LEFT JOIN jurisdictions j ON j.code = %(jurisdiction)s
        LEFT JOIN estates e ON e.code = %(estate)s
        WHERE (%(jurisdiction)s::text IS NULL OR j.id IS NOT NULL)
          AND (%(estate)s::text IS NULL OR e.id IS NOT NULL)
        """,
        {
            "user": user_id,
            "jurisdiction": jurisdiction,
            "estate": estate,
            "valid_to": valid_to,
            "by": by,
        },
    )
    return result.rowcount == 1


def estates_of_grant(
    connection: Connection, jurisdiction: str | None, estate: str | None
) -> list[int] | None:
    """Return the ids of the estates that a grant would cover;

    None where its place is unknown to the reader.
    """
    row = connection.execute(
        """
        SELECT estates_of_grant(j.id, e.id) AS estates
        FROM (SELECT) AS one_row
        LEFT JOIN jurisdictions j ON j.code = %(jurisdiction)s
        LEFT JOIN estates e ON e.code = %(estate)s
        WHERE (%(jurisdiction)s::text IS NULL OR j.id IS NOT NULL)
          AND (%(estate)s::text IS NULL OR e.id IS NOT NULL)
        """,
        {"jurisdiction": jurisdiction, "estate": estate},
    ).fetchone()
    return list(row["estates"]) if row else None


def withdraw_grant(connection: Connection, grant_id: int, user_id: int) -> bool:
    """End a user's grant from now on; False where it is not this user's, or has ended."""
    result = connection.execute(
        """
        UPDATE grants
        SET valid_to = greatest(now(), valid_from + interval '1 microsecond')
        WHERE id = %s
          AND user_id = %s
          AND (valid_to IS NULL OR valid_to > now())
        """,
        [grant_id, user_id],
    )
    return result.rowcount == 1


# Passwords, locks and roles -----------------------------------------------------------------------


def record_login(connection: Connection, user_id: int, *, success: bool) -> None:
    """Count a wrong password or code towards the lock; after a right one, start counting again."""
    if success:
        connection.execute(
            "UPDATE users SET failures = 0, locked_until = NULL WHERE id = %s", [user_id]
        )
        return
    connection.execute(
        """
        UPDATE users
        SET
            failures = CASE
                WHEN failures + 1 >= %(max)s THEN 0
                ELSE failures + 1
            END,
            locked_until = CASE
                WHEN failures + 1 >= %(max)s THEN now() + make_interval(mins => %(minutes)s)
                ELSE locked_until
            END
        WHERE id = %(user)s
        """,
        {"max": MAX_FAILURES, "minutes": LOCK_MINUTES, "user": user_id},
    )


def set_password(
    connection: Connection, user_id: int, password_hash: str, *, must_change: bool = False
) -> None:
    """Change a user's password and end all of the user's sessions."""
    connection.execute(
        """
        UPDATE users
        SET password_hash = %s, must_change_password = %s, failures = 0, locked_until = NULL
        WHERE id = %s
        """,
        [password_hash, must_change, user_id],
    )
    _end_sessions(connection, user_id)


def set_disabled(connection: Connection, user_id: int, *, disabled: bool) -> None:
    """Disable a user and end the user's sessions and keys at once, or enable the user again."""
    connection.execute(
        """
        UPDATE users
        SET disabled_at = CASE WHEN %s THEN coalesce(disabled_at, now()) END
        WHERE id = %s
        """,
        [disabled, user_id],
    )
    if disabled:
        _end_sessions(connection, user_id)
        connection.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE user_id = %s AND revoked_at IS NULL",
            [user_id],
        )


def set_role(connection: Connection, user_id: int, role: Role) -> None:
    """Give a user another role, and end the sessions that have the old one."""
    connection.execute("UPDATE users SET role = %s WHERE id = %s", [role, user_id])
    _end_sessions(connection, user_id)


def _end_sessions(connection: Connection, user_id: int) -> None:
    connection.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])


# Second factor ------------------------------------------------------------------------------------


def save_totp_secret(connection: Connection, user_id: int, sealed: bytes) -> None:
    """Save a new sealed TOTP secret; it counts once a code was shown for it."""
    connection.execute(
        """
        UPDATE users
        SET totp_sealed = %s, totp_confirmed = false, totp_step = 0
        WHERE id = %s
        """,
        [sealed, user_id],
    )


def use_totp_step(connection: Connection, user_id: int, step: int) -> bool:
    """Use up a code's time step; False where it or a later one was used (RFC 6238, 5.2)."""
    result = connection.execute(
        """
        UPDATE users
        SET totp_step = %(step)s, totp_confirmed = true
        WHERE id = %(user)s
          AND totp_step < %(step)s
        """,
        {"step": step, "user": user_id},
    )
    return result.rowcount == 1


def clear_totp_secret(connection: Connection, user_id: int) -> None:
    """Delete the second factor of a user who has lost the device."""
    connection.execute(
        """
        UPDATE users
        SET totp_sealed = NULL, totp_confirmed = false, totp_step = 0
        WHERE id = %s
        """,
        [user_id],
    )
