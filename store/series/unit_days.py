"""Unit-day facts in the store, written and read as columns: a city has a hundred million of them.

In memory NaN is "not known", in the table NULL is. Tokens of people are hashes in which the three
lowest bits hold who it was and whether the night was spent (see `domain.people.PersonKind`). A hash
is of no use but to be compared with another one of the same unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

#: Columns that hold numbers; the uom is the name's last part.
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
#: Columns that hold instants.
INSTANTS = (
    "water_first_use_at",
    "water_last_use_at",
    "water_first_still_at",
    "water_last_still_at",
)
COLUMNS = (*NUMBERS, *INSTANTS)
#: Columns that are never NULL: no cover is a cover of zero, not "not known".
_NEVER_NULL = frozenset({"energy_cover", "water_cover", "energy_samples", "water_samples"})
_EPOCH = date(2000, 1, 1)

#: The first and the last of some local days, both included.
DaySpan = tuple[date, date]


@dataclass(slots=True, kw_only=True)
class UnitDays:
    """Facts as columns of one length: a row per unit and day of which anything is known.

    `unit` are ids and `day` counts from 2000-01-01. `columns` are by name; instants are ms UTC, and
    NaN is "not known". `token` are packed tokens, and `token_row` the row that each belongs to.
    `faults` are pairs of a row and what was wrong with its meters.
    """

    unit: NDArray[np.int32]
    day: NDArray[np.int32]
    columns: Mapping[str, NDArray[np.float64]]
    token_row: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    token: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    faults: Sequence[tuple[int, Sequence[str]]] = ()

    def __len__(self) -> int:
        return len(self.unit)


def day_number(day: date) -> int:
    """Count a day from 2000-01-01, as the binary form of PostgreSQL does."""
    return (day - _EPOCH).days


def row_numbers(units: Sequence[int], unit: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place in `units` of each id in `unit`; every id must stand there."""
    ids = np.asarray(units, dtype=np.int64)
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], unit)]


# Written -----------------------------------------------------------------------------------------


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
    _stage(connection, rows)
    connection.execute(_INSERT_STAGED)
    if rows.faults:
        _save_faults(connection, rows)


def _stage(connection: Connection, rows: UnitDays) -> None:
    """Copy rows and their tokens into temporary tables."""
    connection.execute(_CREATE_STAGE)
    connection.execute("TRUNCATE staged_days, staged_tokens")
    copy_in(
        connection,
        "COPY staged_days FROM STDIN (FORMAT binary)",
        ("int4", "int4", *["float8"] * len(COLUMNS)),
        (rows.unit, rows.day, *(rows.columns[name] for name in COLUMNS)),
    )
    if len(rows.token):
        copy_in(
            connection,
            "COPY staged_tokens FROM STDIN (FORMAT binary)",
            ("int4", "int4", "int8"),
            (rows.unit[rows.token_row], rows.day[rows.token_row], rows.token),
        )


def _save_faults(connection: Connection, rows: UnitDays) -> None:
    connection.execute(
        """
        UPDATE unit_days d
        SET faults = string_to_array(f.faults, ',')
        FROM unnest(%s::integer[], %s::integer[], %s::text[]) AS f (unit_id, day, faults)
        WHERE d.unit_id = f.unit_id
          AND d.day = date '2000-01-01' + f.day
        """,
        [
            [int(rows.unit[row]) for row, _ in rows.faults],
            [int(rows.day[row]) for row, _ in rows.faults],
            [",".join(sorted(words)) for _, words in rows.faults],
        ],
    )


def _staged_value(name: str) -> sql.Composable:
    column = sql.Identifier(name)
    if name in INSTANTS:
        return sql.SQL("to_timestamp(nullif(s.{}, 'NaN') / 1000)").format(column)
    if name in _NEVER_NULL:
        return sql.SQL("s.{}").format(column)
    return sql.SQL("nullif(s.{}, 'NaN')").format(column)


_COMMA = sql.SQL(", ")
_COLUMN_NAMES = _COMMA.join(map(sql.Identifier, COLUMNS))
_CREATE_STAGE = sql.SQL(
    """
    CREATE TEMP TABLE IF NOT EXISTS staged_days (unit_id integer, day integer, {columns})
    ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE IF NOT EXISTS staged_tokens (unit_id integer, day integer, token bigint)
    ON COMMIT DELETE ROWS
    """
).format(
    columns=_COMMA.join(
        sql.SQL("{} double precision").format(sql.Identifier(name)) for name in COLUMNS
    )
)
_INSERT_STAGED = sql.SQL(
    """
    INSERT INTO unit_days (unit_id, day, {columns}, tokens)
    SELECT s.unit_id, date '2000-01-01' + s.day, {values}, coalesce(t.tokens, '{{}}')
    FROM staged_days s
    LEFT JOIN (
        SELECT unit_id, day, array_agg(token ORDER BY token) AS tokens
        FROM staged_tokens
        GROUP BY unit_id, day
    ) t ON t.unit_id = s.unit_id AND t.day = s.day
    """
).format(columns=_COLUMN_NAMES, values=_COMMA.join(map(_staged_value, COLUMNS)))


