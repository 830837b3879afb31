"""Connections to PostgreSQL, with every limit explicit: no call waits for ever.

The driver's errors are named at one place, so that callers need to know few words. `Unavailable`
means to try again later, `Unstorable` that a batch holds something that cannot be stored.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from psycopg_pool import PoolTimeout as PoolTimeout

Connection = psycopg.Connection[Any]
Pool = ConnectionPool[psycopg.Connection[DictRow]]

#: Raised when the server is away, restarting or out of room: the same work may succeed later.
Unavailable = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
#: Raised when two transactions met: the same work succeeds when it is done again.
SerializationConflict = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
)
#: Raised when a row that must be unique is there already: another worker was faster.
DuplicateKey = psycopg.errors.UniqueViolation
#: Raised when the database has no tables yet.
UndefinedTable = psycopg.errors.UndefinedTable
#: Raised when row-level security, or a privilege that is missing, refuses what the API asked for.
InsufficientPrivilege = psycopg.errors.InsufficientPrivilege
#: Raised for anything that the server refuses.
DatabaseError = psycopg.DatabaseError
#: Raised when what is being written cannot be stored as it is.
Unstorable = (psycopg.DataError, psycopg.IntegrityError)

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 120


def connect(
    dsn: str, *, autocommit: bool = False, statement_s: int = STATEMENT_SECONDS, alone: bool = False
) -> Connection:
    """Open one connection whose statements are bounded in time.

    With `alone` each query runs in one process: for workers that stand side by side.

    Raises: Unavailable where the server cannot be reached.
    """
    options = f"-c statement_timeout={statement_s}s -c timezone=UTC"
    if alone:
        options += " -c max_parallel_workers_per_gather=0"
    return psycopg.connect(
        dsn,
        autocommit=autocommit,
        connect_timeout=CONNECT_SECONDS,
        options=options,
        row_factory=dict_row,
        prepare_threshold=5,
    )


#: The log-in of the API, which row-level security binds (migration 0013).
API_ROLE = "anju_api"


def open_pool(dsn: str, *, size: int = 8, password: str | None = None) -> Pool:
    """Open a pool of connections for the API, as `API_ROLE`.

    Each statement is bounded to 15 seconds and each wait for a connection to 5. `dsn` names the
    server and the database; its own log-in and password are not used.
    """
    return ConnectionPool(
        make_conninfo(dsn, user=API_ROLE, password=password),
        min_size=1,
        max_size=size,
        timeout=5,
        kwargs={
            "row_factory": dict_row,
            "connect_timeout": CONNECT_SECONDS,
            "options": "-c statement_timeout=15s -c timezone=UTC",
        },
        open=True,
    )


def dsn_fault(dsn: str) -> str | None:
    """Say what is wrong with a connection string; None where it can be read."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        return str(error).strip()
    return None


def environment(dsn: str) -> dict[str, str]:
    """Return a connection string as environment variables of libpq (PostgreSQL manual, 34.15)."""
    parameters = conninfo_to_dict(dsn)
    return {
        variable: str(parameters[name])
        for name, variable in _LIBPQ_VARIABLES.items()
        if parameters.get(name) is not None
    }


_LIBPQ_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "password": "PGPASSWORD",
}


def with_password(dsn: str, password: str) -> str:
    """Put a password into a connection string."""
    return make_conninfo(dsn, password=password)


def accepts(dsn: str) -> bool:
    """Whether a server takes connections."""
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def set_api_password(connection: Connection, password: str) -> None:
    """Give the API's log-in its password.

    Only its SCRAM verifier is ever sent (PostgreSQL manual, 53.3).
    """
    verifier = connection.pgconn.encrypt_password(
        password.encode(), API_ROLE.encode(), b"scram-sha-256"
    )
    connection.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(API_ROLE), sql.Literal(verifier.decode())
        )
    )


def with_database(dsn: str, name: str) -> str:
    """Name another database of the same server."""
    return make_conninfo(dsn, dbname=name)


def make_database(admin_dsn: str, name: str, *, template: str = "template1") -> None:
    """Make a database if it is not there, as a copy of another."""
    if exists(admin_dsn, name):
        return
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        connection.execute(statement)


def exists(admin_dsn: str, name: str) -> bool:
    """Whether a database is there."""
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        return row is not None


def drop_database(admin_dsn: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


class Deadline:
    """Cut a connection that does not answer in time.

    A server that is stopped, or a network that swallows, answers neither a statement nor its
    timeout: `statement_timeout` is kept by the very process that hangs. So a thread of our own
    shuts the socket down, and whoever waits gets Unavailable.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._timer = threading.Timer(seconds, _cut, [connection])
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _cut(connection: Connection) -> None:
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        # It has been closed meanwhile.
        return


@contextmanager
def advisory_lock(connection: Connection, key: LiteralString, number: int = 0) -> Iterator[None]:
    """Hold a named lock of the database for the length of the block.

    `number` chooses one of several locks of that name. Where another session holds it, we wait.
    The lock is the session's: the open transaction is committed before the block, and after it
    unless the block fails.
    """
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, %s))", [key, number])
    connection.commit()
    try:
        yield
    except BaseException:
        # The caller sees what went wrong first, and not the next statement's error.
        if not connection.broken:
            connection.rollback()
        raise
    finally:
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, %s))", [key, number])
            connection.commit()
