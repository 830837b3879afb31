"""Unit-day facts in the store: written and read as columns, since a city has a hundred million of them.

In memory NaN is "not known", in the table NULL is. Tokens of people are hashes in which the three lowest bits say who it
was and whether the night was spent (see `domain.people.Who`); a hash is of no use but to be compared with another of the same unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.pq import TransactionStatus

from store.database.connection import Connection
from store.database.copy import copy_in, copy_out

#: Numbers of a unit-day, and those of them that are counts.
NUMBERS = (
    "energy_kwh",
    "energy_cover",
    "energy_floor_w",
    "energy_peak_w",
    "energy_night_kwh",
    "energy_day_kwh",
    "energy_plateau_w",
    "energy_plateau_h",
    "water_l",
    "water_cover",
    "water_trickle_l",
    "water_least_l_h",
    "water_hours",
    "water_hours_known",
    "water_night_l",
    "water_peak_l",
    "energy_samples",
    "water_samples",
    "entries",
    "exits",
    "residents_seen",
    "strangers_seen",
    "residents_nights",
    "strangers_nights",
    "lent_passages",
    "cars_seen",
    "cars_nights",
)
INSTANTS = (
    "water_first_use_at",
    "water_last_use_at",
    "water_first_still_at",
    "water_last_still_at",
)
_COUNTS = frozenset(NUMBERS[16:])
#: Without them a row cannot stand: no cover is no cover, not "not known".
_ALWAYS = frozenset({"energy_cover", "water_cover", "energy_samples", "water_samples"})
_EPOCH = date(2000, 1, 1)


@dataclass(slots=True, kw_only=True)
class UnitDays:
    """Facts as columns of one length. `day` counts from 2000-01-01; `tokens` are pairs of (row, packed token)."""

    unit: NDArray[np.int32]
    day: NDArray[np.int32]
    columns: dict[str, NDArray[np.float64]]
    token_row: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    token: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    faults: list[tuple[int, list[str]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.unit)


def day_number(day: date) -> int:
    """Count a day from 2000-01-01, as the table's binary form does."""
    return (day - _EPOCH).days


def save_days(
    connection: Connection, rows: UnitDays, units: Sequence[int], first: date, last: date
) -> None:
    """Replace the facts of units between two days, both included, with `rows`."""
    connection.execute(
        "DELETE FROM unit_days WHERE unit_id = ANY(%s) AND day BETWEEN %s AND %s",
        [list(units), first, last],
    )
    if not len(rows):
        return
    connection.execute(_STAGE)
    connection.execute("TRUNCATE staged_days, staged_tokens")
    names = (*NUMBERS, *INSTANTS)
    types = ("int4", "int4", *["float8"] * len(names))
    copy_in(
        connection,
        "COPY staged_days FROM STDIN (FORMAT binary)",
        types,
        (rows.unit, rows.day, *(rows.columns[name] for name in names)),
    )
    if len(rows.token):
        at = rows.token_row
        copy_in(
            connection,
            "COPY staged_tokens FROM STDIN (FORMAT binary)",
            ("int4", "int4", "int8"),
            (rows.unit[at], rows.day[at], rows.token),
        )
    connection.execute(_INSERT)
    if rows.faults:
        connection.execute(
            "UPDATE unit_days d SET faults = string_to_array(f.faults, ',') FROM unnest(%s::integer[], %s::integer[], %s::text[]) "
            "AS f (unit_id, day, faults) WHERE d.unit_id = f.unit_id AND d.day = date '2000-01-01' + f.day",
            [
                [int(rows.unit[i]) for i, _ in rows.faults],
                [int(rows.day[i]) for i, _ in rows.faults],
                [",".join(sorted(names)) for _, names in rows.faults],
            ],
        )


def _cell(name: str) -> sql.Composable:
    column = sql.Identifier(name)
    if name in INSTANTS:
        return sql.SQL("to_timestamp(nullif(s.{}, 'NaN') / 1000)").format(column)
    if name in _ALWAYS:
        return sql.SQL("s.{}").format(column)
    return sql.SQL("nullif(s.{}, 'NaN')").format(column)


_STAGE = sql.SQL(
    "CREATE TEMP TABLE IF NOT EXISTS staged_days (unit_id integer, day integer, {}) ON COMMIT DELETE ROWS; "
    "CREATE TEMP TABLE IF NOT EXISTS staged_tokens (unit_id integer, day integer, token bigint) ON COMMIT DELETE ROWS"
).format(
    sql.SQL(", ").join(
        sql.SQL("{} double precision").format(sql.Identifier(name))
        for name in (*NUMBERS, *INSTANTS)
    )
)
_INSERT = sql.SQL(
    "INSERT INTO unit_days (unit_id, day, {}, tokens) SELECT s.unit_id, date '2000-01-01' + s.day, {}, coalesce(t.tokens, '{{}}') "
    "FROM staged_days s LEFT JOIN (SELECT unit_id, day, array_agg(token ORDER BY token) AS tokens FROM staged_tokens "
    "GROUP BY unit_id, day) t ON t.unit_id = s.unit_id AND t.day = s.day"
).format(
    sql.SQL(", ").join(map(sql.Identifier, (*NUMBERS, *INSTANTS))),
    sql.SQL(", ").join(map(_cell, (*NUMBERS, *INSTANTS))),
)


