"""Columns go to PostgreSQL and come back as they were, whatever stands in them; arrays too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.database import copy
from store.database.connection import Connection

pytestmark = pytest.mark.real
rows = st.lists(
    st.tuples(
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.integers(0, 4_000_000_000_000),
    ),
    min_size=1,
    max_size=30,
)
TYPES = ("int4", "int8", "float8", "ms")


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows)
def test_there_and_back(connection: Connection, made: list[tuple[int, int, float, int]]) -> None:
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS there (n serial, a int4, b int8, c float8, d timestamptz)"
    )
    connection.execute("TRUNCATE there")
    columns = [np.array(column) for column in zip(*made, strict=True)]
    copy.copy_in(connection, "COPY there (a, b, c, d) FROM STDIN (FORMAT binary)", TYPES, columns)
    back = copy.copy_out(
        connection,
        "COPY (SELECT a, b, c, d FROM there ORDER BY n) TO STDOUT (FORMAT binary)",
        [],
        TYPES,
    )
    assert list(zip(*(column.tolist() for column in back), strict=True)) == made


def test_arrays(connection: Connection) -> None:
    connection.execute("CREATE TEMP TABLE arrays (n int4, a int4[], b int8[])")
    row: list[int | copy.ArrayField | copy.InstantField] = [
        7,
        copy.ArrayField("int4", np.array([1, -2, 3])),
        copy.ArrayField("int8", np.array([2**40, 0])),
    ]
    copy.copy_arrays_in(connection, "COPY arrays FROM STDIN (FORMAT binary)", [row, row])
    assert (
        connection.execute("SELECT * FROM arrays").fetchall()
        == [{"n": 7, "a": [1, -2, 3], "b": [2**40, 0]}] * 2
    )


def test_rows_of_python(connection: Connection) -> None:
    connection.execute("CREATE TEMP TABLE plain (a int4, b text)")
    copy.send_rows(
        connection, "COPY plain FROM STDIN (FORMAT binary)", ("int4", "text"), [(1, "一"), (2, "b")]
    )
    assert connection.execute("SELECT * FROM plain ORDER BY a").fetchall() == [
        {"a": 1, "b": "一"},
        {"a": 2, "b": "b"},
    ]
