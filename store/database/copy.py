"""Columns to PostgreSQL and back in its binary COPY format (PostgreSQL manual, COPY, "Binary Format").

numpy lays the rows out in one step, so that a row costs nanoseconds here and the server is the limit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Copy, sql

from store.database.connection import Connection

Query = str | sql.Composed

_EPOCH_2000_MS = 946_684_800_000
_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
_TRAILER = b"\xff\xff"
#: What comes last: of an empty table the header comes with it.
_LAST = (_TRAILER, _HEADER + _TRAILER)
PIECE = 64 * 1024
#: What a column may be: PostgreSQL's type, and how it stands on the wire. `ms` is a timestamptz given in ms UTC, `instant` (read
#: only) one in ms UTC with their fraction, NaN for -infinity, by which a query says "none" at less cost than by a function.
_WIRE = {
    "int4": ">i4",
    "int8": ">i8",
    "float4": ">f4",
    "float8": ">f8",
    "ms": ">i8",
    "instant": ">i8",
}
_NONE = np.iinfo(np.int64).min
#: Elements of arrays: type, and PostgreSQL's number for it.
_ELEMENT = {"int4": 23, "int8": 20}


def _row_type(types: Sequence[str]) -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for i, name in enumerate(types):
        fields += [(f"size{i}", ">i4"), (f"value{i}", _WIRE[name])]
    return np.dtype(fields)


def copy_in(
    connection: Connection, command: str, types: Sequence[str], columns: Sequence[NDArray[Any]]
) -> None:
    """Write columns of one length by a COPY … FROM STDIN (FORMAT binary)."""
    send(connection, command, pack(types, columns))


def pack(types: Sequence[str], columns: Sequence[NDArray[Any]]) -> bytes:
    """Lay out columns of one length as rows."""
    layout = _row_type(types)
    rows = np.empty(len(columns[0]), dtype=layout)
    rows["fields"] = len(types)
    for i, (name, column) in enumerate(zip(types, columns, strict=True)):
        rows[f"size{i}"] = np.dtype(_WIRE[name]).itemsize
        rows[f"value{i}"] = (column - _EPOCH_2000_MS) * 1000 if name == "ms" else column
    return rows.tobytes()


def copy_arrays_in(
    connection: Connection,
    command: str,
    rows: Sequence[Sequence[tuple[str, NDArray[Any]] | tuple[str, int] | int]],
) -> None:
    """Write rows whose fields are integers (int4), instants ("ms", value) or arrays (type, values) by a binary COPY."""
    body = bytearray()
    for row in rows:
        body += struct.pack(">h", len(row))
        for value in row:
            field = _field(value)
            body += struct.pack(">i", len(field)) + field
    send(connection, command, bytes(body))


def copy_out(
    connection: Connection, query: Query, values: Sequence[Any], types: Sequence[str]
) -> list[NDArray[Any]]:
    """Read columns that hold no NULL by a COPY (…) TO STDOUT (FORMAT binary)."""
    with connection.cursor() as cursor, cursor.copy(query, list(values)) as stream:
        raw = b"".join(_blocks(stream))
    layout = _row_type(types)
    rows = np.frombuffer(
        raw, dtype=layout, offset=len(_HEADER), count=(len(raw) - len(_HEADER)) // layout.itemsize
    )
    found = []
    for i, name in enumerate(types):
        column = rows[f"value{i}"].astype(np.dtype(_WIRE[name]).newbyteorder("="))
        if name == "ms":
            column = column // 1000 + _EPOCH_2000_MS
        elif name == "instant":
            column = np.where(column == _NONE, np.nan, column / 1000.0 + _EPOCH_2000_MS)
        found.append(column)
    return found


def _blocks(stream: Copy) -> Iterator[bytes]:
    """Yield a COPY's rows, of which the server sends each on its own.

    What libpq holds already is taken from it straight: `Copy.read` waits anew for every row, which costs three times the row.
    The trailer ends that, since the end itself must be met by `Copy.read`.
    """
    take = stream.connection.pgconn.get_copy_data
    while block := bytes(stream.read()):
        yield block
        while block not in _LAST:
            size, more = take(1)
            if size <= 0:
                break
            block = bytes(more)
            yield block


def send_rows(
    connection: Connection, command: str, types: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Write rows of Python values by psycopg's own binary COPY."""
    with connection.cursor() as cursor, cursor.copy(command) as stream:
        stream.set_types(types)
        for row in rows:
            stream.write_row(row)


def send(connection: Connection, command: str, body: bytes) -> None:
    """Send rows that are laid out by a COPY … FROM STDIN (FORMAT binary)."""
    with connection.cursor() as cursor, cursor.copy(command) as stream:
        # In pieces, so that the server works while we send.
        whole = memoryview(_HEADER + body + _TRAILER)
        for at in range(0, len(whole), PIECE):
            stream.write(bytes(whole[at : at + PIECE]))


def _field(value: tuple[str, NDArray[Any]] | tuple[str, int] | int) -> bytes:
    if isinstance(value, int):
        return struct.pack(">i", value)
    name, content = value
    if isinstance(content, int):
        return struct.pack(">q", (content - _EPOCH_2000_MS) * 1000)
    return _array(name, content)


def _array(name: str, values: NDArray[Any]) -> bytes:
    """Lay out one array: dimensions, no NULLs, the element's type, its length and lower bound, the elements."""
    cells = np.empty(len(values), dtype=[("size", ">i4"), ("value", _WIRE[name])])
    cells["size"], cells["value"] = np.dtype(_WIRE[name]).itemsize, values
    return struct.pack(">iiiii", 1, 0, _ELEMENT[name], len(values), 1) + cells.tobytes()
