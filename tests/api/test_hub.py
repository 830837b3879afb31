"""The hub.

A change is handed over however late its transaction commits, and what is told as safe is safe.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.hub import Hub, SequenceGaps, StreamedUpdate
from store.alerts.changes import AlertUpdate
from store.database.connection import Connection, connect, open_pool
from store.live.bus import LiveBus
from tests.store.alerts.test_alerts import estate, wanted


@given(st.integers(0, 2**32), st.integers(1, 60), st.floats(0, 0.4))
def test_nothing_below_the_safe_number_is_ever_missing(
    seed: int, count: int, rolled_back: float
) -> None:
    """A simulated database.

    Numbers are drawn in order, transactions commit in any order or roll back, looks come at any
    time.
    """
    rng = random.Random(seed)
    under_way: dict[int, int] = {}
    visible: set[int] = set()
    will_never: set[int] = set()
    gaps, high, told, now, drawn, xid = SequenceGaps(), 0, set[int](), 0.0, 0, 100
    while drawn < count or under_way:
        now += rng.choice([0.01, 0.3, 1.5])
        if drawn < count and rng.random() < 0.5:
            drawn, xid = drawn + 1, xid + 1
            under_way[drawn] = xid
        if under_way and rng.random() < 0.4:
            number = rng.choice(list(under_way))
            del under_way[number]
            (will_never if rng.random() < rolled_back else visible).add(number)
        oldest = min(under_way.values(), default=xid + 1)
        seen = sorted(n for n in visible if n > high or n in gaps.open)
        high = gaps.note(high, seen, oldest, xid + 1, now)
        told |= set(seen)
        assert {n for n in range(1, gaps.safe(high) + 1) if n not in will_never} <= told
    for _ in range(4):
        now += 2
        high = gaps.note(
            high, sorted(n for n in visible if n > high or n in gaps.open), xid + 1, xid + 1, now
        )
    assert gaps.open == {} and gaps.safe(high) == high


@pytest.mark.real
def test_a_change_that_commits_late_is_handed_over(dsn: str, connection: Connection) -> None:
    from store.alerts.raising import raise_alert

    estate_id = estate(connection)
    with open_pool(dsn, size=2) as pool, connect(dsn) as slow:
        hub = Hub(LiveBus(None), pool)
        kept: list[StreamedUpdate] = []
        hub.look()
        before = safe(hub)
        raise_alert(slow, wanted(estate_id, subject_id=1), actor="slow")
        raise_alert(connection, wanted(estate_id, subject_id=2), actor="fast")
        connection.commit()
        hub._hand_over = kept.extend  # type: ignore[assignment]
        look = lambda: [update.seq for update in _look(hub)]  # noqa: E731
        first = look()
        assert len(first) == 1 and safe(hub) == before, (
            "the slow one's number is below it and still out"
        )
        threading.Event().wait(1.1)
        assert look() == [] and look() == [] and safe(hub) == before
        slow.commit()
        assert look() == [first[0] - 1]
        assert safe(hub) == first[0] and hub.since(0) == [] and hub.place() == 0


def safe(hub: Hub) -> int:
    assert hub._high is not None
    return hub._gaps.safe(hub._high)


@pytest.mark.real
def test_what_a_change_carries_as_safe_has_been_told_with_it(
    dsn: str, connection: Connection
) -> None:
    """Of a batch only the last may say that all of it is safe.

    Whoever leaves in the middle comes back for the rest.
    """
    import asyncio

    from store.alerts.raising import raise_alert

    estate_id = estate(connection)
    with open_pool(dsn, size=2) as pool:
        hub = Hub(LiveBus(None), pool)
        hub._loop = asyncio.new_event_loop()
        hub.look()
        began = hub.safe
        for subject in range(3):
            raise_alert(connection, wanted(estate_id, subject_id=subject), actor="w")
        connection.commit()
        hub.look()
        assert hub.safe == began, "nothing has passed yet"
        hub._loop.run_until_complete(asyncio.sleep(0.05))
        rows = hub.since(0)
        assert rows is not None and [row.safe for row in rows] == [
            began,
            began,
            rows[-1].update.seq,
        ]
        assert hub.safe == rows[-1].update.seq and hub.place() == 3
        hub._loop.close()


def _look(hub: Hub) -> Sequence[AlertUpdate]:
    from store.access import scope
    from store.alerts import changes

    with hub._pool.connection() as connection:
        scope.enter_everywhere(connection)
        assert hub._high is not None
        found = changes.look_at_updates(connection, hub._high, sorted(hub._gaps.open))
    import time

    hub._high = hub._gaps.note(
        hub._high,
        [update.seq for update in found.updates],
        found.oldest_xid,
        found.next_xid,
        time.monotonic(),
    )
    return found.updates
