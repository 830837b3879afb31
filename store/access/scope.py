"""What a transaction says of its reader, which row-level security goes by; nothing said is nothing seen.

Every setting is local to the transaction (`set_config(…, true)`): a connection that goes back to the pool carries nothing on. The services
work as the tables' owner, whom these settings do not bind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from domain.access import Action, Principal
from domain.alerting import AlertClass
from store.database.connection import Connection

_SET = (
    "SELECT set_config('anju.scope', %s, true), set_config('anju.permissions', %s, true), set_config('anju.user', %s, true), "
    "set_config('anju.all_estates', %s, true), set_config('anju.signing_in', '', true)"
)


def enter(connection: Connection, who: Principal) -> None:
    """Show this transaction what a principal may see, and no more."""
    sees = who.sees | ({"approvals"} if who.may(Action.APPROVE_UNMASK) else set())
    connection.execute(
        _SET,
        [
            ",".join(map(str, who.estate_ids)),
            ",".join(sorted(sees)),
            str(who.user_id),
            "yes" if who.everywhere else "",
        ],
    )


def enter_everywhere(connection: Connection) -> None:
    """Show this transaction every alert of every estate: for the one reader of changes, who serves all streams."""
    connection.execute(
        "SELECT set_config('anju.scope', array_to_string(all_estates(), ','), true), set_config('anju.permissions', %s, true)",
        [",".join(sorted(AlertClass))],
    )


def enter_owner(connection: Connection, user_id: int) -> None:
    """Show this transaction a log-in's own files, and nothing else."""
    connection.execute("SELECT set_config('anju.user', %s, true)", [str(user_id)])


@contextmanager
def at_door(connection: Connection) -> Iterator[None]:
    """Let the block look at log-ins, keys and gateways' papers, as one has to before anybody is known."""
    connection.execute("SELECT set_config('anju.signing_in', 'yes', true)")
    yield
    # After an exception the transaction is over anyway, and the setting with it.
    connection.execute("SELECT set_config('anju.signing_in', '', true)")
