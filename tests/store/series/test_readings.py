"""Series: whatever comes, however often and in whatever order, is in the table once; other content
is a conflict.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.calendar import from_ms
from store.database.connection import Connection, DuplicateKey
from store.database.partitions import MAX_MONTHS, Partitions, months_between
from store.series.readings import (
    EventRow,
    ReadingColumns,
    Written,
    read_readings,
    write_events,
    write_readings,
)

pytestmark = pytest.mark.real
START = 1_700_000_000_000


def columns(rows: list[tuple[int, int, float]]) -> ReadingColumns:
    return ReadingColumns(
        at=np.array([r[0] for r in rows], dtype=np.int64),
        point=np.array([r[1] for r in rows], dtype=np.int32),
        value=np.array([r[2] for r in rows], dtype=np.float64),
    )


def prepare(connection: Connection) -> Partitions:
    partitions = Partitions(connection)
    connection.commit()
    partitions.cover(connection, from_ms(START), from_ms(START + 86_400_000))
    return partitions


def told(written: Written) -> tuple[int, int, list[int]]:
    """Return how many rows are new, how many were known, and which conflict."""
    new = int(written.fresh.sum())
    return new, len(written.fresh) - new - len(written.conflicts), sorted(written.conflicts)


batches = st.lists(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(1, 3), st.sampled_from([1.0, 2.0])), max_size=12
    ),
    max_size=5,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches)
def test_readings_are_stored_once(
    any_connection: Connection, given_batches: list[list[tuple[int, int, float]]]
) -> None:
    prepare(any_connection)
    any_connection.execute("TRUNCATE readings")
    model: dict[tuple[int, int], float] = {}
    for batch in given_batches:
        rows = [(START + at * 1000, point, value) for at, point, value in batch]
        new, known, clash = 0, 0, []
        for i, (at, point, value) in enumerate(rows):
            if (at, point) not in model:
                model[at, point] = value
                new += 1
            elif model[at, point] == value:
                known += 1
            else:
                clash.append(i)
        written = write_readings(any_connection, columns(rows), merge=True) if rows else None
        assert written is None or told(written) == (new, known, clash)
    back = read_readings(
        any_connection, [1, 2, 3], from_ms(START), from_ms(START + 10_000), from_ms(START + 10_000)
    )
    assert (
        dict(
            zip(
                zip(back.at.tolist(), back.point.tolist(), strict=True),
                back.value.tolist(),
                strict=True,
            )
        )
        == model
    )
    any_connection.rollback()


def event(device: int, at: int, name: str, data: dict[str, object] | None = None) -> EventRow:
    return EventRow(
        device_id=device, at_ms=START + at, event_id=name, kind="passage", data=data or {"x": 1}
    )


def test_an_event_is_known_by_its_device_and_id(any_connection: Connection) -> None:
    prepare(any_connection)
    first = [event(1, 0, "a"), event(1, 5, "b"), event(2, 0, "a"), event(1, 0, "a")]
    assert told(write_events(any_connection, first)) == (3, 1, [])
    again = [event(1, 0, "a"), event(1, 9, "a"), event(1, 5, "b", {"x": 2}), event(1, 6, "c")]
    assert told(write_events(any_connection, again)) == (1, 1, [1, 2])


def test_months_are_made_as_needed(connection: Connection) -> None:
    assert months_between(from_ms(1_703_980_800_000), from_ms(1_704_067_200_000)) == [
        (2023, 12),
        (2024, 1),
    ]
    with pytest.raises(ValueError, match=str(MAX_MONTHS)):
        months_between(from_ms(0), from_ms(4_000_000_000_000))
    partitions = prepare(connection)
    partitions.cover(connection, from_ms(START), from_ms(START + 90 * 86_400_000))
    made = connection.execute(
        "SELECT count(*) AS n FROM pg_inherits WHERE inhparent = 'readings'::regclass"
    ).fetchone()
    assert made is not None and made["n"] == 4


def test_a_batch_of_new_keys_goes_straight_in_and_any_other_fails_whole(
    any_connection: Connection,
) -> None:
    prepare(any_connection)
    rows = [(START + i, 1, 1.0) for i in range(5)]
    assert told(write_readings(any_connection, columns(rows))) == (5, 0, [])
    any_connection.commit()
    for batch in ([*rows[:1], (START + 9, 1, 1.0)], [(START + 9, 1, 1.0)] * 2):
        with pytest.raises(DuplicateKey):
            write_readings(any_connection, columns(batch))
        any_connection.rollback()
    assert any_connection.execute("SELECT count(*) AS n FROM readings").fetchone() == {"n": 5}