def load_columns(
    connection: Connection,
    units: Sequence[int],
    first: date,
    days: int,
    names: Sequence[str] = (*NUMBERS, *INSTANTS),
) -> dict[str, NDArray[Any]]:
    """Read facts of units over `days` days from `first` as arrays of shape (units, days); NaN is "not known".

    Numbers come as float32, instants as float64 milliseconds UTC (exact below 2^53).
    """
    number = [name for name in names if name not in INSTANTS]
    instant = [name for name in names if name in INSTANTS]
    columns: dict[str, NDArray[Any]] = {
        name: np.full(
            (len(units), days), np.nan, dtype=np.float64 if name in INSTANTS else np.float32
        )
        for name in names
    }
    query = sql.SQL(
        "COPY (SELECT unit_id, day - %s::date, {} FROM unit_days WHERE unit_id = ANY(%s) AND day >= %s AND day < %s::date + %s) "
        "TO STDOUT (FORMAT binary)"
    ).format(
        sql.SQL(", ").join(
            [
                sql.SQL("coalesce({}::float4, 'NaN'::float4)").format(sql.Identifier(name))
                for name in number
            ]
            + [
                sql.SQL("coalesce({}, '-infinity'::timestamptz)").format(sql.Identifier(name))
                for name in instant
            ]
        )
    )
    types = ("int4", "int4", *["float4"] * len(number), *["instant"] * len(instant))
    with _by_key(connection):
        found = copy_out(connection, query, [first, list(units), first, first, days], types)
    row = rows_of(units, found[0])
    for name, column in zip((*number, *instant), found[2:], strict=True):
        columns[name][row, found[1]] = column
    return columns


def load_tokens(
    connection: Connection, units: Sequence[int], first: date, days: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Read the tokens of units over `days` days from `first`: the unit's row, the day's column, the packed token."""
    with _by_key(connection):
        unit, day, token = copy_out(
            connection,
            "COPY (SELECT unit_id, day - %s::date, unnest(tokens) FROM unit_days WHERE unit_id = ANY(%s) AND day >= %s "
            "AND day < %s::date + %s AND tokens <> '{}') TO STDOUT (FORMAT binary)",
            [first, list(units), first, first, days],
            ("int4", "int4", "int8"),
        )
    return rows_of(units, unit), day.astype(np.int64), token


def load_faults(
    connection: Connection, units: Sequence[int], first: date, days: int
) -> list[tuple[int, int, list[str]]]:
    """List what was wrong with the meters of units: the unit's row, the day's column, the words."""
    row_of = {unit: i for i, unit in enumerate(units)}
    with _by_key(connection):
        found = connection.execute(
            "SELECT unit_id, day - %s::date AS day, faults FROM unit_days WHERE unit_id = ANY(%s) AND day >= %s "
            "AND day < %s::date + %s AND faults <> '{}'",
            [first, list(units), first, first, days],
        ).fetchall()
    return [(row_of[row["unit_id"]], row["day"], row["faults"]) for row in found]


@contextmanager
def _by_key(connection: Connection) -> Iterator[None]:
    """Read a block of units through the table's key.

    The units of a block stand together, which the planner cannot know: of a city's hundred million rows it would rather read all
    than two thousand times four hundred, and an estate's night would cost as much as the city is large.
    """
    connection.execute("SELECT set_config('enable_seqscan', 'off', true)")
    try:
        yield
    finally:
        if (
            not connection.broken
            and connection.info.transaction_status == TransactionStatus.INTRANS
        ):
            connection.execute("SELECT set_config('enable_seqscan', 'on', true)")


def rows_of(units: Sequence[int], unit: NDArray[Any]) -> NDArray[np.int64]:
    """Return for each unit's id its place in `units`."""
    ids = np.asarray(units, dtype=np.int64)
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], unit)]


def without_rest(connection: Connection, units: Sequence[int], today: date) -> list[int]:
    """List the units whose water has not rested on a day, as far as it is known, nor on the one before."""
    rows = connection.execute(
        "SELECT unit_id FROM unit_days WHERE unit_id = ANY(%s) AND day BETWEEN %s::date - 1 AND %s AND water_samples > 0 "
        "AND water_first_still_at IS NULL GROUP BY unit_id HAVING count(*) = 2",
        [list(units), today, today],
    ).fetchall()
    return [row["unit_id"] for row in rows]


def span_of(connection: Connection, units: Sequence[int]) -> tuple[date, date] | None:
    """Return the first and last day for which units have facts."""
    # Asked unit by unit, two looks at the key each; over all at once every day of all of them is looked at.
    row = connection.execute(
        "SELECT min(s.first) AS first, max(s.last) AS last FROM unnest(%s::integer[]) AS u (id) CROSS JOIN LATERAL "
        "(SELECT (SELECT min(day) FROM unit_days WHERE unit_id = u.id) AS first, "
        "(SELECT max(day) FROM unit_days WHERE unit_id = u.id) AS last) s",
        [list(units)],
    ).fetchone()
    return (row["first"], row["last"]) if row and row["first"] else None


def list_unit_days(
    connection: Connection, unit_id: int, first: date, last: date
) -> list[dict[str, Any]]:
    """Read one unit's facts between two days, for a chart or an answer; tokens stay inside."""
    query = sql.SQL(
        "SELECT unit_id, day, {}, faults FROM unit_days WHERE unit_id = %s AND day BETWEEN %s AND %s ORDER BY day"
    )
    return connection.execute(
        query.format(sql.SQL(", ").join(map(sql.Identifier, (*NUMBERS, *INSTANTS)))),
        [unit_id, first, last],
    ).fetchall()
