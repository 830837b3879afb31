"""Counting how often: shared by Redis, by each process alone while Redis is away, and never more
than it can hold.
"""

from __future__ import annotations

from typing import Any

import pytest

from store.live import rate_limits
from store.live.rate_limits import Rates


def test_a_window_has_room_and_then_none_and_then_room_again() -> None:
    now = [1000.0]
    limit = Rates(None, clock=lambda: now[0])
    assert [limit.take("a", 3) for _ in range(3)] == [0, 0, 0]
    wait = limit.take("a", 3)
    assert 0 < wait <= 61 and limit.take("b", 3) == 0
    now[0] += wait
    assert limit.take("a", 3) == 0


def test_it_holds_no_more_names_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MOST_NAMES", 100)
    now = [0.0]
    limit = Rates(None, clock=lambda: now[0])
    for i in range(1000):
        now[0] += 1
        limit.take(f"n{i}", 1)
        assert len(limit._counts) <= 100


@pytest.mark.real
def test_two_processes_share_a_count_and_go_on_without_redis(redis: Any) -> None:
    now = [5000.0]
    one, two = (Rates(redis.url, clock=lambda: now[0]) for _ in range(2))
    assert [one.take("shared", 3), two.take("shared", 3), one.take("shared", 3)] == [0, 0, 0]
    assert one.take("shared", 3) and two.take("shared", 3)
    away = Rates("redis://127.0.0.1:1/0", clock=lambda: now[0])
    assert [away.take("x", 2) for _ in range(3)][:2] == [0, 0] and away.take("x", 2)
