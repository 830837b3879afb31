from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from domain.calendar import from_ms
from store.database.connection import Connection
from store.database.partitions import Partitions
from store.database.retention import drop_before
from store.series.readings import ReadingColumns, write_readings

pytestmark = pytest.mark.real
DAY = 86_400_000


def test_what_is_old_is_gone_and_what_is_not_is_there(any_connection: Connection) -> None:
    start = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)
    at = start + DAY * np.arange(200, dtype=np.int64)
    partitions = Partitions(any_connection)
    any_connection.commit()
    partitions.cover(any_connection, from_ms(int(at[0])), from_ms(int(at[-1])))
    write_readings(
        any_connection,
        ReadingColumns(at=at, point=np.ones(200, dtype=np.int32), value=np.zeros(200)),
    )
    any_connection.commit()
    cutoff = datetime(2025, 4, 10, tzinfo=UTC)
    assert len(drop_before(any_connection, "readings", cutoff)) >= 3
    row = any_connection.execute(
        "SELECT min(at) AS first, count(*) FILTER (WHERE at >= %s) AS kept FROM readings", [cutoff]
    ).fetchone()
    assert row is not None and row["kept"] == int((at >= cutoff.timestamp() * 1000).sum())
    assert datetime(2025, 3, 25, tzinfo=UTC) < row["first"] <= cutoff
    assert drop_before(any_connection, "readings", cutoff) == []
    with pytest.raises(ValueError, match="no series"):
        drop_before(any_connection, "users; DROP TABLE users", cutoff)


def test_a_month_that_was_dropped_is_made_again_for_late_data(connection: Connection) -> None:
    at = datetime(2025, 1, 5, tzinfo=UTC)
    partitions = Partitions(connection)
    connection.commit()
    partitions.cover(connection, at, at)
    drop_before(connection, "readings", datetime(2025, 3, 1, tzinfo=UTC))
    connection.commit()
    partitions = Partitions(connection)
    connection.commit()
    partitions.cover(connection, at, at)
    one = ReadingColumns(
        at=np.array([int(at.timestamp() * 1000)]),
        point=np.ones(1, dtype=np.int32),
        value=np.zeros(1),
    )
    assert write_readings(connection, one).fresh.all()
