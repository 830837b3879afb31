"""Tasks run when they are due; what they do is tested in `test_people.py`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from privacy import retention
from privacy.purposes import PeoplePolicy
from store.database.connection import connect


@pytest.mark.real
def test_each_at_its_own_pace(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(retention.unusual_lookups, "check", lambda *_: done.append("looks") or 2)
    monkeypatch.setattr(retention, "daily", lambda *_: done.append("days") or {})
    now = [0.0]
    chores = retention.RetentionTasks(PeoplePolicy(), None, clock=lambda: now[0])
    with connect(dsn, autocommit=True) as connection, connect(dsn) as other:
        for minute in range(0, 24 * 60 + 1, 30):
            now[0] = minute * 60.0
            assert chores.run(connection, datetime.now(UTC)) == 2
        assert done.count("looks") == 49 and done.count("days") == 2
        # Another process is at it.
        assert retention.retention.try_lock_maintenance(other)
        now[0] += 61
        assert chores.run(connection, datetime.now(UTC)) == 0
