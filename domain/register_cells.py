"""How the cells of register files are read.

Each function turns a cell without blanks around it into a value. It raises ValueError, which says
how to mend the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, available_timezones

from domain.calendar import DEFAULT_ZONE
from domain.ids import valid_id


def read_id(cell: str) -> str:
    """Return an id as it stands in topics."""
    if not valid_id(cell):
        raise ValueError("must be 2 to 40 lower-case letters, digits or hyphens")
    return cell


def read_text(cell: str) -> str:
    """Return a text of at most 200 characters."""
    if len(cell) > 200 or any(ord(character) < 32 for character in cell):
        raise ValueError("must be at most 200 characters without control characters")
    return cell


def read_date(cell: str) -> date:
    """Return a local day."""
    try:
        return date.fromisoformat(cell.replace("/", "-"))
    except ValueError:
        raise ValueError("must be a date like 2026-03-31") from None


def read_instant(cell: str) -> datetime:
    """Return an instant; one without an offset is in the default time zone."""
    try:
        at = datetime.fromisoformat(cell.replace("/", "-"))
    except ValueError:
        raise ValueError("must be a date or an instant like 2026-03-31T08:00:00+08:00") from None
    return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(DEFAULT_ZONE)).astimezone(UTC)


def read_integer(cell: str) -> int:
    """Return a whole number between -1000 and 1000000."""
    try:
        number = int(cell)
    except ValueError:
        raise ValueError("must be a whole number") from None
    if not -1000 <= number <= 1_000_000:
        raise ValueError("must lie between -1000 and 1000000")
    return number


def read_number(cell: str) -> float:
    """Return a number between 0 and 1000000."""
    try:
        number = float(cell)
    except ValueError:
        raise ValueError("must be a number") from None
    if not 0 <= number <= 1e6:
        raise ValueError("must lie between 0 and 1000000")
    return number


def read_time_zone(cell: str) -> str:
    """Return the name of an IANA time zone."""
    if cell not in available_timezones():
        raise ValueError("must be a time zone like Asia/Shanghai")
    return cell


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader that accepts these words only."""

    def read(cell: str) -> str:
        if cell not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return cell

    return read
