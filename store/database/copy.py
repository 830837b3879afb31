"""Columns to PostgreSQL and back in its binary COPY format (PostgreSQL manual, COPY).

numpy lays the rows out in one step, so that a row costs nanoseconds here and the server is the
limit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import Copy, sql

from store.database.connection import Connection

Query = str | sql.Composed

_EPOCH_2000_MS = 946_684_800_000
_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
_TRAILER = b"\xff\xff"
#: What comes last: of an empty table the header comes with it.
_LAST_BLOCKS = (_TRAILER, _HEADER + _TRAILER)
#: Bytes sent at a time.
PIECE = 64 * 1024
#: Types of columns, and how each stands on the wire. `ms` is a timestamptz in ms UTC. `instant`
#: (read only) is one in ms UTC with their fraction, NaN for -infinity. By that a query says "none"
#: at less cost than by a function.
_WIRE_TYPES = {
    "int4": ">i4",
    "int8": ">i8",
    "float4": ">f4",
    "float8": ">f8",
    "ms": ">i8",
    "instant": ">i8",
}
_MINUS_INFINITY = np.iinfo(np.int64).min
#: Types of arrays' elements, and PostgreSQL's numbers for them.
_ELEMENT_OIDS = {"int4": 23, "int8": 20}


def _row_layout(types: Sequence[str]) -> np.dtype[Any]:
    """Return the layout of a row: the number of its fields, then each field's size and value."""
    fields: list[tuple[str, str]] = [("field_count", ">i2")]
    for index, name in enumerate(types):
        fields.append((f"size{index}", ">i4"))
        fields.append((f"value{index}", _WIRE_TYPES[name]))
    return np.dtype(fields)


# Writing -------------------------------------------------------------------------------------


def copy_in(
    connection: Connection, command: str, types: Sequence[str], columns: Sequence[NDArray[Any]]
) -> None:
    """Write columns of one length by a COPY … FROM STDIN (FORMAT binary)."""
    send(connection, command, pack(types, columns))


def pack(types: Sequence[str], columns: Sequence[NDArray[Any]]) -> bytes:
    """Lay out columns of one length as rows."""
    layout = _row_layout(types)
    rows = np.empty(len(columns[0]), dtype=layout)
    rows["field_count"] = len(types)
    for index, (name, column) in enumerate(zip(types, columns, strict=True)):
        rows[f"size{index}"] = np.dtype(_WIRE_TYPES[name]).itemsize
        rows[f"value{index}"] = _to_wire_time(column) if name == "ms" else column
    return rows.tobytes()


def _to_wire_time(ms: Any) -> Any:
    """Turn ms UTC into PostgreSQL's microseconds since 2000."""
    return (ms - _EPOCH_2000_MS) * 1000


def send(connection: Connection, command: str, body: bytes) -> None:
    """Send rows that are laid out by a COPY … FROM STDIN (FORMAT binary)."""
    with connection.cursor() as cursor, cursor.copy(command) as stream:
        # In pieces, so that the server works while we send.
        whole = memoryview(_HEADER + body + _TRAILER)
        for start in range(0, len(whole), PIECE):
            stream.write(bytes(whole[start : start + PIECE]))


def send_rows(
    connection: Connection, command: str, types: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Write rows of Python values by psycopg's own binary COPY."""
    with connection.cursor() as cursor, cursor.copy(command) as stream:
        stream.set_types(types)
        for row in rows:
            stream.write_row(row)


class ArrayField(NamedTuple):
    """An array as a field of a row. `type` is the elements': int4 or int8."""

    type: str
    values: NDArray[Any]


class InstantField(NamedTuple):
    """A timestamptz as a field of a row."""

    ms: int


def copy_arrays_in(
    connection: Connection,
    command: str,
    rows: Sequence[Sequence[int | ArrayField | InstantField]],
) -> None:
    """Write rows of integers (int4), instants and arrays by a binary COPY."""
    body = bytearray()
    for row in rows:
        body += struct.pack(">h", len(row))
        for field in row:
            packed = _pack_field(field)
            body += struct.pack(">i", len(packed)) + packed
    send(connection, command, bytes(body))


def _pack_field(field: int | ArrayField | InstantField) -> bytes:
    if isinstance(field, InstantField):
        return struct.pack(">q", _to_wire_time(field.ms))
    if isinstance(field, ArrayField):
        return _pack_array(field)
    return struct.pack(">i", field)


def _pack_array(field: ArrayField) -> bytes:
    """Lay out one array without NULLs, of one dimension with the lower bound 1."""
    element = _WIRE_TYPES[field.type]
    cells = np.empty(len(field.values), dtype=[("size", ">i4"), ("value", element)])
    cells["size"] = np.dtype(element).itemsize
    cells["value"] = field.values
    dimensions = 1
    has_nulls = 0
    lower_bound = 1
    header = struct.pack(
        ">iiiii",
        dimensions,
        has_nulls,
        _ELEMENT_OIDS[field.type],
        len(field.values),
        lower_bound,
    )
    return header + cells.tobytes()


# Reading -------------------------------------------------------------------------------------


def copy_out(
    connection: Connection, query: Query, values: Sequence[Any], types: Sequence[str]
) -> list[NDArray[Any]]:
    """Read columns that hold no NULL by a COPY (…) TO STDOUT (FORMAT binary)."""
    with connection.cursor() as cursor, cursor.copy(query, list(values)) as stream:
        raw = b"".join(_read_blocks(stream))
    layout = _row_layout(types)
    row_count = (len(raw) - len(_HEADER)) // layout.itemsize
    rows = np.frombuffer(raw, dtype=layout, offset=len(_HEADER), count=row_count)
    return [_to_native(rows[f"value{index}"], name) for index, name in enumerate(types)]


def _to_native(column: NDArray[Any], name: str) -> NDArray[Any]:
    """Turn a column of the wire into this machine's byte order, and times into ms UTC."""
    native = column.astype(np.dtype(_WIRE_TYPES[name]).newbyteorder("="))
    if name == "ms":
        return native // 1000 + _EPOCH_2000_MS
    if name == "instant":
        return np.where(native == _MINUS_INFINITY, np.nan, native / 1000.0 + _EPOCH_2000_MS)
    return native


def _read_blocks(stream: Copy) -> Iterator[bytes]:
    """Yield a COPY's rows, of which the server sends each on its own.

    What libpq holds already is taken from it directly. `Copy.read` waits anew for every row, which
    costs three times the row. The trailer ends that, since `Copy.read` must meet the end itself.
    """
    get_copy_data = stream.connection.pgconn.get_copy_data
    while block := bytes(stream.read()):
        yield block
        while block not in _LAST_BLOCKS:
            size, data = get_copy_data(1)
            if size <= 0:
                break
            block = bytes(data)
            yield block
