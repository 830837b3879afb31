"""Leases: divided fairly, kept while they are renewed, taken over when they are not, and never held
by two.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from store.database.connection import Connection
from store.ingest import leases

pytestmark = pytest.mark.real
NAMES = ("events", "readings-0", "readings-1")
LONG = timedelta(seconds=30)


def renew(connection: Connection, worker: str, lease: timedelta = LONG) -> leases.HeldLeases:
    held = leases.renew(connection, worker, NAMES, lease)
    connection.commit()
    return held


def test_one_takes_all_and_gives_up_what_is_not_its_share(connection: Connection) -> None:
    assert renew(connection, "a").names == set(NAMES) and renew(connection, "a").surplus == ()
    assert renew(connection, "b").names == set(), "nothing is free yet"
    held = renew(connection, "a")
    assert len(held.surplus) == 1 and len(held.names) == 3
    leases.release(connection, "a", held.surplus)
    assert renew(connection, "b").names == set(held.surplus)
    assert renew(connection, "a").surplus == renew(connection, "b").surplus == ()


def test_a_lease_that_ran_out_is_taken_over(connection: Connection) -> None:
    assert renew(connection, "a").names == set(NAMES)
    connection.execute("UPDATE ingest_leases SET expires_at = now() - interval '1 second'")
    connection.execute("UPDATE ingest_workers SET seen_at = now() - interval '1 minute'")
    assert renew(connection, "b").names == set(NAMES)
    assert renew(connection, "a").names == set(), "the former holder knows that it holds nothing"


def test_who_leaves_makes_room_at_once(connection: Connection) -> None:
    renew(connection, "a")
    leases.release(connection, "a", NAMES)
    leases.leave(connection, "a")
    assert renew(connection, "b").names == set(NAMES)


def test_leases_of_a_larger_number_are_held_until_they_are_removed(connection: Connection) -> None:
    renew(connection, "a")
    leases.release(connection, "a", NAMES)
    leases.leave(connection, "a")
    held = leases.renew(connection, "b", NAMES[:2], LONG)
    assert held.names == set(NAMES)
    leases.remove(connection, "readings-1")
    assert leases.renew(connection, "b", NAMES[:2], LONG).names == set(NAMES[:2])
