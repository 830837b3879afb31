"""Days: every instant belongs to exactly one local day, also where a day has 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from domain.calendar import day_of, day_start, day_starts_ms, from_ms, to_ms

ZONES = st.sampled_from(
    ["Asia/Shanghai", "Europe/Madrid", "Australia/Sydney", "America/St_Johns", "Pacific/Apia"]
).map(ZoneInfo)


@given(st.datetimes(datetime(1986, 1, 1), datetime(2040, 1, 1)), ZONES)
def test_every_instant_has_one_day(naive: datetime, zone: ZoneInfo) -> None:
    at = naive.replace(tzinfo=UTC)
    day = day_of(at, zone)
    assert day_start(day, zone) <= at < day_start(day + timedelta(days=1), zone)


@given(st.dates(date(2000, 1, 1), date(2035, 1, 1)), st.integers(1, 400), ZONES)
def test_days_follow_each_other_without_a_gap(first: date, days: int, zone: ZoneInfo) -> None:
    starts = day_starts_ms(first, days, zone)
    assert len(starts) == days + 1
    assert all(
        22 * 3_600_000 <= b - a <= 26 * 3_600_000 or b == a
        for a, b in zip(starts, starts[1:], strict=False)
    )


def test_summer_time_makes_short_and_long_days() -> None:
    madrid = ZoneInfo("Europe/Madrid")
    starts = day_starts_ms(date(2016, 3, 27), 1, madrid)
    assert starts[1] - starts[0] == 23 * 3_600_000
    starts = day_starts_ms(date(2016, 10, 30), 1, madrid)
    assert starts[1] - starts[0] == 25 * 3_600_000


@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_come_back(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms
