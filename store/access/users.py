"""Log-ins: what they reach and how long, their passwords, their second factor. What they reach is resolved at each request."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import sql

from domain.access import Principal, Role
from store.database.connection import Connection

#: Wrong passwords or codes in a row before a log-in is locked, and for how many minutes.
MAX_FAILURES = 5
LOCK_MINUTES = 15

#: What makes a principal of a row of `users u`.
PRINCIPAL = sql.SQL(
    "u.id, u.name, u.role, u.must_change_password, granted_estates(u.id) AS estates, granted_all_estates(u.id) AS everywhere"
)


def count_users(connection: Connection) -> int:
    """Count log-ins; none means that the first start has to make one."""
    row = connection.execute("SELECT count(*) AS n FROM users").fetchone()
    return int(row["n"]) if row else 0


def add_user(
    connection: Connection,
    name: str,
    password_hash: str | None,
    role: Role,
    *,
    must_change_password: bool = True,
    issuer: str | None = None,
    subject: str | None = None,
) -> int:
    """Make a log-in that reaches nothing yet; returns its id."""
    row = connection.execute(
        "INSERT INTO users (name, password_hash, role, must_change_password, issuer, subject) VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
        [
            name,
            password_hash,
            role,
            must_change_password and password_hash is not None,
            issuer,
            subject,
        ],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def grant(
    connection: Connection,
    user_id: int,
    *,
    by: str,
    jurisdiction: str | None = None,
    estate: str | None = None,
    valid_to: datetime | None = None,
) -> bool:
    """Let a log-in reach a jurisdiction with all below it, one estate, or (neither named) everything; False where that is not known."""
    done = connection.execute(
        "INSERT INTO grants (user_id, jurisdiction_id, estate_id, valid_to, granted_by) SELECT %(user)s, j.id, e.id, %(to)s, %(by)s "
        "FROM (SELECT) AS one LEFT JOIN jurisdictions j ON j.code = %(j)s LEFT JOIN estates e ON e.code = %(e)s "
        "WHERE (%(j)s::text IS NULL OR j.id IS NOT NULL) AND (%(e)s::text IS NULL OR e.id IS NOT NULL)",
        {"user": user_id, "j": jurisdiction, "e": estate, "to": valid_to, "by": by},
    )
    return done.rowcount == 1


def estates_of(
    connection: Connection, jurisdiction: str | None, estate: str | None
) -> list[int] | None:
    """Return the estates of a reach; None where its jurisdiction or estate is not known within the reader's."""
    row = connection.execute(
        "SELECT estates_of_grant(j.id, e.id) AS estates FROM (SELECT) AS one LEFT JOIN jurisdictions j ON j.code = %(j)s "
        "LEFT JOIN estates e ON e.code = %(e)s WHERE (%(j)s::text IS NULL OR j.id IS NOT NULL) AND (%(e)s::text IS NULL OR e.id IS NOT NULL)",
        {"j": jurisdiction, "e": estate},
    ).fetchone()
    return list(row["estates"]) if row else None


def withdraw(connection: Connection, reach_id: int, user_id: int) -> bool:
    """End what a log-in reaches, from now on; False where that is not its reach or over already."""
    done = connection.execute(
        "UPDATE grants SET valid_to = greatest(now(), valid_from + interval '1 microsecond') WHERE id = %s AND user_id = %s "
        "AND (valid_to IS NULL OR valid_to > now())",
        [reach_id, user_id],
    )
    return done.rowcount == 1


def find_user(connection: Connection, name: str) -> dict[str, Any] | None:
    """Read a log-in by its name, with whether it is locked now."""
    return connection.execute(
        "SELECT *, coalesce(locked_until > now(), false) AS locked FROM users WHERE name = %s AND disabled_at IS NULL",
        [name],
    ).fetchone()


def find_by_subject(connection: Connection, issuer: str, subject: str) -> dict[str, Any] | None:
    """Read a log-in by what the bureau's own directory calls it."""
    return connection.execute(
        "SELECT * FROM users WHERE issuer = %s AND subject = %s AND disabled_at IS NULL",
        [issuer, subject],
    ).fetchone()


def note_login(connection: Connection, user_id: int, *, success: bool) -> None:
    """Count a wrong password or code towards the lock, or forget those before a right one."""
    if success:
        connection.execute(
            "UPDATE users SET failures = 0, locked_until = NULL WHERE id = %s", [user_id]
        )
        return
    connection.execute(
        "UPDATE users SET failures = CASE WHEN failures + 1 >= %s THEN 0 ELSE failures + 1 END, "
        "locked_until = CASE WHEN failures + 1 >= %s THEN now() + make_interval(mins => %s) ELSE locked_until END "
        "WHERE id = %s",
        [MAX_FAILURES, MAX_FAILURES, LOCK_MINUTES, user_id],
    )


def set_password(
    connection: Connection, user_id: int, password_hash: str, *, must_change: bool = False
) -> None:
    """Change a password and end every session of its owner."""
    connection.execute(
        "UPDATE users SET password_hash = %s, must_change_password = %s, failures = 0, locked_until = NULL WHERE id = %s",
        [password_hash, must_change, user_id],
    )
    connection.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])


def set_disabled(connection: Connection, user_id: int, *, disabled: bool) -> None:
    """Shut a log-in out at once, with its sessions and keys, or let it in again; nothing that it did goes away."""
    connection.execute(
        "UPDATE users SET disabled_at = CASE WHEN %s THEN coalesce(disabled_at, now()) END WHERE id = %s",
        [disabled, user_id],
    )
    if disabled:
        connection.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])
        connection.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE user_id = %s AND revoked_at IS NULL",
            [user_id],
        )


def set_role(connection: Connection, user_id: int, role: Role) -> None:
    """Give a log-in another role; its sessions end, so that none goes on with the old one."""
    connection.execute("UPDATE users SET role = %s WHERE id = %s", [role, user_id])
    connection.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])


# Second factor --------------------------------------------------------------------------------------------------------


def offer_totp(connection: Connection, user_id: int, sealed: bytes) -> None:
    """Keep a new sealed TOTP secret that counts once a code was shown for it."""
    connection.execute(
        "UPDATE users SET totp_sealed = %s, totp_confirmed = false, totp_step = 0 WHERE id = %s",
        [sealed, user_id],
    )


def use_totp_step(connection: Connection, user_id: int, step: int) -> bool:
    """Use up a code's time step; False where it, or a later one, was used before (RFC 6238, 5.2)."""
    done = connection.execute(
        "UPDATE users SET totp_step = %s, totp_confirmed = true WHERE id = %s AND totp_step < %s",
        [step, user_id, step],
    )
    return done.rowcount == 1


def clear_totp(connection: Connection, user_id: int) -> None:
    """Forget a second factor, of a person who lost the device."""
    connection.execute(
        "UPDATE users SET totp_sealed = NULL, totp_confirmed = false, totp_step = 0 WHERE id = %s",
        [user_id],
    )


# Who somebody is ------------------------------------------------------------------------------------------------------


def find_principal(connection: Connection, name: str) -> Principal | None:
    """Resolve a log-in's name to who it is; None where it is unknown or disabled."""
    row = connection.execute(_BY_NAME, [name]).fetchone()
    return principal_of(row) if row else None


_BY_NAME = sql.SQL("SELECT {} FROM users u WHERE u.name = %s AND u.disabled_at IS NULL").format(
    PRINCIPAL
)


def principal_of(row: dict[str, Any]) -> Principal:
    """Make a principal of a row with the columns of `PRINCIPAL`."""
    return Principal(
        user_id=row["id"],
        name=row["name"],
        role=Role(row["role"]),
        estate_ids=tuple(row["estates"]),
        everywhere=row["everywhere"],
        must_change_password=row["must_change_password"],
    )


_LIST = (
    "SELECT u.id, u.name, u.role, u.created_at, u.disabled_at, u.issuer, u.totp_confirmed AS second_factor, u.must_change_password, "
    "coalesce(u.locked_until > now(), false) AS locked, (SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'jurisdiction', j.code, "
    "'estate', e.code, 'from', r.valid_from, 'to', r.valid_to, 'granted_by', r.granted_by) ORDER BY r.id), '[]') FROM grants r "
    "LEFT JOIN jurisdictions j ON j.id = r.jurisdiction_id LEFT JOIN estates e ON e.id = r.estate_id WHERE r.user_id = u.id) AS reaches "
    "FROM users u WHERE (granted_estates(u.id) <@ %(estates)s::integer[] AND (%(everywhere)s OR (granted_estates(u.id) <> '{}' "
    "AND NOT granted_all_estates(u.id)))) AND (%(after)s::text IS NULL OR u.name > %(after)s) "
    "AND (%(name)s::text IS NULL OR u.name = %(name)s) ORDER BY u.name LIMIT %(limit)s"
)


def list_users(
    connection: Connection, who: Principal, after: str | None, limit: int, name: str | None = None
) -> list[dict[str, Any]]:
    """List log-ins whose whole reach lies within a principal's, by name; those who reach nothing are the whole site's."""
    values = {
        "estates": list(who.estate_ids),
        "everywhere": who.everywhere,
        "after": after,
        "limit": limit,
        "name": name,
    }
    return connection.execute(
        _LIST,
        values,
    ).fetchall()
