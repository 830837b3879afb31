"""Whose fault is it? One gateway's nonsense stops nobody; the database's refusals, or everybody's
at once, stop us.
"""

from __future__ import annotations

import pytest

from ingest.account import BatchOutcome
from ingest.poison import Poison, Poisoned
from store.ingest.log import IngestTally, TallyKey


def outcome(**refused: tuple[int, int]) -> BatchOutcome:
    """Make an outcome: for each source how many it sent, and how many were refused."""
    return BatchOutcome(
        registered=set(refused),
        tallies={
            TallyKey(source, "readings"): IngestTally(
                received=sent, stored=sent - bad, quarantined=bad
            )
            for source, (sent, bad) in refused.items()
        },
    )


def test_one_gateway_may_talk_nonsense_for_ever() -> None:
    poison = Poison(window=1000)
    for _ in range(100):
        poison.note(outcome(bad=(10_000, 10_000), good=(10, 0)))


def test_everybody_at_once_is_our_fault() -> None:
    poison = Poison(window=1000)
    poison.note(outcome(**{f"gw{n}": (100, 90) for n in range(9)}))
    with pytest.raises(Poisoned, match="from 10 of 10 gateways at once"):
        poison.note(outcome(**{f"gw{n}": (100, 90) for n in range(10)}))


def test_names_that_nobody_registered_are_no_gateways() -> None:
    poison = Poison(window=1000)
    made_up = outcome(**{f"x{n}": (1000, 1000) for n in range(50)}, gw=(10, 0))
    made_up.registered = {"gw"}
    for _ in range(5):
        poison.note(made_up)


def test_a_minority_of_many_is_not() -> None:
    poison = Poison(window=1000)
    poison.note(outcome(**{f"gw{n}": (1000, 990 if n < 10 else 0) for n in range(30)}))


def test_refusals_of_the_database_in_a_row() -> None:
    poison = Poison(unstorable_in_a_row=3)
    poison.unstorable()
    poison.unstorable()
    poison.note(outcome(gw=(1, 0)))
    poison.unstorable()
    poison.unstorable()
    with pytest.raises(Poisoned, match="3 messages in a row"):
        poison.unstorable()
