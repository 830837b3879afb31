"""Local days and the instants at which they begin: an estate lives by its own calendar, the store
by UTC.

A local day has 23, 24 or 25 hours; every instant belongs to exactly one. All functions are pure.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

#: Zone of an estate that names none.
DEFAULT_ZONE = "Asia/Shanghai"
HOUR_MS = 3_600_000
#: A day of 24 hours. Local days may have 23 or 25: see `day_starts_ms`.
DAY_MS = 24 * HOUR_MS


def day_of(at: datetime, zone: ZoneInfo) -> date:
    """Return the local day that an aware instant falls in."""
    return at.astimezone(zone).date()


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which a local day begins."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def day_starts_ms(first: date, days: int, zone: ZoneInfo) -> list[int]:
    """Return the beginnings of `days` + 1 local days as milliseconds UTC, so that entry i+1 ends
    day i.
    """
    return [
        int(day_start(first + timedelta(days=i), zone).timestamp() * 1000) for i in range(days + 1)
    ]


def from_ms(ms: int) -> datetime:
    """Turn integer milliseconds into an aware instant."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def to_ms(at: datetime) -> int:
    """Turn an aware instant into integer milliseconds."""
    return round(at.timestamp() * 1000)