# Read --------------------------------------------------------------------------------------------


def load_columns(
    connection: Connection,
    units: Sequence[int],
    first: date,
    days: int,
    names: Sequence[str] = COLUMNS,
) -> dict[str, NDArray[Any]]:
    """Read facts of units over `days` days from `first` as arrays of shape (units, days), by name.

    NaN is "not known". Numbers are float32; instants are float64 in ms UTC, exact below 2^53.
    """
    numbers = [name for name in names if name not in INSTANTS]
    instants = [name for name in names if name in INSTANTS]
    query = sql.SQL(
        """
        COPY (
            SELECT unit_id, day - %s::date, {columns}
            FROM unit_days
            WHERE unit_id = ANY(%s)
              AND day >= %s
              AND day < %s::date + %s
        ) TO STDOUT (FORMAT binary)
        """
    ).format(columns=_COMMA.join([*map(_copied_number, numbers), *map(_copied_instant, instants)]))
    types = ("int4", "int4", *["float4"] * len(numbers), *["instant"] * len(instants))
    with _through_key(connection):
        unit, day, *values = copy_out(
            connection, query, [first, list(units), first, first, days], types
        )
    row = row_numbers(units, unit)
    columns = {}
    for name, value in zip((*numbers, *instants), values, strict=True):
        dtype = np.float64 if name in INSTANTS else np.float32
        column = np.full((len(units), days), np.nan, dtype=dtype)
        column[row, day] = value
        columns[name] = column
    return columns


def _copied_number(name: str) -> sql.Composable:
    return sql.SQL("coalesce({}::float4, 'NaN'::float4)").format(sql.Identifier(name))


def _copied_instant(name: str) -> sql.Composable:
    return sql.SQL("coalesce({}, '-infinity'::timestamptz)").format(sql.Identifier(name))


