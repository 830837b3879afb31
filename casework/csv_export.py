"""Files that go out: CSV without formulas, and counts in which nobody can be recognised.

A cell that a spreadsheet would run is given an apostrophe in front (OWASP, CSV injection), numbers
excepted. A table for people outside holds no cell of fewer homes than policy says; where a single
small cell could be worked out from a total, the next smallest goes too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: First signs that a spreadsheet takes for a formula, half-width and full-width.
TRIGGERS = frozenset("=+-@\t\r\n＝＋－＠")


def neutral(value: Any) -> Any:
    """Write a value so that no spreadsheet runs it; numbers stay numbers."""
    if isinstance(value, int | float) or value is None:
        return value
    text = str(value).replace("\x00", "")
    return "'" + text if text[:1] in TRIGGERS or text.lstrip()[:1] in TRIGGERS else text


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Write rows as CSV (RFC 4180) in UTF-8 with the mark that spreadsheets need for Chinese."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL)
    writer.writerow(columns)
    writer.writerows([neutral(row[name]) for name in columns] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def suppress(
    rows: Sequence[dict[str, Any]], *, group: str, size: str, counts: Sequence[str], least: int
) -> list[dict[str, Any]]:
    """Blank the counts of rows of fewer than `least` homes, and what others would reveal.

    `size` is the number of homes that a row rests on. A count is also blank where it, or its
    complement, is of fewer homes than `least` and more than none: "all but two are let" tells of
    two. Where exactly one row of a group is blank in a column, the row with the next smallest count
    is blank there too, since the group's total may be known from elsewhere.
    """
    out = [dict(row) for row in rows]
    for row in out:
        for name in counts:
            value = row[name]
            if (
                value is None
                or row[size] < least
                or 0 < value < least
                or 0 < row[size] - value < least
            ):
                row[name] = None
    for key in dict.fromkeys(row[group] for row in out):
        members = [i for i, row in enumerate(out) if row[group] == key]
        for name in counts:
            blank = [i for i in members if out[i][name] is None]
            shown = [i for i in members if out[i][name] is not None]
            if len(blank) == 1 and shown:
                out[min(shown, key=lambda i: (out[i][size], i))][name] = None
    small = [i for i, row in enumerate(out) if row[size] < least]
    for i in small:
        out[i][size] = None
    return out
