"""What row-level security knows of a transaction's reader: estates, permissions and user.

Without it, no row is visible.

Every setting is local to the transaction (`set_config(…, true)`), so a connection that goes back to
the pool carries nothing on. The services work as the tables' owner, to whom these settings do not
apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from domain.access import Principal
from domain.alerting import AlertClass
from store.database.connection import Connection

_SET_READER = """
    SELECT
        set_config('anju.scope', %s, true),
        set_config('anju.permissions', %s, true),
        set_config('anju.user', %s, true),
        set_config('anju.all_estates', %s, true),
        set_config('anju.signing_in', '', true)
"""


def enter(connection: Connection, principal: Principal) -> None:
    """Make visible to this transaction what a principal may see, and nothing else."""
    connection.execute(
        _SET_READER,
        [
            ",".join(map(str, principal.estate_ids)),
            ",".join(sorted(principal.permissions)),
            str(principal.user_id),
            "yes" if principal.everywhere else "",
        ],
    )


def enter_everywhere(connection: Connection) -> None:
    """Make every alert of every estate visible, for the one reader of changes that serves all
    streams.
    """
    connection.execute(
        """
        SELECT
            set_config('anju.scope', array_to_string(all_estates(), ','), true),
            set_config('anju.permissions', %s, true)
        """,
        [",".join(sorted(AlertClass))],
    )


def enter_owner(connection: Connection, user_id: int) -> None:
    """Make a user's own files visible, and nothing else."""
    connection.execute("SELECT set_config('anju.user', %s, true)", [str(user_id)])


@contextmanager
def signing_in(connection: Connection) -> Iterator[None]:
    """Make users, sessions, keys and gateway certificates visible to the block, which has to find
    out who sends a request.
    """
    connection.execute("SELECT set_config('anju.signing_in', 'yes', true)")
    yield
    # After an exception the transaction is over anyway, and the setting with it.
    connection.execute("SELECT set_config('anju.signing_in', '', true)")
