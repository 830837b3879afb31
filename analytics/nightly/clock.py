"""Which days a nightly run judges, and at which instant it is run."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

#: The local hour at which a night is run: by then gateways have sent what the day before held.
NIGHT_HOUR = 4


def night_clock(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which the night after a local day is run."""
    return datetime.combine(day + timedelta(days=1), time(NIGHT_HOUR), tzinfo=zone)


def last_whole_day(clock: datetime, zone: ZoneInfo) -> date:
    """Return the last local day that was over at an instant; only whole days are judged."""
    return clock.astimezone(zone).date() - timedelta(days=1)
