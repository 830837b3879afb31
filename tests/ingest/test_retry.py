"""Trouble that ends by itself is waited out, and one message that cannot be stored takes no other
with it.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rejection import Reason, Rejected
from ingest.account import BatchOutcome
from ingest.message import ReceivedMessage
from ingest.poison import Poison, Poisoned
from ingest.retry import MAX_ATTEMPTS, RetryingWriter


class FakeWriter:
    """Fails as it is told to: for bad messages, or so many times."""

    lane = "test"

    def __init__(self, bad: set[int], *, conflicts: int = 0) -> None:
        self.bad = bad
        self.conflicts = conflicts
        self.stored: list[int] = []
        self.quarantined: list[int] = []

    def write(
        self,
        _ledger: Any,
        messages: list[ReceivedMessage],
        _now_ms: int,
        *,
        rejection: Rejected | None = None,
    ) -> BatchOutcome:
        if self.conflicts:
            self.conflicts -= 1
            raise psycopg.errors.SerializationFailure("planted")
        numbers = [message.packet_id for message in messages]
        if rejection is not None:
            assert rejection.reason is Reason.UNSTORABLE
            self.quarantined += numbers
        elif self.bad & set(numbers):
            raise psycopg.DataError("planted")
        else:
            self.stored += numbers
        return BatchOutcome()


def write(writer: FakeWriter, count: int, poison: Poison | None = None) -> list[int]:
    """Write numbered messages; return the numbers in the order in which they were committed."""
    retrying = RetryingWriter(writer, poison or Poison(), lambda: 0)  # type: ignore[arg-type]
    messages = [ReceivedMessage(b"t", b"", number) for number in range(count)]
    committed = list(retrying.write(None, messages))  # type: ignore[arg-type]
    return [message.packet_id for part in committed for message in part.messages]


@given(st.integers(1, 40), st.sets(st.integers(0, 39)))
def test_exactly_the_bad_ones_are_set_aside(count: int, bad: set[int]) -> None:
    writer = FakeWriter(bad)
    assert write(writer, count, Poison(unstorable_in_a_row=1000)) == list(range(count))
    assert writer.quarantined == sorted(number for number in bad if number < count)
    assert writer.stored == [number for number in range(count) if number not in bad]


def test_a_conflict_is_tried_again_but_not_for_ever() -> None:
    writer = FakeWriter(set(), conflicts=MAX_ATTEMPTS - 1)
    assert write(writer, 3) == [0, 1, 2]
    with pytest.raises(psycopg.errors.SerializationFailure):
        write(FakeWriter(set(), conflicts=MAX_ATTEMPTS), 3)


def test_a_database_that_refuses_all_stops_us() -> None:
    with pytest.raises(Poisoned):
        write(FakeWriter(set(range(100))), 100, Poison(unstorable_in_a_row=5))