def load_tokens(
    connection: Connection, units: Sequence[int], first: date, days: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Read the tokens of units over `days` days from `first`, as three columns of one length.

    They are the unit's place in `units`, the day counted from `first`, and the packed token.
    """
    query = """
        COPY (
            SELECT unit_id, day - %s::date, unnest(tokens)
            FROM unit_days
            WHERE unit_id = ANY(%s)
              AND day >= %s
              AND day < %s::date + %s
              AND tokens <> '{}'
        ) TO STDOUT (FORMAT binary)
    """
    with _through_key(connection):
        unit, day, token = copy_out(
            connection, query, [first, list(units), first, first, days], ("int4", "int4", "int8")
        )
    return row_numbers(units, unit), day.astype(np.int64), token


def load_faults(
    connection: Connection, units: Sequence[int], first: date, days: int
) -> list[tuple[int, int, list[str]]]:
    """List what was wrong with the meters of units over `days` days from `first`.

    Each entry is the unit's place in `units`, the day counted from `first`, and the words.
    """
    row_of = {unit: row for row, unit in enumerate(units)}
    with _through_key(connection):
        rows = connection.execute(
            """
            SELECT unit_id, day - %s::date AS day, faults
            FROM unit_days
            WHERE unit_id = ANY(%s)
              AND day >= %s
              AND day < %s::date + %s
              AND faults <> '{}'
            """,
            [first, list(units), first, first, days],
        ).fetchall()
    return [(row_of[row["unit_id"]], row["day"], row["faults"]) for row in rows]


@contextmanager
def _through_key(connection: Connection) -> Iterator[None]:
    """Make the planner read a block of units through the key of the table.

    The units of a block stand together, which the planner cannot know. Left to itself it reads all
    of a city's hundred million rows, and an estate's night costs as much as the city is large.
    """
    connection.execute("SELECT set_config('enable_seqscan', 'off', true)")
    try:
        yield
    finally:
        in_transaction = connection.info.transaction_status == TransactionStatus.INTRANS
        if in_transaction and not connection.broken:
            connection.execute("SELECT set_config('enable_seqscan', 'on', true)")


def list_units_without_rest(connection: Connection, units: Sequence[int], today: date) -> list[int]:
    """List the units whose water has not rested on a day, as far as known, nor the day before."""
    rows = connection.execute(
        """
        SELECT unit_id
        FROM unit_days
        WHERE unit_id = ANY(%s)
          AND day BETWEEN %s::date - 1 AND %s
          AND water_samples > 0
          AND water_first_still_at IS NULL
        GROUP BY unit_id
        HAVING count(*) = 2
        """,
        [list(units), today, today],
    )
    return [row["unit_id"] for row in rows]


def read_day_span(connection: Connection, units: Sequence[int]) -> DaySpan | None:
    """Return the first and the last day for which units have facts; None where they have none."""
    # Each unit takes two looks at the key; a query over all units at once reads all their days.
    row = connection.execute(
        """
        SELECT min(s.first) AS first, max(s.last) AS last
        FROM unnest(%s::integer[]) AS u (id)
        CROSS JOIN LATERAL (
            SELECT
                (SELECT min(day) FROM unit_days WHERE unit_id = u.id) AS first,
                (SELECT max(day) FROM unit_days WHERE unit_id = u.id) AS last
        ) s
        """,
        [list(units)],
    ).fetchone()
    assert row is not None
    return (row["first"], row["last"]) if row["first"] else None


def list_unit_days(
    connection: Connection, unit_id: int, first: date, last: date
) -> list[dict[str, Any]]:
    """Read one unit's facts between two days, both included, by name; tokens are left out."""
    query = sql.SQL(
        """
        SELECT unit_id, day, {columns}, faults
        FROM unit_days
        WHERE unit_id = %s
          AND day BETWEEN %s AND %s
        ORDER BY day
        """
    ).format(columns=_COLUMN_NAMES)
    return connection.execute(query, [unit_id, first, last]).fetchall()


def widen_to_neighbours(
    connection: Connection, spans: Mapping[int, DaySpan], depth: int
) -> dict[int, DaySpan]:
    """Widen each unit's days so that every supply has `depth` further readings on either side.

    An interval reaches from one reading to the next, over days on which a meter was silent. So what
    changed on one day changes the facts of all days up to its neighbours. Units without further
    readings keep their days.
    """
    rows = connection.execute(
        _NEIGHBOUR_DAYS,
        {
            "depth": depth,
            "units": list(spans),
            "lows": [low for low, _ in spans.values()],
            "highs": [high for _, high in spans.values()],
        },
    )
    widened = {}
    for row in rows:
        low, high = spans[row["unit_id"]]
        widened[row["unit_id"]] = (row["before"] or low, row["after"] or high)
    return widened


_NEIGHBOUR_DAYS = """
    SELECT s.unit_id,
        (
            SELECT least(
                (
                    SELECT min(day)
                    FROM (
                        SELECT day,
                               sum(water_samples) OVER (ORDER BY day DESC)
                                   - water_samples AS had
                        FROM (
                            SELECT day, water_samples
                            FROM unit_days
                            WHERE unit_id = s.unit_id AND day < s.low AND water_samples > 0
                            ORDER BY day DESC
                            LIMIT %(depth)s
                        ) w
                    ) w
                    WHERE had < %(depth)s
                ),
                (
                    SELECT min(day)
                    FROM (
                        SELECT day,
                               sum(energy_samples) OVER (ORDER BY day DESC)
                                   - energy_samples AS had
                        FROM (
                            SELECT day, energy_samples
                            FROM unit_days
                            WHERE unit_id = s.unit_id AND day < s.low AND energy_samples > 0
                            ORDER BY day DESC
                            LIMIT %(depth)s
                        ) e
                    ) e
                    WHERE had < %(depth)s
                )
            )
        ) AS before,
        (
            SELECT greatest(
                (
                    SELECT max(day)
                    FROM (
                        SELECT day, sum(water_samples) OVER (ORDER BY day) - water_samples AS had
                        FROM (
                            SELECT day, water_samples
                            FROM unit_days
                            WHERE unit_id = s.unit_id AND day > s.high AND water_samples > 0
                            ORDER BY day
                            LIMIT %(depth)s
                        ) w
                    ) w
                    WHERE had < %(depth)s
                ),
                (
                    SELECT max(day)
                    FROM (
                        SELECT day, sum(energy_samples) OVER (ORDER BY day) - energy_samples AS had
                        FROM (
                            SELECT day, energy_samples
                            FROM unit_days
                            WHERE unit_id = s.unit_id AND day > s.high AND energy_samples > 0
                            ORDER BY day
                            LIMIT %(depth)s
                        ) e
                    ) e
                    WHERE had < %(depth)s
                )
            )
        ) AS after
    FROM unnest(%(units)s::integer[], %(lows)s::date[], %(highs)s::date[]) AS s (unit_id, low, high)
"""
